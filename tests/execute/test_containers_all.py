"""One job in a container that uses all that jobs have: outputs, reports, artifacts, caches and secrets."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from surveil.core.run_events import Collected, Ended
from surveil.execute.archives.finding import find
from surveil.execute.collect.collecting import Collection, Work
from surveil.execute.containers.container import chosen
from surveil.execute.keeper.entrusted import Entrusted
from surveil.execute.process import ProcessExecutor
from surveil.protocol import ArtifactSpec, Assign, CacheSpec, JobOutput, SecretUse
from tests.engines.docker import Docker
from tests.execute.test_containers import Housed, assign, housed, no_container_left
from tests.execute.test_process import ONE, in_a_loop

__all__ = ["assign", "no_container_left"]

SCRIPT = """
cat "$HOME/.cache/tool/restored"
echo "version=1.$(cat hello)" >> "$SURVEIL_OUTPUT"
mkdir -p dist reports && echo "$TOKEN" | wc -c > dist/tool && chmod 600 dist/tool
printf 'ok 1 - works\\n1..1\\n' > reports/all.tap
cp "$KEY_FILE" "$TMPDIR/key" && wc -c < "$TMPDIR/key"
echo left > "$HOME/.cache/tool/left"
echo "$TOKEN"
"""


@pytest.mark.parametrize("root", [False, True], ids=["runner", "root"])
@in_a_loop
async def test_a_job_in_a_container_has_all_that_jobs_have(
    tmp_path: Path, assign: Assign, docker_engine: Docker, *, root: bool
) -> None:
    seen: dict[str, list[str]] = {}

    def restore(work: Work) -> None:
        (work.workspace.home / ".cache" / "tool").mkdir(parents=True)
        (work.workspace.home / ".cache" / "tool" / "restored").write_text("restored\n")

    def collector(work: Work, /) -> Collection:
        for name, folder in {"work": work.workspace.work, "home": work.workspace.home}.items():
            patterns = ("dist/*", "reports/*.tap", ".cache/**")
            seen[name] = find(folder, patterns, bytes_max=1 << 20).files
        return Collection(remarks=((work.workspace.work / "dist" / "tool").read_text(),))

    found, why = chosen(docker_engine.address)
    assert found is not None, why
    secrets = Entrusted(variables={"TOKEN": "hush-hush"}, files={"KEY_FILE": b"key"})
    desk = Housed(tmp_path / "data", docker_engine)
    desk.executor = ProcessExecutor(
        tmp_path / "data", "spare", containers=found, restore=restore, collectors=(collector,),
        open_envelope=lambda _: secrets,
    )  # fmt: skip
    spec = replace(
        housed(SCRIPT, limits={"root": root}),
        secrets=(SecretUse(name="TOKEN", env="TOKEN"), SecretUse(name="KEY", file="KEY_FILE")),
        artifacts=(ArtifactSpec(name="tool", paths=("dist/*",)),),
        reports=("reports/*.tap",),
        cache=(CacheSpec(key="tool", paths=("~/.cache/tool",)),),
    )
    order = replace(assign, spec=spec, envelope="closed")
    async with desk:
        await desk.started(order)
        ended = await desk.hear(Ended)
        desk.executor.collect(order, ended.outcome)
        kept = await desk.hear(Collected)
        assert (ended.reason, desk.log()) == ("", b"restored\n3\n***\n")
        assert ended.outputs == (JobOutput(name="version", value="1.hello"),)
        assert kept.remarks == ("10\n",)
        assert json.dumps(seen) == json.dumps(
            {
                "work": ["dist/tool", "reports/all.tap"],
                "home": [".cache/tool/left", ".cache/tool/restored"],
            }
        )
        desk.executor.forget(ONE)
        await desk.until_clean()
