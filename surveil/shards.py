"""Runs the part of a suite that falls to this shard. It needs nothing but Python: each shard finds it beside its work.

What belongs here: the conversation with the runner through a folder, a plugin for pytest, and a command for everything
else. What does not: who gets what (`surveil.core.shards`).

With pytest:      PYTHONPATH=$SURVEIL_SHARDS python -m pytest -p surveil_shards
With all others:  LIST | python3 $SURVEIL_SHARDS/surveil_shards.py run COMMAND ...

`run` gives COMMAND the names of some items behind its own arguments, batch after batch, and fails if one of them did.

The folder that `SURVEIL_SHARDS` names takes questions and gives answers, as files that are whole once they have their
name. `ask.1` is `{"items": [...], "done": []}` with all items, the same in every shard; the runner answers with
`tell.1`, `{"batch": [...]}`. `ask.2` is `{"done": [[ITEM, STATE, MS], ...]}` and so on. Empty is the batch when nothing
is left.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FOLDER = "SURVEIL_SHARDS"
LOOK_S = 0.02
LOOK_LEAST_S = 0.004
"""It is looked ever more seldom: most answers come at once, and some only when a dispatcher is back."""
AHEAD = 2
"""So many tests are still to be run when it is asked for more."""
PASSED, FAILED, ERRORED, SKIPPED = "passed", "failed", "errored", "skipped"


class Shard:
    """One shard's side of the conversation. `items` is the whole list."""

    def __init__(self, folder: str, items: Sequence[str]) -> None:
        self._folder = Path(folder)
        self._items = sorted(set(items))
        self._number = 0
        self._done: list[tuple[str, str, int]] = []

    def done(self, item: str, state: str, duration_ms: int) -> None:
        """Note how an item ended; it is told with the next question."""
        self._done.append((item, state, duration_ms))

    def next(self) -> list[str]:
        """Tell what is done, and wait for what is next; empty where nothing is left. Raises as `told` does."""
        self.ask()
        return self.told()

    def ask(self) -> None:
        """Tell what is done, and ask what is next."""
        self._number += 1
        asked: dict[str, Any] = {"done": self._done}
        if self._number == 1:
            asked["items"] = self._items
        self._done = []
        path = self._folder / f"ask.{self._number}"
        path.with_suffix(".new").write_text(json.dumps(asked))
        path.with_suffix(".new").rename(path)

    def told(self) -> list[str]:
        """Wait for the answer.

        Raises:
            RuntimeError: the runner says that it cannot be; its sentence says why.
        """
        answer = self._folder / f"tell.{self._number}"
        waited_s = LOOK_LEAST_S
        while not answer.exists():
            time.sleep(min(LOOK_S, waited_s / 4))
            waited_s += min(LOOK_S, waited_s / 4)
        told = json.loads(answer.read_text())
        if told.get("problem"):
            raise RuntimeError(told["problem"])
        batch: list[str] = told["batch"]
        return batch


class Plugin:
    """Lets pytest run batch after batch of the tests that it collected."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._seen: dict[str, tuple[str, float]] = {}

    def pytest_runtestloop(self, session: Any) -> object:
        """Run what this shard is given until nothing is left."""
        if session.testsfailed and not session.config.option.continue_on_collection_errors:
            raise session.Interrupted(f"{session.testsfailed} errors during collection")
        if session.config.option.collectonly:
            return True
        by_name = {item.nodeid: item for item in session.items}
        shard = Shard(self._folder, list(by_name))
        ran: list[Any] = []
        ahead: list[Any] = []
        shard.ask()
        asked = True
        while True:
            if len(ahead) <= AHEAD and not asked:
                shard.ask()
                asked = True
            # Which item follows decides which fixtures stay, so the last one waits until that is known; while it is
            # asked for there is another one to run.
            if len(ahead) < AHEAD:
                batch = shard.told()
                asked = False
                ahead += [by_name[name] for name in batch]
                if not batch and not ahead:
                    break
                if batch:
                    continue
            ran.append(ahead.pop(0))
            self._run(session, shard, ran[-1], ahead[0] if ahead else None)
        session.items[:] = ran
        # A shard that came too late for any test has nothing to complain about; a suite without tests has.
        session.testscollected = len(ran) or len(by_name)
        return True

    def _run(self, session: Any, shard: Shard, item: Any, following: Any) -> None:
        began = time.monotonic()
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        state = self._seen.pop(item.nodeid, (ERRORED, 0.0))[0]
        shard.done(item.nodeid, state, round((time.monotonic() - began) * 1000))
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Note how a phase of a test ended; the worst counts."""
        if report.failed:
            state = FAILED if report.when == "call" else ERRORED
        else:
            state = SKIPPED if report.skipped else PASSED
        order = (PASSED, SKIPPED, FAILED, ERRORED)
        known = self._seen.get(report.nodeid, (PASSED, 0.0))
        self._seen[report.nodeid] = (max(known[0], state, key=order.index), known[1] + report.duration)


def pytest_configure(config: Any) -> None:
    """Take over where a runner handed out the tests; elsewhere pytest runs all of them, as ever."""
    folder = os.environ.get(FOLDER)
    if not folder or config.pluginmanager.has_plugin("surveil-shard"):
        return
    if getattr(config.option, "dist", "no") != "no":
        raise RuntimeError("a shard is handed its tests one batch after the other: leave out -n, and use more shards")
    config.pluginmanager.register(Plugin(folder), "surveil-shard")


def run(command: Sequence[str], items: Sequence[str]) -> int:
    """Run a command on batch after batch; 1 if it failed on one of them."""
    folder = os.environ.get(FOLDER)
    if not folder:
        return subprocess.run([*command, *items], check=False).returncode if items else 0
    shard = Shard(folder, items)
    worst = 0
    while batch := shard.next():
        began = time.monotonic()
        code = subprocess.run([*command, *batch], check=False).returncode
        each_ms = round((time.monotonic() - began) * 1000 / len(batch))
        for item in batch:
            shard.done(item, FAILED if code else PASSED, each_ms)
        worst = max(worst, min(abs(code), 1))
    return worst


def main(arguments: Sequence[str]) -> int:
    """Do what the command line says."""
    if len(arguments) < 2 or arguments[0] != "run":  # noqa: PLR2004  # a verb and a command
        sys.stderr.write(__doc__ or "")
        return 2
    return run(arguments[1:], [line for line in map(str.strip, sys.stdin) if line])


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except RuntimeError as error:
        sys.exit(f"surveil: {error}")
