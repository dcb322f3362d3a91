"""Routes are read when somebody asks for them, and what only some installations need is loaded there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from fastapi import APIRouter, FastAPI

from surveil.web.routes import LateRoute, api_router, page_router, read_all
from tests.web.stage import Stage

ROLES = {
    "surveil.web.serving": {"httpx2", "prometheus_client", "surveil.mirror.mirror", "joserfc", "pydantic.v1"},
    "surveil.dispatcher": {"alembic", "obstore", "httpx2", "pydantic", "yaml", "fastapi", "git"},
    "surveil.runner": {"docker", "obstore", "sqlalchemy", "httpx2", "pydantic", "yaml", "fastapi", "git"},
    "surveil.observer": {"sqlalchemy", "httpx2", "fastapi", "psutil", "pydantic", "docker"},
}
"""What each role has to start without."""


def declared(router: APIRouter, *, broken: bool = False) -> LateRoute:
    """A route, or one that nobody can read."""

    async def answer(number: int) -> dict[str, int]:
        return {"number": number}

    if broken:
        answer.__annotations__["number"] = "Nothing"
    router.get("/things/{number}")(answer)
    (route,) = router.routes
    assert isinstance(route, LateRoute)
    return route


def get(routes: list[LateRoute], path: str, folder: Path) -> tuple[int, str]:
    """How an application of these routes answers."""
    stage = Stage(folder)
    stage.app = FastAPI(routes=list(routes))
    answer = stage.get(path)
    return answer.status_code, answer.text


def test_a_route_is_read_with_its_first_request_and_not_before(tmp_path: Path) -> None:
    route, other = declared(page_router()), declared(api_router("things"))
    assert not hasattr(route, "dependant")
    assert get([route, other], "/things/7", tmp_path) == (200, '{"number":7}')
    assert get([route, other], "/things/x", tmp_path)[0] == 422
    read = route.dependant
    assert get([route, other], "/things/8", tmp_path) == (200, '{"number":8}')
    assert route.dependant is read
    assert not hasattr(other, "dependant")


def test_a_route_of_the_api_is_below_its_prefix_and_described_with_what_may_be_wrong() -> None:
    route = declared(api_router("things"))
    page = declared(page_router())
    read_all([route, page])
    assert (route.path, route.tags, route.include_in_schema) == ("/api/v1/things/{number}", ["things"], True)
    assert {401, 404, 422} <= route.responses.keys()
    assert (page.path, page.include_in_schema, page.responses) == ("/things/{number}", False, {})


def test_a_route_that_nobody_can_read_breaks_with_each_request(tmp_path: Path) -> None:
    route = declared(page_router(), broken=True)
    for _ in range(2):
        assert get([route], "/things/7", tmp_path)[0] == 500


def test_applications_share_routes_and_nothing_else(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
    first, second = map(Stage, folders)
    token = first.token()
    assert first.get("/api/v1/builds/1/jobs/none", token).status_code == 404
    assert second.get("/api/v1/builds/1/jobs/none", token).status_code == 401
    late = [{id(route) for route in stage.app.routes if isinstance(route, LateRoute)} for stage in (first, second)]
    assert late[0] == late[1] != set()


@pytest.mark.parametrize("role", ROLES)
def test_a_role_starts_without_what_only_some_installations_need(role: str) -> None:
    asked = f"import sys, {role}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout.split()
    assert role in loaded
    assert ROLES[role].isdisjoint(loaded)
