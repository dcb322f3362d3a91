"""What is secret in the output of steps, covered before it reaches any disk.

What belongs here: finding and covering the forms of secrets in a stream that comes in pieces. What does not: which
forms there are (`forms`), where secrets come from (`entrusted`), and reading the stream (`intake`). Imports only what
a keeper may import; what makes and finds the forms only where there is a secret.

A form that is torn by the border of two pieces is found as well: what may be the beginning of one is held back until
more is known. It is no protection against somebody who wants to show a secret: whoever can read it can write it in a
way that nobody thought of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

COVER: Final = b"***"
FORM_BYTES_MIN: Final = 4
"""Whatever is shorter would cover half of any log, and is not covered."""
HOLD_MS: Final = 250
"""So long waits what may begin a secret and is shorter than any: a prompt, the dots of a progress bar. It is shown
then; what follows is covered all the same where it turns out to be one.
"""
GLANCE_FORMS_MAX: Final = 28
"""So many forms, with the ballast 32, are looked for nearly at the speed of memory: the processor compares many bytes
of a piece with the beginnings of all of them at once.
"""
FEW_MAX: Final = 4 * GLANCE_FORMS_MAX
"""Up to so many forms, those of some secrets of one line, glances are quicker than looking for all at once."""
_BALLAST: Final = [bytes([byte]) * 8 for byte in range(0xF8, 0xFC)]
"""What stands in no text. Where the forms have few bytes by which to find them, as those of hexadecimal digits do, the
library looks for these bytes alone, which is the slowest way in output that is full of them; four more are too many.
"""
QUICK_BYTES_MAX: Final = 128 * 1024
"""Up to so much of forms the automaton is made that is the quickest; it takes a tenth of a second then, and memory."""
LONG_BYTES_MIN: Final = 512
"""A form so long that repeats itself is looked for by itself: an automaton of it takes minutes to make."""
REPEATS: Final = 8
"""What can be packed to this part of its length repeats itself."""
_GLIMPSE_BYTES: Final = 32
"""Enough to tell most forms apart, before anything long is compared."""


class Forms:
    """All forms of some secrets, and where they are in bytes."""

    def __init__(self, secrets: Iterable[bytes]) -> None:
        self._forms = sorted({form for form in _all_forms([*secrets]) if len(form) >= FORM_BYTES_MIN})
        self.longest = max(map(len, self._forms), default=0)
        self._find = _finder(self._forms)
        self._by_head: dict[bytes, list[bytes]] = {}
        for form in self._forms:
            self._by_head.setdefault(form[:FORM_BYTES_MIN], []).append(form)
        self._find_heads = _finder(list(self._by_head))
        self._short_heads = {head[:length] for head in self._by_head for length in range(1, FORM_BYTES_MIN)}

    def __bool__(self) -> bool:
        return bool(self._forms)

    def spans(self, data: bytes) -> list[tuple[int, int]]:
        """Where forms begin and end, in order; those that touch are one."""
        spans: list[tuple[int, int]] = []
        for begin, end in sorted(self._find(data)):
            if spans and begin <= spans[-1][1]:
                spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
            else:
                spans.append((begin, end))
        return spans

    def begun(self, data: bytes) -> int | None:
        """Where the end of the data begins that may be the beginning of a form; None where there is none."""
        first = max(0, len(data) - self.longest + 1)
        for begin, _ in sorted(self._find_heads(data[first:])):
            if self._continued(data[first + begin :]):
                return first + begin
        for at in range(max(first, len(data) - FORM_BYTES_MIN + 1), len(data)):
            if data[at:] in self._short_heads:
                return at
        return None

    def _continued(self, begun: bytes) -> list[bytes]:
        """The forms that begin like this, and are longer."""
        glimpse = begun[:_GLIMPSE_BYTES]
        alike = (form for form in self._by_head.get(begun[:FORM_BYTES_MIN], ()) if form.startswith(glimpse))
        return [form for form in alike if len(form) > len(begun) and form.startswith(begun)]

    def is_half(self, begun: bytes) -> bool:
        """Whether half of a form or more is there."""
        return any(2 * len(begun) >= len(form) for form in self._continued(begun))

    def cover(self, text: str) -> str:
        """A text in which every form is covered; at its end, where texts are cut, the larger part of one as well."""
        if not self:
            return text
        cover = Cover(self, lambda: 0)
        data = cover.feed(text.encode(errors="surrogateescape"))
        return (data + cover.end()).decode(errors="surrogateescape")


class Cover:
    """Covers what is secret in one stream. `clock` gives milliseconds."""

    def __init__(self, forms: Forms, clock: Callable[[], int]) -> None:
        self._forms = forms
        self._clock = clock
        self._kept = b""
        """The end of what came that may begin a form."""
        self._shown = 0
        """How much of that was given out already."""
        self.due_at: int | None = None
        """When `release` should be called at the latest."""

    def feed(self, data: bytes) -> bytes:
        """What may be shown, now that this came too."""
        data = self._kept + data
        spans = self._forms.spans(data)
        begun = self._forms.begun(data)
        keep_from = len(data) if begun is None else begun
        upto = max((end for begin, end in spans if begin <= keep_from), default=0)
        upto = max(upto, keep_from)
        given = _covered(data, spans, self._shown, upto)
        self._kept, self._shown = data[keep_from:], max(0, upto - keep_from, self._shown - keep_from)
        waits = len(self._kept) > self._shown and len(self._kept) < FORM_BYTES_MIN
        self.due_at = self._clock() + HOLD_MS if waits else None
        return given

    def release(self) -> bytes:
        """What has waited for long enough; nothing before that time."""
        if self.due_at is None or self._clock() < self.due_at:
            return b""
        given, self._shown, self.due_at = self._kept[self._shown :], len(self._kept), None
        return given

    def end(self) -> bytes:
        """The rest, when nothing more will come; the larger part of a form is covered like the whole."""
        kept, shown = self._kept, self._shown
        self._kept, self._shown, self.due_at = b"", 0, None
        if len(kept) > shown and self._forms.is_half(kept):
            return COVER
        return _covered(kept, self._forms.spans(kept), shown, len(kept))


def _covered(data: bytes, spans: list[tuple[int, int]], begin: int, end: int) -> bytes:
    """The data between two places, with these spans covered."""
    pieces: list[bytes] = []
    at = begin
    for span_begin, span_end in spans:
        if span_end <= at:
            continue
        if span_begin >= end:
            break
        pieces += [data[at:span_begin], COVER]
        at = min(span_end, end)
    pieces.append(data[at:end])
    return b"".join(pieces)


def _all_forms(secrets: list[bytes]) -> set[bytes]:
    if not secrets:
        return set()
    from surveil.execute.keeper.forms import forms_of  # noqa: PLC0415  # Most keepers have nothing to cover.

    return {form for secret in secrets for form in forms_of(secret)}


def _repeats(form: bytes) -> bool:
    if len(form) < LONG_BYTES_MIN:
        return False
    import zlib  # noqa: PLC0415  # The same.

    return REPEATS * len(zlib.compress(form, 1)) < len(form)


def _places(form: bytes, data: bytes) -> Iterator[tuple[int, int]]:
    """Places that cover together what all places of the form do."""
    at, length = data.find(form), len(form)
    while at >= 0:
        yield at, at + length
        # Of those that begin in this one, or where it ends, the last one covers the others as well.
        last = data.rfind(form, at + 1, at + 2 * length)
        at = last if last >= 0 else data.find(form, at + length + 1)


def _finder(forms: list[bytes]) -> Callable[[bytes], list[tuple[int, int]]]:
    """What finds places that cover together what all places of all forms do."""
    repeating = [form for form in forms if _repeats(form)]
    find = _automaton([form for form in forms if form not in repeating] if repeating else forms)
    if not repeating:
        return find
    return lambda data: [*find(data), *(place for form in repeating for place in _places(form, data))]


def _automaton(forms: list[bytes]) -> Callable[[bytes], list[tuple[int, int]]]:
    """What finds all places of all forms, those that overlap too.

    Where they are few there is a glance first: that there are none, as in nearly all output, the library sees twenty
    times as fast as it finds those that overlap.
    """
    if not forms:
        return lambda _: []
    from ahocorasick_rs import BytesAhoCorasick, Implementation, MatchKind  # noqa: PLC0415  # The same.

    quickest = Implementation.DFA if sum(map(len, forms)) <= QUICK_BYTES_MAX else None
    find = BytesAhoCorasick(forms, implementation=quickest).find_matches_as_indexes
    if len(forms) > FEW_MAX:
        return lambda data: [(begin, end) for _, begin, end in find(data, overlapping=True)]
    groups = -(-len(forms) // GLANCE_FORMS_MAX)
    some = [forms[number::groups] + _BALLAST for number in range(groups)]
    glances = [BytesAhoCorasick(few, matchkind=MatchKind.LeftmostFirst).find_matches_as_indexes for few in some]

    def found(data: bytes) -> list[tuple[int, int]]:
        if not any(glance(data) for glance in glances):
            return []
        return [(begin, end) for _, begin, end in find(data, overlapping=True)]

    return found
