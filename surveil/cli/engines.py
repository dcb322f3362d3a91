"""What `doctor` says of the container engine of this machine.

What belongs here: the engine, and the holes that are known in what starts its containers. What does not: all other
findings (`findings`), and talking to engines (`surveil.execute`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from surveil.cli.findings import Finding, Health
from surveil.errors import InfrastructureError

RUNC: Final = "runc"
RUNC_OLDEST: Final = (1, 2, 8)
RUNC_FIXED: Final = {(1, 2): 8, (1, 3): 3}
"""The patch level of each release line of runc from which on a container cannot get out through what it mounts
(CVE-2025-31133, CVE-2025-52565, CVE-2025-52881); lines before 1.2 have none.
"""


def check_engine() -> Iterator[Finding]:
    """Whether jobs can have containers here."""
    from surveil.execute.containers.container import AUTO, chosen

    found, why = chosen(AUTO)
    if found is None:
        health = Health.OK if "socket is there" in why else Health.WEAK
        next_ = "" if health is Health.OK else "docker version"
        yield Finding(name="containers", health=health, sentence=f"not offered here: {why}", next=next_)
        return
    try:
        versions = found.versions()
    except InfrastructureError as error:
        yield Finding(name="containers", health=Health.WEAK, sentence=f"{error}.", next="docker version")
        return
    finally:
        found.close()
    yield from of_versions(versions)


def of_versions(versions: dict[str, str]) -> Iterator[Finding]:
    """What is to be said of an engine with these parts."""
    engine = next((f"{name} {versions[name]}" for name in versions if name.endswith("Engine")), "an engine")
    runc = versions.get(RUNC, "")
    if not runc or is_fixed(runc):
        yield Finding(name="containers", health=Health.OK, sentence=f"run by {engine}")
        return
    sentence = (
        f"{engine} starts containers by runc {runc}, from which a hostile image may get out (CVE-2025-31133) unless "
        "this system's package has the fix."
    )
    yield Finding(name="containers", health=Health.WEAK, sentence=sentence, next="apt install --only-upgrade runc")


def is_fixed(version: str) -> bool:
    """Whether a version of runc is free of the known holes, by its number."""
    match = re.match(r"([0-9]+)\.([0-9]+)\.([0-9]+)", version)
    if match is None:
        return False
    major, minor, patch = (int(part) for part in match.groups())
    return patch >= RUNC_FIXED[major, minor] if (major, minor) in RUNC_FIXED else (major, minor, patch) > RUNC_OLDEST
