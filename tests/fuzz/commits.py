"""What git prints about repositories of strangers: refs, commits and their files, bundles, complaints."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Final

from surveil.mirror import local
from surveil.mirror.bundle import _read_header  # what a supply begins with; it has no other door
from surveil.mirror.objects import AUTHOR_CHARS_MAX, MESSAGE_CHARS_MAX, read_commit, read_files
from surveil.mirror.refs import SHA, RefList, is_ref, parse_remote, ref_bytes, ref_text
from surveil.mirror.sighting import _ASKED, sight
from surveil.mirror.trouble import MirrorError, Output, failure
from surveil.protocol import PIPELINE_BYTES_MAX, CommitSeen, decode, encode
from tests.fuzz.draw import Draw
from tests.fuzz.pipelines import PROJECT_TEXTS, SURVEIL

SHA1: Final = "0123456789abcdef0123456789abcdef01234567"
SHAS: Final = (SHA1, SHA1, "a" * 40, "a" * 64, "a" * 39, "A" * 40, "0" * 40, "", "-x")
REF_NAMES: Final = (
    b"refs/heads/main", b"refs/tags/v1", b"refs/tags/v1^{}", b"HEAD", b"refs/heads/-dash", b"refs/heads/\xff\xfe",
    b"refs/heads/<script>alert(1)</script>", "refs/heads/\u202e".encode(), b"refs/heads/a..b", b"refs/heads/x.lock",
    b"refs/heads/@{", b"refs/heads/" + b"x" * 600, b"refs/heads/HEAD", b"refs/", b"refs/heads/", b"refs/heads/\\xff",
    b"refs/heads/a b", b"refs/heads/\x7f", b"refs//x", b"refs/heads/.x", b"refs/heads/@", "refs/heads/é".encode(),
)  # fmt: skip
HEADERS: Final = (
    b"author A <a@b> 1700000000 +0100", b"author <a@b> 0 +0000", b"author ", b"author A <a@b", b"author A a@b> 1",
    b"author A <a@b> -99999999999999999999 +9999", b"author " + b"<" * 90, b"author \xe9 <\xff> 1 +0",
    b"encoding latin-1",
    b"encoding ISO-8859-1", b"encoding Shift_JIS", b"encoding cp1", b"encoding utf-7", b"encoding \0", b"encoding idna",
    b"encoding gb18030", b"parent x", b"gpgsig -----BEGIN\n more",
    b"author A <a@b> 9" + b"9" * 30, b"tree " + b"a" * 40,
)  # fmt: skip
COMPLAINTS: Final = (
    "fatal: Authentication failed for 'https://x:y@z/'", "error: object file is empty", "\x1b[31mremote: no\x1b[0m",
    "fatal: repository 'x' not found", "ssh: connect to host x port 22: Connection refused", "", "\n\n", "fatal: ",
)  # fmt: skip


def check(data: bytes) -> None:
    """Read an answer of git, and look at what the rest of the program is told."""
    draw = Draw(data)
    WAYS[draw.byte() % len(WAYS)](draw)


def seeds() -> Iterator[bytes]:
    """Answers as git gives them, and the made ones with a little to go on."""
    yield bytes([0]) + b"ref: refs/heads/main\tHEAD\n" + f"{SHA1}\tHEAD\n{SHA1}\trefs/heads/main\n".encode()
    commit = b"tree " + b"a" * 40 + b"\nauthor A <a@b> 1 +0\n\nMend it\n"
    tree = b"100644 .surveil.yml\0" + bytes(20)
    yield bytes([2]) + b"".join(
        f"{SHA1} {kind} {len(body)}\n".encode() + body + b"\n"
        for kind, body in (("commit", commit), ("tree", tree), ("blob", SURVEIL[0]))
    )
    yield bytes([2]) + f"{SHA1} commit {'9' * 4_400}\n".encode()
    yield bytes([4]) + b"# v2 git bundle\n" + SHA1.encode() + b" refs/surveil/commit\n\nPACK"
    for way in range(len(WAYS)):
        for start in range(0, 250, 25):
            yield bytes([way]) + bytes((start + 17 * step) % 256 for step in range(90))


def _remote_as_it_is(draw: Draw) -> None:
    _check_refs(parse_remote(draw.rest(), "about"))


def _remote(draw: Draw) -> None:
    lines = []
    for _ in range(draw.byte() % 8):
        left = b"ref: " + draw.pick(REF_NAMES) if draw.seldom(4) else draw.pick(SHAS).encode()
        lines.append(
            left + draw.pick((b"\t", b"\t", b" ", b"")) + draw.pick(REF_NAMES) + draw.pick((b"", b"\r", b"\0"))
        )
    text = draw.edited(b"\n".join(lines), 2)
    _check_refs(parse_remote(text, "about"))
    packed = local._parse_packed(text.replace(b"\t", b" "))  # noqa: SLF001  # reached by folders of files only
    _check_refs(RefList(head=None, head_sha=None, refs=packed))
    loose: dict[str, str] = {}
    symbolic: dict[str, str] = {}
    for line in lines:
        local._sort("refs/heads/x", line, loose, symbolic)  # noqa: SLF001  # the same
    _check_refs(RefList(head=None, head_sha=None, refs=loose))


def _check_refs(found: RefList) -> None:
    for name, sha in found.refs.items():
        assert SHA.fullmatch(sha)
        assert is_ref(ref_bytes(name)), "a name that git would not take"
        assert ref_text(ref_bytes(name)) == name, "a name that is another one after its journey"
        name.encode()
    assert found.head is None or is_ref(ref_bytes(found.head))
    assert found.head_sha is None or SHA.fullmatch(found.head_sha)


def _commit_as_it_is(draw: Draw) -> None:
    _check_commit(draw.rest())


def _commit(draw: Draw) -> None:
    headers = b"\n".join(draw.many(lambda: draw.pick(HEADERS), 5))
    commit = headers + b"\n\n" + draw.some(40)
    names = draw.many(lambda: draw.pick(_ASKED).encode() if draw.flag() else draw.some(12), 6)
    modes = (b"100644", b"100644", b"120000", b"40000", b"160000", b"100755", b"", b"x")
    tree = b"".join(draw.pick(modes) + b" " + name + b"\0" + bytes(20) for name in names)
    answers = [(draw.pick(("commit", "commit", "tree", "tag")), commit), (draw.pick(("tree", "tree", "blob")), tree)]
    for _ in _ASKED:
        body = draw.pick(PROJECT_TEXTS).encode() if draw.flag() else draw.pick(SURVEIL)
        answers.append((draw.pick(("blob", "blob", "tree", "missing")), body))
    text = b"".join(_answer(draw, kind, body) for kind, body in answers)
    _check_commit(draw.edited(text, 2) if draw.flag() else text)


def _answer(draw: Draw, kind: str, body: bytes) -> bytes:
    if kind == "missing":
        return b"x missing\n"
    size = draw.number() if draw.seldom() else len(body)
    return f"{SHA1} {kind} {size}\n".encode() + body + b"\n"


def _check_commit(answers: bytes) -> None:
    commit = read_commit(answers, _ASKED, PIPELINE_BYTES_MAX)
    if commit is None:
        return
    assert len(commit.message) <= MESSAGE_CHARS_MAX
    assert len(commit.author) <= AUTHOR_CHARS_MAX
    seen = sight(commit)
    assert (seen.pipeline is None) == bool(seen.problem)
    said = CommitSeen(
        mid="m", repo="/r", ref="refs/heads/main", sha=SHA1, event="push", message=seen.message, author=seen.author,
        pipeline=seen.pipeline, pipeline_file=seen.pipeline_file, rule=seen.rule, problem=seen.problem,
    )  # fmt: skip
    assert decode(encode(said)) == said, "a commit that cannot travel"


def _included(draw: Draw) -> None:
    """What git says of files that a pipeline includes, whoever named them."""
    paths = [draw.pick(("a.yml", "ci/a.yml", "ci/b 3", "missing")) for _ in range(1 + draw.byte() % 3)]
    modes = (b"100644", b"120000", b"40000", b"")
    text = b""
    for path in paths:
        tree = draw.pick(modes) + b" " + path.rpartition("/")[2].encode() + b"\0" + bytes(20)
        text += _answer(draw, draw.pick(("tree", "tree", "blob", "missing")), tree)
        text += _answer(draw, draw.pick(("blob", "blob", "tree", "missing")), draw.some(20))
    answers = draw.edited(text, 2) if draw.flag() else text
    files = read_files(answers, SHA1, paths, 16)
    assert [file.path for file in files] == paths
    assert all((file.body is None) == bool(file.problem) and len(file.body or b"") <= 16 for file in files)


def _bundle(draw: Draw) -> None:
    body = b"# v2 git bundle\n"
    for _ in range(draw.byte() % 5):
        body += draw.pick(SHAS).encode() + b" " + draw.pick((*REF_NAMES, b"refs/surveil/commit")) + b"\n"
    try:
        tags, at = _read_header(io.BytesIO(draw.edited(body + b"\nPACK", 2)), SHA1)
    except MirrorError:
        return
    assert at <= len(body) + 200
    assert all(is_ref(ref_bytes(name)) or max(name) >= "\udc80" for name in tags)


def _bundle_as_it_is(draw: Draw) -> None:
    try:
        _read_header(io.BytesIO(draw.rest()), SHA1)
    except MirrorError:
        return


def _complaint(draw: Draw) -> None:
    text = "".join(draw.many(lambda: draw.pick(COMPLAINTS) + "\n" if draw.flag() else draw.text()))
    sentence = str(failure(Output(status=draw.byte(), stdout=b"", stderr=text), draw.text()))
    assert sentence.isprintable(), "a complaint of git is more than text"
    assert len(sentence) < 1_000


WAYS: Final = (_remote_as_it_is, _remote, _commit_as_it_is, _commit, _bundle_as_it_is, _bundle, _complaint, _included)
