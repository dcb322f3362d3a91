"""Codecs made from annotations: a frozen dataclass becomes a plain map and back, every received value checked
against its field's limit.

What belongs here: turning classes into codecs, and msgpack with every limit set. What does not: any message
(protocol).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

import msgpack

from surveil.errors import ProtocolError
from surveil.frozen import dataclass

INT_MAX: Final = 2**53
"""The largest integer that every JSON reader keeps exact."""

ITEMS_MAX: Final = 4096
BINARY_BYTES_MAX: Final = 1024
TEXT_BYTES_MAX: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Most:
    """A limit on the length of a text, a list or a map."""

    items: int


@dataclass(frozen=True, slots=True)
class Signed:
    """An integer that may be negative; all others count something."""


@dataclass(frozen=True, slots=True)
class Matches:
    """A regular expression that a text matches as a whole."""

    pattern: str


Pack: TypeAlias = Callable[[Any], dict[str, Any]]
Unpack: TypeAlias = Callable[[dict[str, Any], bytes | None], Any]
_Check: TypeAlias = Callable[[Any, str], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """How one message class becomes a map and back.

    A `bulk` message has a `data` field that travels as a frame of its own.
    """

    name: str
    header: bytes
    bulk: bool
    pack: Pack
    unpack: Unpack


def codec_for(header: bytes, kind: type) -> Codec:
    """Make the codec of a message class from its annotations."""
    bulk = any(field.name == "data" for field in fields(kind))
    return Codec(name=kind.__name__, header=header, bulk=bulk, pack=packer(kind), unpack=unpacker(kind))


def pack_value(value: dict[str, Any] | list[Any]) -> bytes:
    """Turn a plain map or list into a frame.

    Raises:
        ProtocolError: a text in it has no UTF-8, an integer no 64 bits, or values are nested too deep.
    """
    try:
        frame: bytes = msgpack.packb(value)
    except (ValueError, OverflowError) as error:
        raise ProtocolError(f"the message's fields cannot be written: {error}") from error
    return frame


pack_row: Final[Callable[[Sequence[Any]], bytes]] = msgpack.Packer(autoreset=True).pack
"""Turn plain values into bytes that are the same for the same values always, as a checksum needs them. One packer for
all of them, because making it takes longer than its work. Raises UnicodeEncodeError and OverflowError."""


def unpack_map(frame: bytes) -> dict[str, Any]:
    """Turn a frame from a peer into a plain map.

    Raises:
        ProtocolError: the frame is no msgpack map within the limits.
    """
    body = _unpack(frame)
    if type(body) is not dict:
        raise ProtocolError("the message's fields are not a map")
    return body


def unpack_list(frame: bytes) -> list[Any]:
    """Turn a frame from a peer into a plain list.

    Raises:
        ProtocolError: the frame is no msgpack list within the limits.
    """
    body = _unpack(frame)
    if type(body) is not list:
        raise ProtocolError("the parcel is not a list")
    return body


def _unpack(frame: bytes) -> Any:
    try:
        return msgpack.unpackb(
            frame, raw=False, strict_map_key=True, use_list=True,
            max_str_len=TEXT_BYTES_MAX, max_bin_len=BINARY_BYTES_MAX,
            max_array_len=ITEMS_MAX, max_map_len=ITEMS_MAX, max_ext_len=0,
        )  # fmt: skip
    except (ValueError, RecursionError, TypeError, OverflowError, msgpack.exceptions.UnpackException) as error:
        # Of values that are nested too deep msgpack says nothing but its error's name.
        cause = str(error) or "they are nested too deep"
        raise ProtocolError(f"the message's fields cannot be read: {cause}") from error


def _check_for(hint: Any) -> _Check:
    """Make the function that takes a received value of type `hint`, or raises `ProtocolError` with the field's name."""
    if get_origin(hint) is Annotated:
        inner, *limits = get_args(hint)
        if limits == [Signed()]:
            return _check_signed
        return _limited(_check_for(inner), limits)
    if hint is Any:
        return _anything
    if get_origin(hint) is Literal:
        return _one_of(get_args(hint))
    if get_origin(hint) in {Union, UnionType}:
        (inner,) = [part for part in get_args(hint) if part is not NoneType]
        check = _check_for(inner)
        return lambda value, where: None if value is None else check(value, where)
    if get_origin(hint) is tuple:
        return _tuple_of(_check_for(get_args(hint)[0]))
    if get_origin(hint) is Mapping:
        return _map_of(_check_for(get_args(hint)[1]))
    if hint is int:
        return _check_int
    if hint in {str, bool, bytes}:
        return _exactly(hint)
    return _part(hint)


def _anything(value: Any, where: str) -> Any:  # noqa: ARG001  # one signature for all checks
    return value


def _exactly(kind: type) -> _Check:
    def check(value: Any, where: str) -> Any:
        if type(value) is not kind:
            raise ProtocolError(f"{where} must be of type {kind.__name__}, not {type(value).__name__}")
        return value

    return check


def _check_int(value: Any, where: str) -> int:
    if type(value) is not int or not 0 <= value <= INT_MAX:
        raise ProtocolError(f"{where} must be an integer from 0 to 53 bits")
    return value


def _check_signed(value: Any, where: str) -> int:
    if type(value) is not int or not -INT_MAX <= value <= INT_MAX:
        raise ProtocolError(f"{where} must be an integer of at most 53 bits")
    return value


def _one_of(choices: tuple[Any, ...]) -> _Check:
    known = frozenset(choices)

    def check(value: Any, where: str) -> Any:
        if type(value) is not str or value not in known:
            raise ProtocolError(f"{where} must be one of {', '.join(choices)}")
        return value

    return check


