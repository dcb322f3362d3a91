"""Orders get the secrets that their jobs may have, in envelopes that one runner opens for one attempt."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from surveil.core.events import Event, Withheld
from surveil.core.model import AttemptState
from surveil.core.scopes import Scope, Source
from surveil.core.state import Identity, State
from surveil.errors import InfrastructureError, NotFoundError
from surveil.execute.keeper.entrusted import NOTHING, Entrusted
from surveil.frozen import replace
from surveil.hands import envelope
from surveil.hands.entrusting import Entrusting, RefusedError
from surveil.hands.safe import Safe
from surveil.hands.safe_keys import SafeKeys
from surveil.net.keys import make_keys
from surveil.protocol import Assign, Message, SecretUse, TakenArtifact
from surveil.store.sqlite import open_store
from tests.store.records import make_attempt, make_build, make_job, make_spec

RUNNER, STRANGER = make_keys(), make_keys()
REPO, MAIN = "/srv/repo", "refs/heads/main"


@dataclass
class Desk:
    """A safe with some secrets, a mind with one attempt, and what was said."""

    safe: Safe
    state: State = field(default_factory=lambda: State(identity=Identity(cluster="c", epoch=1, bulk_port=1)))
    said: list[tuple[str, Message]] = field(default_factory=list)
    put: list[Event] = field(default_factory=list)
    with_artifacts: Callable[[Assign], Assign] = lambda order: order

    def __post_init__(self) -> None:
        self.state.put(make_build(), 1)
        self.state.put(make_job(), 1)
        self.begin()

    def begin(self, vault: Any = None) -> None:
        """What a start of the dispatcher makes anew."""
        self.tasks: list[Coroutine[Any, Any, None]] = []
        self.entrusting = Entrusting(
            self.state, self.safe, vault, with_artifacts=self.with_artifacts,
            say=lambda runner, message: self.said.append((runner, message)),
            put=self.put.append, start=self.tasks.append,
        )  # fmt: skip

    def assign(self) -> None:
        self.state.put(make_attempt(runner=RUNNER.public), 1)

    def keep(self, name: str, value: bytes, scope: Scope | None = None, source: Source = Source.HERE) -> None:
        asyncio.run(self.safe.set(name, scope or Scope(), value, source, "ann"))

    def order(self, *uses: SecretUse, takes: tuple[TakenArtifact, ...] = (), **fields: Any) -> bool:
        """Hand the job out; whether it was taken from the ordinary way."""
        spec = replace(make_spec(), secrets=uses, matrix={}, artifacts_from=takes)
        order = Assign(
            epoch=1, incarnation=3, anchor=1, job="1/test", attempt=1, build=1, repo=REPO, ref=MAIN, sha="a" * 40,
            spec=spec, **fields,
        )  # fmt: skip
        taken = self.entrusting.takes(RUNNER.public, order)
        for task in self.tasks:
            asyncio.run(task)
        self.tasks.clear()
        return taken


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    store = open_store(tmp_path / "data", now=1)
    with ThreadPoolExecutor(1) as writer:
        yield Desk(Safe(store=store, writer=writer, keys=SafeKeys(tmp_path / "data"), now=lambda: 7))
    store.close()


def test_an_order_gets_what_its_job_may_have_and_only_its_runner_reads_it(desk: Desk) -> None:
    desk.keep("TOKEN", b"hush-hush")
    desk.keep("KEY", b"\x00\xff-key", Scope(repo="/srv/*", ref=MAIN, job="test"))
    desk.keep("OTHER", b"not-for-you")
    desk.assign()
    desk.keep("PULL", b"you:hush")
    uses = (SecretUse(name="TOKEN", env="NPM_TOKEN"), SecretUse(name="KEY", file="KEY_FILE"), SecretUse(name="PULL"))
    assert desk.order(*uses)
    ((runner, order),) = desk.said
    assert isinstance(order, Assign)
    assert runner == RUNNER.public
    assert envelope.opened(order, RUNNER) == Entrusted(
        variables={"NPM_TOKEN": "hush-hush"}, files={"KEY_FILE": b"\x00\xff-key"}, registry=b"you:hush"
    )
    with pytest.raises(InfrastructureError, match="cannot be opened"):
        envelope.opened(order, STRANGER)
    with pytest.raises(InfrastructureError, match="cannot be opened"):
        envelope.opened(replace(order, attempt=2), RUNNER)
    with pytest.raises(InfrastructureError, match="cannot be opened"):
        envelope.opened(replace(order, job="2/test"), RUNNER)
    assert order.envelope not in repr(order)
    assert not desk.put


def test_an_order_without_secrets_goes_the_ordinary_way(desk: Desk) -> None:
    desk.keep("TOKEN", b"hush-hush")
    assert not desk.order()
    assert (desk.said, desk.put) == ([], [])


@pytest.mark.parametrize("trusted", [True, False])
def test_an_order_that_takes_artifacts_is_said_with_their_digests_or_taken_back(desk: Desk, *, trusted: bool) -> None:
    take = TakenArtifact(job="build", name="wheels", attempt=1)
    desk.assign()

    def with_artifacts(order: Assign) -> Assign:
        if order.spec.artifacts_from[0].name == "gone":
            raise RefusedError("it is gone")
        return replace(order, spec=replace(order.spec, artifacts_from=(replace(take, blob="b" * 64),)))

    desk.with_artifacts = with_artifacts
    desk.begin()
    assert desk.order(takes=(replace(take, name="gone"),), trusted=trusted)
    assert (desk.said, desk.put) == (
        [], [Withheld(job="1/test", attempt=1, reason="it is gone", again=False, told=True)],
    )  # fmt: skip
    assert desk.order(takes=(take,), trusted=trusted)
    ((_, order),) = desk.said
    assert isinstance(order, Assign)
    assert (order.spec.artifacts_from[0].blob, order.envelope) == ("b" * 64, "")


def test_what_strangers_wrote_gets_no_secret_whatever_it_asks_for(desk: Desk) -> None:
    desk.keep("TOKEN", b"hush-hush")
    desk.assign()
    assert not desk.order(SecretUse(name="TOKEN", env="TOKEN"), trusted=False)
    assert (desk.said, desk.put) == ([], [])
    order = Assign(epoch=1, incarnation=1, anchor=1, job="1/test", attempt=1, build=1, repo=REPO, ref=MAIN,
                   sha="a" * 40, spec=make_spec())  # fmt: skip
    assert envelope.opened(order, RUNNER) == NOTHING
    asking = replace(order, spec=replace(order.spec, secrets=(SecretUse(name="TOKEN", env="TOKEN"),)))
    assert envelope.opened(replace(asking, trusted=False), RUNNER) == NOTHING
    with pytest.raises(InfrastructureError, match="without the secrets that it asks for"):
        envelope.opened(asking, RUNNER)


@pytest.mark.parametrize(
    ("use", "said"),
    [
        (SecretUse(name="TOKE", env="TOKE", place=":4:15"),
         ".surveil.yml:4:15: there is no secret TOKE: type `surveil secret set TOKE` where the dispatcher is known"),
        (SecretUse(name="TOKEN", env="TOKEN", place=":4:15"),
         (f".surveil.yml:4:15: the secret TOKEN is not allowed for job test of {MAIN} in {REPO}; `surveil secret ls` "
         "says for which it is")),
        (SecretUse(name="BINARY", env="BINARY", place="ci/deploy.yml:9:1"),
         ("ci/deploy.yml:9:1: the secret BINARY holds a NUL byte, which no variable can: ask for it as a file, "
          "`{name: BINARY, file: VARIABLE}`")),
        (SecretUse(name="BINARY", place=":4:15"),
         (".surveil.yml:4:15: the secret BINARY is for the registry of the job's image, so it has to be "
          "`user:password`")),
    ],
)  # fmt: skip
def test_what_a_job_may_not_have_is_one_sentence_with_its_place(desk: Desk, use: SecretUse, said: str) -> None:
    desk.keep("TOKEN", b"hush-hush", Scope(ref="refs/tags/*"))
    desk.keep("BINARY", b"\x00\x00\x00\x00")
    desk.assign()
    assert desk.order(use)
    assert desk.said == []
    assert desk.put == [Withheld(job="1/test", attempt=1, reason=said, again=False)]


def test_more_than_fits_is_refused(desk: Desk) -> None:
    for name in "ABC":
        desk.keep(name, name.encode() * 40_000)
    desk.assign()
    desk.order(*(SecretUse(name=name, env=name) for name in "ABC"))
    (event,) = desk.put
    assert isinstance(event, Withheld)
    assert "larger than 96 KiB together" in event.reason


def test_a_secret_that_does_not_open_may_be_mended_and_is_tried_again(desk: Desk, tmp_path: Path) -> None:
    desk.keep("TOKEN", b"hush-hush")
    (tmp_path / "data" / "keys" / "secrets.key").unlink()
    desk.safe._keys = SafeKeys(tmp_path / "data")  # noqa: SLF001  # as after a restart
    desk.assign()
    desk.order(SecretUse(name="TOKEN", env="TOKEN"))
    (event,) = desk.put
    assert isinstance(event, Withheld)
    assert event.again


def test_nothing_is_taken_back_from_a_runner_that_may_have_begun(desk: Desk) -> None:
    desk.keep("TOKEN", b"hush-hush")
    desk.assign()
    desk.order(SecretUse(name="TOKEN", env="TOKEN"))
    asyncio.run(desk.safe.remove("TOKEN", Scope(), "ann"))
    desk.order(SecretUse(name="TOKEN", env="TOKEN"))
    (event,) = desk.put
    assert isinstance(event, Withheld)
    assert (len(desk.said), event.told) == (1, True)
    desk.begin()
    desk.order(SecretUse(name="TOKEN", env="TOKEN"))
    assert (len(desk.said), desk.put) == (1, [event, event]), "nor by a dispatcher that has just started"


def test_what_was_taken_back_is_not_said_although_the_mind_has_not_heard_of_it_yet(desk: Desk) -> None:
    desk.assign()
    desk.order(SecretUse(name="TOKEN", env="TOKEN"))
    desk.keep("TOKEN", b"hush-hush")
    desk.order(SecretUse(name="TOKEN", env="TOKEN"))
    (event,) = desk.put
    assert isinstance(event, Withheld)
    assert (desk.said, event.told) == ([], False)


def test_an_order_that_was_needless_meanwhile_is_not_said(desk: Desk) -> None:
    desk.keep("TOKEN", b"hush-hush")
    desk.assign()
    attempt = desk.state.attempts["1/test", 1]
    desk.state.put(replace(attempt, state=AttemptState.RUNNING), 2)
    desk.order(SecretUse(name="TOKEN", env="TOKEN"))
    assert (desk.said, desk.put) == ([], [])


def test_an_order_with_the_largest_secrets_and_the_largest_job_fits_into_a_message() -> None:
    from surveil.core.references import JOB_BYTES_MAX  # noqa: PLC0415
    from surveil.hands.entrusting import JOB_BYTES_MAX as SECRETS_BYTES_MAX  # noqa: PLC0415
    from surveil.protocol import StepSpec, encode  # noqa: PLC0415

    step = StepSpec(name="", run="x" * (JOB_BYTES_MAX // 4), env={})
    order = Assign(
        epoch=1, incarnation=1, anchor=1, job="1/test", attempt=1, build=1, repo="r" * 4096, ref="r" * 4096,
        sha="a" * 40, spec=replace(make_spec(), steps=(step,) * 4),
    )  # fmt: skip
    entrusted = Entrusted(files={"F": bytes(SECRETS_BYTES_MAX)})
    assert encode(replace(order, envelope=envelope.closed(entrusted, order, RUNNER.public)))


# ---- what a Vault holds ----


@dataclass
class Played:
    """A Vault that answers with a value, or in another way."""

    answer: bytes | Exception

    def read(self, place: str) -> bytes:
        assert place == "ci/deploy#token"
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def withheld(desk: Desk, vault: Played | None) -> Withheld | None:
    """Hand out a job that asks for what a Vault holds; why it did not get it, if so."""
    desk.keep("TOKEN", b"ci/deploy#token", source=Source.VAULT)
    desk.begin(vault)
    desk.assign()
    desk.order(SecretUse(name="TOKEN", env="TOKEN", place=":4:15"))
    event = desk.put[0] if desk.put else None
    assert event is None or isinstance(event, Withheld)
    return event


def test_what_a_vault_holds_is_asked_for_when_the_job_is_handed_out(desk: Desk) -> None:
    assert withheld(desk, Played(b"hush-hush")) is None
    ((_, order),) = desk.said
    assert isinstance(order, Assign)
    assert envelope.opened(order, RUNNER).variables == {"TOKEN": "hush-hush"}


@pytest.mark.parametrize(
    ("vault", "said", "again"),
    [
        (None, "start it with `--vault ADDRESS --vault-token FILE`", False),
        (
            Played(NotFoundError("nothing there")),
            ".surveil.yml:4:15: the secret TOKEN cannot be had: nothing there",
            False,
        ),
        (Played(InfrastructureError("it is sealed")), "it is sealed", True),
        (Played(b"abc"), "no log could cover it", False),
    ],
)
def test_what_a_vault_does_not_give_is_a_sentence_and_tried_again_where_that_may_help(
    desk: Desk, vault: Played | None, said: str, again: bool
) -> None:
    event = withheld(desk, vault)
    assert event is not None
    assert said in event.reason
    assert event.again is again
    assert desk.said == []
