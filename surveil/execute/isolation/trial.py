"""Tries a sandbox in a process of its own: builds it, enters it and runs a program in there, as a keeper would.

What belongs here: one such try, whose exit code says whether it works and whose output why not. What does not: what is
tried, and what is made of it (`isolating`). It is a process of its own because a process with threads, as an agent is,
should not fork.
"""

from __future__ import annotations

import json
import os
import sys

from surveil.execute.keeper import offspring
from surveil.execute.keeper.enclosure import Enclosure, SandboxError


def main() -> int:
    """Try the command line that comes on the input as JSON."""
    argv = json.load(sys.stdin)
    offspring.adopt_orphans()
    offspring.be_private()
    enclosure = Enclosure(argv)
    problem = ""
    try:
        place = offspring.Surroundings(enter=enclosure.ready())
        pid = offspring.start(["true"], {"PATH": os.defpath}, "/", sys.stdout.fileno(), place)
        _, status = os.waitpid(pid, 0)
        if status:
            problem = f"a program in it ends with {os.waitstatus_to_exitcode(status)}"
    except SandboxError as error:
        problem = str(error)
    except OSError as error:
        problem = f"{error.filename}: {error.strerror}"
    enclosure.end()
    offspring.kill_all()
    sys.stdout.write(problem)
    return int(bool(problem))


if __name__ == "__main__":
    sys.exit(main())
