"""A registry that does each thing wrong that one can: what it does with an image is in the first part of its name."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
LAYER_BYTES: Final = 4 << 20
_LAYER: Final = "sha256:" + "a" * 64
_CONFIG: Final = json.dumps(
    {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [_LAYER]}}
).encode()


def _described(kind: str, digest: str, size: int) -> dict[str, Any]:
    return {"mediaType": f"application/vnd.docker.{kind}", "digest": digest, "size": size}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    over: threading.Event

    def do_GET(self) -> None:
        """Answer, or not."""
        match self.path.split("/")[2:]:
            case [""]:
                self._say(200, b"{}")
            case ["refuses", *_]:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="here"')
                self.send_header("Content-Length", "0")
                self.end_headers()
            case ["missing", *_]:
                error = {"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}
                self._say(404, json.dumps({"errors": [error]}).encode())
            case ["nonsense", *_]:
                self._say(200, b"<html>Welcome!</html>", "text/html")
            case ["hangs", *_]:
                self.over.wait()
            case [_, _, "manifests", *_]:
                self._say(200, self._manifest(), MANIFEST)
            case [_, _, "blobs", digest] if digest != _LAYER:
                self._say(200, _CONFIG, "application/octet-stream")
            case [how, *_]:
                self._layer(how)

    def do_HEAD(self) -> None:
        """Answer as for the whole."""
        self.do_GET()

    def _manifest(self) -> bytes:
        config = _described("container.image.v1+json", f"sha256:{hashlib.sha256(_CONFIG).hexdigest()}", len(_CONFIG))
        layer = _described("image.rootfs.diff.tar.gzip", _LAYER, LAYER_BYTES)
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]}
        return json.dumps(manifest).encode()

    def _layer(self, how: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(LAYER_BYTES))
        self.end_headers()
        for _ in range(LAYER_BYTES // 65_536 - 1):
            self.wfile.write(bytes(65_536))
            if how == "breaks" or self.over.wait(0.1):
                break
        self.close_connection = True

    def _say(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def broken_registry() -> Iterator[str]:
    """Its host and port."""
    over = threading.Event()
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"over": over})) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            over.set()
            server.shutdown()
            thread.join()
