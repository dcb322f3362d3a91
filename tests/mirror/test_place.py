"""That two addresses lead to the same repository, and that two repositories are not taken for one."""

import pytest

from surveil.mirror.place import place_of


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("https://github.com/acme/lib", "github.com/acme/lib"),
        ("https://GitHub.com/Acme/Lib.git/", "github.com/acme/lib"),
        ("https://ada@github.com:443/acme/lib.git", "github.com/acme/lib"),
        ("http://example.org:3000/acme/lib.git", "example.org/acme/lib"),
        ("ssh://git@example.org:2222/acme/lib.git", "example.org/acme/lib"),
        ("git@example.org:acme/lib.git", "example.org/acme/lib"),
        ("example.org:/acme/lib", "example.org/acme/lib"),
        ("git@[::1]:acme/lib.git", "[::1]/acme/lib"),
        ("http://[::1]:8080/acme/lib", "[::1]/acme/lib"),
        ("git://example.org/acme/lib", "example.org/acme/lib"),
        ("https://example.org/acme/caf%C3%A9.git", "example.org/acme/café"),
        ("https://example.org/a/b/c/lib.git", "example.org/a/b/c/lib"),
        ("/srv/git/Lib.git", "/srv/git/Lib"),
        ("file:///srv/git/Lib.git", "/srv/git/Lib"),
        ("/srv/work/lib/.git", "/srv/work/lib"),
        ("/", "/"),
    ],
)
def test_an_address_has_one_place(text: str, place: str) -> None:
    assert place_of(text) == place


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://github.com/acme/lib", "https://github.com/acme/lib2"),
        ("https://github.com/acme/lib", "https://gitlab.com/acme/lib"),
        ("https://github.com/acme/lib", "https://github.com/lib"),
        ("/srv/Lib", "/srv/lib"),
        ("/srv/lib", "https://srv/lib"),
        ("/github.com/acme/lib", "https://github.com/acme/lib"),
    ],
)
def test_two_repositories_are_not_one(one: str, other: str) -> None:
    assert place_of(one) != place_of(other)


@pytest.mark.parametrize("text", ["", "-x", "ext::sh -c id", "https://", "https://example.org", "a\nb", "ftp://a/b"])
def test_what_is_no_address_has_no_place(text: str) -> None:
    assert place_of(text) is None
