"""Podman's service, which speaks as Docker does: its socket and data lie below one folder.

What belongs here: what differs from Docker's engine. What does not: starting and stopping it (`docker`).
"""

from __future__ import annotations

import os
import shutil
from typing import Final

from tests.engines.docker import Docker

PACKAGES: Final = "apt install podman busybox-static"


def missing() -> str:
    """Why there can be no Podman here, with what to type; empty if there can."""
    if os.geteuid() != 0:
        return "Podman is started by root only here; run the tests as root"
    return "" if shutil.which("podman") and shutil.which("busybox") else f"type `{PACKAGES}`"


class Podman(Docker):
    """One service of Podman below `folder`."""

    def _command(self) -> tuple[list[str], dict[str, str]]:
        root = self.folder
        (root / "storage.conf").write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{root}/graph"\nrunroot = "{root}/run"\n'
        )
        (root / "containers.conf").write_text(
            '[containers]\nnetns = "none"\n[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
        )
        environment = {
            "CONTAINERS_STORAGE_CONF": f"{root}/storage.conf",
            "CONTAINERS_CONF": f"{root}/containers.conf",
            "TMPDIR": str(root),
        }
        return ["podman", "system", "service", "--time", "0", self.address], environment
