"""What the framework takes by itself: for a document that is there already, and for reading the rows of builds.

What belongs here: applications of the framework as its own tutorial writes them, served as ours is. What does not:
anything of surveil's beyond its tables.

`python -m benchmarks.bare PATH` prints its port. A file is the JSON document for any address; in a dispatcher's folder
`/api/v1/builds` and `/api/v1/builds/NUMBER` are read from the database.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import uvicorn
from fastapi import FastAPI, Query
from sqlalchemy import Connection, create_engine, select

from surveil.store.sqlite import FILE
from surveil.store.tables import attempts, builds, jobs, specs
from surveil.web.serving import listening


def holding(file: Path) -> FastAPI:
    """An application that has its one document."""
    document = json.loads(file.read_bytes())
    app = FastAPI()

    @app.get("/{path:path}")
    async def one(path: str) -> dict[str, Any]:
        assert path, "a document has an address"
        return dict(document)

    return app


def reading(data: Path) -> FastAPI:
    """An application that reads builds with their jobs and attempts, and gives their rows as they are: it checks no
    checksum, looks at no log, and asks nobody who they are.
    """
    engine = create_engine(f"sqlite:///file:{data / FILE}?mode=ro&uri=true")
    app = FastAPI()

    @app.get("/api/v1/builds/{number}")
    def build(number: int) -> dict[str, Any]:
        with engine.connect() as connection:
            return _whole(connection, [number])[0]

    @app.get("/api/v1/builds")
    def page(before: int, *, with_jobs: Annotated[bool, Query(alias="jobs")] = True) -> dict[str, Any]:
        newest = select(builds).where(builds.c.id < before).order_by(builds.c.id.desc()).limit(20)
        with engine.connect() as connection:
            if with_jobs:
                return {"builds": _whole(connection, connection.scalars(newest).all())}
            return {"builds": [dict(row) for row in connection.execute(newest).mappings()]}

    return app


def _whole(connection: Connection, numbers: Sequence[int]) -> list[dict[str, Any]]:
    """Builds with everything under them."""
    found = connection.execute(select(builds).where(builds.c.id.in_(numbers)).order_by(builds.c.id.desc()))
    asked = select(jobs, specs.c.body).join(specs, specs.c.digest == jobs.c.spec).where(jobs.c.build.in_(numbers))
    under = [{**row, "spec": row["spec"].hex()} for row in connection.execute(asked).mappings()]
    tries = [dict(row) for row in connection.execute(select(attempts).where(attempts.c.build.in_(numbers))).mappings()]
    for job in under:
        mine = job["build"], job["name"]
        job["attempts"] = [each for each in tries if (each["build"], each["name"]) == mine]
    return [{**row, "jobs": [job for job in under if job["build"] == row["id"]]} for row in found.mappings()]


def main() -> None:
    """Serve until SIGTERM."""
    place = Path(sys.argv[1])
    app = reading(place) if place.is_dir() else holding(place)
    with listening("127.0.0.1:0") as listener:
        print(listener.getsockname()[1], flush=True)
        settings = uvicorn.Config(
            app, log_config=None, access_log=False, server_header=False, lifespan="off", ws="none"
        )
        uvicorn.Server(settings).run(sockets=[listener])


if __name__ == "__main__":
    main()
