"""The wire: bytes that may never change, and bytes that nobody honest would send."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import MISSING, fields, replace
from typing import Any, get_args

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from surveil.errors import ProtocolError
from surveil.protocol import (
    CHUNK_BYTES_MAX,
    MESSAGE_BYTES_MAX,
    PARCEL_HEADER,
    PARCEL_MAX,
    TYPES,
    VERSION,
    Answer,
    Ask,
    Assign,
    Beat,
    CommitSeen,
    Drain,
    FromRunner,
    Heartbeat,
    Hello,
    JobSpec,
    Message,
    Output,
    StepReport,
    ToRunner,
    decode,
    decode_all,
    encode,
    encode_all,
    pack_part,
    unpack_part,
)
from tests.wire import golden
from tests.wire.samples import HELD, PARCEL, SAMPLES, SHA, SPEC, STEP

BY_NAME = {type(sample).__name__: sample for sample in SAMPLES}
each_message = pytest.mark.parametrize("message", SAMPLES, ids=list(BY_NAME))

anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=50)
    | st.binary(max_size=50),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)  # fmt: skip


def decode_or_refuse(frames: list[bytes]) -> Message | None:
    """A message or None; any other exception than the promised one ends the test."""
    try:
        return decode(frames)
    except ProtocolError:
        return None


def test_every_type_has_a_sample_with_a_value_in_every_field() -> None:
    assert {type(sample) for sample in SAMPLES} == set(TYPES.values())
    for sample in SAMPLES:
        assert [f.name for f in fields(sample) if not getattr(sample, f.name) and f.default is not True] == [], type(
            sample
        ).__name__


def test_the_bytes_of_every_message_are_those_of_its_first_release() -> None:
    assert golden.read(VERSION) == golden.now()


def test_the_bytes_of_the_first_release_are_understood() -> None:
    understood = {name: decode_all(frames) for name, frames in golden.read(1).items()}
    assert understood == {name: [sample] for name, sample in BY_NAME.items()} | {"parcel": [*PARCEL]}


def test_fields_of_a_newer_peer_are_ignored() -> None:
    header, body = encode(BY_NAME["Beat"])
    assert decode([header, msgpack.packb(msgpack.unpackb(body) | {"newer": [1, {"x": 2}]})]) == BY_NAME["Beat"]


def test_fields_that_an_older_peer_does_not_know_have_their_defaults() -> None:
    header, body = encode(BY_NAME["Drain"])
    older = {name: value for name, value in msgpack.unpackb(body).items() if name != "stop"}
    assert decode([header, msgpack.packb(older)]) == Drain(stop=False)


def test_another_version_is_refused_with_what_to_do() -> None:
    header, body = encode(BY_NAME["Introduce"])
    newer = header[:2] + bytes([VERSION + 1]) + header[3:]
    with pytest.raises(
        ProtocolError, match=r"speaks version 2 .* install the same version of surveil on both machines"
    ):
        decode([newer, body])


@each_message
def test_a_message_cut_off_at_any_byte_is_refused(message: Message) -> None:
    frames = encode(message)
    for index, frame in enumerate(frames[:2]):
        for length in range(len(frame)):
            with pytest.raises(ProtocolError):
                decode([*frames[:index], frame[:length], *frames[index + 1 :]])
    for count in range(len(frames)):
        with pytest.raises(ProtocolError):
            decode(frames[:count])
    with pytest.raises(ProtocolError):
        decode([*frames, b""])


@each_message
def test_only_a_field_with_a_default_can_be_left_out(message: Message) -> None:
    header, body, *bulk = encode(message)
    values = msgpack.unpackb(body)
    for field in fields(message):
        if field.name == "data":
            continue
        shortened = {name: value for name, value in values.items() if name != field.name}
        frames = [header, msgpack.packb(shortened), *bulk]
        if field.default is MISSING:
            with pytest.raises(ProtocolError, match=rf"{type(message).__name__}\.{field.name} is missing"):
                decode(frames)
        else:
            assert decode(frames) == replace(message, **{field.name: field.default})


def in_parcels(messages: Sequence[Message]) -> list[list[Message]]:
    """What is said at once, piece by piece as it is heard."""
    pieces = [(decode_all(frames), count) for frames, count in encode_all(messages)]
    assert [len(heard) for heard, _ in pieces] == [count for _, count in pieces]
    return [heard for heard, _ in pieces]


def test_what_is_said_at_once_travels_together_in_its_order() -> None:
    beats = [Beat(epoch=1, seq=seq, renewed=(), revoked=()) for seq in range(PARCEL_MAX)]
    assert in_parcels(beats) == [beats]
    assert in_parcels(beats[:1]) == [beats[:1]]
    assert in_parcels([]) == []
    assert in_parcels([*beats, *beats[:2]]) == [[*beats, *beats[:2]][:33], [*beats, *beats[:2]][33:]]


def test_what_is_too_large_together_travels_in_parts_and_what_nobody_would_take_not_at_all() -> None:
    drain, order = Drain(), BY_NAME["Assign"]
    assert isinstance(order, Assign)
    long = replace(order, spec=replace(SPEC, env={str(n): "x" * 100_000 for n in range(7)}))
    endless = replace(order, spec=replace(SPEC, env={str(n): "x" * 100_000 for n in range(11)}))
    assert in_parcels([drain, long, long, endless, drain, drain]) == [[drain], [long], [long], [drain, drain]]


def test_a_hello_and_whatever_is_not_between_dispatcher_and_runner_travels_alone() -> None:
    alone = [
        kind for kind in TYPES.values() if in_parcels([BY_NAME[kind.__name__]] * 2) != [[BY_NAME[kind.__name__]] * 2]
    ]
    together = {*get_args(FromRunner), *get_args(ToRunner)} - {Hello}
    assert set(alone) == set(TYPES.values()) - together
    for kind in alone:
        header, body, *_ = encode(BY_NAME[kind.__name__])
        with pytest.raises(ProtocolError, match="may travel in one"):
            decode_all([PARCEL_HEADER, msgpack.packb([header[-1], msgpack.unpackb(body)])])


@pytest.mark.parametrize(
    "items",
    [
        [], [0x19], [{}, 0x19], ["x", {}], [True, {}], [[], {}], [0x19, []], [0x19, None], [0x7F, {}], {0x19: {}},
        [0x19, {}, 0x17, {}], [0x19, {}] * (PARCEL_MAX + 1), {"a": 1}, None,
    ],
)  # fmt: skip
def test_a_parcel_with_anything_wrong_in_it_is_refused_as_a_whole(items: Any) -> None:
    assert decode_all([PARCEL_HEADER, msgpack.packb([0x19, {}])]) == [Drain()]
    with pytest.raises(ProtocolError):
        decode_all([PARCEL_HEADER, msgpack.packb(items)])


def test_a_parcel_is_two_frames_within_the_limit_of_a_message() -> None:
    body = msgpack.packb([0x19, {}])
    long = msgpack.packb([0x19, {str(n): "x" * 200_000 for n in range(6)}])
    for frames in ([PARCEL_HEADER], [PARCEL_HEADER, body, b""], [PARCEL_HEADER, body[:-1]], [PARCEL_HEADER, long]):
        with pytest.raises(ProtocolError):
            decode_all(frames)
    with pytest.raises(ProtocolError):
        decode([PARCEL_HEADER, body])


WRONG: tuple[Any, ...] = (
    None,
    True,
    -1,
    2**53 + 1,
    1.5,
    float("nan"),
    "x",
    b"x",
    [],
    [[]],
    {},
    {"x": []},
    [None],
    {1: 1},
)


@each_message
def test_no_field_takes_a_value_of_another_type(message: Message) -> None:
    header, body, *bulk = encode(message)
    values = msgpack.unpackb(body)
    free = {"Ask": {"about"}, "Answer": {"body"}}.get(type(message).__name__, set())
    for name, right in values.items():
        for wrong in WRONG:
            got = decode_or_refuse([header, msgpack.packb(values | {name: wrong}), *bulk])
            if got is not None and name not in free:
                # Of the wrong values only those may pass that are of the field's own kind after all.
                assert wrong is None or type(wrong) is type(right), f"{name} took {wrong!r}"
                assert wrong != 2**53 + 1


@given(st.sampled_from(sorted(TYPES)), st.dictionaries(st.text(max_size=12), anything, max_size=6), st.data())
def test_no_map_of_fields_whatever_makes_decode_fail_otherwise(kind: int, body: dict[str, Any], data: Any) -> None:
    names = [field.name for field in fields(TYPES[kind])]
    body |= data.draw(st.dictionaries(st.sampled_from(names), anything))
    decode_or_refuse([b"SV" + bytes([VERSION, kind]), msgpack.packb(body)])
    decode_or_refuse([b"SV" + bytes([VERSION, kind]), msgpack.packb(body), b"data"])


@given(st.lists(st.binary(max_size=200), max_size=5))
@example([b"SV\x01\x02", b"\xd6\xff\x00\x00\x00\x00"])
@example([b"SV\x01\x02", b"\x91" * 100_000])
@example([b"SV\x01\x02", b"\xdd\xff\xff\xff\xff"])
@example([b"SV\x01\x02", b"\x81\xc0\x01"])
@example([b"SV\x01\x02", b"\x81\xa1\xff\x01"])
def test_no_frames_whatever_make_decode_fail_otherwise(frames: list[bytes]) -> None:
    decode_or_refuse(frames)


@given(st.sampled_from(SAMPLES), st.data())
def test_no_damaged_message_makes_decode_fail_otherwise(message: Message, data: Any) -> None:
    frames = [bytearray(frame) for frame in encode(message)]
    for _ in range(data.draw(st.integers(1, 4))):
        frame = data.draw(st.sampled_from([frame for frame in frames if frame]))
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    decode_or_refuse([bytes(frame) for frame in frames])


BEYOND: tuple[tuple[str, dict[str, Any]], ...] = (
    ("Hello", {"name": "x" * 201}),
    ("Hello", {"labels": ("x",) * 257}),
    ("Heartbeat", {"held": HELD * 4_097}),
    ("Accepted", {"job": "7/te\nst"}),
    ("Accepted", {"job": "0/test"}),
    ("Accepted", {"job": "../test"}),
    ("Accepted", {"attempt": -1}),
    ("Output", {"at": -1}),
    ("Output", {"data": b"x" * (CHUNK_BYTES_MAX + 1)}),
    ("Assign", {"sha": "--upload-pack=x"}),
    ("Assign", {"sha": SHA.upper()}),
    ("Release", {"fate": "forgotten"}),
    ("CommitSeen", {"pipeline": "x" * (256 * 1024 + 1)}),
    ("Enrol", {"secret": b"x" * 65}),
    ("Refused", {"reason": "x" * 4_097}),
    ("Ask", {"about": dict.fromkeys(map(str, range(65)), 0)}),
)


@pytest.mark.parametrize(("name", "change"), BEYOND, ids=[f"{name} {list(change)}" for name, change in BEYOND])
def test_a_value_beyond_its_limit_is_refused(name: str, change: dict[str, Any]) -> None:
    frames = encode(replace(BY_NAME[name], **change))
    with pytest.raises(ProtocolError):
        decode(frames)


def test_what_is_nested_too_deep_is_refused_with_its_cause() -> None:
    frames = [encode(Ask(id=1, what="x", about={}))[0], b"\x81\xa1a" + b"\x91" * 5000 + b"\x01"]
    with pytest.raises(ProtocolError, match="cannot be read: they are nested too deep"):
        decode(frames)


def test_a_message_that_no_peer_would_take_is_not_encoded() -> None:
    with pytest.raises(ProtocolError, match="larger"):
        encode(Answer(id=1, data=bytes(MESSAGE_BYTES_MAX)))


@pytest.mark.parametrize("value", ["\ud800", 2**64], ids=["half a surrogate pair", "65 bits"])
def test_a_value_that_has_no_bytes_is_an_error_of_the_protocol(value: object) -> None:
    with pytest.raises(ProtocolError, match="cannot be written"):
        encode(Ask(id=1, what="x", about={"value": value}))


@given(st.builds(Output, job=st.just("7/ä b"), attempt=st.integers(0, 2**53), at=st.integers(0, 2**53),
                 crc=st.integers(0, 2**32 - 1), after_ms=st.integers(0, 2**53), data=st.binary()))  # fmt: skip
def test_output_comes_back_as_it_was(message: Output) -> None:
    assert decode(encode(message)) == message


@given(st.builds(CommitSeen, mid=st.text(max_size=99), repo=st.text(max_size=99), ref=st.text(max_size=99),
                 sha=st.just(SHA), event=st.just("push"), message=st.text(max_size=99), author=st.text(max_size=99),
                 pipeline=st.none() | st.text(), pipeline_file=st.text(max_size=99)))  # fmt: skip
def test_texts_of_people_come_back_as_they_were(message: CommitSeen) -> None:
    assert decode(encode(message)) == message


def test_parts_are_kept_as_they_travel() -> None:
    assert unpack_part(JobSpec, json.loads(json.dumps(pack_part(SPEC)))) == SPEC
    assert unpack_part(StepReport, json.loads(json.dumps(pack_part(STEP)))) == STEP
    with pytest.raises(ProtocolError, match=r"StepReport\.state"):
        unpack_part(StepReport, pack_part(STEP) | {"state": "asleep"})


def test_a_secret_never_shows_in_what_is_printed() -> None:
    assert "secret" not in repr(BY_NAME["Enrol"])


def test_a_full_heartbeat_fits_into_a_message() -> None:
    held = tuple(replace(HELD[0], job=f"{10**15 + number}/{'x' * 150}") for number in range(4_096))
    heartbeat = Heartbeat(incarnation=3, seq=17, held=held, free=3, load_percent=42, disk_free_mib=10_240)
    assert decode(encode(heartbeat)) == heartbeat
