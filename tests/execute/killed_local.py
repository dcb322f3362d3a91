"""A person's own run that is killed: it says where its scratch folder is once its job runs, and waits.

With the address of an engine the job has a container, and it waits where somebody would look around.
"""

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from surveil.execute.local import LocalRun
from surveil.execute.scene import Scene
from surveil.protocol import ImageSpec
from tests.execute.conftest import job


def main(tree: str, engine: str) -> None:
    """Come as far as that."""

    def here(_: bytes) -> None:
        sys.stdout.write("runs\n")
        sys.stdout.flush()

    def look_around(_: Scene) -> None:
        here(b"")
        time.sleep(600)

    with LocalRun(Path(tree), engine=engine) as local:
        if engine == "off":
            local.run(job("echo runs; sleep 600"), on_output=here)
        spec: Any = replace(job("true"), image=ImageSpec(name="probe:1"))
        local.run(spec, on_output=lambda _: None, afterwards=look_around)


if __name__ == "__main__":
    main(*sys.argv[1:])
