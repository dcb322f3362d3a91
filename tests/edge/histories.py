"""Edge repositories whose history is odd: very long, cut off, without a root, with many parents, signed."""

from typing import Final

from tests.edge.bench import PIPELINE, WHO, Bench
from tests.edge.fates import Built, Edge, Told, Unread

PARENTS: Final = 66
"""More than any tool draws; git's own source once had a merge of this many."""


def _long(bench: Bench) -> None:
    """So many commits as a stream for git's own import, which packs them."""
    parts = [b"blob\nmark :1\ndata %d\n%s\n" % (len(PIPELINE), PIPELINE), b"blob\nmark :2\ndata 1\nx\n"]
    for number in range(bench.scale.commits):
        head = b"commit refs/heads/main\ncommitter %s\ndata 2\nC\n" % WHO
        body = b"M 100644 :1 .surveil.yml\nM 100644 :2 here\n" if not number else b""
        parts.append(head + body)
    bench.git("fast-import", "--quiet", stdin=b"".join(parts))


def _orphans(bench: Bench) -> None:
    roots = [bench.commit(message=b"Root %d\n" % number) for number in range(3)]
    bench.main(bench.commit(parents=roots))


def _octopus(bench: Bench) -> None:
    bench.main(bench.commit(parents=[bench.commit(message=b"Arm %d\n" % number) for number in range(PARENTS)]))


def _same_parent(bench: Bench) -> None:
    parent = bench.commit(message=b"Parent\n")
    bench.main(bench.commit(parents=[parent, parent]))


def _lost_parent(bench: Bench) -> None:
    bench.main(bench.commit(parents=["1" * 40]))


def _shallow(bench: Bench) -> None:
    tip = bench.main(bench.commit(parents=["1" * 40]))
    (bench.git_dir / "shallow").write_text(tip + "\n")


def _grafted(bench: Bench) -> None:
    tip = bench.main(bench.commit(parents=["1" * 40]))
    (bench.git_dir / "info").mkdir()
    (bench.git_dir / "info" / "grafts").write_text(f"{tip} {bench.commit(message=b'Grafted')}\n")


def _replaced(bench: Bench) -> None:
    tip = bench.main(bench.commit())
    evil = bench.commit(tree=bench.tree(bench.entries({b"other": b"x"})), message=b"In its place\n")
    bench.ref(f"refs/replace/{tip}", evil)


def _signed(bench: Bench) -> None:
    signature = b"gpgsig -----BEGIN PGP SIGNATURE-----\n \n iQ==\n -----END PGP SIGNATURE-----\n"
    merged = b"mergetag object " + b"1" * 40 + b"\n type commit\n tag v1\n tagger " + WHO + b"\n \n Tag\n"
    bench.main(bench.commit(headers=signature + merged + b"novel header\n"))


def _no_files(bench: Bench) -> None:
    bench.main(bench.commit(tree=bench.tree([])))


def _no_tree(bench: Bench) -> None:
    bench.main(bench.commit(tree="1" * 40))


def _tree_is_file(bench: Bench) -> None:
    bench.main(bench.commit(tree=bench.blob(b"no tree")))


def _partial(bench: Bench) -> None:
    """What `clone --filter=blob:none` leaves: folders whose files are elsewhere."""
    absent = [(b"100644", b".surveil.yml", "2" * 40), (b"100644", b"here", "3" * 40)]
    bench.main(bench.commit(tree=bench.tree(absent)))
    with (bench.git_dir / "config").open("a") as config:
        config.write(
            "[extensions]\n\tpartialClone = origin\n"
            f'[remote "origin"]\n\turl = ext::sh -c "touch {bench.marker}"\n\tpromisor = true\n'
        )


EDGES: Final = (
    Edge("long-history", "100 000 commits", _long, Built()),
    Edge("orphan-roots", "three roots, merged", _orphans, Built()),
    Edge("octopus", "a merge of 66", _octopus, Built()),
    Edge("same-parent-twice", "a merge of a commit with itself", _same_parent, Built()),
    Edge(
        "lost-parent",
        "a parent that is not there, and nothing says why",
        _lost_parent,
        Built(),
        remote=Unread("Could not read 1111"),
    ),
    Edge("shallow", "a history that was cut off", _shallow, Built()),
    Edge(
        "grafted",
        "a history that was cut off and sewn on elsewhere",
        _grafted,
        Built(),
        remote=Unread("did not receive expected object"),
    ),
    Edge("replaced", "refs/replace puts another commit in the place of the branch's", _replaced, Built()),
    Edge("signed", "a signature, a merged tag and a header that nobody knows", _signed, Built()),
    Edge("no-files", "a commit without any file", _no_files, Told("no pipeline file")),
    Edge(
        "no-tree",
        "a commit whose folder is not there",
        _no_tree,
        Unread("that could be read"),
        remote=Told("bad tree object"),
    ),
    Edge(
        "tree-is-a-file",
        "a commit whose folder is a file",
        _tree_is_file,
        Told("is a tree, not a blob"),
        remote=Told("not a tree"),
    ),
    Edge(
        "partial-clone",
        "files that are elsewhere, at an address that is a command",
        _partial,
        Told("is the clone partial"),
        remote=Told("remote:"),
    ),
)
