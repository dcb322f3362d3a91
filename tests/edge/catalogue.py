"""The table of all edge repositories, and their making in one folder.

What belongs here: the list, and what is around the repositories (the canary). What does not: single repositories (the
modules beside this one).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from tests.edge import damage, histories, hostile, pipelines, refs, texts, trees
from tests.edge.bench import SMALL, Bench, Scale
from tests.edge.fates import Edge

EDGES: Final[tuple[Edge, ...]] = (
    *refs.EDGES, *histories.EDGES, *texts.EDGES, *trees.EDGES, *pipelines.EDGES, *damage.EDGES, *hostile.EDGES,
)  # fmt: skip
REPOSITORIES: Final = "repositories"
"""The folder below which they all are, beside the canary."""


@dataclass(frozen=True)
class Made:
    """A repository that was made, and its row."""

    edge: Edge
    bench: Bench

    @property
    def path(self) -> Path:
        return self.bench.path


def make_edges(folder: Path, edges: Sequence[Edge] = EDGES, scale: Scale = SMALL) -> list[Made]:
    """Make these repositories below `folder`, each under its name."""
    canary = folder / "canary"
    if not canary.exists():
        lay_out(folder)
    made = []
    for edge in edges:
        path = folder / REPOSITORIES / edge.name
        bench = Bench(path, canary, folder / "marker", scale, edge.bare, edge.hash_name)
        bench.start()
        edge.make(bench)
        made.append(Made(edge, bench))
    return made


def lay_out(folder: Path) -> None:
    """Make what is around the repositories."""
    (folder / "canary").mkdir(parents=True)
    (folder / "canary" / "kept").write_text("nobody may change this\n")


def _state(folder: Path) -> str:
    """All that is in a folder, its names, kinds and contents, as one short text."""
    digest = sha256()
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        body = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        digest.update(repr((path.relative_to(folder), status.st_mode, status.st_mtime_ns, body)).encode())
    return digest.hexdigest()


@contextmanager
def nothing_touched(folder: Path) -> Iterator[None]:
    """Nothing that the repositories aimed at was hit: the canary is as it was, and no program made the marker."""
    lay_out(folder)
    before = _state(folder / "canary")
    yield
    assert not (folder / "marker").exists(), "a repository made us start a program"
    assert _state(folder / "canary") == before, "a repository made us write outside"
