"""Edge repositories whose owner means harm: hooks, configuration, borrowed objects, pipes that never end."""

import os
from itertools import pairwise
from pathlib import Path
from typing import Final

from tests.edge.bench import Bench
from tests.edge.fates import Built, Edge, Unread

HOOKS: Final = (
    "post-checkout", "post-index-change", "reference-transaction", "fsmonitor-watchman", "pre-auto-gc", "post-rewrite",
    "pre-receive", "update", "post-receive", "post-update", "proc-receive", "push-to-checkout", "pre-push",
)  # fmt: skip


def _hooks(bench: Bench) -> None:
    bench.main(bench.commit())
    folder = bench.git_dir / "hooks"
    folder.mkdir()
    for name in HOOKS:
        (folder / name).write_text(f"#!/bin/sh\ntouch {bench.marker}\n")
        (folder / name).chmod(0o755)


def programs(marker: Path) -> str:
    """A configuration in which every key that names a program names one that makes the marker."""
    touch = f"touch {marker}"
    included = marker.with_name("included")
    included.write_text(f"[core]\n\tfsmonitor = {touch}\n")
    keys = ("fsmonitor", "sshCommand", "gitProxy", "pager", "editor", "askPass", "alternateRefsCommand")
    sections = {
        "core": [*(f"{key} = {touch}" for key in keys), f"hooksPath = {marker.parent}", f"worktree = {marker.parent}"],
        "alias": [f"{name} = !{touch}" for name in ("cat-file", "read-tree", "ls-remote", "upload-pack")],
        "credential": [f"helper = !{touch}"],
        "include": [f"path = {included}"],
        'includeIf "gitdir:/"': [f"path = {included}"],
        'filter "evil"': [f"smudge = {touch}", f"process = {touch}"],
        "diff": [f"external = {touch}"],
        "gpg": [f"program = {touch}"],
        "uploadpack": [f"packObjectsHook = {touch}"],
        f"url \"ext::sh -c '{touch}' \"": ["insteadOf = /"],
        'remote "origin"': [f'url = ext::sh -c "{touch}"', f"uploadpack = {touch}", "vcs = ext"],
        "protocol": ["allow = always"],
        'protocol "ext"': ["allow = always"],
        "trace2": [f"{kind}Target = {marker}" for kind in ("event", "normal", "perf")],
        "gc": ["auto = 1"],
        "maintenance": ["auto = true"],
    }
    return "".join(f"[{name}]\n" + "".join(f"\t{line}\n" for line in lines) for name, lines in sections.items())


def _config(bench: Bench) -> None:
    bench.main(bench.commit(bench.entries({b".gitattributes": b"* filter=evil diff=evil\n"})))
    with (bench.git_dir / "config").open("a") as file:
        file.write(programs(bench.marker))
    (bench.git_dir / "config.worktree").write_text(programs(bench.marker))
    (bench.git_dir / "info").mkdir()
    (bench.git_dir / "info" / "attributes").write_text("* filter=evil\n")


def _config_nonsense(bench: Bench) -> None:
    bench.main(bench.commit())
    (bench.git_dir / "config").write_bytes(b"[core\n\0\xff[[" + os.urandom(3000))


def _config_huge(bench: Bench) -> None:
    bench.main(bench.commit())
    with (bench.git_dir / "config").open("a") as file:
        file.write("# x\n" * 500_000)


def _pipes(bench: Bench) -> None:
    """Pipes in the place of files, which hold whoever opens them until somebody writes."""
    bench.main(bench.commit())
    for name in ("packed-refs", "shallow", "objects/info/alternates", "commondir", "index", "FETCH_HEAD"):
        os.mkfifo(bench.git_dir / name)


def _config_pipe(bench: Bench) -> None:
    bench.main(bench.commit())
    (bench.git_dir / "config").unlink()
    os.mkfifo(bench.git_dir / "config")


