"""Edge repositories whose files are odd: names, links, sizes, modules, attributes."""

import os
import zlib
from collections.abc import Callable
from functools import partial
from typing import Final

from tests.edge.bench import FILE, FOLDER, LINK, MODULE, PIPELINE, RUNNABLE, WHO, Bench, Entry
from tests.edge.fates import Built, Edge, NoTree, Told, Unread

POINTER: Final = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 12345\n"
NAMES: Final = (
    b"-rf", b"--help", b"line\nbreak", b'quo"te', b"quo'te", b"back\\slash", b"trailing ", b" leading", b"dot.",
    b"caf\xe9", b"\x93\xfa\x96{", b"\xff\xfe", b"\x1b[31mred", "bidi\u202egnp.exe".encode(), b"CON", b"aux.txt",
    b"a:b", b"$(touch x)", b"`touch x`", b"*", b"?", b"~", b"tab\there", b"\r", b"n" * 255,
)  # fmt: skip
"""Names of files that a folder can hold."""


def _many(bench: Bench) -> None:
    blob = b"blob\nmark :1\ndata %d\n%s\nblob\nmark :2\ndata 1\nx\n" % (len(PIPELINE), PIPELINE)
    head = b"commit refs/heads/main\ncommitter %s\ndata 2\nM\n" % WHO
    names = (b"M 100644 :2 %03d/%06d.txt\n" % (number % 500, number) for number in range(bench.scale.files))
    files = b"M 100644 :1 .surveil.yml\nM 100644 :2 here\n" + b"".join(names)
    bench.git("fast-import", "--quiet", stdin=blob + head + files)


def _many_in_root(bench: Bench) -> None:
    # They stand before the pipeline's file, as git sorts names.
    blob = bench.blob(b"x")
    bench.main(bench.commit([(FILE, b"#%06d" % number, blob) for number in range(20_000)]))


def _too_many_in_root(bench: Bench) -> None:
    blob = bench.blob(b"x")
    bench.main(bench.commit([(FILE, b"%0200d" % number, blob) for number in range(100_000)]))


