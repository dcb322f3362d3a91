"""Puts a summary into words: a title, sentences, and sections, from which every channel makes its own form.

What belongs here: pure functions from summaries to messages, and their plain text. What does not: what is said
(`gathering`), and forms with marks: HTML (`letter`), and those of chats (`chats`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from surveil.core.turns import News
from surveil.frozen import dataclass
from surveil.notify.summary import BuildSummary, Commit, RunnerSummary, Summary, document_of
from surveil.screen.words import SHA_DIGITS, counted, listed, short_ref, short_repo, span

_NAMES_MAX: Final = 3
_TITLE_CHARACTERS_MAX: Final = 150


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of a message. `lines` are as a program printed them; `points` are a list."""

    title: str
    link: str = ""
    lines: tuple[str, ...] = ()
    points: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What people read, and the same for programs. All of it is inert text; links are our own."""

    event: str
    title: str
    link: str
    sentences: tuple[str, ...]
    sections: tuple[Section, ...]
    thread: str
    """Messages about one thing have the same."""
    document: dict[str, Any]


def message_of(summary: Summary) -> Message:
    """The message for a summary."""
    return _about_runner(summary) if isinstance(summary, RunnerSummary) else _about_build(summary)


def trial(channel: str) -> Message:
    """A message that shows that others would arrive as well."""
    title = f"Test: surveil can tell {channel}"
    return Message(
        event="test", title=title, link="", sentences=("Nothing happened: somebody wanted to see this arrive.",),
        sections=(), thread="test", document={"event": "test", "channel": channel},
    )  # fmt: skip


def plain(message: Message) -> str:
    """A message as plain text."""
    parts = ["\n".join(filter(None, (message.title, message.link))), "\n".join(message.sentences)]
    for section in message.sections:
        told = [section.title, section.link and f"  {section.link}"]
        told += [f"  * {point}" for point in section.points]
        told += [f"  | {line}".rstrip() for line in section.lines]
        parts.append("\n".join(filter(None, told)))
    return "\n\n".join(filter(None, parts)) + "\n"


def _about_build(summary: BuildSummary) -> Message:
    where = f"{short_ref(summary.ref)} of {short_repo(summary.repo)}"
    return Message(
        event=summary.news.value,
        title=_cut(f"{_said(summary, where)} (build {summary.build})"),
        link=summary.url,
        sentences=tuple(_sentences(summary)),
        sections=tuple(_sections(summary)),
        thread=f"{summary.repo} {summary.ref}",
        document=document_of(summary),
    )


def _said(summary: BuildSummary, where: str) -> str:
    names = listed((job.name for job in summary.jobs), _NAMES_MAX) or summary.state
    match summary.news:
        case News.BROKEN:
            return f"Broken: {where}: {names}"
        case News.STILL_FAILING:
            return f"Still failing: {where}: {names}"
        case News.FIXED:
            return f"Fixed: {where}"
        case _:
            return f"Passed: {where}"


def _sentences(summary: BuildSummary) -> Iterator[str]:
    took = "" if summary.duration_ms is None else f" after {span(summary.duration_ms)}"
    why = f": {summary.reason}" if summary.reason else ""
    yield f"Build {summary.build} of {summary.repo} at {summary.ref} {summary.state}{took}{why}."
    if summary.broken_by is not None:
        since = "It was broken" if summary.news is News.FIXED else "It is broken"
        yield f"{since} since build {summary.broken_by.build}, {_commit(summary.broken_by)}."
    elif summary.news is News.BROKEN and summary.after is not None:
        yield f"Build {summary.after} before it had passed."


def _sections(summary: BuildSummary) -> Iterator[Section]:
    title = "Commit" if len(summary.commits) == 1 else f"Commits since build {summary.after}"
    yield Section(title=title, points=tuple(map(_commit, summary.commits)))
    for job in summary.jobs:
        on = f" on {job.runner}" if job.runner else ""
        why = f": {job.reason}" if job.reason else ""
        yield Section(title=f"{job.name} {job.state}{on}{why}", link=job.url, lines=job.lines)
    if summary.jobs_count > len(summary.jobs):
        yield Section(title=f"{counted(summary.jobs_count - len(summary.jobs), 'more job')} went wrong.")
    if summary.tests:
        points = [
            f"{test.name} ({test.suite})" + (f": {test.message}" if test.message else "") for test in summary.tests
        ]
        more = summary.tests_count - len(summary.tests)
        yield Section(
            title=f"{counted(summary.tests_count, 'new failing test')}",
            points=(*points, *([f"and {counted(more, 'other')}"] if more else [])),
        )


def _about_runner(summary: RunnerSummary) -> Message:
    held = [f"{each.job} of build {each.build}" for each in summary.attempts]
    return Message(
        event=summary.news.value,
        title=_cut(f"Lost: runner {summary.runner}" + (f" with {listed(held, _NAMES_MAX)}" if held else "")),
        link=summary.url,
        sentences=(f"Runner {summary.runner} counts as gone: {summary.reason}.",),
        sections=tuple(
            Section(
                title=f"{each.job} of build {each.build}: attempt {each.attempt} was lost, and the job is {each.state}",
                link=each.url, points=(f"{short_ref(each.ref)} of {each.repo}", *filter(None, (each.reason,))),
            )
            for each in summary.attempts
        ),
        thread=f"runner {summary.runner}",
        document=document_of(summary),
    )  # fmt: skip


def _commit(commit: Commit) -> str:
    return f"{commit.sha[:SHA_DIGITS]} {commit.subject} (by {commit.author})"


def _cut(text: str) -> str:
    return text if len(text) <= _TITLE_CHARACTERS_MAX else text[: _TITLE_CHARACTERS_MAX - 1] + "…"
