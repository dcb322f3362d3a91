"""Concurrency groups: the jobs of a repository of which one runs at a time.

What belongs here: who is in a group and who holds it. What does not: who is next (ready, schedule), and what becomes of
those that a newer build makes needless (ending).

A group is held from the order to a runner until it is certain that the attempt's processes are gone: it ended, or its
lease ran out, which ends it on its runner as well, because a job of a group is exclusive. What is certain is not on
disk, so after a start of ours all groups are shut for as long as anybody may still trust an older lease.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

from surveil.core.model import VERDICTS, AttemptId, Job

GroupKey: TypeAlias = tuple[str, str]
"""A repository and the name of a group."""

GROUP_CHARACTERS_MAX: Final = 200
"""Of a group's name once its values are filled in. What is longer is cut: at worst two groups are one."""


class Groups:
    """The groups of the open jobs."""

    __slots__ = ("_held", "_holders", "_open", "shut_until_at")

    def __init__(self) -> None:
        self._open: dict[GroupKey, dict[str, int]] = {}
        """The jobs of each group that have no verdict, with their builds."""
        self._holders: dict[GroupKey, dict[AttemptId, None]] = {}
        self._held: dict[AttemptId, GroupKey] = {}
        self.shut_until_at = 0
        """Until when nothing of any group is handed out, because nobody knows who may hold it."""

    def __len__(self) -> int:
        return len(self._open) + len(self._held)

    def follow(self, job: Job) -> None:
        """Note whether a job of a group is open."""
        key = (job.repo, job.spec.concurrency)
        if job.state not in VERDICTS:
            self._open.setdefault(key, {})[job.id] = job.build
        elif job.id in (members := self._open.get(key, {})):
            del members[job.id]
            if not members:
                del self._open[key]

    def hold(self, job: Job, attempt: AttemptId) -> None:
        """An attempt at a job of a group has a runner."""
        key = (job.repo, job.spec.concurrency)
        self._holders.setdefault(key, {})[attempt] = None
        self._held[attempt] = key

    def free(self, attempt: AttemptId) -> None:
        """Nothing of this attempt runs any more."""
        key = self._held.pop(attempt, None)
        if key is not None:
            del self._holders[key][attempt]
            if not self._holders[key]:
                del self._holders[key]

    def holder(self, key: GroupKey) -> AttemptId | None:
        """Whose processes may be running, of all attempts at jobs of the group."""
        return next(iter(self._holders.get(key, ())), None)

    def is_open(self, key: GroupKey, now: int) -> bool:
        """Whether a job of the group may be handed out."""
        return key not in self._holders and now >= self.shut_until_at

    def opens_at(self, now: int) -> int | None:
        """When what is shut will be open, unless that is past or nobody waits for it."""
        return self.shut_until_at if self._open and self.shut_until_at > now else None

    def members(self, key: GroupKey) -> Mapping[str, int]:
        """The open jobs of a group, with their builds."""
        return self._open.get(key, {})

    def held(self) -> Iterator[tuple[AttemptId, GroupKey]]:
        """Every attempt that holds a group."""
        yield from self._held.items()
