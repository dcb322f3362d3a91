"""Configuration: whatever stands in files, variables and flags is a record, or a sentence for each mistake."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from surveil.config import ROLES, load
from surveil.config.roles import settings_of
from surveil.errors import InvalidError, UsageError
from tests.fuzz.disks import emptied
from tests.fuzz.draw import Draw

NAMES: Final = tuple(ROLES)
KEYS: Final = tuple(sorted({key for role in ROLES.values() for key in settings_of(role)}))
VALUES: Final = (
    '"10s"', '"x"', "1", "0", "-1", "true", "1.5", "inf", "nan", "[]", '["a", "b"]', "[1]", "{a = 1}", '""',
    '"\\u0000"',
    '"tcp://127.0.0.1:7300"', '"tcp://[::1]:1"', '"~/x"', '"~nobody-there/x"', '"\\u202E"', "1979-05-27", "07:32:00",
    "9999999999999999999999", '"""\nx\n"""', "0x10", '"' + "x" * 5_000 + '"', '"-x"', '"refs/heads/*"', '"/srv/r"',
)  # fmt: skip


def check(data: bytes) -> None:
    """Load the configuration of a role."""
    draw = Draw(data)
    role = ROLES[draw.pick(NAMES)]
    file = emptied() / "config.toml"
    file.write_bytes(draw.rest() if draw.seldom(4) else _toml(draw).encode("utf-8", "replace"))
    environ = {_variable(draw): _plain(draw) for _ in range(draw.byte() % 3)}
    known = list(settings_of(role))
    flags = {draw.pick(known): draw.value() for _ in range(draw.byte() % 3)}
    try:
        loaded = load(role, flags, environ=environ, config_file=file)
    except (InvalidError, UsageError) as refused:
        lines = str(refused).splitlines()
        assert lines
        assert all(line.isprintable() for line in lines), "a complaint is more than text"
        return
    assert all(shown.value.isprintable() for shown in loaded.shown())
    assert set(loaded.origins) == set(known)


def seeds() -> Iterator[bytes]:
    """Files, variables and flags, with a little to go on."""
    for text in (b"listen = 1\n", b"[role.runner]\nslots = 2\n", b"[" * 500, b"a = [" * 200, b"\xff", b"a.b.c = 1\n"):
        yield b"\0\1" + text
    for start in range(0, 250, 4):
        yield bytes([start % 5, 0]) + bytes((start + 29 * step) % 256 for step in range(60))


def _toml(draw: Draw) -> str:
    lines = []
    for _ in range(draw.byte() % 5):
        if draw.seldom(4):
            lines.append(draw.pick(("[role.runner]", "[role.up]", "[policy]", "[role]", "[x]", "[[role]]", "[role.x]")))
        key = draw.pick(KEYS) if draw.flag() else draw.text()
        lines.append(f"{key if draw.flag() else repr(key)} = {draw.pick(VALUES)}")
    return "\n".join(lines)


def _variable(draw: Draw) -> str:
    key = (
        draw.pick(KEYS).upper().replace(".", "_") if draw.flag() else "".join(c for c in draw.text() if c not in "=\0")
    )
    return f"SURVEIL_{key}{'_FILE' if draw.seldom(4) else ''}"


def _plain(draw: Draw) -> str:
    return draw.pick(VALUES).strip('"') if draw.flag() else draw.text().replace("\0", "")
