"""What people type and copy: addresses, tokens, patterns of refs, durations, arguments of questions."""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Iterator
from typing import Final

import msgpack

from surveil.answer.arguments import Arguments
from surveil.core.patterns import read_patterns
from surveil.core.spelling import format_duration, parse_duration, quoted
from surveil.errors import UsageError
from surveil.mirror.address import ADDRESS_CHARS_MAX, Kind, parse
from surveil.net.addresses import parse_address
from surveil.net.tokens import parse_token
from tests.fuzz.draw import Draw

SCHEMES: Final = (
    "https://",
    "http://",
    "ssh://",
    "git://",
    "file://",
    "ext::",
    "fd::",
    "git@",
    "HTTPS://",
    "",
    "./",
    "/",
)
PARTS: Final = (
    "example.org", "localhost", "[::1]", "[fe80::1%lo]", "127.0.0.1", "0x7f.1", ":22", ":0", ":99999", ":" + "0" * 60,
    "/r.git", "/../..", "user@", "u:p@", "-oProxyCommand=x", "%2e%2e", "%00", "%0a", "~", ":", "@", "//", " ", "\\",
    "::", "\u202e", "\ud800", "é", "?x=1", "#f", "a" * 300, "*", "?", "[a]", "!", "refs/heads/", "tags/", "HEAD",
    "main",
)  # fmt: skip


def check(data: bytes) -> None:
    """Read what was typed."""
    draw = Draw(data)
    WAYS[draw.byte() % len(WAYS)](draw)


def seeds() -> Iterator[bytes]:
    """Each way, with a little to go on."""
    for way in range(len(WAYS)):
        for start in range(0, 250, 12):
            yield bytes([way]) + bytes((start + 19 * step) % 256 for step in range(40))


def _typed(draw: Draw) -> str:
    if draw.seldom(4):
        return draw.rest().decode("utf-8", "surrogateescape")
    return (
        draw.pick(SCHEMES)
        + "".join(draw.pick(PARTS) for _ in range(draw.byte() % 6))
        + (draw.text() if draw.flag() else "")
    )


def _repository(draw: Draw) -> None:
    text = _typed(draw)
    try:
        address = parse(text, "/home")
    except UsageError as refused:
        _is_a_sentence(refused)
        return
    assert len(address.key) <= ADDRESS_CHARS_MAX + 10
    assert not address.key.startswith("-")
    assert address.is_local == address.key.startswith("/")
    assert address.kind is Kind.LOCAL or "::" not in address.key.split("/", 1)[0].replace("[::", "[")
    again = parse(address.key, "/elsewhere")
    assert (again.kind, again.key) == (address.kind, address.key), "an address that is another one the second time"
    assert address.name
    assert address.server.isprintable()
    address.key.encode()


def _dispatcher(draw: Draw) -> None:
    text = draw.pick(("tcp://", "", "tcp:/")) + draw.pick(PARTS) + draw.pick((":7300", ":0", "", ":x", ":99999"))
    try:
        address = parse_address(text if draw.flag() else _typed(draw))
    except UsageError as refused:
        _is_a_sentence(refused)
        return
    assert parse_address(str(address)) == address


def _token(draw: Draw) -> None:
    payload = msgpack.packb([
        "tcp://127.0.0.1:1" if draw.flag() else draw.text(),
        "k" * 40 if draw.flag() else draw.text(),
        bytes(32) if draw.flag() else draw.some(),
    ])  # fmt: skip
    if draw.flag():
        payload = draw.edited(payload)
    body = f"svl{draw.pick(('1', '1', '2', '01'))}.{base64.urlsafe_b64encode(payload).decode().rstrip('=')}"
    text = f"{body}.{zlib.crc32(body.encode()):08x}"
    try:
        token = parse_token(draw.edited(text.encode(), 1).decode("utf-8", "replace") if draw.flag() else text)
    except UsageError as refused:
        _is_a_sentence(refused, without=text[5:25])
        return
    assert parse_token(str(token)) == token
    assert token.secret.hex() not in repr(token)


def _is_a_sentence(refused: Exception, without: str = "") -> None:
    """What a person is told is text, and does not hold the secret, even where that is damaged."""
    said = str(refused)
    assert said.isprintable(), "a refusal is more than text"
    assert len(without) < 20 or without not in said, "a refusal tells a secret"  # 20 letters come about by no chance


def _pattern(draw: Draw) -> None:
    texts = draw.many(lambda: draw.pick(PARTS) + draw.pick(PARTS) if draw.flag() else draw.text(), 3)
    try:
        patterns = read_patterns(texts)
    except UsageError:
        return
    patterns.prefixes()
    ref = "refs/heads/" + "".join(draw.many(lambda: draw.pick(("a", "b", "main", "/", "*", "[a]", draw.text()))))
    chosen = any(_as_shells_have_it(text, ref) for text in texts if not text.startswith("!") and text != "HEAD")
    chosen |= not any(not text.startswith("!") for text in texts)
    chosen |= patterns.head and ref == "refs/heads/main"
    chosen &= not any(_as_shells_have_it(text[1:], ref) for text in texts if text.startswith("!"))
    assert patterns.match(ref, "refs/heads/main") == chosen, f"{texts} and {ref}"


def _as_shells_have_it(text: str, ref: str) -> bool:
    """The same question, answered by the standard library."""
    if not text.startswith("refs/"):
        text = "refs/" + text if text.startswith(("tags/", "heads/")) else "refs/heads/" + text
    return re.fullmatch(".*".join(map(re.escape, re.sub(r"\*+", "*", text).split("*"))), ref, re.DOTALL) is not None


def _duration(draw: Draw) -> None:
    text = "".join(draw.many(lambda: str(draw.number()) + draw.pick(("s", "m", "h", "d", "ms", "", "x")), 3))
    try:
        found = parse_duration(text if draw.flag() else draw.text())
    except ValueError as refused:
        _is_a_sentence(refused)
        return
    assert parse_duration(format_duration(found)) == found


def _arguments(draw: Draw) -> None:
    names = ("limit", "repo", "labels", "role", "wait", "pipeline")
    about = {draw.pick(names) if draw.flag() else draw.text(): draw.value() for _ in range(draw.byte() % 5)}
    arguments = Arguments("builds", about)
    try:
        assert type(arguments.number("limit", 20)) is int
        assert type(arguments.text("repo", "")) is str
        assert all(type(label) is str for label in arguments.names("labels"))
        assert type(arguments.flag("wait")) is bool
        arguments.script("pipeline")
        arguments.choice("role", ("runner", "client"))
        arguments.finish()
    except UsageError as refused:
        _is_a_sentence(refused)


def _quoted(draw: Draw) -> None:
    shown = quoted(_typed(draw))
    assert shown.isprintable()
    assert len(shown) <= 62


WAYS: Final = (_repository, _dispatcher, _token, _pattern, _duration, _arguments, _quoted)
