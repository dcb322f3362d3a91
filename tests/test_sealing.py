"""Small files notice when the disk changed them."""

import json

import pytest

from surveil.sealing import sealed, sealed_line, unsealed, unsealed_line

FIELDS = {"outcome": "passed", "exit_code": 0, "steps": [{"name": "a\nb\N{SNOWMAN}\udcff"}], "reason": None}


def flipped(content: bytes) -> list[bytes]:
    """The same with one bit changed, for each bit."""
    found = []
    for bit in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        found.append(bytes(damaged))
    return found


def test_an_object_comes_back_as_it_was() -> None:
    assert unsealed(sealed(FIELDS)) == FIELDS
    assert json.loads(sealed(FIELDS))["outcome"] == "passed", "other programs can read it"


def test_no_bit_of_an_object_changes_unseen() -> None:
    for content in flipped(sealed(FIELDS)):
        try:
            found = unsealed(content)
        except ValueError:
            continue
        # The checksum's own name may be what was changed: all that it vouched for is there.
        assert {name: found[name] for name in FIELDS if name in found} == FIELDS


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"{", sealed(FIELDS)[:-1], b"\xff"])
def test_what_is_no_whole_object_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        unsealed(content)


def test_an_object_of_an_earlier_version_is_taken_as_it_is() -> None:
    assert unsealed(json.dumps(FIELDS, indent=2).encode()) == FIELDS


@pytest.mark.parametrize("text", ["", "12 7/test", "7/caf\udce9", "x" * 40])
def test_a_line_comes_back_as_it_was(text: str) -> None:
    assert unsealed_line(sealed_line(text)) == text


def test_no_bit_of_a_line_changes_unseen() -> None:
    for text in ("3 7/test", "12 1/a"):
        for line in flipped(sealed_line(text).encode()):
            try:
                found = unsealed_line(line.decode(errors="surrogateescape"))
            except ValueError:
                continue
            assert not found.partition(" ")[0].isdecimal(), "neither a tombstone nor a key"


@pytest.mark.parametrize("line", ["3 7/test", "@" + "k" * 39, ""])
def test_a_line_of_an_earlier_version_is_taken_as_it_is(line: str) -> None:
    assert unsealed_line(line) == line
