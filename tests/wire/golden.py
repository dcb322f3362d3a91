"""The bytes of every message of each released version, and of a parcel, as readable files: a name, then one line of
hexadecimal a frame.

Such a file is written once, when its version is new: `python -m tests.wire.golden > tests/wire/v1.txt`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from surveil.protocol import encode, encode_all
from tests.wire.samples import PARCEL, SAMPLES


def write() -> str:
    return (
        "\n\n".join("\n".join([name, *(frame.hex(" ") for frame in frames)]) for name, frames in now().items()) + "\n"
    )


def now() -> dict[str, list[bytes]]:
    """The frames that this version makes, by the name of what they are."""
    ((parcel, _),) = encode_all(PARCEL)
    return {type(sample).__name__: encode(sample) for sample in SAMPLES} | {"parcel": parcel}


def read(version: int) -> dict[str, list[bytes]]:
    text = Path(__file__).with_name(f"v{version}.txt").read_text(encoding="ascii")
    blocks = (block.split("\n") for block in text.strip().split("\n\n"))
    return {name: [bytes.fromhex(frame) for frame in frames] for name, *frames in blocks}


if __name__ == "__main__":
    sys.stdout.write(write())
