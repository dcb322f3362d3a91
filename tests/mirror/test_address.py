"""What a repository may be called, and what is refused before git ever hears of it."""

import pytest

from surveil.errors import ExitCode
from surveil.mirror.address import ADDRESS_CHARS_MAX, AddressError, Kind, parse


@pytest.mark.parametrize(
    ("text", "kind", "key", "name"),
    [
        (".", Kind.LOCAL, "/here", "here"),
        ("project", Kind.LOCAL, "/here/project", "project"),
        ("../other/", Kind.LOCAL, "/other", "other"),
        ("//srv//git/a.git/", Kind.LOCAL, "/srv/git/a.git", "a"),
        ("/with blank/and:colon", Kind.LOCAL, "/with blank/and:colon", "colon"),
        ("./host:path", Kind.LOCAL, "/here/host:path", "path"),
        ("file:///srv/git/a%20b", Kind.LOCAL, "/srv/git/a b", "a b"),
        ("file://localhost/srv/a", Kind.LOCAL, "/srv/a", "a"),
        ("https://Example.ORG:443/team/a.git/", Kind.HTTPS, "https://example.org/team/a.git", "a"),
        ("http://[::1]:8080/a", Kind.HTTP, "http://[::1]:8080/a", "a"),
        ("ssh://git@example.org:2222/team/a", Kind.SSH, "ssh://git@example.org:2222/team/a", "a"),
        ("ssh://example.org:22/~ada/a", Kind.SSH, "ssh://example.org/~ada/a", "a"),
        ("git@Example.org:team/a.git", Kind.SSH, "git@example.org:team/a.git", "a"),
        ("example.org:a", Kind.SSH, "example.org:a", "a"),
        ("git://example.org/a", Kind.GIT, "git://example.org/a", "a"),
        ("/größe/日本", Kind.LOCAL, "/größe/日本", "日本"),
    ],
)
def test_each_kind_of_address_has_one_canonical_form(text: str, kind: Kind, key: str, name: str) -> None:
    address = parse(text, "/here")
    assert (address.kind, address.key, address.name) == (kind, key, name)
    assert parse(address.key, "/elsewhere").key == address.key


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "-oProxyCommand=touch pwned",
        "--upload-pack=touch pwned",
        "-",
        "ext::sh -c 'touch pwned'",
        "fd::17/foo",
        "https::https://example.org/a",
        "EXT::sh",
        "ftp://example.org/a",
        "rsync://example.org/a",
        "javascript://example.org/a",
        "file://elsewhere/a",
        "file://",
        "https://",
        "https:///a",
        "https://example.org",
        "https://example.org/",
        "https://example.org:99999/a",
        "https://example.org:0/a",
        "https://example.org:x/a",
        "https://exa mple.org/a",
        "https://example.org/a b",
        "ssh://-oProxyCommand=touch/a",
        "ssh://-oProxyCommand@example.org/a",
        "ssh://ada:secret@example.org/a",
        "git://ada@example.org/a",
        "-x@example.org:a",
        "git@-oProxyCommand=x:a",
        "git@example.org:-oProxyCommand=x",
        "/a\nb",
        "/a\x00b",
        "/a\x1b[31m",
        "/a\u202eb",
        "/a\udcffb",
        "https://example.org/a%00b\r\nHost: x",
        "file:///a%0Ab",
        "/" + "a" * ADDRESS_CHARS_MAX,
    ],
)
def test_what_is_no_address_is_refused_with_one_printable_sentence(text: str) -> None:
    with pytest.raises(AddressError) as refused:
        parse(text, "/here")
    sentence = str(refused.value)
    assert sentence.isprintable()
    assert sentence.endswith(".")
    assert len(sentence) < 500
    assert refused.value.exit_code is ExitCode.USAGE


def test_a_user_is_in_neither_the_key_nor_the_name() -> None:
    address = parse("https://ada@example.org/a", "/here")
    assert (address.key, address.url, address.name) == ("https://example.org/a", "https://example.org/a", "a")
    assert address.user == "ada"


@pytest.mark.parametrize(
    "text", ["https://ada:secret@exa mple/a", "ftp://ada:secret@example.org/a", "ssh://a:secret@b/c"]
)
def test_a_refusal_does_not_repeat_a_password(text: str) -> None:
    with pytest.raises(AddressError) as refused:
        parse(text, "/here")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("https://ada@Example.org:443/team/a.git", "https://example.org"),
        ("http://[::1]:8080/a", "http://[::1]:8080"),
        ("ssh://git@example.org:2222/a", "ssh://git@example.org:2222"),
        ("git@example.org:team/a", "git@example.org"),
        ("git@[::1]:team/a", "git@[::1]"),
        ("/srv/a", ""),
    ],
)
def test_repositories_of_one_server_are_known_by_it(text: str, server: str) -> None:
    assert parse(text, "/").server == server


def test_what_travels_unencrypted_says_so() -> None:
    assert [parse(text, "/").is_plain for text in ("http://a/b", "git://a/b", "https://a/b", "a:b", "/b")] == [
        True,
        True,
        False,
        False,
        False,
    ]
