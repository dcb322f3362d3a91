"""Secrets in a container of a real engine: where the steps look for them, and nowhere in what the engine knows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from surveil.core.run_events import Ended
from surveil.execute.containers.container import chosen
from surveil.execute.keeper.entrusted import Entrusted
from surveil.execute.process import ProcessExecutor
from surveil.protocol import Assign, SecretUse
from tests.engines.docker import Docker
from tests.execute.test_containers import Housed, assign, housed, no_container_left
from tests.execute.test_entrusted import KEY, SECRETS, TOKEN, bytes_below
from tests.execute.test_process import ONE, in_a_loop

__all__ = ["assign", "no_container_left"]


class Trusted(Housed):
    """An executor whose attempts have secrets; it closes them."""

    def __init__(self, data: Path, engine: Docker) -> None:
        super().__init__(data, engine)
        found, why = chosen(engine.address)
        assert found is not None, why
        self.opened: list[Assign] = []
        self.executor = ProcessExecutor(data, "spare", containers=found, open_envelope=self._open)

    def _open(self, order: Assign) -> Entrusted:
        self.opened.append(order)
        return SECRETS


@in_a_loop
async def test_steps_in_a_container_find_their_secrets_and_nobody_else_does(
    tmp_path: Path, assign: Assign, docker_engine: Docker
) -> None:
    spec = housed(
        f'test "${{#TOKEN}}" = {len(TOKEN)}; test "$(wc -c < "$KEY_FILE")" = {len(KEY)}; echo "$KEY_FILE"',
        'echo "it is $TOKEN"; cat "$KEY_FILE"; env',
        "touch used; while test ! -e seen; do sleep 0.05; done",
    )
    spec = replace(spec, secrets=(SecretUse(name="TOKEN", env="TOKEN"), SecretUse(name="KEY", file="KEY_FILE")))
    data = tmp_path / "data"
    async with Trusted(data, docker_engine) as desk:
        await desk.started(replace(assign, spec=spec, envelope="closed"))
        (space,) = (data / "workspaces").iterdir()
        while not (space / "work" / "used").exists():
            await desk.soon()
        (name,) = docker_engine.names()
        known = json.dumps(docker_engine.inspect(name)).encode()
        (space / "work" / "seen").touch()
        ended = await desk.hear(Ended)
        text = desk.log()
        desk.executor.forget(ONE)
        await desk.until_clean()
    assert not Path(text.decode().split()[0]).parent.exists(), "they go with the attempt"
    assert (ended.outcome, ended.reason) == ("passed", "")
    assert b"it is ***" in text
    for secret in (TOKEN.encode(), b"binary"):
        assert secret not in text
        assert secret not in known, "the engine shows what it knows to whoever asks"
        assert secret not in bytes_below(data)
    assert [order.envelope for order in desk.opened] == ["closed"]