def _tuple_of(item: _Check) -> _Check:
    def check(value: Any, where: str) -> Any:
        if type(value) is not list:
            raise ProtocolError(f"{where} must be a list")
        return tuple([item(element, where) for element in value])

    return check


def _map_of(item: _Check) -> _Check:
    def check(value: Any, where: str) -> Any:
        if type(value) is not dict or not all(type(key) is str for key in value):
            raise ProtocolError(f"{where} must be a map with texts as keys")
        return {key: item(element, where) for key, element in value.items()}

    return check


def _limited(check: _Check, limits: Sequence[Any]) -> _Check:
    (limit,) = limits
    if isinstance(limit, Matches):
        matches = re.compile(limit.pattern).fullmatch

        def check_match(value: Any, where: str) -> Any:
            if matches(check(value, where)) is None:
                raise ProtocolError(f"{where} does not look as it must")
            return value

        return check_match
    assert isinstance(limit, Most), f"{limit!r} is no limit"
    most = limit.items

    def check_length(value: Any, where: str) -> Any:
        if hasattr(value, "__len__") and len(value) > most:
            raise ProtocolError(f"{where} is longer than {most}")
        return check(value, where)

    return check_length


def _part(kind: type) -> _Check:
    unpack = unpacker(kind)

    def check(value: Any, where: str) -> Any:
        if type(value) is not dict:
            raise ProtocolError(f"{where} must be a map")
        return unpack(value, None)

    return check


def unpacker(kind: type) -> Unpack:
    """Make the function that builds a `kind` from a received map, and from the raw frame of a bulk message.

    The function is text made of our own fields: whether a value is as it must be is asked in place, and only a value
    that is not goes to the check that knows the sentence.
    """
    hints = get_type_hints(kind, include_extras=True)
    known: dict[str, Any] = {"kind": kind, "absent": MISSING, "missing": _missing}
    lines = []
    for field in fields(kind):
        name, where = field.name, f"{kind.__name__}.{field.name}"
        # No local name is that of a field, whatever a field is called.
        value = f"its_{name}"
        known[f"check_{name}"], known[f"default_{name}"] = _check_for(hints[name]), field.default
        again = f"    {value} = check_{name}({value}, {where!r})"
        lines.append(f"{value} = raw" if name == "data" else f"{value} = body.get({name!r}, absent)")
        lines.append(f"if {value} is {'None' if name == 'data' else 'absent'}:")
        lines.append(f"    missing({where!r})" if field.default is MISSING else f"    {value} = default_{name}")
        wrong = _wrong_in_place(hints[name], value, known)
        lines += ["else:" if wrong is None else f"elif {wrong}:", again]
    given = ", ".join(f"{field.name}=its_{field.name}" for field in fields(kind))
    text = "".join(f"    {line}\n" for line in lines)
    # As the standard library makes the methods of a dataclass.
    exec(f"def unpack(body, raw):\n{text}    return kind({given})\n", known)  # noqa: S102
    unpack: Unpack = known["unpack"]
    return unpack


def _missing(where: str) -> None:
    raise ProtocolError(f"{where} is missing")


def _wrong_in_place(hint: Any, value: str, known: dict[str, Any]) -> str | None:
    """An expression that is true only where the check refuses or changes the variable `value`; None where that takes
    more than a look.
    """
    if get_origin(hint) in {Union, UnionType}:
        (inner,) = [part for part in get_args(hint) if part is not NoneType]
        wrong = _wrong_in_place(inner, value, known)
        return None if wrong is None else f"{value} is not None and ({wrong})"
    plain, *limits = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    match (plain, limits):
        case (kind, []) if kind is int:
            return f"type({value}) is not int or not 0 <= {value} <= {INT_MAX}"
        case (kind, []) if kind in {str, bool}:
            return f"type({value}) is not {kind.__name__}"
        case (kind, [Most(items=most)]) if kind is str:
            return f"type({value}) is not str or len({value}) > {most}"
        case (kind, [Matches(pattern=pattern)]) if kind is str:
            known[f"match_{value}"] = re.compile(pattern).fullmatch
            return f"type({value}) is not str or match_{value}({value}) is None"
        case _:
            return None


def packer(kind: type) -> Pack:
    """Make the function that turns a message into plain maps and lists; only fields that hold parts need more
    than a look.
    """
    hints = get_type_hints(kind, include_extras=True)
    names = [field.name for field in fields(kind) if field.name != "data"]
    known: dict[str, Any] = {}
    items = []
    for name in names:
        known[f"pack_{name}"] = how = _pack_for(hints[name])
        items.append(f"{name!r}: message.{name}" if how is None else f"{name!r}: pack_{name}(message.{name})")
    exec(f"def pack(message):\n    return {{{', '.join(items)}}}\n", known)  # noqa: S102
    pack: Pack = known["pack"]
    return pack


def _pack_for(hint: Any) -> Callable[[Any], Any] | None:
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) in {Union, UnionType}:
        (inner,) = [part for part in get_args(hint) if part is not NoneType]
        pack_inner = _pack_for(inner)
        return None if pack_inner is None else lambda value: None if value is None else pack_inner(value)
    if get_origin(hint) is tuple:
        pack_item = _pack_for(get_args(hint)[0])
        return None if pack_item is None else lambda value: [pack_item(item) for item in value]
    if isinstance(hint, type) and hasattr(hint, "__dataclass_fields__"):
        return packer(hint)
    return None
