"""Messages: whatever a peer sends is a message or a `ProtocolError`, and a message comes back as it was said."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from types import UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import msgpack

from surveil.codec import Matches, Most, Signed
from surveil.errors import ProtocolError
from surveil.protocol import HEADERS, PARCEL_HEADER, TYPES, Message, decode, decode_all, encode
from tests.fuzz.draw import Draw
from tests.wire.samples import PARCEL, SAMPLES

FRAME_COUNT_MAX: Final = 5
NUMBERS_OF_TYPES: Final = tuple(TYPES)
KEYS: Final = ("k" * 40, "", "r" * 40, "\x7f" * 40)
SHAS: Final = ("0123456789abcdef" * 4, "a" * 40, "a" * 41, "A" * 40, "")
JOBS: Final = ("1/test", "7/test", "0/x", "1/", "1/../../x", "1/\x7f", "9999999999999999/x", "1/☃\u202e")


def check(data: bytes) -> None:
    """Decode, and take what was understood to the wire and back."""
    draw = Draw(data)
    frames = WAYS[draw.byte() % len(WAYS)](draw)
    try:
        messages = decode_all(frames)
    except ProtocolError:
        return
    assert len(messages) >= 1
    for message in messages:
        again = encode(message)
        heard = decode(again)
        assert heard == message or not _is_equal_to_itself(message), "a message is another one after its journey"
        assert encode(heard) == again


def seeds() -> Iterator[bytes]:
    """Every sample as it is on the wire, a parcel, and the other ways with nothing to go on."""
    for sample in SAMPLES:
        yield b"\0" + packed(encode(sample))
    body = msgpack.packb([part for each in PARCEL for part in (HEADERS[type(each)][3], _map_of(each))])
    yield b"\0" + packed([PARCEL_HEADER, body])
    for way in range(1, len(WAYS)):
        for kind in range(len(SAMPLES)):
            yield bytes([way, kind]) + bytes(range(32))


def packed(frames: Sequence[bytes]) -> bytes:
    """Frames as the first way reads them: how many, and each with its length before it."""
    return bytes([len(frames)]) + b"".join(len(frame).to_bytes(2, "big") + frame for frame in frames)


def _is_equal_to_itself(value: Any) -> bool:
    """Not so where there is a NaN in it, which equals nothing."""
    match value:
        case float():
            return not math.isnan(value)
        case dict():
            return all(map(_is_equal_to_itself, value.values()))
        case list() | tuple():
            return all(map(_is_equal_to_itself, value))
        case _ if hasattr(value, "__dataclass_fields__"):
            return all(_is_equal_to_itself(getattr(value, field.name)) for field in fields(value))
        case _:
            return True


def _map_of(message: Message) -> dict[str, Any]:
    body: dict[str, Any] = msgpack.unpackb(encode(message)[1])
    return body


def _as_they_are(draw: Draw) -> list[bytes]:
    return [draw.some(65_535) for _ in range(draw.byte() % (FRAME_COUNT_MAX + 1))]


def _edited(draw: Draw) -> list[bytes]:
    frames = encode(draw.pick(SAMPLES))
    frames[1] = draw.edited(frames[1])
    if draw.seldom():
        frames[0] = draw.edited(frames[0])
    return frames


def _with_other_fields(draw: Draw) -> list[bytes]:
    frames = encode(draw.pick(SAMPLES))
    body = msgpack.unpackb(frames[1])
    for _ in range(draw.byte() % 4):
        name = draw.pick([*body, "newer"])
        if draw.seldom(4):
            body.pop(name, None)
        else:
            body[name] = draw.value()
    frames[1] = msgpack.packb(_packable(body))
    return frames


def _made(draw: Draw) -> list[bytes]:
    return made_message(TYPES[draw.pick(NUMBERS_OF_TYPES)], draw)


def made_message(kind: type[Message], draw: Draw) -> list[bytes]:
    """A message of this kind with values that are mostly what they should be."""
    body = _of_type(kind, draw)
    frames = [HEADERS[kind], msgpack.packb(_packable(body))]
    if any(field.name == "data" for field in fields(kind)):
        frames.append(draw.some(1_000))
    return frames


def _parcel(draw: Draw) -> list[bytes]:
    items: list[Any] = []
    for _ in range(draw.byte() % 5):
        number = draw.pick(NUMBERS_OF_TYPES)
        items += [draw.value() if draw.seldom() else number, _of_type(TYPES[number], draw)]
    if draw.seldom():
        items.append(draw.value())
    return [PARCEL_HEADER, draw.edited(msgpack.packb(_packable(items)), 1 if draw.seldom(4) else 0)]


def _packable(value: Any) -> Any:
    """Integers of more than 64 bits are nothing that could be sent."""
    match value:
        case dict():
            return {key: _packable(inner) for key, inner in value.items()}
        case list():
            return [_packable(inner) for inner in value]
        case int() if not -(2**63) <= value < 2**64:
            return 0
        case _:
            return value


def _of_type(hint: Any, draw: Draw) -> Any:
    """A value that is mostly what the annotation asks for."""
    if draw.seldom(32):
        return draw.value()
    if get_origin(hint) is Annotated:
        inner, limit = get_args(hint)
        match limit:
            case Signed():
                return draw.number()
            case Matches(pattern=pattern):
                return draw.pick(KEYS if "40" in pattern and "!" in pattern else SHAS if "f]" in pattern else JOBS)
            case Most():
                return _of_type(inner, draw)
    if get_origin(hint) is Literal:
        return draw.pick(get_args(hint))
    if get_origin(hint) in {Union, UnionType}:
        (inner,) = [part for part in get_args(hint) if part is not type(None)]
        return None if draw.flag() else _of_type(inner, draw)
    if get_origin(hint) is tuple:
        return draw.many(lambda: _of_type(get_args(hint)[0], draw))
    if get_origin(hint) is Mapping:
        return {draw.text(): _of_type(get_args(hint)[1], draw) for _ in range(draw.byte() % 3)}
    if hasattr(hint, "__dataclass_fields__"):
        hints = get_type_hints(hint, include_extras=True)
        return {
            field.name: _of_type(hints[field.name], draw)
            for field in fields(hint)
            if field.name != "data" and not draw.seldom(64)
        }
    makes: dict[Any, Any] = {int: lambda: abs(draw.number()), str: draw.text, bool: draw.flag, bytes: draw.some}
    return makes.get(hint, draw.value)()


WAYS: Final = (_as_they_are, _edited, _with_other_fields, _made, _parcel)
