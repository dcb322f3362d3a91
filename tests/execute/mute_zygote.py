"""A zygote that starts keepers and tells nobody, as one that was stopped in between."""

import signal

from surveil.execute.keeper import zygote


def _pause(*_: object) -> None:
    while True:
        signal.pause()


if __name__ == "__main__":
    zygote._answer = _pause  # type: ignore[assignment]  # noqa: SLF001  # the very moment is wanted
    zygote.main()
