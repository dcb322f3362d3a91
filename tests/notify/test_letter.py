"""A message as a letter: whatever strangers wrote, it has the headers that we gave it, and nothing in it runs."""

from __future__ import annotations

from email import message_from_bytes, policy
from email.message import EmailMessage
from html.parser import HTMLParser
from typing import Any

import pytest

from surveil.core.turns import News
from surveil.frozen import replace
from surveil.notify.channels import Envelope
from surveil.notify.letter import html, letter
from surveil.notify.summary import BuildSummary, Commit, NewFailure, WrongJob, inert
from surveil.notify.wording import Message, message_of, plain
from tests.corpora.naughty import NAUGHTY

ENVELOPE = Envelope(id="build-7", made_at=1_750_000_000_000)
EVIL = [
    "x\r\nBcc: victim@example.org",
    "x\nSubject: other\n\n<script>alert(1)</script>",
    "x\r\n.\r\nMAIL FROM:<a@b.c>",
    "=?utf-8?q?x=0ABcc:_victim=40example.org?=",
    "a" * 5000,
    "\N{RIGHT-TO-LEFT OVERRIDE}gpj.exe",
    "<img src=x onerror=alert(1)>",
    "</title></pre><a href='javascript:alert(1)'>x</a>",
    "{{ 7 * 7 }}{% for x in y %}",
    "\x00\x1b[2J\udc80",
]


def summary_of(text: str) -> BuildSummary:
    """A summary in which a stranger wrote this wherever a stranger writes."""
    text = inert(text)
    commit = Commit(sha="a" * 40, author=text, subject=text, build=7)
    job = WrongJob(name=text, state="failed", reason=text, runner=text, url="https://ci.example.org/x", lines=(text,))
    return BuildSummary(
        news=News.BROKEN, build=7, repo=text, ref=text, event="push", commit=commit, state="failed", reason=text,
        url="https://ci.example.org/builds/7", finished_at=1_750_000_000_000, duration_ms=1, after=6, broken_by=commit,
        commits=(commit,), jobs=(job,), jobs_count=1,
        tests=(NewFailure(job=text, suite=text, name=text, message=text),), tests_count=1,
    )  # fmt: skip


def about(text: str) -> Message:
    return message_of(summary_of(text))


def posted(message: Message) -> EmailMessage:
    made = letter(
        message, ENVELOPE, sender="surveil@example.org", to=["ada@example.org"], channel="team", cluster="c1"
    )  # fmt: skip
    read = message_from_bytes(made.as_bytes(), _class=EmailMessage, policy=policy.default)
    assert isinstance(read, EmailMessage)
    return read


class Seen(HTMLParser):
    """What a reader of mail would make of a page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.text = ""
        self.links: set[str] = set()
        self.attributes: set[str] = set()

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links |= {value or "" for name, value in attrs if name == "href"}


@pytest.mark.parametrize("text", EVIL, ids=range(len(EVIL)))
def test_no_text_of_a_stranger_makes_a_header_or_a_tag(text: str) -> None:
    read = posted(about(text))
    assert sorted(read.keys()) == [
        "Auto-Submitted", "Content-Type", "Date", "From", "MIME-Version", "Message-ID", "References", "Subject", "To",
        "X-Surveil-Event",
    ]  # fmt: skip
    assert read["To"] == "ada@example.org"
    assert all(str(value).isprintable() for value in read.values())
    body, page = (read.get_body((kind,)) for kind in ("plain", "html"))
    assert body is not None
    assert page is not None
    seen = Seen()
    seen.feed(page.get_content())
    assert seen.tags <= {"html", "head", "meta", "title", "body", "h1", "h2", "a", "p", "ul", "li", "pre"}
    assert seen.links == {"https://ci.example.org/builds/7", "https://ci.example.org/x"}
    assert seen.attributes <= {"lang", "charset", "name", "content", "style", "href"}


def test_every_naughty_text_arrives_as_the_text_that_it_is() -> None:
    commits = tuple(Commit(sha="a" * 40, author="Ann", subject=inert(text), build=7) for text in NAUGHTY)
    read = posted(message_of(replace(summary_of("main"), commits=commits)))
    body: Any = read.get_body(("plain",))
    page: Any = read.get_body(("html",))
    seen = Seen()
    seen.feed(page.get_content())
    for commit in commits:
        assert f"  * aaaaaaa {commit.subject} (by Ann)" in body.get_content()
        assert " ".join(f"aaaaaaa {commit.subject} (by Ann)".split()) in " ".join(seen.text.split())


def test_a_letter_has_its_text_first_and_the_same_as_a_page() -> None:
    message = about("main")
    read = posted(message)
    assert read.get_content_type() == "multipart/alternative"
    first, second = read.iter_parts()
    assert first.get_content().replace("\r\n", "\n") == plain(message)
    assert second.get_content().replace("\r\n", "\n").rstrip() == html(message).rstrip()
    assert read["Message-ID"] == posted(about("main"))["Message-ID"]
    assert read["References"] != posted(about("other"))["References"], "each ref is a conversation of its own"
