"""What is secret is covered wherever it stands in a stream, however it is written and wherever the stream is cut."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shlex
from collections.abc import Callable, Sequence
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from surveil.execute.keeper import masking
from surveil.execute.keeper.forms import forms_of
from surveil.execute.keeper.masking import COVER, FORM_BYTES_MIN, HOLD_MS, Cover, Forms

TOKEN = b'ghp_xK2/4vQ+Zr"9 L'
PEM = b"-----BEGIN KEY-----\nMIIEvQIBADANBgkq\r\n  hkiG9w0BAQEFAASC\nab\n-----END KEY-----\n"

WAYS: dict[str, Callable[[bytes], bytes]] = {
    "raw": bytes,
    "reversed": lambda secret: secret[::-1],
    "hex": lambda secret: secret.hex().encode(),
    "HEX": lambda secret: secret.hex().upper().encode(),
    "base64": base64.b64encode,
    "base64 behind one byte": lambda secret: base64.b64encode(b"u" + secret),
    "base64 behind two bytes": lambda secret: base64.b64encode(b"u:" + secret),
    "base64 between others": lambda secret: base64.b64encode(b"user:" + secret + b"@host"),
    "base64 for URLs": base64.urlsafe_b64encode,
    "URL": lambda secret: quote(secret, safe="").encode(),
    "URL with slashes": lambda secret: quote(secret).encode(),
    "URL in small letters": lambda secret: re.sub("%..", lambda m: m[0].lower(), quote(secret, safe="")).encode(),
    "form": lambda secret: quote_plus(secret).encode(),
    "JSON": lambda secret: json.dumps(secret.decode()).encode(),
    "JSON as it is": lambda secret: json.dumps(secret.decode(), ensure_ascii=False).encode(),
    "JSON of PHP": lambda secret: json.dumps(secret.decode()).replace("/", "\\/").encode(),
    "repr": lambda secret: repr(secret.decode()).encode(),
    "shell": lambda secret: shlex.quote(secret.decode()).encode(),
}


class Clock:
    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now


def shown(pieces: Sequence[bytes], *secrets: bytes) -> bytes:
    cover = Cover(Forms(secrets), Clock())
    return b"".join([*map(cover.feed, pieces), cover.end()])


def pieces_of(data: bytes, borders: Sequence[int]) -> list[bytes]:
    at = sorted({border % (len(data) + 1) for border in borders})
    return [data[begin:end] for begin, end in zip([0, *at], [*at, len(data)], strict=True)]


def in_one(data: bytes) -> bytes:
    """Covers that touch as one: how many there are depends on where the stream was cut."""
    return re.sub(rb"(?:\*\*\*)+", COVER, data)


@pytest.mark.parametrize("way", WAYS)
def test_each_way_to_write_a_secret_is_covered(way: str) -> None:
    written = WAYS[way](TOKEN)
    found = shown([b"before " + written + b" after\n"], TOKEN)
    assert found.startswith(b"before ")
    assert found.endswith(b" after\n")
    rest = found.removeprefix(b"before ").removesuffix(b" after\n")
    assert COVER in rest
    # A form within others is framed by what is not its own.
    left = rest.replace(COVER, b"").strip(b"'\"=")
    assert len(left) <= (16 if "between" in way or "behind" in way else 0), left


def test_each_line_of_a_secret_is_covered_and_what_is_too_short_is_not() -> None:
    lines = [b"-----BEGIN KEY-----", b"MIIEvQIBADANBgkq", b"hkiG9w0BAQEFAASC", b"-----END KEY-----"]
    assert shown([b"ab|" + b"|".join(lines)], PEM) == b"ab|" + b"|".join([COVER] * 4)


def test_the_whole_of_a_secret_of_many_lines_is_covered_once() -> None:
    assert shown([PEM], PEM) == COVER


def test_a_secret_too_short_to_be_told_from_other_text_is_left_alone() -> None:
    assert not Forms([b"abc", b"", b"\n\n"])


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=FORM_BYTES_MIN, max_size=60)


@settings(max_examples=300, deadline=None)
@given(
    secret=TEXT, way=st.sampled_from(sorted(WAYS)), around=st.tuples(st.binary(max_size=40), st.binary(max_size=40)),
    borders=st.lists(st.integers(0, 1 << 20), max_size=12),
)  # fmt: skip
def test_no_form_of_a_secret_comes_through_wherever_the_stream_is_cut(
    secret: str, way: str, around: tuple[bytes, bytes], borders: list[int]
) -> None:
    raw = secret.encode()
    forms = {form for form in forms_of(raw) if len(form) >= FORM_BYTES_MIN}
    data = around[0] + WAYS[way](raw) + around[1]
    found = shown(pieces_of(data, borders), raw)
    assert in_one(found) == in_one(shown([data], raw)), "the borders make a difference"
    for form in forms:
        # What was there before the cover was put may look like one only together with the cover's own stars.
        assert all(form not in part for part in found.split(COVER))


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=300), borders=st.lists(st.integers(0, 1 << 20), max_size=12))
def test_what_is_no_secret_comes_through_as_it_is(data: bytes, borders: list[int]) -> None:
    secret = b"\xff" + TOKEN
    if not any(form in data for form in Forms([secret])._forms):  # noqa: SLF001  # all that would be covered
        assert shown(pieces_of(data, borders), secret) == data


@settings(max_examples=300, deadline=None)
@given(data=st.text("ab", max_size=60), secrets=st.lists(st.text("ab", min_size=4, max_size=9), max_size=4),
       borders=st.lists(st.integers(0, 1 << 20), max_size=8))  # fmt: skip
def test_secrets_that_overlap_are_covered_to_the_last_byte(data: str, secrets: list[str], borders: list[int]) -> None:
    raw = [secret.encode() for secret in secrets]
    forms = {form for secret in raw for form in forms_of(secret)}
    stream = data.encode()
    inside = {at for form in forms for begin in range(len(stream)) if stream.startswith(form, begin)
              for at in range(begin, begin + len(form))}  # fmt: skip
    cover, found = Cover(Forms(raw), Clock()), b""
    for piece in pieces_of(stream, borders):
        found += cover.feed(piece)
    kept = len(cover._kept) - cover._shown  # noqa: SLF001  # what waits is judged at the end alone
    bare = found.replace(COVER, b"")
    visible = bytes(byte for at, byte in enumerate(stream[: len(stream) - kept]) if at not in inside)
    assert bare == visible, "what is covered is exactly what belongs to a secret"


# ---- what waits ----


def test_a_line_is_shown_at_once_unless_a_secret_may_begin_at_its_end() -> None:
    cover = Cover(Forms([b"secret-token"]), Clock())
    assert cover.feed(b"ready> ") == b"ready> "
    assert cover.due_at is None
    assert cover.feed(b"files") == b"file"
    assert cover.feed(b" ok\n") == b"s ok\n"


def test_what_is_shorter_than_any_secret_is_shown_after_a_moment_and_covered_from_there_on() -> None:
    clock = Clock()
    cover = Cover(Forms([b"secret-token"]), clock)
    assert cover.feed(b"se") == b""
    assert cover.due_at == HOLD_MS
    clock.now = HOLD_MS - 1
    assert cover.release() == b""
    clock.now = HOLD_MS
    assert cover.release() == b"se"
    assert cover.release() == b""
    assert cover.feed(b"cret-token!") == COVER + b"!"


def test_what_may_be_a_secret_waits_until_it_is_known() -> None:
    clock = Clock()
    cover = Cover(Forms([b"secret-token"]), clock)
    assert cover.feed(b"x secret-") == b"x "
    clock.now = 1 << 40
    assert cover.release() == b""
    assert cover.feed(b"token") + cover.end() == COVER


def test_at_the_end_the_larger_part_of_a_secret_is_covered_and_a_smaller_one_shown() -> None:
    assert shown([b"it was secret-to"], b"secret-token") == b"it was " + COVER
    assert shown([b"it was secr"], b"secret-token") == b"it was secr"


def test_a_whole_secret_inside_the_beginning_of_a_longer_one_is_covered_at_the_end() -> None:
    long = b"aXXXXXXsecretYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYY"
    assert shown([long[:14]], long, b"secret") == b"aXXXXXX" + COVER + long[13:14]


def test_a_text_is_covered_as_a_whole() -> None:
    forms = Forms([TOKEN])
    assert forms.cover(f"step '{TOKEN.decode()}' ended\udcff") == "step '***' ended\udcff"
    assert Forms([]).cover("as it is") == "as it is"


@pytest.mark.parametrize("count", [1, 2, 3, 5, 40])
def test_every_place_of_every_form_is_found_however_many_are_looked_for(count: int) -> None:
    secrets = [hashlib.sha256(b"%d" % number).hexdigest()[:20].encode() for number in range(count)]
    forms = Forms(secrets)
    written = [form for secret in secrets for form in sorted(forms_of(secret))]
    # Each form once alone, once torn from the next by a byte, and once followed by its own beginning.
    data = b"nothing here\n" + b"".join(form + b"\n" + form[1:] + b" " + form + form[:6] for form in written)
    hidden = {at for form in written for begin in _places_of(form, data) for at in range(begin, begin + len(form))}
    assert {at for begin, end in forms.spans(data) for at in range(begin, end)} == hidden
    assert forms.spans(b"nothing here\n" * 1000) == []


def _places_of(form: bytes, data: bytes) -> list[int]:
    places = [data.find(form)]
    while places[-1] >= 0:
        places.append(data.find(form, places[-1] + 1))
    return places[:-1]


@pytest.mark.parametrize(
    "secret", [b"x" * 20_000, b"ab" * 12_000, b"key" + b"A" * 20_000 + b"end"], ids=["x", "ab", "run"]
)
def test_a_long_secret_that_repeats_itself_is_covered_at_once(secret: bytes) -> None:
    """Made of it, an automaton would take an hour, and its job with it."""
    cover = Cover(Forms([secret]), lambda: 0)
    said = b"so " + secret * 3 + b" it " + secret[::-1] + b" is"
    shown = b"".join(cover.feed(said[at : at + 7_000]) for at in range(0, len(said), 7_000)) + cover.end()
    assert re.sub(rb"(\*{3})+", b"***", shown) == b"so *** it *** is"


@given(form=st.text("ab", min_size=1, max_size=6), data=st.text("abc", max_size=60))
def test_places_that_were_left_out_are_covered_by_others(form: str, data: str) -> None:
    def covered(places: list[tuple[int, int]]) -> set[int]:
        return {at for begin, end in places for at in range(begin, end)}

    every = [(at, at + len(form)) for at in range(len(data)) if data.startswith(form, at)]
    found = [*masking._places(form.encode(), data.encode())]  # noqa: SLF001
    assert covered(found) == covered(every)
