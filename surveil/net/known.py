"""`dispatcher.json`: how a process knows its dispatcher from one start to the next.

What belongs here: the file's content, reading and writing it. What does not: keys (keys).

The dispatcher writes the file into its own data folder, with its process id, so that local tools find it; a runner or
observer writes one into its folder when it is enrolled.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from surveil.errors import InfrastructureError, NotFoundError, UsageError
from surveil.frozen import dataclass
from surveil.net.addresses import Address, parse_address
from surveil.net.keys import read_privately, write_privately
from surveil.sealing import sealed, unsealed

FILE_NAME: Final = "dispatcher.json"
FILE_BYTES_MAX: Final = 16 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownDispatcher:
    """Where a dispatcher is, which key it must show, and which cluster it leads. `pid` is set only by the dispatcher
    itself.
    """

    address: Address
    server_key: str
    cluster: str
    pid: int | None = None

    def save(self, data: Path) -> None:
        """Write the file into the folder `data`, whole or not at all.

        Raises:
            InfrastructureError: it cannot be written.
        """
        content = {
            "address": str(self.address),
            "server_key": self.server_key,
            "cluster": self.cluster,
            "pid": self.pid,
        }
        write_privately(data / FILE_NAME, sealed(content) + b"\n", replace=True)


def load_known(data: Path) -> KnownDispatcher:
    """Read the file in the folder `data`.

    Raises:
        NotFoundError: there is none, so no dispatcher has run there and nothing is enrolled there.
        InfrastructureError: it cannot be read, or does not hold what it must.
    """
    path = data / FILE_NAME
    if not path.exists():
        raise NotFoundError(
            f"{data} knows no dispatcher: start one there with 'surveil up' or 'surveil dispatcher', "
            "or join one with --join TOKEN"
        )
    try:
        content = unsealed(read_privately(path, FILE_BYTES_MAX))
        address, server_key, cluster = content["address"], content["server_key"], content["cluster"]
        pid = content.get("pid")
        if not all(isinstance(text, str) for text in (address, server_key, cluster)) or not isinstance(pid, int | None):
            raise TypeError("a value is of the wrong type")
        return KnownDispatcher(address=parse_address(address), server_key=server_key, cluster=cluster, pid=pid)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, UsageError) as error:
        raise InfrastructureError(f"{path} does not say where the dispatcher is: remove it and enrol again") from error
