"""From a join token to a known peer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from surveil.config import ObserverConfig, RunnerConfig
from surveil.core.peers import Peer, Role
from surveil.errors import ExitCode, NotAllowedError, UnreachableError, UsageError
from surveil.hands import observing, running
from surveil.net.addresses import Address
from surveil.net.enrolment import enrol, is_enrolled, is_spent
from surveil.net.keys import load_keys, make_keys
from surveil.net.known import KnownDispatcher, load_known
from surveil.net.tokens import JoinToken, make_token
from surveil.net.traffic import Received
from surveil.protocol import Enrol, Enrolled, Message, Refused
from tests.net.stage import Stage, connected, free_ports, serving

YES = Enrolled(cluster="c", name="spare-2", role="runner", labels=("linux",))


@asynccontextmanager
async def answering(stage: Stage, answer: Callable[[Received], Message | None]) -> AsyncIterator[list[Received]]:
    """A dispatcher that answers each `Enrol` so, and what it heard."""
    heard: list[Received] = []

    async def serve() -> None:
        while True:
            for received in (await stage.server.receive(1_000)).control:
                heard.append(received)
                if (message := answer(received)) is not None:
                    stage.server.reply(received.route, message)

    serving_task = asyncio.create_task(serve())
    try:
        yield heard
    finally:
        serving_task.cancel()
        await asyncio.gather(serving_task, return_exceptions=True)


def given(answer: Message, _: Received) -> Message:
    return answer


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def token_for(stage: Stage) -> JoinToken:
    return make_token(stage.address, stage.server_keys.public)


def test_a_newcomer_keeps_a_key_that_connects_and_knows_its_dispatcher(tmp_path: Path) -> None:
    async def scene() -> None:
        async with serving() as stage:
            token = token_for(stage)
            stage.peers.open_enrolment(2_000)
            assert not is_enrolled(token, role=Role.RUNNER, data=tmp_path)
            async with answering(stage, lambda _: YES) as heard:
                assert await enrol(token, name="spare-2", role=Role.RUNNER, data=tmp_path) == YES
            keys = load_keys(tmp_path / "keys" / "runner.key")
            # Where the answer takes seconds, it is asked for again.
            said = {(received.message, received.peer.key) for received in heard}
            assert said == {(Enrol(secret=token.secret, name="spare-2"), keys.public)}
            known = KnownDispatcher(address=stage.address, server_key=token.server_key, cluster="c")
            assert load_known(tmp_path) == known
            assert [path.name for path in (tmp_path / "keys").iterdir()] == ["runner.key"]
            assert is_enrolled(token, role=Role.RUNNER, data=tmp_path)
            assert is_spent(token, role=Role.RUNNER, data=tmp_path)
            assert token.secret not in (tmp_path / "joined").read_bytes()
            # Another one of the same dispatcher may bring another key; so may the same where the key is gone.
            assert not is_spent(token_for(stage), role=Role.RUNNER, data=tmp_path)
            assert not is_spent(token, role=Role.OBSERVER, data=tmp_path)
            stage.peers.put(Peer(key=keys.public, role=Role.RUNNER, name="spare-2"))
            async with stage.connection(keys) as runner:
                await connected(runner)
            (tmp_path / "keys" / "runner.key").unlink()
            assert not is_spent(token, role=Role.RUNNER, data=tmp_path)

    asyncio.run(scene())


def test_a_service_whose_command_holds_its_token_joins_once_and_where_it_says_that_the_dispatcher_is(
    tmp_path: Path,
) -> None:
    """A token that is good several times would let a machine in again whose key was revoked."""

    async def scene() -> None:
        async with serving() as stage:
            token = str(make_token(Address("192.0.2.1", 7300), stage.server_keys.public))
            where = str(stage.address)
            stage.peers.open_enrolment(10_000)
            ours = RunnerConfig(data=tmp_path / "runner", name="spare-2", join=token, dispatcher=where, sandbox="off")
            theirs = ObserverConfig(
                data=tmp_path / "observer",
                name="eye",
                join=token,
                dispatcher=where,
                repos=("https://example.org/a.git",),
            )
            async with answering(stage, lambda _: YES) as heard:
                for _ in range(3):
                    async with running.opened(ours) as parts:
                        assert parts.address == stage.address
            assert len(heard) == 1
            async with answering(stage, lambda _: replace(YES, role="observer", name="eye")) as heard:
                for _ in range(3):
                    async with observing.opened(theirs) as parts:
                        assert parts.address == stage.address
            assert len(heard) == 1

    asyncio.run(scene())


@pytest.mark.parametrize("role", [Role.RUNNER, Role.OBSERVER])
@pytest.mark.parametrize("key_stays", [True, False])
def test_a_folder_of_one_installation_joins_no_other(tmp_path: Path, role: Role, key_stays: bool) -> None:
    """Both have a build 1, and the runner would take the order for one that it has carried out already."""
    yes = replace(YES, role=role.value)

    async def scene() -> None:
        async with serving() as first:
            first.peers.open_enrolment(2_000)
            async with answering(first, lambda _: yes):
                await enrol(token_for(first), name="spare-2", role=role, data=tmp_path)
        before = contents(tmp_path)
        async with serving(server_keys=first.server_keys if key_stays else None) as second:
            second.peers.open_enrolment(2_000)
            older = replace(yes, cluster="d")
            for answer in (older, Refused(reason="of another", exit_code=int(ExitCode.USAGE))):
                async with answering(second, partial(given, answer)) as heard:
                    with pytest.raises(UsageError, match=r"belongs to installation c, .* \(--data DIR\), or remove"):
                        await enrol(token_for(second), name="spare-2", role=role, data=tmp_path)
                assert len(heard) == (1 if key_stays else 0), "no token is used up where it can be helped"
                assert contents(tmp_path) == before
                said = [each.message for each in heard]
                assert [each.cluster for each in said if isinstance(each, Enrol)] == ["c"] * len(heard)

    asyncio.run(scene())


def test_who_only_asks_may_change_to_another_installation(tmp_path: Path) -> None:
    yes = replace(YES, role="client")

    async def scene() -> None:
        for cluster in ("c", "d"):
            async with serving() as stage:
                stage.peers.open_enrolment(2_000)
                async with answering(stage, partial(given, replace(yes, cluster=cluster))):
                    await enrol(token_for(stage), name="desk", role=Role.CLIENT, data=tmp_path)
        assert load_known(tmp_path).cluster == "d"

    asyncio.run(scene())


def test_a_try_whose_answer_was_lost_is_repeated_with_the_same_key(tmp_path: Path) -> None:
    async def scene() -> None:
        async with serving() as stage:
            token = token_for(stage)
            stage.peers.open_enrolment(2_000)

            def lost(received: Received) -> None:
                stage.peers.put(Peer(key=received.peer.key, role=Role.RUNNER, name="spare-2"))
                stage.peers.open_enrolment(0)

            async with answering(stage, lost) as first:
                while not first:  # Where it takes long to be connected, it gives up before it has said a word.
                    with pytest.raises(UnreachableError):
                        await enrol(token, name="spare-2", role=Role.RUNNER, data=tmp_path, timeout_ms=500)
            assert not is_enrolled(token, role=Role.RUNNER, data=tmp_path)
            async with answering(stage, lambda _: YES) as second:
                assert await enrol(token, name="spare-2", role=Role.RUNNER, data=tmp_path) == YES
            assert {received.peer.key for received in first} == {received.peer.key for received in second}

    asyncio.run(scene())


def test_a_refused_token_is_explained_and_leaves_nothing_behind(tmp_path: Path) -> None:
    async def scene() -> None:
        async with serving() as stage:
            stage.peers.open_enrolment(2_000)
            async with answering(stage, lambda _: Refused(reason="the token was used already")):
                with pytest.raises(NotAllowedError, match="refused: the token was used already"):
                    await enrol(token_for(stage), name="a", role=Role.RUNNER, data=tmp_path)
            assert list((tmp_path / "keys").iterdir()) == []
            assert not (tmp_path / "dispatcher.json").exists()

    asyncio.run(scene())


def test_a_token_for_another_role_is_explained(tmp_path: Path) -> None:
    async def scene() -> None:
        async with serving() as stage:
            stage.peers.open_enrolment(2_000)
            async with answering(stage, lambda _: replace(YES, role="observer")):
                with pytest.raises(NotAllowedError, match=r"joins as observer, not as runner.*--role runner"):
                    await enrol(token_for(stage), name="a", role=Role.RUNNER, data=tmp_path)
            assert list((tmp_path / "keys").iterdir()) == []

    asyncio.run(scene())


def test_a_dispatcher_without_valid_tokens_turns_everybody_away(tmp_path: Path) -> None:
    async def scene() -> None:
        async with serving() as stage:
            with pytest.raises(NotAllowedError, match=r"expired, used up or revoked.*surveil token create"):
                await enrol(token_for(stage), name="a", role=Role.RUNNER, data=tmp_path)

    asyncio.run(scene())


def test_a_dispatcher_that_is_away_is_unreachable(tmp_path: Path) -> None:
    async def scene() -> None:
        token = make_token(Address("127.0.0.1", free_ports()), make_keys().public)
        with pytest.raises(UnreachableError, match=r"no dispatcher answers at tcp://127\.0\.0\.1:.* within 0\.3 s"):
            await enrol(token, name="a", role=Role.RUNNER, data=tmp_path, timeout_ms=300)

    asyncio.run(scene())


def test_another_dispatcher_at_the_tokens_address_is_told_from_the_right_one(tmp_path: Path) -> None:
    async def scene() -> None:
        async with serving() as stage:
            stage.peers.open_enrolment(2_000)
            token = make_token(stage.address, make_keys().public)
            with pytest.raises(UnreachableError, match="is not the dispatcher that made this token"):
                await enrol(token, name="a", role=Role.RUNNER, data=tmp_path, timeout_ms=4_000)

    asyncio.run(scene())
