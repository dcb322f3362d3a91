"""What happens, told to a real RabbitMQ: in order, confirmed, and by ids that never change."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from zlib import crc32

import aiormq
import pytest

from surveil.core.model import Attempt, AttemptState, Job, Status
from surveil.core.outbox import Fate, Outcome, Parcel
from surveil.errors import InvalidError
from surveil.frozen import replace
from surveil.notify.channel_rules import ExchangeRule
from surveil.notify.delivering import Delivery
from surveil.notify.exchange import LOG_BYTES_MAX, Exchange
from surveil.notify.happenings import KINDS
from surveil.notify.rules import load_rules
from surveil.store.logs import LogStore
from surveil.store.outbox import Outbox
from tests.notify.broker import Broker, free_port
from tests.store.memory import MemoryStore
from tests.store.records import changed, make_attempt, make_build, make_job, make_note, make_runner, new

# The broker starts within the test's time, and takes a minute and more on a machine that has much else to do.
pytestmark = pytest.mark.timeout(300)
NOW = 1_750_000_000_000
LOG = b"compiling\n\x1b[31merror: no\x1b[0m\nhalf a line"


class Scene:
    """A store of which an exchange is told."""

    def __init__(self, folder: Path, url: str, kinds: tuple[str, ...] = KINDS) -> None:
        self.store = MemoryStore()
        self.url = folder / "url"
        self.url.write_text(url)
        self.logs = LogStore(folder / "logs")
        self.outbox = Outbox(folder)
        self.now = NOW
        rule = ExchangeRule(name="amqp", url_file=self.url, exchange="surveil", kinds=kinds, private=False)
        self.target = Exchange(rule, reader=self.store.reader, logs=self.logs, cluster="c1")
        self.delivery = Delivery(
            self.target, reader=self.store.reader, outbox=self.outbox, now=lambda: self.now
        )  # fmt: skip

    def close(self) -> None:
        self.logs.close()
        self.outbox.close()

    async def run(self, turns: int = 30) -> None:
        for _ in range(turns):
            self.now += await self.delivery.step()

    def log(self, data: bytes) -> None:
        for at in range(0, len(data), 200_000):
            part = data[at : at + 200_000]
            self.logs.append("1/test", 1, at=at, data=part, crc=crc32(part), after_ms=0)
        self.logs.flush()

    def happens(self) -> None:
        """A runner comes, and a build of it fails."""
        values: dict[str, Any] = {"repo": "/srv/it.git", "message": "Change it\n\nwell", "reason": ""}
        job, attempt = make_job(1), make_attempt(1)
        runner = make_runner("spare-2")
        self.store.commit(
            new(
                make_build(1, **values), job, attempt, runner,
                notes=(
                    make_note("runner", runner.id, build=None, at=NOW, state="online", reason=""),
                    make_note("build", "1", at=NOW + 1, state="queued", reason=""),
                    make_note("dispatcher", "", build=None, at=NOW + 1, state="started"),
                ),
            )
        )  # fmt: skip
        self.log(LOG)
        over: list[Job | Attempt] = [
            replace(job, state=Status.FAILED, attempt=1),
            replace(attempt, state=AttemptState.FAILED, finished_at=NOW + 2, log_bytes=len(LOG)),
        ]
        self.store.commit(
            changed(
                make_build(1, **values | {"state": Status.FAILED}), *over,
                notes=(
                    make_note("attempt", "1/test#1", at=NOW + 2, state="failed", reason="exit code 1"),
                    make_note("job", "1/test", at=NOW + 2, state="failed", reason="exit code 1"),
                    make_note("build", "1", at=NOW + 2, state="failed", reason="test failed"),
                ),
            )
        )  # fmt: skip


async def taken(url: str, bound: str, work: Any) -> list[tuple[str, dict[str, Any], Any]]:
    """What a consumer has that was there before `work`: routing keys, documents and properties."""
    connection = await aiormq.connect(url)
    channel = await connection.channel()
    await channel.exchange_declare(exchange="surveil", exchange_type="topic", durable=True)
    queue = (await channel.queue_declare(exclusive=True)).queue
    assert queue is not None
    await channel.queue_bind(queue, "surveil", bound)
    await work
    found = []
    while (message := await channel.basic_get(queue, no_ack=True)).body:
        found.append((message.routing_key or "", json.loads(message.body), message.header.properties))
    await connection.close()
    return found


def test_what_happens_is_published_in_order_confirmed_and_by_ids_that_stay(tmp_path: Path) -> None:
    (tmp_path / "broker").mkdir()
    broker = Broker(tmp_path / "broker")
    scene = Scene(tmp_path, f"amqp://127.0.0.1:{free_port()}/")

    async def tell() -> None:
        await scene.run(2)
        scene.happens()
        await scene.run(3)
        [away] = scene.outbox.followings()
        assert "amqp cannot be told" in away.problem
        scene.url.write_text(broker.url + "\n")
        await scene.run(5)
        await scene.target.close()  # As if the connection had been cut.
        await scene.run()
        assert scene.outbox.waiting() == {}

    async def twice() -> None:
        body = json.dumps({"log": "1/test"})
        parcel = Parcel(id=1, subject="amqp", slot="log-6", body=body, made_at=NOW)
        for _ in range(2):
            assert await scene.target.tell(parcel) == Outcome(fate=Fate.DELIVERED)
        await scene.target.close()

    async def both() -> tuple[list[Any], list[Any]]:
        return await taken(broker.url, "#", tell()), await taken(broker.url, "log.error", twice())

    try:
        first, again = asyncio.run(both())
    finally:
        broker.close()
        scene.close()
    assert [key for key, _, _ in first] == [
        "runner.online", "commit.seen", "build.queued", "job.failed", "job.failed", "log.info", "log.error", "log.info",
        "build.failed",
    ]  # fmt: skip
    documents = [document for _, document, _ in first]
    assert documents[0] == {
        "event": "runner", "id": "1-runner", "timestamp": "2025-06-15T15:06:40.000Z", "state": "online",
        "runner": "spare-2", "reason": "",
    }  # fmt: skip
    commit = {
        "build": 1, "repo": "/srv/it.git", "ref": "refs/heads/main", "sha": "a" * 40,
        "author": "Ann <ann@example.org>", "subject": "Change it", "asked_by": "push",
    }  # fmt: skip
    assert documents[1] == {
        "event": "commit", "id": "2-commit", "timestamp": "2025-06-15T15:06:40.001Z", "state": "seen", **commit,
    }  # fmt: skip
    assert documents[3] == {
        "event": "job", "id": "4-job", "timestamp": "2025-06-15T15:06:40.002Z", "state": "failed", **commit,
        "job_id": "1/test", "job": "test", "attempt": 1, "reason": "exit code 1", "runner": "spare-2",
    }  # fmt: skip
    assert documents[6] == {
        "event": "log", "id": "1/test#1@10", "timestamp": "2025-06-15T15:06:40.002Z", "service": "runner",
        "runner": "spare-2", "build": 1, "job_id": "1/test", "attempt": 1, "message": "error: no", "severity": "error",
    }  # fmt: skip
    assert documents[8] == {
        "event": "build", "id": "6-build", "timestamp": "2025-06-15T15:06:40.002Z", "state": "failed", **commit,
        "reason": "test failed",
    }  # fmt: skip
    told = first[6][2]
    assert (told.message_id, told.delivery_mode, told.content_type) == ("c1-1/test#1@10", 2, "application/json")
    assert [(key, properties.message_id) for key, _, properties in again] == [("log.error", told.message_id)] * 2


def test_an_exchange_is_told_of_the_kinds_that_it_wants(tmp_path: Path) -> None:
    scene = Scene(tmp_path, "", kinds=("build", "log"))
    scene.happens()
    drafts = scene.target.drafts(scene.store.reader.journal())
    assert [draft.slot for draft in drafts] == ["2-build", "log-5", "6-build"]
    assert drafts == scene.target.drafts(scene.store.reader.journal())
    scene.close()


def test_of_a_long_log_the_beginning_is_told_and_how_much_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(tmp_path, "")
    scene.happens()
    scene.log(LOG + b"\n" + b"x" * 999 * 2000)
    told: list[dict[str, Any]] = []

    async def publish(messages: Any) -> None:
        told.extend(document for _, document in messages)

    monkeypatch.setattr(scene.target, "_publish", publish)
    parcel = Parcel(id=1, subject="amqp", slot="log-5", body=json.dumps({"log": "1/test"}), made_at=NOW)
    assert asyncio.run(scene.target.tell(parcel)).fate is Fate.DELIVERED
    assert [each["severity"] for each in told] == ["info", "error", "info", "info", "warning"]
    left = len(LOG) + 1 + 999 * 2000 - LOG_BYTES_MAX
    assert told[-1]["message"].startswith(f"{left} more bytes of this log are not told here")
    scene.close()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("amqp://rabbit.example.org/", "not told without encryption"),
        ("https://127.0.0.1/", "not told without encryption"),
        ("amqps://169.254.169.254/", "where no server of others is"),
        ("", "does not hold the address of amqp"),
    ],
)
def test_what_cannot_be_spoken_with_is_said(tmp_path: Path, url: str, said: str) -> None:
    scene = Scene(tmp_path, url)
    body = json.dumps({"key": "build.failed", "document": {"event": "build", "id": "1-build"}})
    outcome = asyncio.run(scene.target.tell(Parcel(id=1, subject="amqp", slot="1-build", body=body, made_at=NOW)))
    assert outcome.fate is Fate.UNAVAILABLE
    assert said in outcome.reason
    scene.close()


def test_exchanges_are_read_from_the_rules(tmp_path: Path) -> None:
    (tmp_path / "notify.toml").write_text('[[amqp]]\nurl_file = "u"\n')
    [rule] = load_rules(tmp_path / "notify.toml").exchanges
    assert rule == ExchangeRule(
        name="amqp", url_file=tmp_path / "u", exchange="surveil", kinds=("commit", "build", "job", "runner"),
        private=False,
    )  # fmt: skip
    (tmp_path / "notify.toml").write_text('[[amqp]]\nurl = "amqp://u:p@h/"\nevents = ["logs"]\n')
    with pytest.raises(InvalidError) as caught:
        load_rules(tmp_path / "notify.toml")
    for said in ("no key `url`", "`events`: `logs` is not one of", "`url_file` is missing"):
        assert said in str(caught.value)
    assert "u:p" not in str(caught.value)
