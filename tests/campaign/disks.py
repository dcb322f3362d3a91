"""A role's data folder on a disk of ours, that fails when it is told to and forgets what was not on its platter.

What belongs here: putting a folder on such a disk and taking it off again, while its host is down. What does not: the
disk (`tests.disks`), and when it fails (`faults.storage`).
"""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from random import Random

from tests.campaign.cluster import Cluster, Role, until
from tests.disks.mounted import Mounted, mounted


class Platter:
    """The disk of one role, from a crash of its host to the next one."""

    def __init__(self, cluster: Cluster, role: Role) -> None:
        self._cluster = cluster
        self._role = role
        self._mount = ExitStack()
        self._before = role.host.folder / "before"
        self._left = role.host.folder / "left"
        self.disk: Mounted

    def insert(self) -> None:
        """Let the host crash, and start the role again with its data on this disk."""
        role = self._role
        self._down()
        role.data.rename(self._before)
        self.disk = self._mount.enter_context(mounted(role.data, source=self._before))
        self.start()

    def lose_power(self, dice: Random) -> None:
        """Let the host lose its power, and with it what was not on the platter; what is left is an ordinary folder."""
        self._role.host.pull_plug()
        self.disk.lose_power(dice.getrandbits(32), self._left)
        self._remove()

    def take_off(self) -> None:
        """Let the host crash once more, and go on from all that its disk has, as an ordinary folder."""
        if self._role.host.is_up:
            self._down()
        self.disk.work()
        self.disk.copy(self._left)
        self._remove()

    def start(self) -> None:
        """Start the role, and wait until it works."""
        before = self._incarnation()
        self._role.start()
        if self._role is self._cluster.dispatcher:
            self._cluster.wait_ready()
        elif self._role in self._cluster.runners:
            # That the crash was not even noticed yet is no sign of life.
            assert until(lambda: self._incarnation() > before), f"{self._role.name} did not come back"

    def _incarnation(self) -> int:
        known = (each for each in self._cluster.reader.runners() if each.name == self._role.name and each.online)
        return next((each.incarnation for each in known), 0)

    def _down(self) -> None:
        self._forget()
        self._role.host.pull_plug(silent=False)

    def _remove(self) -> None:
        self._forget()
        self._mount.close()
        self._role.data.rmdir()
        self._left.rename(self._role.data)
        shutil.rmtree(self._before)

    def _forget(self) -> None:
        """Whoever reads the database here opens it anew."""
        if self._role is self._cluster.dispatcher:
            self._cluster.reader.close()
