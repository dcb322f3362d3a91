"""How a client asks: through restarts, with the right errors, and never twice what must happen once."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from surveil.answer import JobsWish, TokenWish, in_work
from surveil.client import WaitOver, asking
from surveil.client.access import Access, find_access
from surveil.client.asking import Client
from surveil.client.following import follow_build, follow_log, wait_for
from surveil.core.model import AttemptState, Status
from surveil.errors import (
    ExitCode,
    InfrastructureError,
    NotAllowedError,
    NotFoundError,
    SurveilError,
    UnreachableError,
    UsageError,
    error_of,
)
from surveil.frozen import replace
from surveil.net.addresses import Address
from surveil.net.connection import Connection
from surveil.net.keys import load_or_make_keys, make_keys
from surveil.net.known import KnownDispatcher
from tests.cli.counter import Counter, once, open_counter
from tests.store.records import make_attempt, make_build, make_job, make_note, new


@pytest.fixture
def counter(tmp_path: Path) -> Iterator[Counter]:
    with open_counter(tmp_path / "data") as opened:
        yield opened


def nested(deep: int) -> object:
    """Lists in lists."""
    made: object = 0
    for _ in range(deep):
        made = [made]
    return made


def test_several_questions_may_be_in_the_air_at_once(counter: Counter) -> None:
    counter.desk.store.commit(new(*(make_build(number) for number in range(1, 9)), *(make_job(n) for n in range(1, 9))))

    async def scenario() -> list[int]:
        async with Client(find_access(counter.data, None)) as client:
            builds = await asyncio.gather(*(client.build(number) for number in range(8, 0, -1)))
            return [build["id"] for build in builds]

    assert asyncio.run(scenario()) == [8, 7, 6, 5, 4, 3, 2, 1]


@pytest.mark.parametrize(
    "about",
    [
        {"a": 2**64}, {"a": "\ud800"}, {"a": [0] * 5000}, {"a": "a" * 300_000}, {"a": "\0" * 1_100_000},
        {"wait_ms": 2**64}, {"a": nested(5000)},
    ],
)  # fmt: skip
def test_what_nobody_could_read_is_refused_and_keeps_nobody_from_asking(
    counter: Counter, about: dict[str, object]
) -> None:
    """It was said again and again in the place of everybody's questions: one of them made a client deaf for ever."""

    async def scenario() -> int:
        async with Client(find_access(counter.data, None)) as client:
            beside = asyncio.create_task(client.ask("status"))
            with pytest.raises(UsageError, match=r"^The question `status` cannot be asked so: "):
                await client.ask("status", about)
            return len([await beside, await client.ask("status")])

    assert asyncio.run(scenario()) == 2


@pytest.mark.parametrize("wait_ms", ["soon", -1, 2**53, [1]])
def test_a_wait_that_is_none_is_what_the_dispatcher_says_of_it(counter: Counter, wait_ms: object) -> None:
    async def scenario() -> None:
        async with Client(find_access(counter.data, None)) as client:
            await client.ask("journal", {"after": 0, "wait_ms": wait_ms})

    with pytest.raises(UsageError, match="`wait_ms` of the question `journal` must be"):
        asyncio.run(scenario())


def test_the_dispatchers_error_is_ours_with_its_sentence(counter: Counter) -> None:
    async def scenario() -> None:
        async with Client(find_access(counter.data, None)) as client:
            await client.build(7)

    with pytest.raises(NotFoundError, match="There is no build `7`"):
        asyncio.run(scenario())


@pytest.mark.parametrize("code", [2, 3, 4, 5, 6, 7])
def test_every_code_that_a_dispatcher_may_send_becomes_its_error(code: int) -> None:
    error = error_of("Because.", code)
    assert (int(error.exit_code), str(error)) == (code, "Because.")


def test_a_code_that_nobody_knows_is_the_dispatchers_fault() -> None:
    assert type(error_of("Because.", 99)) is InfrastructureError


