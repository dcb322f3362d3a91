"""The files beside the pages: styles and scripts, under addresses that change with what is in them.

What belongs here: finding them and giving them out. What does not: the pages.
"""

from __future__ import annotations

import gzip
from hashlib import sha256
from pathlib import Path
from typing import Final

from fastapi import Request, Response

from surveil.errors import NotFoundError
from surveil.web.routes import page_router

router = page_router()

FOLDER: Final = Path(__file__).parent.parent / "static"
PREFIX: Final = "/static"
_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_FOR_EVER: Final = "public, max-age=31536000, immutable"
_BYTES: Final = {
    path.relative_to(FOLDER).as_posix(): path.read_bytes() for path in FOLDER.rglob("*") if path.suffix in _TYPES
}
_PACKED: Final = {name: gzip.compress(body, mtime=0) for name, body in _BYTES.items()}
"""Packed once and for all. Pages are not: what stands beside their secrets is somebody else's choice, and the length of
both together would tell of them (BREACH).
"""
_DIGEST: Final = sha256(b"".join(name.encode() + body for name, body in sorted(_BYTES.items()))).hexdigest()[:12]
"""One for all: scripts import each other by relative names, so they change together."""


def address_of(name: str) -> str:
    """Where a file is had; whoever has it need never ask for it again."""
    assert name in _BYTES, f"there is no file {name}"
    return f"{PREFIX}/{_DIGEST}/{name}"


@router.get(f"{PREFIX}/{{digest}}/{{name:path}}")
async def asset(request: Request, digest: str, name: str) -> Response:
    """One of them. A page of an earlier version may still ask for its own, and gets those of this one."""
    body = _BYTES.get(name)
    if body is None:
        raise NotFoundError(f"There is no file {name!r} beside the pages.")
    headers = {"cache-control": _FOR_EVER if digest == _DIGEST else "no-cache", "vary": "accept-encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["content-encoding"] = "gzip"
        body = _PACKED[name]
    return Response(body, media_type=_TYPES[Path(name).suffix], headers=headers)
