"""Starts surveil as on a machine that was switched off since: its boot has another name.

What belongs here: that name. What does not: everything else.
"""

from surveil.cli import main
from surveil.execute import attempts

BOOT = "00000000-0000-4000-8000-000000000000"

if __name__ == "__main__":
    attempts._boot_id = lambda: BOOT  # noqa: SLF001  # The one seam of this test.
    main()
