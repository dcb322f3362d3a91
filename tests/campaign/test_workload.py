"""The people of the campaign: when they think that everything is over."""

from random import Random
from types import SimpleNamespace
from typing import Any, cast

from tests.campaign.cluster import Cluster
from tests.campaign.evidence import Push
from tests.campaign.workload import Workload


class Begins:
    """A store in which a build begins at the moment in which it is looked for."""

    def __init__(self) -> None:
        self.running = 0

    def counts(self) -> Any:
        return SimpleNamespace(blocked=0, held=0, queued=0, running=self.running)

    def build_of_mid(self, _mid: str) -> object:
        self.running = 1
        return object()


def test_a_build_that_begins_meanwhile_is_not_over() -> None:
    settings = SimpleNamespace(step_python="python3", lasting_s=1.0)
    cluster = SimpleNamespace(settings=settings, truth=SimpleNamespace(address=""), reader=Begins())
    workload = Workload(cast("Cluster", cluster), Random(1))
    workload.pushes.append(Push(repo="/srv/a", ref="refs/heads/main", sha="0" * 40, shape="quick", at=0))
    assert not workload.is_over()