def test_nobody_at_the_address_is_said_with_the_address_and_the_next_command(tmp_path: Path) -> None:
    access = Access(address=Address("127.0.0.1", 1), server_key=make_keys().public, keys=make_keys())

    async def scenario() -> None:
        async with Client(access, patience_ms=300) as client:
            await client.ask("status")

    with pytest.raises(UnreachableError, match=r"tcp://127\.0\.0\.1:1; start it with `surveil up`.*`surveil doctor`"):
        asyncio.run(scenario())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("busy_ms", [60_000, 500])
def test_a_dispatcher_that_is_there_is_waited_for_longer(
    counter: Counter, monkeypatch: pytest.MonkeyPatch, busy_ms: int
) -> None:
    """It loses the first answer, and is asked again when the patience with nobody would have been over."""
    monkeypatch.setattr(asking, "REPEAT_MS", 1_000)

    async def scenario() -> None:
        async with Client(find_access(counter.data, None), patience_ms=250, busy_ms=busy_ms) as client:
            known = await client.ask("status", patience_ms=60_000)
            counter.mute = True
            asked = asyncio.create_task(client.ask("status"))
            while busy_ms == 60_000 and len(counter.asked) < 2:  # noqa: ASYNC110  # A thread of its own.
                await asyncio.sleep(0.05)
            counter.mute = busy_ms != 60_000
            assert (await asked).body.keys() == known.body.keys()

    if busy_ms == 60_000:
        asyncio.run(scenario())
    else:
        with pytest.raises(UnreachableError, match="is there but does not answer"):
            asyncio.run(scenario())


