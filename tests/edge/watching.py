"""What edge repositories are called once they are to be watched, and how large they are to be for it.

What belongs here: their names, and the refusal of those that are not watched at all. What does not: watching them (the
tests).
"""

import os
from collections.abc import Iterable

from surveil.mirror.trouble import MirrorError
from surveil.mirror.typed import resolve
from tests.edge.bench import FULL, SMALL, Scale
from tests.edge.catalogue import REPOSITORIES, Made
from tests.edge.fates import Unread
from tests.edge.outcomes import fits


def wanted_scale() -> Scale:
    """How large the large ones are in this test run."""
    return FULL if os.environ.get("EDGES") == "full" else SMALL


def by_name(made: Iterable[Made], base: str = "") -> dict[str, Made]:
    """The repositories by the names that an observer has for them: their paths, or addresses below `base`.

    Those that are refused by name, before anything is watched, are not among them; the table says so of each.
    """
    found: dict[str, Made] = {}
    refused: dict[str, bool] = {}
    for each in made:
        inner = "" if each.bench.bare else "/.git"
        repo = f"{base}/{REPOSITORIES}/{each.edge.name}{inner}" if base else str(each.path)
        try:
            key = resolve(repo, "/").key
        except MirrorError as problem:
            refused[each.edge.name] = fits(Unread(str(problem)), each.edge.served if base else each.edge.local)
        else:
            found[key] = each
    assert all(refused.values()), refused
    return found
