"""What a remote says of its refs, and what git is asked for it: no more than there is room for, and never an option."""

from pathlib import Path

import pytest

from surveil.mirror import refs
from surveil.mirror.address import Address, Kind
from surveil.mirror.mirror import Mirror
from surveil.mirror.refs import list_remote, parse_remote
from surveil.mirror.trouble import MirrorError, Trouble

SHA = "a" * 40


def listing(count: int) -> bytes:
    lines = ["ref: refs/heads/main\tHEAD", f"{SHA}\tHEAD", *(f"{SHA}\trefs/heads/b{n}" for n in range(count))]
    return "\n".join(lines).encode() + b"\n"


def test_as_many_refs_as_allowed_are_read_and_one_more_is_refused_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(refs, "REFS_MAX", 3)
    found = parse_remote(listing(3), "https://example.org/many")
    assert (found.head, found.head_sha, len(found.refs)) == ("refs/heads/main", SHA, 3)
    with pytest.raises(MirrorError, match=r"example\.org/many has more than 3 refs; watch fewer with --ref") as refused:
        parse_remote(listing(4), "https://example.org/many")
    assert refused.value.trouble is Trouble.TOO_LARGE


def test_lines_that_are_no_refs_are_left_out() -> None:
    noise = [
        b"", b"no tab", SHA.encode() + b"\trefs/heads/a..b", SHA.encode() + b"\trefs/tags/v1^{}",
        b"f" * 39 + b"\trefs/heads/short", b"G" * 40 + b"\trefs/heads/letters", SHA.encode() + b"\t--upload-pack=x",
        SHA.encode() + b"\trefs/heads/" + b"n" * 600, b"ref: -x\tHEAD", b"\xff\xfe\tHEAD",
    ]  # fmt: skip
    found = parse_remote(b"\n".join([*noise, SHA.encode() + b"\trefs/heads/\xff\xfe"]), "here")
    assert (found.head, found.head_sha) == (None, None)
    assert dict(found.refs) == {r"refs/heads/\xff\xfe": SHA}


@pytest.mark.parametrize("kind", [Kind.SSH, Kind.HTTPS, Kind.GIT])
def test_an_address_that_reads_like_an_option_is_none_even_if_it_was_let_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    # `address.parse` refuses it; here that is taken to have failed.
    mark = tmp_path / "pwned"
    monkeypatch.chdir(tmp_path)
    address = Address(kind=kind, key=f"--upload-pack=touch {mark}")
    with pytest.raises(MirrorError):
        list_remote(address)
    with pytest.raises(MirrorError):
        Mirror(tmp_path / "mirrors", address).fetch(SHA, "refs/heads/main")
    assert not mark.exists()
