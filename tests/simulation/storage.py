"""The dispatcher's disk, modelled: what a transaction wrote is there for ever, and nothing else is.

What belongs here: the contract of `surveil.store` in as few lines as possible. What does not: when
transactions happen (dispatcher).

The contract: one transaction takes all changes of a batch or none; it refuses a writer whose epoch is not the
newest; a record that is `new` must not exist and one that is `changed` must; bytes of a log count only once a
transaction took them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from surveil.core.model import GIVEN_UP, VERDICTS, Attempt, AttemptId, Build, Job, LogEnd, Record, Runner
from surveil.core.state import Changes
from surveil.frozen import replace

PAST_BUILDS = 2
"""Of so few settled builds, so that runners come back with attempts of older ones as well."""

Id: TypeAlias = "int | str | AttemptId"


class DeposedError(Exception):
    """Another dispatcher has taken over; this one must not write."""


class ModelStore:
    """All that was ever committed."""

    def __init__(self) -> None:
        self.epoch = 0
        self.builds: dict[int, Build] = {}
        self.jobs: dict[str, Job] = {}
        self.attempts: dict[AttemptId, Attempt] = {}
        self.runners: dict[str, Runner] = {}
        self.mids: dict[str, int] = {}
        self.logs: dict[AttemptId, bytes] = {}

    def claim(self) -> int:
        """Become the one writer."""
        self.epoch += 1
        return self.epoch

    def commit(self, epoch: int, changes: Changes, logs: Mapping[AttemptId, bytes]) -> None:
        """Take everything, or nothing.

        Raises:
            DeposedError: the epoch is not the newest.
        """
        if epoch != self.epoch:
            raise DeposedError
        for record in changes.new:
            self._keep(record, new=True)
        for record in changes.changed:
            self._keep(record, new=False)
        for end in changes.log_ends:
            self._end_log(end)
        for attempt, data in logs.items():
            self.logs[attempt] = self.logs.get(attempt, b"") + data

    def _end_log(self, end: LogEnd) -> None:
        known = self.attempts.get((end.job, end.number))
        if known is not None and known.runner == end.runner and known.state in GIVEN_UP and not known.released:
            self.attempts[known.id] = replace(known, released=True, log_bytes=end.log_bytes)

    def _keep(self, record: Record, *, new: bool) -> None:
        table = self.table_of(record)
        assert (record.id not in table) == new, f"{record.id} is {'not ' * (not new)}new, and the change says otherwise"
        table[record.id] = record
        if new and isinstance(record, Build):
            assert record.mid not in self.mids, f"{record.mid} made a second build"
            self.mids[record.mid] = record.id

    def table_of(self, record: Record) -> dict[Id, Record]:
        tables: dict[type[Record], dict[Id, Record]] = {
            Build: self.builds,  # type: ignore[dict-item]  # each table has its own kind of id and record
            Job: self.jobs,  # type: ignore[dict-item]
            Attempt: self.attempts,  # type: ignore[dict-item]
            Runner: self.runners,  # type: ignore[dict-item]
        }
        return tables[type(record)]

    def open_records(self) -> list[Record]:
        """What a starting dispatcher loads: everything of open builds, what runners of settled ones may come back with,
        and every runner.
        """
        builds = [build for build in self.builds.values() if build.state not in VERDICTS]
        jobs = [self.jobs[job_id] for build in builds for job_id in build.jobs]
        attempts = [self.attempts[job.id, number] for job in jobs for number in range(1, job.attempt + 1)]
        past = [each for each in self.attempts.values() if each.state in GIVEN_UP and not each.released]
        newest = [build for build, known in self.builds.items() if known.state in VERDICTS][-PAST_BUILDS:]
        past = [each for each in past if int(each.job.partition("/")[0]) in newest]
        return [*builds, *jobs, *attempts, *past, *self.runners.values()]

    @property
    def next_build(self) -> int:
        return max(self.builds, default=0) + 1
