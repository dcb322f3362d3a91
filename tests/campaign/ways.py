"""The ways of runners and observers to the dispatcher: one proxy for each, at an address of its own.

What belongs here: the one seam between the cluster and the proxy. What does not: what a proxy does (proxy).
"""

from tests.campaign.hosts import WAYS, ip
from tests.campaign.proxy import Proxy

__all__ = ["Proxy", "open_way"]


def open_way(number: int, dispatcher: str, ports: tuple[int, ...], seed: int) -> Proxy:
    """A proxy at `10.77.1.NUMBER`, for the host of that number; to be entered with `with`."""
    ip([f"addr add 10.77.1.{number}/32 dev {WAYS}"])
    return Proxy(f"10.77.1.{number}", dispatcher, ports, seed)
