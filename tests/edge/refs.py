"""Edge repositories whose refs are odd: none, dangling, very many, in other forms, or with names that git allows."""

import os
import shutil
import subprocess
from typing import Final

from tests.edge.bench import ZERO, Bench
from tests.edge.fates import Built, Edge, Quiet, Unread

ODD_NAMES: Final = (
    b"-dash", b"--upload-pack=touch", b"<script>alert(1)</script>", b"\xff\xfe", b"caf\xe9", b"\x93\xfa\x96{",
    "bidi\u202egnp.exe".encode(), "e\u0301".encode(), "\u00e9".encode(), "\U0001f980".encode(), b"@", b"HEAD",
    b"refs/heads/main", b"$(touch${IFS}x)", b"`x`", b"a;b|c&d", b"'quote\"", b"{}", b"%00%0a", b"main@1", b"a" * 200,
    b"deep/" * 40 + b"end", "\u2028".encode(), b"main.LOCK",
)  # fmt: skip
"""Names of branches that git takes, to the surprise of whoever shows them."""


def can_reftable() -> bool:
    """Whether this machine's git has the format, and can bring a repository into it (from 2.46 on)."""
    words = ["git", "refs", "migrate", "-h"]
    return b"--ref-format" in subprocess.run(words, check=False, capture_output=True).stdout


def _sound(bench: Bench) -> str:
    return bench.main(bench.commit())


def _unborn(bench: Bench) -> None:
    bench.ref("refs/heads/other", bench.commit())


def _unborn_is_born(bench: Bench) -> None:
    bench.main(bench.commit(message=b"Born\n"))


def _dangling(bench: Bench) -> None:
    bench.main("1" * len(bench.commit()))


def _detached(bench: Bench) -> None:
    (bench.git_dir / "HEAD").write_text(_sound(bench) + "\n")


def _grow(bench: Bench) -> None:
    bench.main(bench.commit(message=b"One more\n"))


def _head_moves(bench: Bench) -> None:
    bench.ref("refs/heads/trunk", bench.commit(message=b"On another branch\n"))
    bench.head("refs/heads/trunk")
    (bench.git_dir / "refs/heads/main").unlink()


def _two_branches(bench: Bench) -> None:
    _sound(bench)
    bench.ref("refs/heads/side", bench.commit(message=b"Aside\n"))


def _side_again(bench: Bench) -> None:
    (bench.git_dir / "refs/heads/side").unlink()
    bench.ref("refs/heads/side", bench.commit(message=b"Made again\n"))


def _forced(bench: Bench) -> None:
    # The same files, without the history that was there before.
    bench.main(bench.commit(message=b"The same files\n"))


def _history(bench: Bench) -> None:
    bench.main(bench.commit(parents=[bench.commit(message=b"First\n")]))


def _many(bench: Bench) -> None:
    sha = _sound(bench)
    bench.packed({b"refs/heads/many/%06d" % number: sha for number in range(bench.scale.refs)})


def _many_loose(bench: Bench) -> None:
    sha = _sound(bench)
    for number in range(500):
        bench.ref(b"refs/heads/%02d/%03d" % (number % 20, number), sha)


def _one_of_many(bench: Bench) -> None:
    bench.ref("refs/heads/many/000500", bench.commit(message=b"One of many\n"))


def _packed_and_loose(bench: Bench) -> None:
    # The packed one names what is no more; the file is what counts.
    bench.packed({b"refs/heads/main": "1" * 40, b"refs/heads/side": bench.commit(message=b"Aside\n")})
    _sound(bench)


def _messy_packed(bench: Bench) -> None:
    sha = bench.commit().encode()
    lines = [
        b"# pack-refs with: peeled",
        sha + b" refs/heads/main",
        b"^" + sha,
        b"",
        b"nonsense",
        sha + b" ",
        b"x" * 300,
    ]
    (bench.git_dir / "packed-refs").write_bytes(b"\n".join(lines) + b"\n")


def _file_and_folder(bench: Bench) -> None:
    bench.packed({b"refs/heads/a/b": bench.commit(message=b"In the folder\n")})
    bench.ref("refs/heads/a", bench.commit(message=b"In its place\n"))
    _sound(bench)


