"""Edge repositories that are damaged: objects that are gone, cut short, turned around, or something else."""

import os
from functools import partial
from pathlib import Path
from typing import Final, Literal

from tests.edge.bench import FILE, Bench
from tests.edge.fates import Built, Edge, NoTree, Told, Unread

Part = Literal["commit", "tree", "pipeline", "file"]


def _parts(bench: Bench) -> dict[Part, str]:
    sound = {name: sha for _, name, sha in bench.sound()}
    tree = bench.tree(bench.sound())
    commit = bench.main(bench.commit(tree=tree, message=b"Whole\n"))
    return {"commit": commit, "tree": tree, "pipeline": sound[b".surveil.yml"], "file": sound[b"here"]}


def _gone(part: Part, bench: Bench) -> None:
    bench.loose(_parts(bench)[part]).unlink()


def _flipped(part: Part, bench: Bench) -> None:
    file = bench.loose(_parts(bench)[part])
    text = bytearray(file.read_bytes())
    text[len(text) // 2] ^= 0x55
    file.write_bytes(text)


def _empty(part: Part, bench: Bench) -> None:
    bench.loose(_parts(bench)[part]).write_bytes(b"")


def _cut(part: Part, bench: Bench) -> None:
    file = bench.loose(_parts(bench)[part])
    file.write_bytes(file.read_bytes()[:-7])


def _other(bench: Bench) -> None:
    """A file's content under the name of another."""
    other = bench.blob(b"another content")
    bench.loose(_parts(bench)["file"]).write_bytes(bench.loose(other).read_bytes())


def _folder(bench: Bench) -> None:
    file = bench.loose(_parts(bench)["file"])
    file.unlink()
    file.mkdir()


def _packed(bench: Bench, ending: str) -> Path:
    """All in one pack; returns the file of it with this ending."""
    noise = os.urandom(20_000)
    bench.main(bench.commit([(FILE, b"noise", bench.blob(noise))]))
    bench.git("repack", "-a", "-d", "-q")
    (pack,) = (bench.git_dir / "objects" / "pack").glob("*.pack")
    file = pack.with_suffix(ending)
    file.chmod(0o600)
    return file


def _pack_cut(bench: Bench) -> None:
    pack = _packed(bench, ".pack")
    os.truncate(pack, pack.stat().st_size // 2)


def _pack_flipped(bench: Bench) -> None:
    pack = _packed(bench, ".pack")
    with pack.open("r+b") as file:
        file.seek(10_000)
        file.write(b"surveil")


def _index_gone(bench: Bench) -> None:
    _packed(bench, ".idx").unlink()


def _index_noise(bench: Bench) -> None:
    with _packed(bench, ".idx").open("r+b") as file:
        file.write(os.urandom(500))


def _noise_beside(bench: Bench) -> None:
    bench.main(bench.commit())
    folder = bench.git_dir / "objects" / "pack"
    (folder / "tmp_pack_x").write_bytes(b"x")
    (folder / "pack-noise.idx").write_bytes(os.urandom(2000))
    (bench.git_dir / "objects" / "info" / "commit-graph").write_bytes(os.urandom(2000))


def _many_index(bench: Bench) -> None:
    bench.main(bench.commit())
    (bench.git_dir / "objects" / "pack" / "multi-pack-index").write_bytes(b"MIDZ" + os.urandom(2000))


def _index_file(bench: Bench) -> None:
    bench.main(bench.commit())
    (bench.git_dir / "index").write_bytes(os.urandom(2000))
    (bench.git_dir / "index.lock").write_bytes(b"")


EDGES: Final = (
    Edge(
        "commit-gone",
        "a commit is missing",
        partial(_gone, "commit"),
        Unread("no object"),
        Unread("no longer gives out"),
    ),
    Edge(
        "tree-gone",
        "a folder is missing",
        partial(_gone, "tree"),
        Unread("that could be read"),
        Told("bad tree object"),
    ),
    Edge(
        "pipeline-gone",
        "the pipeline's content is missing",
        partial(_gone, "pipeline"),
        Told("is the clone partial"),
        Told("unable to read"),
    ),
    Edge(
        "file-gone",
        "a file's content is missing",
        partial(_gone, "file"),
        NoTree("unable to read"),
        Told("unable to read"),
    ),
    Edge(
        "commit-corrupt", "a commit is damaged", partial(_flipped, "commit"), Told("inflate"), Unread("does not hold")
    ),
    Edge("tree-corrupt", "a folder is damaged", partial(_flipped, "tree"), Told("inflate"), Told("inflate")),
    Edge("file-corrupt", "a file is damaged", partial(_flipped, "file"), NoTree("inflate"), Told("inflate")),
    Edge(
        "commit-empty",
        "a commit's file is empty, as after a power cut",
        partial(_empty, "commit"),
        Told("is empty"),
        Unread("does not hold"),
    ),
    Edge("file-empty", "a file's object is empty", partial(_empty, "file"), NoTree("is empty"), Told("is empty")),
    Edge("file-cut", "a file's object is cut short", partial(_cut, "file"), NoTree("x"), Told("remote:")),
    Edge(
        "object-lies",
        "an object is another one than its name says",
        _other,
        Built(),
        remote=Unread("did not receive expected object"),
    ),
    Edge(
        "object-is-a-folder",
        "a folder stands in the place of an object",
        _folder,
        NoTree("mmap failed"),
        remote=Unread("mmap failed"),
    ),
    Edge(
        "pack-cut",
        "a pack that is cut short",
        _pack_cut,
        Unread("holds no object"),
        remote=Unread("no longer gives out"),
    ),
    Edge("pack-flipped", "a pack with seven wrong bytes", _pack_flipped, NoTree("inflate"), remote=Unread("inflate")),
    Edge(
        "index-gone",
        "a pack without its index",
        _index_gone,
        Unread("holds no object"),
        remote=Unread("no longer gives out"),
    ),
    Edge(
        "index-noise",
        "a pack whose index is noise",
        _index_noise,
        Unread("holds no object"),
        remote=Unread("no longer gives out"),
    ),
    Edge("noise-beside", "noise beside what is sound: packs, indexes, a commit graph", _noise_beside, Built()),
    Edge(
        "index-of-packs",
        "an index of all packs that is noise, over which git itself stumbles",
        _many_index,
        Unread("multi-pack-index"),
        remote=Unread("x"),
    ),
    Edge("index-of-noise", "the work tree's index is noise, and locked", _index_file, Built()),
)
