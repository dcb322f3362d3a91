"""Letters to a real mail server on loopback, in each of its moods."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from surveil.core.outbox import Fate, Outcome
from surveil.notify import mail
from surveil.notify.channel_rules import MailServer
from surveil.notify.channels import Envelope
from surveil.notify.mail import Mail
from surveil.notify.wording import trial
from tests.notify.post_office import Mood, PostOffice, make_certificate

NOW = 1_750_000_000_000
Opens = Callable[..., PostOffice]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def opens() -> Iterator[Opens]:
    offices: list[PostOffice] = []

    def make(**how: Any) -> PostOffice:
        offices.append(PostOffice(**how))
        return offices[-1]

    yield make
    for office in offices:
        office.close()


def carry(port: int, *, to: tuple[str, ...] = ("ada@example.org",), name: str = "127.0.0.1", **how: Any) -> Outcome:
    fields: dict[str, Any] = {"host": name, "port": port, "encryption": "none"}
    server = MailServer(**(fields | how))
    made = Mail(server, sender="surveil@example.org", to=to, channel="team", cluster="c1")
    return asyncio.run(made.carry(trial("team"), Envelope(id="build-7", made_at=NOW)))


def test_a_letter_arrives_and_is_the_same_each_time(opens: Opens) -> None:
    office = opens()
    for _ in range(2):
        assert carry(office.port, to=("ada@example.org", "bob@example.org")).fate is Fate.DELIVERED
    first, second = office.letters
    assert (first.sender, first.to) == ("surveil@example.org", ["ada@example.org", "bob@example.org"])
    assert first.message["Subject"] == "Test: surveil can tell team"
    assert first.message["To"] == "ada@example.org, bob@example.org"
    assert first.message["Date"] == "Sun, 15 Jun 2025 15:06:40 +0000"
    assert first.message["Message-ID"].endswith("@example.org>")
    assert first.message.as_bytes() == second.message.as_bytes(), "who has it already can know it"


@pytest.mark.parametrize("tls", ["starttls", "tls"])
def test_a_server_is_spoken_to_in_secret_and_told_who_we_are(
    opens: Opens, certificate: Path, tmp_path: Path, tls: str
) -> None:
    office = opens(certificate=certificate, tls=tls, login=("surveil", "hüsh"))
    password = tmp_path / "password"
    password.write_text("hüsh\n")
    how: dict[str, Any] = {"name": "localhost", "encryption": tls, "authority": certificate, "user": "surveil"}
    assert carry(office.port, **how, password_file=password) == Outcome(fate=Fate.DELIVERED)
    [letter] = office.letters
    assert (letter.encrypted, letter.user) == (True, "surveil")
    password.write_text("wrong")
    refused = carry(office.port, **how, password_file=password)
    assert refused.fate is Fate.UNAVAILABLE
    assert "does not let us in: it answers 535" in refused.reason
    password.unlink()
    assert "the password for the mail server cannot be read" in carry(
        office.port, **how, password_file=password
    ).reason  # fmt: skip


@pytest.mark.parametrize("tls", ["starttls", "tls"])
def test_a_server_with_the_certificate_of_another_name_is_told_nothing(opens: Opens, tmp_path: Path, tls: str) -> None:
    other = make_certificate(tmp_path, "mail.example.org")
    office = opens(certificate=other, tls=tls)
    for authority in (other, None):
        outcome = carry(office.port, name="localhost", encryption=tls, authority=authority)
        assert outcome.fate is Fate.UNAVAILABLE
        assert "certificate" in outcome.reason.lower()
    assert office.tried == 0


def test_a_server_that_does_not_encrypt_is_told_nothing(opens: Opens, certificate: Path) -> None:
    office = opens()
    outcome = carry(office.port, name="localhost", encryption="starttls", authority=certificate)
    assert outcome.fate is Fate.UNAVAILABLE
    assert office.tried == 0


@pytest.mark.parametrize(
    ("mood", "fate", "said"),
    [
        (Mood(answer="451 4.7.1 greylisted, come back"), Fate.UNAVAILABLE, "answers 451: 4.7.1 greylisted"),
        (Mood(answer="552 too long"), Fate.REFUSED, "answers 552: too long"),
        (Mood(to_recipient="450 later"), Fate.UNAVAILABLE, "answers 450: later"),
        (Mood(to_recipient="550 nobody of that name"), Fate.REFUSED, "answers 550: nobody of that name"),
        (Mood(cut=True), Fate.UNAVAILABLE, "cannot be spoken with"),
        (Mood(hang=True), Fate.UNAVAILABLE, "does not take a letter within 0.5 s"),
    ],
)
def test_what_a_server_says_decides_when_it_is_asked_again(
    opens: Opens, monkeypatch: pytest.MonkeyPatch, mood: Mood, fate: Fate, said: str
) -> None:
    if mood.hang:
        monkeypatch.setattr(mail, "TIMEOUT_S", 0.5)
    office = opens()
    office.moods = [mood]
    outcome = carry(office.port)
    assert outcome.fate is fate
    assert said in outcome.reason
    assert office.letters == []
    monkeypatch.undo()
    assert carry(office.port).fate is Fate.DELIVERED, "it is well again"


def test_who_is_not_there_holds_nobody_back(opens: Opens) -> None:
    office = opens()
    office.moods = [Mood(to_recipient="550 nobody")]
    assert carry(office.port, to=("gone@example.org", "ada@example.org")).fate is Fate.DELIVERED
    assert [letter.to for letter in office.letters] == [["ada@example.org"]]


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    outcome = carry(port)
    assert outcome.fate is Fate.UNAVAILABLE
    assert outcome.reason.endswith("cannot be spoken with (Connection refused)")


def test_a_name_that_nobody_has_is_said_in_words() -> None:
    async def resolve(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    server = MailServer(host="smtp.example.org", port=25, encryption="starttls")
    made = Mail(server, sender="a@b.c", to=("ada@example.org",), channel="team", cluster="c1", resolve=resolve)
    outcome = asyncio.run(made.carry(trial("team"), Envelope(id="build-7", made_at=NOW)))
    assert outcome.reason == "smtp.example.org:25 cannot be spoken with (Name or service not known)"


def test_a_name_that_leads_where_no_server_of_others_is_leads_nowhere(opens: Opens) -> None:
    office = opens()

    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    server = MailServer(host="smtp.example.org", port=office.port, encryption="starttls")
    made = Mail(server, sender="a@b.c", to=("ada@example.org",), channel="team", cluster="c1", resolve=resolve)
    outcome = asyncio.run(made.carry(trial("team"), Envelope(id="build-7", made_at=NOW)))
    assert outcome.fate is Fate.UNAVAILABLE
    assert "leads to 127.0.0.1, where no server of others is" in outcome.reason
    assert office.tried == 0
