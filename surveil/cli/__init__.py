"""The command line: what people type, what they see, and what a script gets back.

What belongs here: `main`, where every command's process begins and ends. What does not: everything that only some
commands need; their modules are imported when they are typed, so that `surveil --help` stays quick. Nor how things look
(`surveil.screen`).

* `grammar` knows the commands' names and finds their modules.
* `options` are the flags that many share, `flags` those that are a role's settings, and `settings` what they come to.
* `connecting` finds the dispatcher that is meant, `blocking` asks it.
* `shells` answers a shell that asks for completions, with what `completing` finds.
* `streams` is for those that are closed, full, or read by nobody.
* `failing` turns errors into a sentence and an exit code.
* The other modules hold the commands, by what people come for.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command that this process was started with, and end the process with its exit code."""
    try:
        from surveil.cli.streams import stand_in

        stand_in()
        from surveil.cli.failing import run_to_exit_code
        from surveil.cli.grammar import root
    except KeyboardInterrupt:
        # Before there is anything that could say it better.
        sys.stderr.write("surveil: Interrupted.\n")
        sys.exit(130)
    sys.exit(run_to_exit_code(root))