def _broken_files(bench: Bench) -> None:
    _sound(bench)
    heads = bench.git_dir / "refs" / "heads"
    (heads / "empty").write_text("")
    (heads / "zero").write_text(ZERO + "\n")
    (heads / "half").write_text("0123abc")
    (heads / "noise").write_bytes(os.urandom(5000))
    (heads / "fresh.lock").write_text("")
    (heads / "elsewhere").symlink_to("/etc/passwd")


def _pipe(bench: Bench) -> None:
    _sound(bench)
    os.mkfifo(bench.git_dir / "refs" / "heads" / "pipe")


def _loops(bench: Bench) -> None:
    _sound(bench)
    heads = bench.git_dir / "refs" / "heads"
    (heads / "one").write_text("ref: refs/heads/two\n")
    (heads / "two").write_text("ref: refs/heads/one\n")
    (heads / "self").symlink_to("self")


def _circle(bench: Bench) -> None:
    _sound(bench)
    (bench.git_dir / "refs/heads/circle").mkdir()
    (bench.git_dir / "refs/heads/circle/round").symlink_to("..")


def _head_loop(bench: Bench) -> None:
    _sound(bench)
    bench.head("HEAD")


def _head_link(bench: Bench) -> None:
    _sound(bench)
    (bench.git_dir / "HEAD").unlink()
    (bench.git_dir / "HEAD").symlink_to("refs/heads/main")


def _head_outside(bench: Bench) -> None:
    bench.ref("refs/remotes/origin/main", bench.commit())
    bench.head("refs/remotes/origin/main")


def _odd_names(bench: Bench) -> None:
    sha = bench.commit(message=b"Under odd names\n")
    for name in ODD_NAMES:
        bench.ref(b"refs/heads/" + name, sha)


def _too_long(bench: Bench) -> None:
    bench.packed({b"refs/heads/" + b"long/" * 200 + b"end": bench.commit(message=b"Under a long name\n")})
    bench.ref("refs/heads/short", bench.commit(message=b"Under a short name\n"))


def _tag_chain(bench: Bench) -> None:
    tag = bench.tag(b"one", bench.commit(message=b"Tagged\n"))
    bench.ref("refs/tags/two", bench.tag(b"two", tag, b"tag"))
    bench.ref("refs/tags/light", bench.commit(message=b"Lightly\n"))
    signature = b"-----BEGIN PGP SIGNATURE-----\n\niQ==\n-----END PGP SIGNATURE-----\n"
    bench.ref("refs/tags/signed", bench.tag(b"signed", bench.commit(message=b"Signed\n"), more=signature))


def _tags_of_no_commit(bench: Bench) -> None:
    bench.ref("refs/tags/file", bench.blob(b"a file"))
    bench.ref("refs/tags/folder", bench.tree([]))
    bench.ref("refs/tags/far", bench.tag(b"far", bench.blob(b"a file far away"), b"blob"))


def _same_name(bench: Bench) -> None:
    bench.ref("refs/tags/main", bench.commit(message=b"A tag of the branch's name\n"))


def _reftable(bench: Bench) -> None:
    """Where this git knows the format, in it; otherwise what a newer git would have left."""
    if can_reftable():
        sha = bench.commit()
        bench.git("refs", "migrate", "--ref-format=reftable")
        bench.git("update-ref", "refs/heads/main", sha)
        return
    (bench.git_dir / "config").write_text(
        "[core]\n\trepositoryformatversion = 1\n\tbare = false\n[extensions]\n\trefStorage = reftable\n"
    )
    (bench.git_dir / "reftable").mkdir()
    (bench.git_dir / "reftable" / "tables.list").write_text("0x000000000001-0x000000000001-00000000.ref\n")
    bench.head("refs/heads/.invalid")


def _future(bench: Bench) -> None:
    _sound(bench)
    (bench.git_dir / "config").write_text("[core]\n\trepositoryformatversion = 99\n[extensions]\n\tnovel = true\n")


def _linked(bench: Bench) -> None:
    """The repository is a linked work tree; its own HEAD is another branch than that of the one it hangs on."""
    whole = Bench(bench.path.with_name(bench.path.name + "-whole"), bench.canary, bench.marker)
    whole.start()
    whole.main(whole.commit())
    shutil.rmtree(bench.path)
    whole.git("worktree", "add", "--quiet", "-b", "linked", str(bench.path))


