"""A real dispatcher that fails to judge the first handshake of each key.

What belongs here: patching the judgement from outside. What does not: anything that the dispatcher does about it.
"""

from collections.abc import Sequence

from surveil.cli import main
from surveil.net.zap import ZapHandler

_judge = ZapHandler._judge  # noqa: SLF001  a failure of ours is nothing that anybody could cause from outside
_seen: set[bytes] = set()


def _failing(self: ZapHandler, request: Sequence[bytes]) -> tuple[bytes, bytes, str]:
    key = request[6]
    if key not in _seen:
        _seen.add(key)
        raise RuntimeError("the dispatcher fails to judge this key once")
    return _judge(self, request)


if __name__ == "__main__":
    ZapHandler._judge = _failing  # type: ignore[method-assign]  # noqa: SLF001
    main()
