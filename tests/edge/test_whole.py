"""All edge repositories on one installation, as `surveil up` runs it: each has the verdict that the table says, and
nothing that they hold does anything to the screen.
"""

import time
from collections.abc import Mapping
from typing import Any, Final

import pytest

from tests.corpora.naughty import harm
from tests.edge.bench import PIPELINE
from tests.edge.catalogue import EDGES, REPOSITORIES, Made, make_edges, nothing_touched
from tests.edge.fates import Built, Fate, NoTree, Quiet, Told, Unread
from tests.edge.outcomes import fits
from tests.edge.watching import by_name, wanted_scale
from tests.system.processes import Place, Running, eventually
from tests.system.repository import commit, make_repository

PATIENCE_S: Final = 500
LOOK_S: Final = 1.0
SETTINGS: Final = """
# What the machine can make no work tree of is tried once, and held against the commit alone: there are many of them.
policy.errored_max = 1
policy.black_hole_failures = 1000
"""

pytestmark = pytest.mark.timeout(2 * PATIENCE_S + 200)


class Installation:
    """What a dispatcher knows of repositories: their builds, and what is wrong with them."""

    def __init__(self, place: Place, made: Mapping[str, Made]) -> None:
        self.place = place
        self.made = made
        self.builds: list[dict[str, Any]] = []
        self.problems: dict[str, str] = {}
        self.since = 0
        """Builds up to this number are of the past."""

    def look(self) -> None:
        found = self.place.ask("builds", "--limit", "1000")
        self.builds = [build for build in found if build["id"] > self.since]
        self.problems = {each["repo"]: each["problem"] or "" for each in self.place.ask("status")["watching"]}

    def fate(self, repo: str) -> Fate:
        """What came of one repository, with the words that people read."""
        refs = []
        for build in (build for build in self.builds if build["repo"] == repo):
            if not build["jobs"] and build["state"] == "errored":
                return Told(" ".join([build["reason"], *build["complaints"]]))
            if build["state"] != "passed":
                reasons = [attempt["reason"] for job in build["jobs"] for attempt in job["attempts"]]
                return NoTree(" ".join([build["state"], *reasons]))
            refs.append(build["ref"])
        if refs:
            return Built(tuple(refs))
        return Unread(self.problems[repo]) if self.problems.get(repo) else Quiet()

    def comes_to(self, wanted: Mapping[str, Fate], up: Running) -> None:
        """Wait for these fates."""
        until = time.monotonic() + PATIENCE_S
        while True:
            self.look()
            found = {repo: self.fate(repo) for repo in wanted}
            wrong = {repo: found[repo] for repo, fate in wanted.items() if not fits(found[repo], fate)}
            if not wrong:
                return
            assert up.process.poll() is None, up.text[-4_000:]
            if time.monotonic() > until:
                names = [f"{self.made[repo].edge.name}: {fate}, and not {wanted[repo]}" for repo, fate in wrong.items()]
                pytest.fail("\n".join(names))
            time.sleep(LOOK_S)

    def goes_on(self) -> None:
        """What is there now is of the past."""
        self.since = max((build["id"] for build in self.builds), default=0)


def test_of_each_edge_repository_comes_the_verdict_that_the_table_says(place: Place) -> None:
    folder = place.folder / "edges"
    files = {"__surveil__yml": PIPELINE.decode(), "here": "x"}
    sound = make_repository(folder / REPOSITORIES / "a-sound-one", **files)
    (place.folder / "settings.toml").write_text(SETTINGS)
    words = ("--config", "settings.toml", "--interval", "2s", "--ref", "*", "--ref", "tags/*")
    with nothing_touched(folder):
        made = by_name(make_edges(folder, [edge for edge in EDGES if not edge.hangs], wanted_scale()))
        installation = Installation(place, made)
        with place.up(*words, *map(str, made), str(sound)) as up:
            up.wait_for("is up; Ctrl-C ends it.")
            fates = {repo: each.edge.local for repo, each in made.items()}
            installation.comes_to(fates, up)
            installation.goes_on()
            later: dict[str, Fate] = {}
            for repo, each in made.items():
                if each.edge.turn is not None and each.edge.then is not None and not isinstance(fates[repo], Unread):
                    each.edge.turn(each.bench)
                    later[repo] = each.edge.then
            installation.comes_to(later, up)
            commit(sound, "Second")
            installation.comes_to({str(sound): Built()}, up)
            # Nothing more came of anybody else.
            assert {build["repo"] for build in installation.builds} <= {*later, str(sound)}
            assert up.interrupt() == 0
        assert harm(up.text) == ""
    assert eventually(lambda: place.processes() == [])
