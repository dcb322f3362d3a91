"""Edge repositories whose pipeline is odd: a link, a folder, a submodule, no text, no end."""

from functools import partial
from typing import Final

from tests.edge.bench import FILE, FOLDER, LINK, MODULE, PIPELINE, RUNNABLE, Bench
from tests.edge.fates import Built, Edge, Fate, Told

NAME: Final = b".surveil.yml"
BOMB: Final = b"a0: &a0 [x]\n" + b"".join(
    b"a%d: &a%d [%s]\n" % (number, number, b",".join([b"*a%d" % (number - 1)] * 9)) for number in range(1, 30)
)


def _file(mode: bytes, body: bytes, bench: Bench) -> None:
    here = bench.entries({b"here": b"x"})
    bench.main(bench.commit(tree=bench.tree([*here, (mode, NAME, bench.blob(body))])))


def _folder(bench: Bench) -> None:
    inner = bench.tree(bench.entries({NAME: PIPELINE}))
    bench.main(bench.commit(tree=bench.tree([(FOLDER, NAME, inner)])))


def _module(bench: Bench) -> None:
    bench.main(bench.commit(tree=bench.tree([(MODULE, NAME, "4" * 40)])))


def _cases(bench: Bench) -> None:
    bench.main(bench.commit([(FILE, b".SURVEIL.YML", bench.blob(b"\xff"))]))


def _text(name: str, what: str, body: bytes, fate: Fate, mode: bytes = FILE) -> Edge:
    return Edge(f"pipeline-{name}", what, partial(_file, mode, body), fate)


EDGES: Final = (
    _text("link", "a link to another user's file", b"/etc/passwd", Told("link or a folder"), LINK),
    _text("link-inside", "a link to a file beside it", b"here", Told("link or a folder"), LINK),
    Edge("pipeline-folder", "a folder", _folder, Told("link or a folder")),
    Edge("pipeline-module", "a submodule", _module, Told("link or a folder")),
    _text("runnable", "a file that may be run", PIPELINE, Built(), RUNNABLE),
    _text("latin-1", "no UTF-8", b"version: 1 # Gr\xfc\xdfe\n", Told("not UTF-8")),
    _text("utf-16", "UTF-16", PIPELINE.decode().encode("utf-16"), Told("not UTF-8")),
    _text("nul", "a NUL", b"version: 1\0\n", Told("NUL byte")),
    _text("empty", "an empty file", b"", Told("empty")),
    _text("huge", "a mebibyte", b"#" * (1 << 20) + b"\n", Told("1048577 bytes")),
    _text("bomb", "names for names for names", BOMB, Told("aliases counted in full")),
    _text("deep", "100 000 brackets", b"[" * 100_000, Told("deep")),
    _text("crlf", "lines as on other systems", PIPELINE.replace(b"\n", b"\r\n"), Built()),
    _text("mark", "a byte order mark", b"\xef\xbb\xbf" + PIPELINE, Built()),
    _text("object", "a tag that makes objects elsewhere", b"!!python/object/apply:os.system ['true']\n", Told("tag")),
    Edge("pipeline-cases", "a second one, in capitals", _cases, Built()),
)
