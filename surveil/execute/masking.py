"""What is secret in the output of steps, covered before it reaches any disk.

What belongs here: finding and covering the forms of secrets in a stream that comes in pieces. What does not: which
forms there are (`forms`), where secrets come from (`entrusted`), and reading the stream (`steplog`). Imports only what
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
FEW_MAX: Final = 24
"""Up to so many forms, those of a secret of one line, looking for one after the other is quicker."""
QUICK_BYTES_MAX: Final = 128 * 1024
"""Up to so much of forms the automaton is made that is the quickest; it takes a tenth of a second then, and memory."""
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
        """A text in which every form is covered."""
        data = text.encode(errors="surrogateescape")
        spans = self.spans(data)
        return _covered(data, spans, 0, len(data)).decode(errors="surrogateescape") if spans else text


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
    from surveil.execute.forms import forms_of  # noqa: PLC0415  # Most keepers have nothing to cover.

    return {form for secret in secrets for form in forms_of(secret)}


def _finder(forms: list[bytes]) -> Callable[[bytes], list[tuple[int, int]]]:
    """What finds all places of all forms, those that overlap too."""
    if len(forms) <= FEW_MAX:
        return lambda data: [place for form in forms for place in _places(form, data)]
    from ahocorasick_rs import BytesAhoCorasick, Implementation  # noqa: PLC0415  # The same.

    quickest = Implementation.DFA if sum(map(len, forms)) <= QUICK_BYTES_MAX else None
    find = BytesAhoCorasick(forms, implementation=quickest).find_matches_as_indexes
    return lambda data: [(begin, end) for _, begin, end in find(data, overlapping=True)]


def _places(form: bytes, data: bytes) -> Iterator[tuple[int, int]]:
    at = data.find(form)
    while at >= 0:
        yield at, at + len(form)
        at = data.find(form, at + 1)
