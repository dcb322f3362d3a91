"""Documents held against what is said of them: nothing is missing, of another kind, or there and not said."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from jsonschema import Draft202012Validator

from surveil.answer.shapes.kinds import Schema


def closed(schema: Any) -> Any:
    """The same schema for documents that have no other keys than are named. Others may come in later versions, and
    whoever reads must expect that; whoever writes today must say today's.
    """
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    found = {key: closed(value) for key, value in schema.items()}
    if found.get("type") == "object" and "properties" in found:
        found.setdefault("additionalProperties", False)
    return found


def misfits(document: Any, schema: Schema, parts: Mapping[str, Schema]) -> list[str]:
    """What of a document is not as is said; `parts` are the documents that may be in it, by name."""
    whole = {**deepcopy(schema), "components": {"schemas": parts}}
    return [
        f"{each.json_path}: {each.message[:300]}" for each in Draft202012Validator(closed(whole)).iter_errors(document)
    ]
