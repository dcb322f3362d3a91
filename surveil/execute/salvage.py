"""What a killed keeper left of its services' logs, put where it would have put it: behind the log of the steps.

What belongs here: doing the last part of a keeper's work in its place. What does not: what these files are
(`keeper.servicelog`), and ending what a killed keeper left running (`unreadable`, `processes`).

A service's place in the log is noted before its words are put there. So an agent that is killed meanwhile loses some of
them, and never puts any there twice.
"""

from __future__ import annotations

import contextlib

from surveil.clock import boot_ms
from surveil.execute import files
from surveil.execute.attempts import Folder
from surveil.execute.keeper.servicelog import path_of, put_files
from surveil.execute.logs.spool import SpoolReader, SpoolWriter
from surveil.say import Voice

voice = Voice("execute")


def salvage(folder: Folder) -> bool:
    """Put the logs of services behind that of the steps, where nobody has done so; whether there was anything to do.

    Nothing of the attempt may run any more. A disk that takes no more is said, and the rest is lost.
    """
    status, spec = folder.status(), folder.assign.spec
    if not spec.services or status is None or status.outcome or not folder.same_boot:
        return False
    try:
        with contextlib.closing(_writer(folder)) as spool:
            for number in range(len(spec.services)):
                status = _put(folder, status, number, spool)
            spool.sync()
    except OSError as error:
        job, attempt = folder.id
        voice.warning("logs of services are lost", job=job, attempt=attempt, reason=str(error))
    return True


def _put(folder: Folder, status: files.Status, number: int, spool: SpoolWriter) -> files.Status:
    """Do it for one of them; how the attempt then stands."""
    at = len(folder.assign.spec.steps) + number
    if at < len(status.steps) and status.steps[at].log_at is None and status.steps[at].started_after_ms is not None:
        step = status.steps[at]._replace(log_at=spool.log_bytes)
        status = status._replace(steps=[*status.steps[:at], step, *status.steps[at + 1 :]])
        files.write_status(str(folder.path), status, sync=True)
        after_ms = max(0, boot_ms() - folder.accepted_boot_ms)
        put_files(path_of(str(folder.path), number), lambda data: spool.append(data, after_ms))
    return status


def _writer(folder: Folder) -> SpoolWriter:
    """Goes on behind the last of the log that is whole. Raises OSError."""
    path = str(folder.path / files.SPOOL)
    with contextlib.closing(SpoolReader(path)) as reader:
        reader.look()
        return SpoolWriter.behind(reader, path, boot_ms)
