"""Remotes over HTTP that are well, refuse, lie, or lead elsewhere."""

from pathlib import Path

import pytest

from surveil.mirror.address import parse
from surveil.mirror.mirror import Mirror
from surveil.mirror.trouble import MirrorError, Trouble
from tests.mirror.servers import answering, serving


@pytest.mark.parametrize(
    ("status", "headers", "body", "troubles"),
    [
        (401, {"WWW-Authenticate": 'Basic realm="x"'}, b"", {Trouble.REFUSED}),
        (403, {}, b"", {Trouble.REFUSED}),
        (404, {}, b"", {Trouble.NOT_A_REPOSITORY}),
        (429, {"Retry-After": "3600"}, b"", {Trouble.UNREACHABLE}),
        (500, {}, b"", {Trouble.UNREACHABLE}),
        (503, {}, b"", {Trouble.UNREACHABLE}),
        (200, {"Content-Type": "text/html"}, b"<html>\nBack soon\n</html>\n", {Trouble.NOT_A_REPOSITORY}),
        (200, {"Content-Type": "application/x-git-upload-pack-advertisement"}, b"\xff" * 99, set(Trouble)),
        (301, {"Location": "SELF/info/refs?service=git-upload-pack"}, b"", set(Trouble)),
        (302, {"Location": "file:///etc/passwd"}, b"", set(Trouble)),
        (302, {"Location": "ext::sh -c 'touch pwned'"}, b"", set(Trouble)),
    ],
)
def test_a_remote_that_answers_otherwise_is_a_sentence(
    tmp_path: Path, status: int, headers: dict[str, str], body: bytes, troubles: set[Trouble]
) -> None:
    with serving(answering(status, headers, body)) as address:
        mirror = Mirror(tmp_path / "mirrors", parse(address + "/a", "/"))
        with pytest.raises(MirrorError) as refused:
            mirror.refs()
    assert refused.value.trouble in troubles
    assert address in str(refused.value)
    assert str(refused.value).isprintable()
    assert not Path("pwned").exists()


def test_a_page_in_the_place_of_a_repository_reads_like_an_empty_one(tmp_path: Path) -> None:
    """Git takes it for its oldest HTTP protocol; `core.observe` therefore does not believe a sudden emptiness."""
    with serving(answering(200, {"Content-Type": "text/html"}, b"<html>Back soon</html>")) as address:
        refs = Mirror(tmp_path / "mirrors", parse(address + "/a", "/")).refs()
    assert (refs.head_sha, dict(refs.refs)) == (None, {})
