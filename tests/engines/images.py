"""Images made on the spot from this machine's own programs.

What belongs here: what is in them. What does not: the engines that hold them.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
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
    busybox = Path(str(shutil.which("busybox")))
    words = subprocess.run([busybox, "--list"], check=True, capture_output=True, text=True).stdout.split()
    _import(
        api, PROBE, {"bin/busybox": busybox}, links={f"bin/{word}": "busybox" for word in words if word != "busybox"}
    )
    for name, shell in ((DASH, "dash"), (BASH, "bash")):
        programs = {"bin/sh": _found(shell), **{f"bin/{each}": _found(each) for each in _PROGRAMS}}
        libraries = {str(path).lstrip("/"): path for each in programs.values() for path in _libraries(each)}
        _import(api, name, programs | libraries)
    _import(api, BARE, {"bin/busybox": busybox})


def _found(program: str) -> Path:
    return Path(str(shutil.which(program))).resolve()


def _libraries(program: Path) -> list[Path]:
    lines = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout.split()
    return [Path(word) for word in lines if word.startswith("/")]


def _import(api: docker.APIClient, name: str, files: dict[str, Path], links: dict[str, str] | None = None) -> None:
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
    changes = ["ENV FROM_IMAGE=yes", "ENV PATH=/bin", 'ENTRYPOINT ["/bin/no-such-program"]', 'CMD ["nor-this"]']
    api.import_image_from_data(packed.getvalue(), repository=repository, tag=tag, changes=changes)