def test_a_dispatcher_that_has_no_room_for_a_question_is_asked_again(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`surveil up` ended, and all that it had started, because others had asked so much."""
    monkeypatch.setattr(in_work, "ASKED_EACH_MAX", 0)
    monkeypatch.setattr(asking, "FULL_MS", 10)

    async def scenario() -> None:
        async with Client(find_access(counter.data, None), patience_ms=60_000) as client:
            with pytest.raises(UnreachableError, match="ask again in a while"):
                await client.ask("status", patience_ms=300)
            asked = asyncio.create_task(client.ask("token_create", {"role": "runner"}))
            before = len(counter.asked)
            while len(counter.asked) == before:  # noqa: ASYNC110  # A thread of its own.
                await asyncio.sleep(0.05)
            monkeypatch.undo()
            await asked

    asyncio.run(scenario())
    assert [type(wish) for wish in counter.wishes] == [TokenWish]


def test_a_key_that_is_not_known_is_refused_at_once(counter: Counter) -> None:
    known = find_access(counter.data, None)
    access = Access(address=known.address, server_key=known.server_key, keys=make_keys())

    async def scenario() -> float:
        async with Client(access, patience_ms=20_000) as client:
            began = asyncio.get_running_loop().time()
            with pytest.raises(NotAllowedError, match="surveil token create --role client"):
                await client.ask("status")
            return asyncio.get_running_loop().time() - began

    assert asyncio.run(scenario()) < 15


def test_who_asks_after_a_refusal_and_before_the_next_try_hears_of_it_at_once(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = find_access(counter.data, None)
    access = Access(address=known.address, server_key=known.server_key, keys=make_keys())
    for name in ("REDIAL_MS", "REFUSED_REDIAL_MS"):
        monkeypatch.setattr(f"surveil.net.connection.{name}", 3_600_000)

    async def scenario() -> None:
        async with Client(access, patience_ms=3_600_000) as client, asyncio.timeout(30):
            for _ in range(2):
                with pytest.raises(NotAllowedError, match="does not know this machine's key"):
                    await client.ask("status")

    asyncio.run(scenario())


@pytest.mark.parametrize("is_known", [True, False])
def test_who_was_stopped_for_longer_than_its_patience_hears_what_came_meanwhile(
    counter: Counter, monkeypatch: pytest.MonkeyPatch, is_known: bool
) -> None:
    known = find_access(counter.data, None)
    access = known if is_known else replace(known, keys=make_keys())

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        async with Client(access, patience_ms=20_000) as client:
            asked = asyncio.create_task(client.ask("status"))
            await asyncio.sleep(0)
            now = loop.time
            monkeypatch.setattr(loop, "time", lambda: now() + 3_600)
            await asked

    if is_known:
        asyncio.run(scenario())
        return
    with pytest.raises(NotAllowedError):
        asyncio.run(scenario())


def test_another_dispatchers_key_is_not_taken_for_ours(counter: Counter) -> None:
    known = find_access(counter.data, None)
    access = Access(address=known.address, server_key=make_keys().public, keys=known.keys)

    async def scenario() -> None:
        async with Client(access, patience_ms=1_500) as client:
            await client.ask("status")

    with pytest.raises(SurveilError) as refused:
        asyncio.run(scenario())
    assert refused.value.exit_code in {ExitCode.UNREACHABLE, ExitCode.NOT_ALLOWED}
    assert counter.asked == []


@pytest.mark.parametrize("cause", [AttributeError("a mistake of ours"), InfrastructureError("no more sockets")])
def test_nobody_waits_for_answers_that_cannot_be_heard_any_more(
    counter: Counter, monkeypatch: pytest.MonkeyPatch, cause: Exception
) -> None:
    async def deaf(_connection: Connection, _timeout_ms: int) -> list[object]:
        raise cause

    async def scenario() -> None:
        async with Client(find_access(counter.data, None), patience_ms=3_600_000) as client, asyncio.timeout(30):
            await client.ask("status")
            monkeypatch.setattr(Connection, "receive", deaf)
            for _ in range(2):
                with pytest.raises(type(cause), match=str(cause)):
                    await client.ask("journal", {"after": -1, "wait_ms": 30_000})

    asyncio.run(scenario())


def test_following_a_build_survives_a_restart_of_the_dispatcher_without_loss_or_repetition(counter: Counter) -> None:
    counter.desk.store.commit(new(make_build(state=Status.RUNNING), make_job(), notes=(make_note(reason="one"),)))
    settled = make_build(state=Status.PASSED)

    def end() -> None:
        counter.desk.store.builds[1] = settled
        counter.happen(make_note("job", "1/test", reason="two"), make_note(state="passed", reason="three"))

    async def scenario() -> list[str]:
        async with Client(find_access(counter.data, None)) as client:
            return [note["reason"] async for note in follow_build(client, 1)]

    restart = once(lambda: counter.asked.count("journal") > 1, counter.close, counter.serve, end)
    assert asyncio.run(scenario()) == ["one", "two", "three"]
    restart.join()


def test_a_log_is_followed_over_a_restart_byte_by_byte(counter: Counter) -> None:
    running = make_attempt(state=AttemptState.RUNNING)
    counter.desk.store.commit(new(make_build(state=Status.RUNNING), make_job(state=Status.RUNNING, attempt=1), running))
    counter.desk.log("1/test", 1, b"one ")

    def end() -> None:
        counter.write("1/test", 1, b"two")
        counter.desk.store.jobs["1/test"] = make_job(state=Status.PASSED, attempt=1)
        passed = make_attempt(state=AttemptState.PASSED, finished_at=counter.desk.now, log_bytes=7, released=True)
        counter.desk.store.attempts["1/test", 1] = passed
        counter.happen(make_note("attempt", "1/test#1"))

    async def scenario() -> bytes:
        async with Client(find_access(counter.data, None)) as client:
            return b"".join([piece.data async for piece in follow_log(client, "1/test")])

    restart = once(lambda: counter.asked.count("log") > 1, counter.close, counter.serve, end)
    assert asyncio.run(scenario()) == b"one two"
    restart.join()


def test_a_build_that_has_its_verdict_is_not_waited_for(counter: Counter) -> None:
    counter.desk.store.commit(new(make_build(state=Status.FAILED), make_job(state=Status.FAILED)))

    async def scenario() -> str:
        async with Client(find_access(counter.data, None)) as client:
            return str((await wait_for(client, 1, timeout_ms=20_000))["state"])

    assert asyncio.run(scenario()) == "failed"


def test_a_wait_that_is_over_says_how_to_go_on(counter: Counter) -> None:
    counter.desk.store.commit(new(make_build(state=Status.RUNNING), make_job()))

    async def scenario() -> None:
        async with Client(find_access(counter.data, None)) as client:
            await wait_for(client, 1, timeout_ms=100)

    with pytest.raises(WaitOver, match=r"`surveil watch 1`"):
        asyncio.run(scenario())


def test_a_wait_is_over_in_time_when_there_is_no_dispatcher_any_more(counter: Counter) -> None:
    counter.desk.store.commit(new(make_build(state=Status.RUNNING), make_job()))

    async def scenario() -> None:
        async with (
            Client(find_access(counter.data, None), outage_ms=3_600_000) as client,
            asyncio.timeout(30),
        ):
            await client.build(1)
            await asyncio.to_thread(counter.close)
            await wait_for(client, 1, timeout_ms=300)

    try:
        with pytest.raises(WaitOver, match=r"`surveil watch 1`"):
            asyncio.run(scenario())
    finally:
        counter.serve()


def ask_over_a_restart(counter: Counter, what: str, **about: object) -> object:
    """Ask; the answer is lost together with the dispatcher, which comes back."""
    counter.mute = True

    def speak() -> None:
        counter.mute = False

    async def scenario() -> object:
        async with Client(find_access(counter.data, None), patience_ms=20_000) as client:
            return (await client.ask(what, about)).body

    restart = once(lambda: bool(counter.wishes), counter.close, speak, counter.serve)
    try:
        return asyncio.run(scenario())
    finally:
        restart.join()


def test_a_wish_whose_answer_was_lost_is_said_again(counter: Counter) -> None:
    counter.desk.store.commit(new(make_build(state=Status.RUNNING), make_job()))
    assert ask_over_a_restart(counter, "cancel", build=1) == {"build": 1, "state": "running"}
    assert [type(wish) for wish in counter.wishes] == [JobsWish, JobsWish]


def test_what_must_happen_once_is_not_said_again_and_a_person_is_told_where_to_look(counter: Counter) -> None:
    with pytest.raises(InfrastructureError, match="look with `surveil token list`"):
        ask_over_a_restart(counter, "token_create", role="runner")
    assert [type(wish) for wish in counter.wishes] == [TokenWish]


def test_a_restored_folder_is_known_by_its_server_s_key_and_says_that_nothing_runs_on_it(tmp_path: Path) -> None:
    ours = load_or_make_keys(tmp_path / "keys" / "client.key")
    server = load_or_make_keys(tmp_path / "keys" / "server.key")
    with pytest.raises(UnreachableError) as told:
        find_access(tmp_path, None)
    assert f"start it with `surveil up --data {tmp_path}`" in str(told.value)
    access = find_access(tmp_path, "tcp://192.0.2.7:7300")
    assert (access.server_key, access.keys, str(access.address)) == (server.public, ours, "tcp://192.0.2.7:7300")


def test_a_folder_of_somebody_else_says_how_to_type_as_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(tmp_path / "keys"))

    monkeypatch.setattr(Path, "exists", refused)
    with pytest.raises(NotAllowedError) as told:
        find_access(tmp_path, None)
    assert f'`sudo -u "$(stat -c %U {tmp_path / "keys"})"`' in str(told.value)


def test_the_address_chooses_between_the_dispatcher_here_and_the_one_joined(tmp_path: Path) -> None:
    with pytest.raises(NotAllowedError, match=r"holds no key for the dispatcher at tcp://192\.0\.2\.7:7300"):
        find_access(tmp_path, "192.0.2.7:7300")
    here, joined = Address("127.0.0.1", 7300), Address("192.0.2.7", 7300)
    for folder, address in ((tmp_path, here), (tmp_path / "client", joined)):
        load_or_make_keys(folder / "keys" / "client.key")
        KnownDispatcher(address=address, server_key="k" * 40, cluster=str(address)).save(folder)
    ours = load_or_make_keys(tmp_path / "keys" / "client.key")
    theirs = load_or_make_keys(tmp_path / "client" / "keys" / "client.key")
    assert find_access(tmp_path, None).keys == ours
    assert find_access(tmp_path, "tcp://192.0.2.7:7300").keys == theirs
    assert (find_access(tmp_path, "127.0.0.1:7301").address.port, find_access(tmp_path, None).address) == (7301, here)
    with pytest.raises(UsageError):
        find_access(tmp_path, "no address")
