"""YAML of friends and of enemies: what is read, what is refused, and that nothing crashes, hangs or fills memory."""

from __future__ import annotations

import tracemalloc

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from surveil.core.declared import Complaint
from surveil.pipeline import document
from surveil.pipeline.document import (
    ALIASES_MAX,
    CHARACTERS_MAX,
    DEPTH_MAX,
    NODES_MAX,
    Kind,
    Listing,
    Node,
    Scalar,
    Table,
    read,
)
from surveil.protocol import PIPELINE_BYTES_MAX


@pytest.fixture(params=["C parser", "Python parser"], autouse=True)
def _parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run every test with both parsers, for the library is sometimes built without the one in C."""
    if request.param == "Python parser":
        monkeypatch.setattr(document, "_LOADER", yaml.SafeLoader)


def plain(node: Node) -> object:
    match node:
        case Scalar():
            return node.text
        case Listing():
            return [plain(item) for item in node.items]
        case Table():
            return {key: plain(value) for key, value in node.entries.items()}


def good(data: bytes | str) -> object:
    node = read(data)
    assert not isinstance(node, Complaint), node
    return plain(node)


def said(data: bytes | str) -> str:
    complaint = read(data)
    assert isinstance(complaint, Complaint)
    return f"{complaint.place.line}:{complaint.place.column} {complaint.message}"


def hint(data: bytes | str) -> str:
    complaint = read(data)
    assert isinstance(complaint, Complaint)
    return complaint.hint


def test_every_node_knows_its_line_and_column() -> None:
    root = read("a:\n  - x\n  - {b: é y, c: d}\n")
    assert isinstance(root, Table)
    listing = root.entries["a"]
    assert isinstance(listing, Listing)
    table = listing.items[1]
    assert isinstance(table, Table)
    places = [
        root.place_of("a"),
        listing.items[0].place,
        table.place,
        table.place_of("c"),
        table.entries["c"].place,
    ]
    assert [(place.line, place.column) for place in places] == [(1, 1), (2, 5), (3, 5), (3, 14), (3, 17)]


@pytest.mark.parametrize(
    ("typed", "kind"),
    [
        ("on", Kind.TEXT), ("NO", Kind.TEXT), ("yes", Kind.TEXT), ("12:30", Kind.TEXT), ("12:30:45", Kind.TEXT),
        ("1_000", Kind.TEXT), ("2001-01-01", Kind.TEXT), ("'1'", Kind.TEXT), ('"true"', Kind.TEXT), ("=", Kind.TEXT),
        ("true", Kind.FLAG), ("False", Kind.FLAG), ("~", Kind.NOTHING), ("null", Kind.NOTHING), ("", Kind.NOTHING),
        ("010", Kind.WHOLE), ("0o17", Kind.WHOLE), ("-3", Kind.WHOLE), ("0x1F", Kind.WHOLE), ("9" * 5000, Kind.WHOLE),
        ("3.10", Kind.REAL), (".5", Kind.REAL), ("1e3", Kind.REAL), ("-.inf", Kind.REAL), (".NaN", Kind.REAL),
    ],
)  # fmt: skip
def test_plain_scalars_mean_what_yaml_1_2_says_and_keep_their_text(typed: str, kind: Kind) -> None:
    root = read(f"key: {typed}\n")
    assert isinstance(root, Table)
    value = root.entries["key"]
    assert isinstance(value, Scalar)
    assert value.kind is kind
    assert value.text == typed.strip("'\"")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_all_line_ends_are_line_ends(end: str) -> None:
    assert good(f"a: 1{end}b: |{end}  x{end}  y{end}") == {"a": "1", "b": "x\ny\n"}
    assert said(f"a: 1{end}a: 2{end}") == "2:1 the key `a` is written twice, first in line 1"


def test_a_byte_order_mark_is_no_text() -> None:
    assert good(b"\xef\xbb\xbfa: 1") == {"a": "1"}
    assert said(b"\xef\xbb\xbfa: 1\na: 2") == "2:1 the key `a` is written twice, first in line 1"


@pytest.mark.parametrize("data", ["", "\n\n", "# only a comment\n", "---\n", "---\n...\n", "~", b"", b"\xef\xbb\xbf"])
def test_a_file_that_says_nothing_is_a_complaint(data: bytes | str) -> None:
    assert said(data).endswith("the file is empty")


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ("a: 1".encode("utf-16"), "1:1 the file is UTF-16, not UTF-8"),
        ("a: 1".encode("utf-16-be"), "1:1 the file holds a NUL byte"),
        (b"a: 1\nb: \x00", "2:4 the file holds a NUL byte"),
        (b"a: 1\nb: \xc3\xa9\xff", "2:5 the byte 0xFF here is not UTF-8"),
        (b"a: \xc0\xaf", "1:4 the byte 0xC0 here is not UTF-8"),
        (b"a: \xed\xa0\x80", "1:4 the byte 0xED here is not UTF-8"),
        ("a: \ud800", "1:4 the text holds half of a surrogate pair"),
        ("a: \x1b[31m", "1:4 the file holds the control character U+001B"),
    ],
)  # fmt: skip
def test_bytes_that_are_no_text_are_refused_at_their_place(data: bytes | str, sentence: str) -> None:
    assert said(data) == sentence


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ("a: !!python/object:os.system {}", "1:4 the tag `tag:yaml.org,2002:python/object:os.system` is not allowed"),
        ("a: !!python/object/apply:os.system ['true']", None),
        ("!!str a: b", "1:1 the tag `tag:yaml.org,2002:str` is not allowed"),
        ("a: ! b", None),
        ("a: &a [*a]", "1:8 the alias `*a` holds itself"),
        ("a: &x {b: *x}", "1:11 the alias `*x` holds itself"),
        ("a: *b", "1:4 the alias `*b` has no anchor before it"),
        ("a: &x {b: 1}\nc:\n  <<: *x\n", "3:3 the merge key `<<` is not allowed"),
        ("<<: {a: 1}", "1:1 the merge key `<<` is not allowed"),
        ("a: 1\nb: 2\n'a': 3", "3:1 the key `a` is written twice, first in line 1"),
        ("1: a\n'1': b", "2:1 the key `1` is written twice, first in line 1"),
        ("a: 1\n---\nb: 2", "2:1 a second document starts here"),
        ("--- a\n...\n--- b", None),
        ("? [a, b]\n: c", "1:3 a key must be a plain text"),
        ("{a: b}: c", None),
        ("a: &x b\n*x : c", "2:1 a key must be a plain text"),
        ("~: a", "1:1 a key is missing here"),
        ("? \n: a", None),
    ],
)
def test_yaml_that_means_too_much_is_refused(data: str, sentence: str | None) -> None:
    found = said(data)
    assert sentence is None or found == sentence


@pytest.mark.parametrize(
    ("data", "place", "advice"),
    [
        ("a:\n\tb: c", "2:1", "indent with spaces; YAML does not allow tabs here"),
        ("a: @b", "1:4", "put quotes around a value that starts with @"),
        ("a: b: c", "1:5", "put quotes around a value that holds `: `, and check the indentation"),
        ("a: [b", "1:6", "check the indentation, the brackets and the quotes just before this place"),
    ],
)
def test_broken_yaml_is_explained_where_it_breaks(data: str, place: str, advice: str) -> None:
    assert said(data).startswith(f"{place} this is not YAML: ")
    assert hint(data) == advice


def test_anchors_and_aliases_repeat_values() -> None:
    assert good("a: &x [1, 2]\nb: *x\nc: &x 3\nd: *x") == {"a": ["1", "2"], "b": ["1", "2"], "c": "3", "d": "3"}


def test_a_merge_key_between_quotes_is_a_key_like_any_other() -> None:
    assert good("'<<': a") == {"<<": "a"}


MERGE_BOMB = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n}\n  <<: [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 30))
ALIAS_BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(9)
)
DEEP_ALIASES = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 90))
LONG_ALIASES = f"a: &a '{'x' * 50_000}'\nb: [{', '.join(['*a'] * 50)}]\n"
TOO_DEEP = f"lists and keys are nested more than {DEPTH_MAX} deep"

NO_KEY = "a key must be a plain text"

BOMBS: dict[str, tuple[bytes | str, str]] = {
    "merge keys": (MERGE_BOMB, "the merge key `<<` is not allowed"),
    "aliases of aliases": (ALIAS_BOMB, f"more than {NODES_MAX} values"),
    "aliases that nest": (DEEP_ALIASES, TOO_DEEP),
    "aliases of a long text": (LONG_ALIASES, f"more than {CHARACTERS_MAX} characters"),
    "many aliases": ("a: &a x\nb: [" + "*a, " * (ALIASES_MAX + 1) + "]", f"more than {ALIASES_MAX} aliases"),
    "50 000 brackets": ("[" * 50_000, TOO_DEEP),
    "50 000 braces": ("{" * 50_000, NO_KEY),
    "nested keys like JSON": ('{"a":' * 40_000, TOO_DEEP),
    "50 000 dashes": ("- " * 50_000, TOO_DEEP),
    "50 000 question marks": ("? " * 50_000, NO_KEY),
    "steps of indentation": ("".join(" " * n + f"k{n}:\n" for n in range(600)), TOO_DEEP),
    "many values": ("[" + "x," * 100_000 + "]", f"more than {NODES_MAX} values"),
    "a scalar of 10 MB": (b"a: " + b"x" * 10_000_000, f"at most {PIPELINE_BYTES_MAX} are read"),
    "10 MB of bad bytes": (b"\xff" * 10_000_000, f"at most {PIPELINE_BYTES_MAX} are read"),
}


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.timeout(20)
def test_a_bomb_does_not_go_off(name: str) -> None:
    data, sentence = BOMBS[name]
    assert sentence in said(data)


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_takes_no_memory(name: str) -> None:
    data, _ = BOMBS[name]
    # Being watched, the parser takes several times as long: how long it takes is another test's matter.
    tracemalloc.start()
    try:
        said(data)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 50_000_000


def test_a_document_at_its_limits_is_read() -> None:
    assert good("[" * DEPTH_MAX + "]" * DEPTH_MAX)
    assert good("a: &a x\nb: [" + "*a, " * ALIASES_MAX + "]")
    assert good(b"a: " + b"x" * (PIPELINE_BYTES_MAX - 3))


@pytest.mark.parametrize(
    "open_part", ["a: [1, ", "- 'x", "k: >\n  ", "{a: {b: ", "&a ", "? a\n", "# ", '"\\', "|\n x\n"]
)
@pytest.mark.timeout(20)
def test_repeating_any_opening_up_to_the_size_limit_ends(open_part: str) -> None:
    read(open_part * (PIPELINE_BYTES_MAX // len(open_part) // 8))


YAML_LIKE = st.text(alphabet=st.sampled_from("ab01 :-?[]{},&*!|>'\"%@`#\t\n\r~<\\xuU.\0\ufeff\x85é\u2028"), max_size=80)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.text(max_size=200), YAML_LIKE))
@example("%YAML 9.9\n---\na: b")
@example("%TAG ! tag:x,2000:\n---\n!a b")
@example('"\\ud800"')
@example('"\\U00110000"')
def test_any_bytes_are_read_or_refused_inside_the_text(data: bytes | str) -> None:
    found = read(data)
    if isinstance(found, Complaint):
        assert found.message
        assert found.place.line >= 1
        assert found.place.column >= 1
