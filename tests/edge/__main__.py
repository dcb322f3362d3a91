"""Makes edge repositories: `python -m tests.edge FOLDER [NAME...] [--full]`, or lists them with `--list`."""

import argparse
import sys
import time
from pathlib import Path

from tests.edge.bench import FULL, SMALL
from tests.edge.catalogue import EDGES, REPOSITORIES, make_edges
from tests.edge.fates import Edge

EXAMPLES = """examples:
  python -m tests.edge /tmp/edges                     all of them, the large ones small
  python -m tests.edge /tmp/edges many-refs --full    one, with 100 000 refs
  python -m tests.edge --list                         the table: each one, and what must come of it
"""


def main(words: list[str]) -> int:
    """Make or list repositories; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.edge", description=__doc__, epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("folder", nargs="?", type=Path, metavar="FOLDER", help="an absent folder to make them in")
    parser.add_argument("names", nargs="*", metavar="NAME", help="those to make; all, if none is named")
    parser.add_argument("--full", action="store_true", help="make the large ones as large as their names say")
    parser.add_argument("--list", action="store_true", help="list them, and make none")
    options = parser.parse_args(words)
    if options.list:
        for edge in EDGES:
            sys.stdout.write(row(edge) + "\n")
        return 0
    if options.folder is None or options.folder.exists():
        parser.error("name a folder that is not there yet")
    strange = set(options.names) - {edge.name for edge in EDGES}
    if strange:
        parser.error(f"there is no {', '.join(sorted(strange))}; see --list")
    began = time.monotonic()
    chosen = [edge for edge in EDGES if not options.names or edge.name in options.names]
    make_edges(options.folder.absolute(), chosen, FULL if options.full else SMALL)
    took_s = time.monotonic() - began
    sys.stdout.write(f"{len(chosen)} repositories in {options.folder / REPOSITORIES}, in {took_s:.1f} s\n")
    return 0


def row(edge: Edge) -> str:
    """One row of the table."""
    later = f"; then {edge.then}" if edge.then is not None else ""
    served = f" (served: {edge.remote})" if edge.remote is not None else ""
    return f"{edge.name:26} {edge.what}\n{'':26}   {edge.local}{served}{later}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