_ODD_REFS: Final = tuple("refs/heads/" + name.decode("utf-8", "backslashreplace") for name in ODD_NAMES)

EDGES: Final = (
    Edge("empty", "no commit and no ref", lambda _: None, Quiet(), turn=_unborn_is_born, then=Built()),
    Edge(
        "unborn-head", "HEAD names a branch that is not there yet", _unborn, Quiet(), turn=_unborn_is_born, then=Built()
    ),
    Edge("dangling-head", "the branch of HEAD names a commit that is not there", _dangling, Unread("1111")),
    Edge("detached-head", "HEAD is a commit", _detached, Quiet(), turn=_grow, then=Built()),
    Edge(
        "head-moves",
        "HEAD goes over to another branch, as from main to trunk",
        _sound,
        Built(),
        turn=_head_moves,
        then=Built(("refs/heads/trunk",)),
    ),
    Edge(
        "branch-again",
        "a branch is deleted, and made again elsewhere",
        _two_branches,
        Built(),
        turn=_side_again,
        then=Built(("refs/heads/side",)),
    ),
    Edge(
        "force-push",
        "another commit with the same files, and no history",
        _history,
        Built(),
        turn=_forced,
        then=Built(),
    ),
    Edge(
        "many-refs", "100 000 packed refs", _many, Built(), turn=_one_of_many, then=Built(("refs/heads/many/000500",))
    ),
    Edge("many-loose-refs", "500 refs that are files", _many_loose, Built()),
    Edge("packed-and-loose", "a ref that is packed and a file, and names two commits", _packed_and_loose, Built()),
    Edge(
        "messy-packed-refs", "lines in packed-refs that are none", _messy_packed, Built(), remote=Unread("packed-refs")
    ),
    Edge("file-and-folder", "branches `a` and `a/b` at once", _file_and_folder, Built()),
    Edge("broken-ref-files", "refs that are empty, zeros, noise, a link", _broken_files, Built()),
    Edge("pipe-for-a-ref", "a ref that is a pipe", _pipe, Built(), remote=Unread("gave no answer within"), hangs=True),
    Edge("ref-loops", "refs that name each other or themselves", _loops, Built()),
    Edge("ref-circle", "a link in the folders of refs that leads back up", _circle, Built(), is_served=False),
    Edge("head-loop", "HEAD names HEAD", _head_loop, Quiet(), remote=Unread("not exported"), turn=_grow, then=Built()),
    Edge("head-link", "HEAD is a link, as it was in 2005", _head_link, Built()),
    Edge("head-outside", "HEAD names no branch", _head_outside, Quiet(), turn=_grow, then=Built()),
    Edge(
        "odd-names",
        "branches whose names are options, markup, code, bytes, or turn the text around",
        _sound,
        Built(),
        turn=_odd_names,
        then=Built(_ODD_REFS),
    ),
    Edge(
        "long-name",
        "a branch whose name does not fit into a message is left out",
        _sound,
        Built(),
        turn=_too_long,
        then=Built(("refs/heads/short",)),
    ),
    Edge(
        "tags",
        "a tag of a tag, a light one, and one that is signed",
        _sound,
        Built(),
        turn=_tag_chain,
        then=Built(("refs/tags/two", "refs/tags/light", "refs/tags/signed")),
    ),
    Edge("tags-of-no-commit", "tags of a file and a folder", _sound, Built(), turn=_tags_of_no_commit, then=Quiet()),
    Edge(
        "tag-named-like-a-branch",
        "`main` is a tag as well",
        _sound,
        Built(),
        turn=_same_name,
        then=Built(("refs/tags/main",)),
    ),
    Edge("sha256", "objects with names of 64 digits", _sound, Built(), hash_name="sha256"),
    Edge(
        "reftable",
        "refs in a table, which git knows from 2.46 on; an older one refuses",
        _reftable,
        Built() if can_reftable() else Unread("extension"),
        remote=Built() if can_reftable() else Unread("ls-remote"),
    ),
    Edge("future-format", "a format that this git does not know", _future, Built(), remote=Unread("ls-remote")),
    Edge("linked-work-tree", "a work tree of another repository", _linked, Built(("refs/heads/linked",))),
    Edge("bare", "no work tree", _sound, Built(), bare=True),
)
