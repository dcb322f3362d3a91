"""Images made on the spot from this machine's own programs.

What belongs here: what is in them. What does not: the engines that hold them.
"""

from __future__ import annotations

import functools
import io
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import docker

PROBE: Final = "probe:1"
"""All of busybox, whose `sh` is an ash."""
DASH: Final = "dash:1"
BASH: Final = "bash:1"
BARE: Final = "bare:1"
"""One program, and no shell."""
_PROGRAMS: Final = ("cat", "kill", "ls", "ps", "seq", "sleep", "touch", "true")


def make_images(api: docker.APIClient) -> None:
    """Give an engine all of them."""
    busybox = found("busybox")
    import_image(api, PROBE, {"bin/busybox": busybox}, links=links_of(busybox))
    for name, shell in ((DASH, "dash"), (BASH, "bash")):
        programs = {"bin/sh": found(shell), **{f"bin/{each}": found(each) for each in _PROGRAMS}}
        libraries = {str(path).lstrip("/"): path for path in libraries_of(*programs.values())}
        import_image(api, name, programs | libraries)
    import_image(api, BARE, {"bin/busybox": busybox})


def links_of(busybox: Path) -> dict[str, str]:
    """All the programs that busybox is."""
    words = subprocess.run([busybox, "--list"], check=True, capture_output=True, text=True).stdout.split()
    return {f"bin/{word}": "busybox" for word in words if word != "busybox"}


def found(program: str) -> Path:
    """Where this machine has a program."""
    return Path(str(shutil.which(program))).resolve()


@functools.cache
def libraries_of(*programs: Path) -> frozenset[Path]:
    """What they need besides, all of it."""
    words = subprocess.run(["ldd", *programs], check=True, capture_output=True, text=True).stdout.split()
    # Of several, each is named before what it needs.
    return frozenset(Path(word) for word in words if word.startswith("/") and not word.endswith(":"))


def import_image(
    api: docker.APIClient,
    name: str,
    files: dict[str, Path],
    links: dict[str, str] | None = None,
    says: Sequence[str] = ('ENTRYPOINT ["/bin/no-such-program"]', 'CMD ["nor-this"]'),
) -> None:
    """Make an image of these files, by their paths in there, which says this of how it is to be run."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", dereference=True) as tar:
        for folder, mode in (("tmp", 0o1777), ("etc", 0o755), ("bin", 0o755)):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            tar.addfile(entry)
        for target, path in files.items():
            tar.add(path, target)
        for link, aim in (links or {}).items():
            entry = tarfile.TarInfo(link)
            entry.type, entry.linkname = tarfile.SYMTYPE, aim
            tar.addfile(entry)
    repository, tag = name.split(":")
    changes = ["ENV FROM_IMAGE=yes", "ENV PATH=/bin", *says]
    api.import_image_from_data(packed.getvalue(), repository=repository, tag=tag, changes=changes)
