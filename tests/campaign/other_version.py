"""A real part of surveil that speaks as another version would: `SPEAKS` says which.

What belongs here: patching the wire vocabulary from outside. What does not: which part that is, and when (the kinds of
`versions`).

* `newer`: every map of fields has fields that nobody knows, and now and then there is a message that nobody knows.
* `older`: fields with a default are left out, as by a version that had them not yet.
* `strange`: another version of the protocol, of which this one understands nothing.
"""

import os
from typing import Any, Final

import surveil.protocol as wire
from surveil.cli import main
from surveil.codec import pack_value
from surveil.net.connection import _Line

SPEAKS: Final = os.environ["SPEAKS"]
LEFT_OUT: Final = frozenset({"mirrors", "isolation", "draining"})
"""Fields that were added within the version, each with a default for those who do not say it."""
NOVEL: Final = {"novel": {"deep": [1, None, "x" * 100]}, "novel_too": -1}
UNKNOWN: Final = [b"SV" + bytes([wire.VERSION, 0xEE]), b"\x81\xa5novel\x01"]
EVERY: Final = 5
STRANGE: Final = 2


def _newer(value: dict[str, Any] | list[Any]) -> bytes:
    if isinstance(value, dict):
        return pack_value(value | NOVEL)
    return pack_value([item | NOVEL if isinstance(item, dict) else item for item in value])


def _older(value: dict[str, Any] | list[Any]) -> bytes:
    if isinstance(value, dict):
        return pack_value(_without(value))
    return pack_value([_without(item) if isinstance(item, dict) else item for item in value])


def _without(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in LEFT_OUT}


def _say_more() -> None:
    """Say something unknown with every fifth message or parcel."""
    send, count = _Line.send, 0

    def send_more(self: _Line, frames: list[bytes]) -> bool:
        nonlocal count
        count += 1
        if count % EVERY == 0:
            send(self, UNKNOWN)
        return send(self, frames)

    _Line.send = send_more  # type: ignore[method-assign]  # that is the point


def _be_strange() -> None:
    wire.VERSION = STRANGE  # type: ignore[misc]  # that is the point
    wire.PARCEL_HEADER = b"SV" + bytes([STRANGE, 0x51])  # type: ignore[misc]
    headers: dict[Any, bytes] = wire.HEADERS  # type: ignore[assignment]
    for kind, header in headers.items():
        headers[kind] = b"SV" + bytes([STRANGE, header[-1]])


if __name__ == "__main__":
    if SPEAKS == "strange":
        _be_strange()
    elif SPEAKS == "older":
        wire.pack_value = _older  # type: ignore[attr-defined]  # that is the point
    else:
        wire.pack_value = _newer  # type: ignore[attr-defined]  # that is the point
        _say_more()
    main()
