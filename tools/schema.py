"""The JSON Schema of `.surveil.yml`, for editors: made from the models, explained by the reference page.

What belongs here: what the models cannot say by themselves. What does not: what the keys may hold (`surveil.pipeline`)
and what they mean (`docs/reference/pipeline.md`), whose first sentence about a key is shown by editors.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from surveil.pipeline.schema import PipelineTable
from surveil.pipeline.values import SHARDS_MAX

PAGE: Final = Path(__file__).parents[1] / "docs" / "reference" / "pipeline.md"
_SECTION: Final = re.compile(r"^### `([^`]+)`\n\n(.+?)$", re.MULTILINE)
_LINK: Final = re.compile(r"\[([^]]*)\]\([^)]*\)")
_REFERENCE: Final = "#/$defs/"


_SCALAR: Final = {"type": ["string", "number", "boolean"]}
_SHORT: Final[Mapping[str, Sequence[Any]]] = {
    "on": [_SCALAR, {"type": "array", "items": _SCALAR}],
    "on.push": [{"type": "null"}],
    "on.pull_request": [{"type": "null"}],
    "on.manual": [{"type": "null"}],
    "on.manual.inputs.NAME": [{"type": "null"}],
    "jobs.NAME.concurrency": [_SCALAR],
    "jobs.NAME.image": [_SCALAR],
    "jobs.NAME.services.NAME": [_SCALAR],
    "jobs.NAME.services.NAME.image": [_SCALAR],
    "jobs.NAME.services.NAME.health": [_SCALAR, {"type": "array", "items": _SCALAR}],
    "jobs.NAME.artifacts": [_SCALAR],
    "jobs.NAME.artifacts[]": [_SCALAR],
    "jobs.NAME.secrets": [_SCALAR],
    "jobs.NAME.shards": [{"type": "integer", "minimum": 1, "maximum": SHARDS_MAX}, {"const": "auto"}],
    "jobs.NAME.secrets[]": [_SCALAR],
}
"""The short forms of keys that hold keys; the validators make the long one of them, and the models know only that."""

_ALIKE: Final = ("jobs.NAME.services.NAME.image", "jobs.NAME.image")
"""The first is explained by the second, as far as it has no word of its own."""


def schema() -> str:
    """The schema as text."""
    found = _plain(PipelineTable.model_json_schema())
    parts: dict[str, Any] = found["$defs"]
    for model in (found, *parts.values()):
        model.pop("description", None)  # Its docstring, which is for those who read the code.
    _explain(found, "", parts, dict(_SECTION.findall(PAGE.read_text(encoding="utf-8"))))
    _let_steps_nest(found, parts)
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A pipeline of surveil",
        "description": "What `.surveil.yml` may say; `surveil validate` knows more about it.",
        "anyOf": [{"required": ["jobs"]}, {"required": ["include"]}],
    }
    return json.dumps(head | found, indent=1) + "\n"


def _explain(node: Mapping[str, Any], path: str, parts: Mapping[str, Any], sentences: Mapping[str, str]) -> None:
    """Give each key the first sentence of its section and its short forms, along the ways on which a file comes to
    it.
    """
    for inner in node.get("anyOf", ()):
        _explain(inner, path, parts, sentences)
    if "$ref" in node:
        _explain(parts[node["$ref"].removeprefix(_REFERENCE)], path, parts, sentences)
    for key, value in node.get("properties", {}).items():
        here = f"{path}.{key}".removeprefix(".")
        _explain(value, here, parts, sentences)
        _shorten(value, here)
        if sentence := sentences.get(here) or sentences.get(here.replace(*_ALIKE)):
            value["description"] = _LINK.sub(r"\1", sentence)
    if isinstance(node.get("additionalProperties"), dict):
        _explain(node["additionalProperties"], f"{path}.NAME", parts, sentences)
        _shorten(node["additionalProperties"], f"{path}.NAME")
    if isinstance(node.get("items"), dict):
        _explain(node["items"], f"{path}[]", parts, sentences)
        _shorten(node["items"], f"{path}[]")


def _shorten(node: dict[str, Any], path: str) -> None:
    if path in _SHORT and "anyOf" not in node:
        shape = dict(node)
        node.clear()
        node["anyOf"] = [*_SHORT[path], shape]


def _let_steps_nest(node: Any, parts: dict[str, Any]) -> None:
    """An alias puts a list of steps into a list of steps, which is as good as its steps."""
    steps = {"type": "array", "items": {"$ref": f"{_REFERENCE}StepTable"}}
    nested = {"anyOf": [steps["items"], {"$ref": f"{_REFERENCE}Steps"}]}
    for holder in (node["properties"]["steps"]["additionalProperties"], parts["JobTable"]["properties"]["steps"]):
        assert steps.items() <= holder.items(), "lists of steps look different now"
        holder["items"] = nested
    parts["Steps"] = {"type": "array", "items": nested}


def _plain(node: Any) -> Any:
    """Without what says nothing to people: names of classes, defaults in our units, and null for what is absent."""
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if not isinstance(node, dict):
        return node
    found = {key: _plain(value) for key, value in node.items() if key not in {"title", "default"} or _is_shape(value)}
    choices = [choice for choice in found.get("anyOf", ()) if choice != {"type": "null"}]
    if "anyOf" in found:
        found["anyOf"] = choices
        if len(choices) == 1:
            found = {**found.pop("anyOf")[0], **found}
    return found


def _is_shape(value: Any) -> bool:
    """Whether this is what a key of the name `title` or `default` may hold, and no word about a shape."""
    return isinstance(value, dict)
