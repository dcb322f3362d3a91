"""A disk that fails at one call: what was promised before and after is there, also after a loss of power."""

import errno
import random
from contextlib import closing
from pathlib import Path
from zlib import crc32

import pytest

from surveil.store import StoreError
from surveil.store.log_paths import log_stem
from surveil.store.logs import LogStore, read_log
from tests.disks.mounted import mounted
from tests.disks.needs import ON_A_DISK_OF_OURS
from tests.power.errors import WAYS, Way, strike

pytestmark = [
    pytest.mark.timeout(300),
    ON_A_DISK_OF_OURS,
]
CALLS_MAX = 12
"""Every way has more calls than this; `python -m tests.power.errors` strikes each one."""


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_call_that_fails_breaks_no_promise(tmp_path: Path, way: Way) -> None:
    struck = strike(tmp_path, way, random.Random(str(way)).randint(1, CALLS_MAX))
    assert struck.met > 0, "there was nothing to strike"
    assert struck.problems == [], struck.said


@pytest.mark.parametrize("suffix", ["log", "idx"])
def test_what_a_dispatcher_finds_after_a_sync_failed_is_on_the_platter_before_it_counts(
    tmp_path: Path, suffix: str
) -> None:
    body = b"line\n" * 1000
    with mounted(tmp_path / "disk") as disk:
        root = disk.folder / "logs"
        with closing(LogStore(root)) as logs:
            logs.append("1/test", 1, 0, body, crc=crc32(body), after_ms=0)
            logs.flush()
            logs.append("1/test", 1, len(body), body, crc=crc32(body), after_ms=1)
            disk.fail("sync", number=errno.EIO, path=rf"[.]{suffix}$", count=1)
            for _ in range(2):
                with pytest.raises(StoreError, match="could not make the logs durable"):
                    logs.flush()
        assert disk.met() == 1, "a second sync would be a lie"
        disk.work()
        with closing(LogStore(root)) as logs:
            logs.append("1/test", 1, len(body), body, crc=crc32(body), after_ms=1)
            assert list(logs.flush().values()) == [2 * len(body)]
            disk.lose_power(1, tmp_path / "left")
    found = read_log(log_stem(tmp_path / "left" / "logs", "1/test", 1), 0, 1 << 20)
    assert (found.data, found.damaged) == (2 * body, False)
