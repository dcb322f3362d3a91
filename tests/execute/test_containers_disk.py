"""What a job in a container of a real engine may write, wherever it writes it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from surveil.execute.local import LocalRun
from surveil.protocol import Assign
from tests.engines.docker import Docker
from tests.execute.test_containers import Housed, assign, housed, no_container_left
from tests.execute.test_process import in_a_loop

__all__ = ["assign", "no_container_left"]
LIMIT = 32 << 20
OVER = "the job went over its disk limit of 32 MiB: it wrote "
WRITE = "dd if=/dev/zero bs=1M count={} of={} 2>/dev/null"


@pytest.mark.parametrize("where", ["/big", "big"], ids=["layer", "tree"])
@in_a_loop
async def test_a_job_that_writes_too_much_is_ended_and_says_so(
    tmp_path: Path, assign: Assign, docker_engine: Docker, where: str
) -> None:
    run = f"echo begins; {WRITE.format(48, where)}; sleep 1000"
    spec = housed(run, "echo never", limits={"disk_bytes": LIMIT, "root": True})
    async with Housed(tmp_path / "data", docker_engine) as desk:
        ended = await desk.ended(replace(assign, spec=spec))
    assert ended.outcome == "failed"
    assert ended.reason.startswith(OVER)
    assert ended.reason.endswith("; write less, or raise `disk` of its `image`")
    assert [step.state for step in ended.steps] == ["failed", "skipped"]
    assert desk.text == b"begins\n"


@in_a_loop
async def test_a_job_is_judged_by_what_it_leaves_however_fast_it_was(
    tmp_path: Path, assign: Assign, docker_engine: Docker
) -> None:
    # Both are too quick to be seen while they run.
    within = f"{WRITE.format(16, '/a')}; {WRITE.format(8, 'b')}; rm /a; {WRITE.format(16, '/a')}"
    async with Housed(tmp_path / "data", docker_engine) as desk:
        for run, outcome in ((within, "passed"), (f"{within}; {WRITE.format(16, 'c')}", "failed")):
            ended = await desk.ended(replace(assign, spec=housed(run, limits={"disk_bytes": LIMIT, "root": True})))
            assert (ended.outcome, ended.reason[: len(OVER)]) == (outcome, OVER if outcome == "failed" else "")
            desk.told.clear()


def test_what_lay_in_a_persons_own_work_tree_does_not_count(tmp_path: Path, docker_engine: Docker) -> None:
    (tmp_path / "model").write_bytes(bytes(2 * LIMIT))
    spec = housed("ls -l model >/dev/null", limits={"disk_bytes": LIMIT})
    with LocalRun(tmp_path, engine=docker_engine.address) as local:
        assert local.run(spec, on_output=lambda _: None).outcome == "passed"
        over = replace(spec, steps=(replace(spec.steps[0], run=f"{WRITE.format(40, 'more')}; sleep 1000"),))
        assert local.run(over, on_output=lambda _: None).reason.startswith(OVER)
