"""What the framework takes for a document that is there already: an application of one route, served as ours is.

What belongs here: that route. What does not: anything of surveil's.

`python -m benchmarks.bare FILE` serves the JSON document in the file at any path, and prints its port.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from surveil.web.serving import listening


def main() -> None:
    """Serve until SIGTERM."""
    document = json.loads(Path(sys.argv[1]).read_bytes())
    app = FastAPI()

    @app.get("/{path:path}")
    async def one(path: str) -> dict[str, Any]:
        assert path, "a document has an address"
        return dict(document)

    with listening("127.0.0.1:0") as listener:
        print(listener.getsockname()[1], flush=True)
        settings = uvicorn.Config(
            app, log_config=None, access_log=False, server_header=False, lifespan="off", ws="none"
        )
        uvicorn.Server(settings).run(sockets=[listener])


if __name__ == "__main__":
    main()
