"""SQLite and dictionaries get the same work in any order, with failures and restarts between, and never differ."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from surveil.core.model import OPEN, Attempt, AttemptState, Job, LogEnd, Record, Status
from surveil.core.peers import Role
from surveil.core.state import Changes
from surveil.errors import NotAllowedError
from surveil.store import DefectError, Store, StoreError
from surveil.store.sqlite import open_store
from surveil.store.sums import DamagedError
from tests.store.faulty import Fault, FaultyStore
from tests.store.memory import MemoryStore
from tests.store.records import (
    KEY,
    finished,
    make_attempt,
    make_build,
    make_job,
    make_note,
    make_peer,
    make_runner,
    make_token,
)

BUILDS = st.integers(1, 4)
NAMES = st.sampled_from(["a", "b"])
NOW = st.integers(1, 2000)


def records() -> st.SearchStrategy[Record]:
    """Records that often meet each other: new ones that exist, changed ones that do not, states that come back."""
    states = st.sampled_from(list(Status))
    builds = st.builds(lambda build, state: make_build(build, ("a", "b"), state=state), BUILDS, states)
    jobs = st.builds(
        lambda build, name, state, attempt: make_job(
            build, name, position=ord(name) - 97, state=state, attempt=attempt
        ),
        BUILDS,
        NAMES,
        states,
        st.integers(0, 2),
    )
    attempts = st.builds(
        lambda build, name, number, state, full: replace(
            finished(make_attempt(build, name, number)) if full else make_attempt(build, name, number), state=state
        ),
        BUILDS,
        NAMES,
        st.integers(1, 2),
        st.sampled_from(list(AttemptState)),
        st.booleans(),
    )
    runners = st.builds(
        lambda name, online, slots: make_runner(name, online=online, slots=slots),
        NAMES,
        st.booleans(),
        st.integers(0, 3),
    )
    return st.one_of(builds, jobs, attempts, runners)


def by_id(found: list[Record]) -> tuple[Record, ...]:
    """The mind hands over each record once."""
    return tuple({(type(record), record.id): record for record in found}.values())


def outcome(work: Any) -> object:
    """What a call came to: its result, or the kind of its refusal."""
    try:
        return work()
    except (DamagedError, DefectError, NotAllowedError) as error:
        return type(error)


class Both(RuleBasedStateMachine):
    """The two stores, and all that can be asked of either."""

    @initialize()
    def start(self) -> None:
        self.folder = TemporaryDirectory()
        self.model: Store = MemoryStore()
        self.disk: Store = open_store(Path(self.folder.name), now=1)

    def same(self, ask: Any) -> None:
        assert outcome(lambda: ask(self.disk)) == outcome(lambda: ask(self.model))

    @rule(new=st.lists(records(), max_size=4).map(by_id), old=st.lists(records(), max_size=4).map(by_id), notes=BUILDS)
    def commit(self, new: tuple[Record, ...], old: tuple[Record, ...], notes: int) -> None:
        fresh = {(type(record), record.id) for record in new}
        old = tuple(record for record in old if (type(record), record.id) not in fresh)
        # A job comes with its build, an attempt with its job: the mind knows no others.
        said = tuple(make_note(name=str(at), build=notes) for at in range(notes))
        self.same(lambda store: store.commit(Changes(new=self.rooted(new), changed=old, notes=said)))

    @rule(build=BUILDS, job=NAMES, number=st.integers(1, 2), runner=st.sampled_from([KEY, "s" * 40]), log_bytes=NOW)
    def end_log(self, build: int, job: str, number: int, runner: str, log_bytes: int) -> None:
        end = LogEnd(job=f"{build}/{job}", number=number, runner=runner, log_bytes=log_bytes)
        self.same(lambda store: store.commit(Changes(new=(), changed=(), notes=(), log_ends=(end,))))

    def rooted(self, new: tuple[Record, ...]) -> tuple[Record, ...]:
        """The new records under which everything is known, or becomes known with them."""
        known = {build.id for build in self.model.reader.builds(limit=99)}
        known |= {
            record.id for record in new if record.id == getattr(record, "id", None) and isinstance(record.id, int)
        }
        return tuple(record for record in new if _build(record) is None or _build(record) in known)

    @rule(new=st.lists(records(), min_size=1, max_size=4).map(by_id), fault=st.sampled_from(list(Fault)))
    def fail_and_start_again(self, new: tuple[Record, ...], fault: Fault) -> None:
        changes = Changes(new=self.rooted(new), changed=(), notes=())
        written = outcome(lambda: self.model.commit(changes)) is None if fault is Fault.AFTER else False
        try:
            FaultyStore(self.disk, at=1, fault=fault).commit(changes)
        except DefectError:
            assert not written
        except StoreError:
            assert written or fault is Fault.BEFORE
        self.restart()

    @rule()
    def restart(self) -> None:
        epoch = self.disk.cluster.epoch
        self.disk.close()
        self.disk = open_store(Path(self.folder.name), now=1)
        assert self.disk.cluster.epoch == epoch + 1

    @rule(name=NAMES, uses=st.integers(0, 2), expires=NOW, role=st.sampled_from(list(Role)))
    def add_token(self, name: str, uses: int, expires: int, role: Role) -> None:
        token = make_token(name, uses_left=uses, expires_at=expires, role=role)
        self.same(lambda store: store.add_token(token))

    @rule(token=NAMES, key=st.sampled_from("xyz"), name=NAMES, now=NOW)
    def redeem(self, token: str, key: str, name: str, now: int) -> None:
        digest = make_token(token).digest
        self.same(lambda store: store.redeem(digest, key=key * 40, name=name, now=now))

    @rule(key=st.sampled_from("xyz"), name=NAMES, role=st.sampled_from(list(Role)))
    def add_peer(self, key: str, name: str, role: Role) -> None:
        peer = make_peer(name, key=key * 40, role=role)
        self.same(lambda store: store.add_peer(peer))

    @rule(key=st.sampled_from("xyz"), token=NAMES, now=NOW)
    def revoke(self, key: str, token: str, now: int) -> None:
        self.same(lambda store: store.revoke_peer(key * 40, now=now))
        self.same(lambda store: store.revoke_token(token, now=now))

    @invariant()
    def they_say_the_same(self) -> None:
        if not hasattr(self, "disk"):
            return
        self.same(self.loaded)
        self.same(lambda store: store.reader.counts())
        self.same(lambda store: store.reader.details([4, 3, 2, 1]))
        self.same(lambda store: store.reader.builds(repo="/srv/repo", before=4))
        self.same(lambda store: [line.note for line in store.reader.journal(limit=9)])
        self.same(lambda store: (store.reader.runners(), store.reader.peers(), store.reader.tokens()))
        self.same(lambda store: [store.reader.owner(f"{build}/a", 1) for build in range(1, 5)])

    def loaded(self, store: Store) -> tuple[list[Record], int]:
        """What a start finds. No mind writes a job that runs without an attempt: a disk must take it for damage."""
        found, following = store.load()
        if store is self.model:
            going = {each.job for each in found if isinstance(each, Attempt) and each.state in OPEN}
            running = {each.id for each in found if isinstance(each, Job) and each.state == Status.RUNNING}
            if running - going:
                raise DamagedError("a job runs without an attempt")
        return found, following

    def teardown(self) -> None:
        if hasattr(self, "disk"):
            self.disk.close()
            self.folder.cleanup()


def _build(record: Record) -> int | None:
    """The build that a record belongs under, None for those that stand alone."""
    build = getattr(record, "build", None)
    if isinstance(build, int):
        return build
    job = getattr(record, "job", None)
    return int(job.partition("/")[0]) if isinstance(job, str) else None


def test_sqlite_and_the_model_never_differ() -> None:
    # Explaining a difference takes longer than a test may; shrinking it is enough.
    phases = (Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink)
    run_state_machine_as_test(
        Both, settings=settings(max_examples=15, stateful_step_count=12, deadline=None, phases=phases)
    )