def _large(bench: Bench) -> None:
    """A file of nothing but zeros, compressed piece by piece."""
    import hashlib  # noqa: PLC0415

    size = bench.scale.blob_bytes
    head, piece = b"blob %d\0" % size, bytes(1 << 20)
    hashed, packer = hashlib.sha1(head, usedforsecurity=False), zlib.compressobj(1)
    new = bench.git_dir / "objects" / "new"
    with new.open("wb") as file:
        file.write(packer.compress(head))
        for _ in range(size // len(piece)):
            hashed.update(piece)
            file.write(packer.compress(piece))
        file.write(packer.flush())
    sha = hashed.hexdigest()
    bench.loose(sha).parent.mkdir(exist_ok=True)
    new.rename(bench.loose(sha))
    bench.main(bench.commit([(FILE, b"large", sha)]))


def _nested(depth: int, bench: Bench) -> None:
    sha = bench.tree([(FILE, b"bottom", bench.blob(b"x"))])
    for _ in range(depth):
        sha = bench.tree([(FOLDER, b"d", sha)])
    bench.main(bench.commit([(FOLDER, b"d", sha)]))


def _names(bench: Bench) -> None:
    blob = bench.blob(b"x")
    bench.main(bench.commit([(FILE, name, blob) for name in NAMES]))


def _cases(bench: Bench) -> None:
    names = [b"README", b"readme", b"ReadMe", "\u00e9".encode(), "e\u0301".encode()]
    bench.main(bench.commit([(FILE, name, bench.blob(name)) for name in names]))


def _links(bench: Bench) -> None:
    links = {b"loop": b"loop", b"ping": b"pong", b"pong": b"ping", b"up": b"../../../..", b"root": b"/",
             b"passwd": b"/etc/passwd", b"out": os.fsencode(bench.canary), b"nowhere": b"/nonexistent/x"}  # fmt: skip
    bench.main(bench.commit([(LINK, name, bench.blob(target)) for name, target in links.items()]))


def _through_link(bench: Bench) -> None:
    """A link to a folder outside, and files below its name, of which one would overwrite what is there."""
    below = bench.tree([(FILE, b"kept", bench.blob(b"overwritten")), (FILE, b"new", bench.blob(b"x"))])
    link = (LINK, b"out", bench.blob(os.fsencode(bench.canary)))
    bench.main(bench.commit(tree=bench.tree([*bench.sound(), link, (FOLDER, b"out", below)])))


def _cased_link(bench: Bench) -> None:
    """As above, for file systems that take `out` and `OUT` for one."""
    below = bench.tree([(FILE, b"kept", bench.blob(b"overwritten"))])
    bench.main(bench.commit([(LINK, b"out", bench.blob(os.fsencode(bench.canary))), (FOLDER, b"OUT", below)]))


def _link_of(target: bytes, bench: Bench) -> None:
    bench.main(bench.commit([(LINK, b"link", bench.blob(target))]))


def _entry(name: bytes, bench: Bench) -> None:
    bench.main(bench.commit([(FILE, name, bench.blob(b"x"))]))


def _inside(folder: bytes, bench: Bench) -> None:
    """A folder of that name with a configuration that starts programs, and a hook."""
    config = f"[core]\n\tfsmonitor = touch {bench.marker}\n\thooksPath = .git/hooks\n".encode()
    hook = (RUNNABLE, b"post-checkout", bench.blob(f"#!/bin/sh\ntouch {bench.marker}\n".encode()))
    hooks = (FOLDER, b"hooks", bench.tree([hook, (RUNNABLE, b"post-index-change", hook[2])]))
    bench.main(bench.commit([(FOLDER, folder, bench.tree([(FILE, b"config", bench.blob(config)), hooks]))]))


def _unsorted(bench: Bench) -> None:
    bench.main(bench.commit(tree=bench.tree(sorted(bench.sound(), reverse=True), sort=False)))


def _twice(bench: Bench) -> None:
    again = bench.entries({b"here": b"another"})
    bench.main(bench.commit(tree=bench.tree([*bench.sound(), *again])))


def _mode(mode: bytes, bench: Bench) -> None:
    bench.main(bench.commit([(mode, b"odd", bench.blob(b"x"))]))


def _modules(bench: Bench) -> None:
    urls = {
        "absolute": f"file://{bench.canary}",
        "relative": "../../../../etc",
        "command": f'"ext::sh -c \\"touch {bench.marker}\\""',
        "dash": f"-u./touch{bench.marker}",
        "ssh": f"ssh://-oProxyCommand=touch${{IFS}}{bench.marker}/x",
        "return": '"x\\r"',
    }
    text = "".join(f'[submodule "{name}"]\n\tpath = {name}\n\turl = {url}\n\tupdate = !touch {bench.marker}\n'
                   for name, url in urls.items())  # fmt: skip
    text += f'[submodule "../../hooks"]\n\tpath = "return\\r"\n\turl = x\n[core]\n\tsshCommand = touch {bench.marker}\n'
    links: list[Entry] = [(MODULE, name.encode(), "4" * 40) for name in urls]
    bench.main(
        bench.commit([*links, (MODULE, b"return\r", "4" * 40), (FILE, b".gitmodules", bench.blob(text.encode()))])
    )


def _plain_modules(bench: Bench) -> None:
    text = b'[submodule "a"]\n\tpath = a\n\turl = https://example.org/a\n[submodule "b"]\n\tpath = b\n\turl = ../b\n'
    links: list[Entry] = [(MODULE, b"a", "4" * 40), (MODULE, b"b", "5" * 40)]
    bench.main(bench.commit([*links, (FILE, b".gitmodules", bench.blob(text))]))


def _lone_module(bench: Bench) -> None:
    bench.main(bench.commit([(MODULE, b"module", "4" * 40)]))


def _linked_file(name: bytes, bench: Bench) -> None:
    bench.main(bench.commit([(LINK, name, bench.blob(b"/etc/passwd"))]))


def _pointers(bench: Bench) -> None:
    attributes = b"*.bin filter=lfs diff=lfs merge=lfs -text\n"
    bench.main(bench.commit(bench.entries({b"a.bin": POINTER, b".gitattributes": attributes})))


def _attributes(bench: Bench) -> None:
    text = b"* filter=evil\n*.txt ident\n*.crlf text eol=crlf\n*.utf16 working-tree-encoding=UTF-16\n"
    text += b"*.odd working-tree-encoding=nonsense\n[attr]evil filter=evil\n"
    files = {b".gitattributes": text, b"a.txt": b"$Id$\n", b"a.crlf": b"a\nb\n", b"a.utf16": b"a\n"}
    with (bench.git_dir / "config").open("a") as config:
        config.write(
            f'[filter "evil"]\n\tsmudge = touch {bench.marker}\n\tprocess = touch {bench.marker}\n\trequired = true\n'
        )
    bench.main(bench.commit(bench.entries(files)))


def _long_attributes(bench: Bench) -> None:
    bench.main(bench.commit(bench.entries({b".gitattributes": b"x" * 5000 + b" -text\n"})))


def _outside(name: str, what: str, make: Callable[[Bench], object], told: str) -> Edge:
    """What git puts into no work tree, and `told` why no pack of a server may hold it."""
    return Edge(name, what, make, NoTree("invalid path"), remote=Told(told))


EDGES: Final = (
    Edge("many-files", "100 000 files", _many, Built()),
    Edge("many-files-in-root", "20 000 files before the pipeline's", _many_in_root, Built()),
    Edge("huge-root", "a root folder of 20 MiB", _too_many_in_root, Told("are larger than")),
    Edge("large-file", "a file of a gibibyte", _large, Built()),
    Edge("deep", "500 folders in each other", partial(_nested, 500), Built()),
    Edge(
        "too-deep",
        "3 000 folders in each other, more than a path may be long",
        partial(_nested, 3000),
        NoTree("cannot create directory"),
    ),
    Edge("odd-file-names", "options, line breaks, quotes, code, bytes, 255 letters", _names, Built()),
    Edge("same-but-for-case", "files that other systems take for one", _cases, Built()),
    Edge("links", "links in circles, to other users' files, to nowhere", _links, Built()),
    Edge(
        "file-through-link",
        "a file below a link that leads outside",
        _through_link,
        Built(),
        remote=Told("duplicateEntries"),
    ),
    Edge("file-through-cased-link", "the same for systems that mix up `out` and `OUT`", _cased_link, Built()),
    Edge("link-empty", "a link to nothing", partial(_link_of, b""), NoTree("link")),
    Edge("link-long", "a link of 5 000 letters", partial(_link_of, b"x" * 5000), NoTree("link")),
    Edge("link-nul", "a link with a NUL", partial(_link_of, b"a\0b"), Built()),
    _outside("entry-dot-git", "a file `.git`", partial(_entry, b".git"), "hasDotgit"),
    _outside("entry-dot-dot", "a file `..`", partial(_entry, b".."), "hasDotdot"),
    _outside("entry-slash", "a file `a/../../b`", partial(_entry, b"a/../../b"), "fullPathname"),
    _outside("entry-absolute", "a file `/tmp/x`", partial(_entry, b"/tmp/surveil-edge"), "fullPathname"),
    Edge(
        "entry-empty",
        "a file without a name",
        partial(_entry, b""),
        Told("or damaged"),
        remote=Unread("empty filename"),
    ),
    Edge("entry-too-long", "a name of 300 letters", partial(_entry, b"n" * 300), NoTree("long"), remote=NoTree("long")),
    _outside("folder-dot-git", "a folder `.git` with configuration and hooks", partial(_inside, b".git"), "hasDotgit"),
    _outside("folder-dot-GIT", "a folder `.GIT`", partial(_inside, b".GIT"), "hasDotgit"),
    _outside("folder-short", "a folder `git~1`", partial(_inside, b"git~1"), "hasDotgit"),
    Edge(
        "folder-hidden-letter",
        "a folder `.g\u200cit`",
        partial(_inside, ".g\u200cit".encode()),
        Built(),
        remote=Told("hasDotgit"),
    ),
    Edge("tree-unsorted", "a folder in no order", _unsorted, Told("or damaged"), remote=Told("treeNotSorted")),
    Edge("entry-twice", "two files of one name", _twice, Built(), remote=Told("duplicateEntries")),
    Edge("mode-664", "a mode of 2005", partial(_mode, b"100664"), Built()),
    Edge("mode-device", "a mode that is none", partial(_mode, b"020000"), Built()),
    Edge("modules", "submodules at addresses that are plain", _plain_modules, Built()),
    Edge(
        "modules-evil",
        "submodules at addresses that are commands, and paths that lead out",
        _modules,
        Built(),
        remote=Told("gitmodules"),
    ),
    Edge("module-alone", "a submodule without .gitmodules", _lone_module, Built()),
    _outside("linked-gitmodules", "a link `.gitmodules`", partial(_linked_file, b".gitmodules"), "gitmodulesSymlink"),
    Edge("linked-gitattributes", "a link `.gitattributes`", partial(_linked_file, b".gitattributes"), Built()),
    Edge("lfs-pointers", "pointers of LFS, where there is no LFS", _pointers, Built()),
    Edge("attributes", "filters that are commands, and encodings that are none", _attributes, Built()),
    Edge(
        "attributes-long",
        "a line of attributes too long for git",
        _long_attributes,
        Built(),
        remote=Told("gitattributesLineLength"),
    ),
)