def _object_pipe(bench: Bench) -> None:
    sha = bench.main(bench.commit())
    bench.loose(sha).unlink()
    os.mkfifo(bench.loose(sha))


def _borrowing(bench: Bench, depth: int) -> None:
    """A chain of repositories, each of which borrows the next one's objects; the last holds them."""
    chain = [
        bench,
        *(Bench(bench.path.with_name(f"{bench.path.name}-{at}"), bench.canary, bench.marker) for at in range(depth)),
    ]
    for link in chain[1:]:
        link.start()
    for link, lender in pairwise(chain):
        (link.git_dir / "objects/info/alternates").write_text(f"{lender.git_dir}/objects\n")
    bench.main(chain[-1].commit())


def _borrows(bench: Bench) -> None:
    _borrowing(bench, 1)


def _borrows_deep(bench: Bench) -> None:
    _borrowing(bench, 4)


def _borrows_loop(bench: Bench) -> None:
    bench.main(bench.commit())
    (bench.git_dir / "objects/info/alternates").write_text(f"{bench.git_dir}/objects\n../../.git/objects\n")


def _borrows_nowhere(bench: Bench) -> None:
    bench.main(bench.commit())
    (bench.git_dir / "objects/info/alternates").write_text(
        '/nonexistent/objects\n"\\x\n/dev/zero\n# no\n' + "/x" * 3000 + "\n"
    )


def _common_elsewhere(bench: Bench) -> None:
    bench.main(bench.commit())
    (bench.git_dir / "commondir").write_text("/nonexistent\n")


def _points_on(bench: Bench) -> None:
    whole = Bench(bench.path.with_name(bench.path.name + "-whole"), bench.canary, bench.marker)
    whole.start()
    whole.main(whole.commit())
    bench.git_dir.rename(bench.path / "unused")
    bench.git_dir.write_text(f"gitdir: ../{whole.path.name}/.git\n")


def _bare_within(bench: Bench) -> None:
    """Files of a bare repository with a hostile configuration, committed into a folder of this one."""
    files = {b"inner/HEAD": b"ref: refs/heads/main\n", b"inner/config": programs(bench.marker).encode(),
             b"inner/objects/x": b"", b"inner/refs/x": b""}  # fmt: skip
    bench.main(bench.commit(bench.entries(files)))


EDGES: Final = (
    Edge("hooks", "a hook for every occasion", _hooks, Built()),
    Edge("config-of-programs", "a program in every key that takes one", _config, Built()),
    Edge(
        "config-of-noise",
        "a configuration that is none",
        _config_nonsense,
        Built(),
        remote=Unread("Could not read from remote"),
    ),
    Edge("config-huge", "a configuration of two megabytes", _config_huge, Built()),
    Edge("pipes", "pipes in the place of files", _pipes, Unread("within"), remote=Unread("within"), hangs=True),
    Edge("config-is-a-pipe", "the configuration is a pipe", _config_pipe, Built(), remote=Unread("within"), hangs=True),
    Edge(
        "object-is-a-pipe",
        "a commit's file is a pipe",
        _object_pipe,
        Unread("within"),
        remote=Unread("within"),
        hangs=True,
    ),
    Edge("borrows", "objects that are another repository's", _borrows, Built()),
    Edge("borrows-deep", "objects borrowed from borrowers, four deep", _borrows_deep, Built()),
    Edge("borrows-itself", "objects borrowed from itself", _borrows_loop, Built()),
    Edge("borrows-nowhere", "objects borrowed from places that are none", _borrows_nowhere, Built()),
    Edge(
        "common-elsewhere",
        "refs and objects at a place that is not there",
        _common_elsewhere,
        Unread("which is not there"),
        remote=Unread("not exported"),
    ),
    Edge("points-on", "`.git` is a file that names another folder", _points_on, Built()),
    Edge("bare-within", "a bare repository with a hostile configuration among the files", _bare_within, Built()),
)
