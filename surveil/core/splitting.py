"""A job that is split into shards: cells of a matrix with one more axis.

What belongs here: that axis. What does not: how many shards are enough, and who gets what (`shards`).
"""

from __future__ import annotations

from surveil.core.declared import JobDeclaration, Text
from surveil.frozen import replace
from surveil.protocol import SHARD


def split(job: JobDeclaration, decided: int) -> JobDeclaration:
    """The job with its shards as values of its matrix: as many as it says itself, else as were decided."""
    if job.shards is None:
        return job
    count = job.shards.count or max(1, min(decided, job.shards.most))
    numbers = tuple(Text(str(number), job.name.place) for number in range(1, count + 1))
    return replace(job, matrix={**job.matrix, SHARD: numbers})


def shards_of(job: JobDeclaration) -> int:
    """How many shards a job has that is split; 0 where it is none."""
    return 0 if job.shards is None else len(job.matrix[SHARD])


def with_room(job: JobDeclaration, cells: int) -> int:
    """How many cells a job may come to that has so many now: whatever is decided later, there is room for it."""
    if job.shards is None or job.shards.count:
        return cells
    return cells // shards_of(job) * job.shards.most
