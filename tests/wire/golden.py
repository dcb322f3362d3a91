"""The bytes of every message of each released version, as readable files: a name, then one line of hexadecimal a frame.

Such a file is written once, when its version is new: `python -m tests.wire.golden > tests/wire/v1.txt`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from surveil.protocol import Message, encode
from tests.wire.samples import SAMPLES


def write(messages: Iterable[Message]) -> str:
    blocks = (
        "\n".join([type(message).__name__, *(frame.hex(" ") for frame in encode(message))]) for message in messages
    )
    return "\n\n".join(blocks) + "\n"


def read(version: int) -> dict[str, list[bytes]]:
    text = Path(__file__).with_name(f"v{version}.txt").read_text(encoding="ascii")
    blocks = (block.split("\n") for block in text.strip().split("\n\n"))
    return {name: [bytes.fromhex(frame) for frame in frames] for name, *frames in blocks}


if __name__ == "__main__":
    sys.stdout.write(write(SAMPLES))
