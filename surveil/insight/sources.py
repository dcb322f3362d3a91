"""Where in the sources a test went wrong, by what its report says.

What belongs here: finding a file and a line in the words of a test runner. What does not: reading reports (`junit`,
`tap`). Pure.

Reports have no field for it that all runners fill, and nearly all say it in words, as `tests/test_it.py:12: Error`.
A place that is not within the work tree is none: an absolute path is of the machine on which it ran.
"""

from __future__ import annotations

import re
from typing import Final

from surveil.frozen import dataclass

LOOKED_AT_CHARACTERS: Final = 64 * 1024
_ENDS: Final = (
    "bash|bats|c|cc|clj|cjs|cpp|cs|cxx|dart|ex|exs|feature|go|groovy|h|hpp|hs|java|jl|js|jsx|kt|kts|lua|m|mjs|ml|mm|mts|"
    "php|pl|py|pyx|r|rb|rs|scala|sh|swift|t|ts|tsx|vue|zig"
)
_PLACE: Final = re.compile(
    rf"(?<![\w./\\:@~%+-])((?:[\w.+@-]{{1,100}}/){{0,20}}[\w.+@-]{{1,100}}\.(?:{_ENDS})):([1-9][0-9]{{0,6}})(?![0-9\w.])"
)
PATH_CHARACTERS_MAX: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A line of a file of the work tree."""

    path: str
    line: int


def source_in(*texts: str) -> Source | None:
    """The first place that these name; None where they name none."""
    for text in texts:
        for found in _PLACE.finditer(text[:LOOKED_AT_CHARACTERS]):
            path = found[1].removeprefix("./")
            if len(path) <= PATH_CHARACTERS_MAX and not {"", ".", ".."} & set(path.split("/")):
                return Source(path=path, line=int(found[2]))
    return None
