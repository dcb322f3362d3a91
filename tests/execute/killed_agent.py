"""An agent that asks a zygote that stands still for a keeper, and waits to be killed. Says the zygote's process id."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from surveil.clock import boot_ms
from surveil.core.run_events import Prepared
from surveil.execute.contract import Happening
from surveil.execute.process import ProcessExecutor
from surveil.protocol import Assign, decode


async def main(data: Path, assign: Assign) -> None:
    """Come as far as the request."""
    prepared = asyncio.Event()
    executor = ProcessExecutor(data, "spare")

    def tell(happening: Happening) -> None:
        if isinstance(happening, Prepared):
            prepared.set()

    await executor.open(tell)
    executor.hold(assign, boot_ms())
    executor.prepare(assign)
    await prepared.wait()
    await asyncio.to_thread(executor._starting.submit(int).result)  # noqa: SLF001  # until the zygote was started
    zygote = executor._nursery._zygote  # noqa: SLF001
    assert zygote is not None
    os.kill(zygote.pid, signal.SIGSTOP)
    executor.start(assign, boot_ms(), None)
    sys.stdout.write(f"{zygote.pid}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    frames = [bytes.fromhex(frame) for frame in sys.argv[2:]]
    order = decode(frames)
    assert isinstance(order, Assign)
    asyncio.run(main(Path(sys.argv[1]), order))
