"""Words for how builds, jobs, steps and tests end, in groups, for all who know them as words.

What belongs here: groups. What does not: the states themselves (`model`, `surveil.protocol`). Imports nothing, so that
the help of a command may import it.
"""

from __future__ import annotations

from typing import Final

WRONG: Final = frozenset({"failed", "errored"})
"""What somebody has to look into."""
ABOUT_BUILDS: Final = ("broken", "still failing", "fixed", "passed")
"""What a finished build can mean for its ref."""
