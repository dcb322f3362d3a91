"""The images that jobs name: how a name has to look, what is filled into it, and which one an attempt had.

What belongs here: from a declared image to the one in a job spec, and how attempts say what they ran in. What does not:
registries, engines and containers (`surveil.execute`).
"""

from __future__ import annotations

import re
from typing import Final

from surveil.core.declared import ImageDeclaration
from surveil.core.filling import Filler
from surveil.core.spelling import quoted
from surveil.protocol import ImageSpec

NAME: Final = re.compile(
    r"(?:[A-Za-z0-9.-]{1,253}(?::[0-9]{1,5})?/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?"
)
"""A registry and its port, a path, a tag and a digest, of which only the path is needed."""
NAME_CHARACTERS_MAX: Final = 512
_CONTAINER: Final = "container"


def filled(declared: ImageDeclaration, filler: Filler) -> ImageSpec:
    """The image with its matrix values; complains about a name that can be nobody's."""
    name = filler.fill(declared.name)
    if len(name) > NAME_CHARACTERS_MAX or NAME.fullmatch(name) is None:
        hint = "write it as registries do, for example `python:3.12` or `ghcr.io/you/tool@sha256:...`"
        filler.complain(f"{quoted(name)} is not the name of an image", declared.name.place, hint)
    return ImageSpec(
        name=name,
        pull=declared.pull,
        cpu_thousandths=declared.cpu_thousandths,
        memory_bytes=declared.memory_bytes,
        processes=declared.processes,
        root=declared.root,
        disk_bytes=declared.disk_bytes,
    )


def isolation_by(digest: str, note: str = "") -> str:
    """What an attempt says of its isolation that ran in a container of the image with this digest."""
    return f"{_CONTAINER} {digest} {note}".rstrip()


def digest_of(isolation: str) -> str:
    """The digest in what an attempt says of its isolation, by which the very same image is found again; empty if it
    ran in no container, or does not say.
    """
    kind, _, digest = isolation.partition(" ")
    return digest.partition(" ")[0] if kind == _CONTAINER else ""
