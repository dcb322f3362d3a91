"""What is wrong with the parts of a request, in sentences of ours.

What belongs here: where something stands in a request, and what it must be. What does not: the answer that says so
(`problems`), and what a part may be, which its route declares.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, get_args

from pydantic import BaseModel

from surveil.core.spelling import QUOTED_CHARACTERS_MAX, printable

COMPLAINTS_MAX: Final = 20
"""A body may be wrong in a hundred thousand places; nobody reads more than these."""
_NO_JSON: Final = "json_invalid"
_WHOLE: Final = "must be a whole number"
_CLAUSES: Final[Mapping[str, str]] = {
    "missing": "is missing",
    "extra_forbidden": "is unknown",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "dict_type": "must be an object",
    "list_type": "must be a list",
    "too_long": "may have at most {max_length} entries",
    "too_short": "must have at least {min_length} entries",
    "string_type": "must be a text",
    "string_unicode": "must be a text, without halves of characters",
    "string_too_long": "may have at most {max_length} characters",
    "string_too_short": "must have at least {min_length} characters",
    "string_pattern_mismatch": "must match `{pattern}`",
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_from_float": _WHOLE,
    "int_parsing_size": "must be a smaller number",
    "finite_number": _WHOLE,
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "may be at most {le}",
    "bool_type": "must be `true` or `false`",
    "bool_parsing": "must be `true` or `false`",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    _NO_JSON: "is no JSON: {error}",
}
"""What is said of each kind of mistake, by the framework's name for it."""
_ABOUT_KEYS: Final = frozenset({"missing", "extra_forbidden", "model_type", "model_attributes_type"})
_PLACES: Final[Mapping[str, str]] = {
    "body": "in the body", "query": "in the query", "path": "in the address", "header": "in the header",
    "cookie": "in the cookie",
}  # fmt: skip


def sentences(errors: Sequence[Mapping[str, Any]], body: Any) -> list[dict[str, str]]:
    """What is wrong, the first `COMPLAINTS_MAX` of it: each with where it stands (`at`) and a sentence (`because`).
    `body` is the type that the route takes as its body.
    """
    return [{"at": "/".join(_parts(each["loc"])), "because": _sentence(each, body)} for each in errors[:COMPLAINTS_MAX]]


def _sentence(error: Mapping[str, Any], body: Any) -> str:
    first, *rest = _parts(error["loc"])
    kind = error["type"]
    # Where it is no JSON, the rest is how far it was read.
    within = "" if kind == _NO_JSON else "/".join(rest)
    place = f"`{within}` {_PLACES.get(first, first)}" if within else f"The {first}"
    return f"{place} {_clause(error)}{_keys(error, body) if first == 'body' and kind in _ABOUT_KEYS else ''}."


def _clause(error: Mapping[str, Any]) -> str:
    """What is wrong, after a place. Checks of ours and what is not in the table have words of their own."""
    about = {name: str(value) for name, value in (error.get("ctx") or {}).items()}
    if error["type"] not in _CLAUSES:
        return f"cannot be used: {str(error['msg']).removeprefix('Value error, ')}"
    if about.get("min_length") == "1":
        return "may not be empty"
    if "expected" in about:
        about["expected"] = about["expected"].replace("'", "`")
    return _CLAUSES[error["type"]].format(**about)


def _keys(error: Mapping[str, Any], body: Any) -> str:
    """Which keys there are, where one is wrong or missing."""
    within = list(error["loc"][1:])
    if error["type"] in {"missing", "extra_forbidden"}:
        within = within[:-1]
    model = next(_models(body), None)
    for part in within:
        # Numbers are places in lists; what stands there is what the list holds.
        if model is not None and isinstance(part, str):
            field = model.model_fields.get(part)
            model = None if field is None else next(_models(field.annotation), None)
    names = [] if model is None else [f"`{name}`" for name in model.model_fields]
    if len(names) < 2:  # noqa: PLR2004  # one is not joined
        return f": the only key there is {names[0]}" if names else ""
    return f": the keys there are {', '.join(names[:-1])} and {names[-1]}"


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The objects that a type has in it, the outermost first."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def _parts(place: Sequence[str | int]) -> list[str]:
    return [printable(str(part))[:QUOTED_CHARACTERS_MAX] for part in place]
