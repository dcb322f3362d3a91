"""Validation of a document's tree against models, with every error as a complaint at its place.

What belongs here: models in general, places, and the wording of errors. What does not: which keys there are
(`schema`, `dialects`) and what one value may be (`values`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, Final, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from surveil.core.declared import COMPLAINTS_MAX, Complaint, JobDeclaration, Place, Text, in_order_of_the_file
from surveil.core.spelling import did_you_mean, quoted
from surveil.core.triggers import ANY, Triggers
from surveil.frozen import dataclass
from surveil.pipeline.document import Listing, Node, Scalar, Table
from surveil.pipeline.values import known_as


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """A whole file as it was written: what it is for, the variables of all jobs, and the jobs."""

    env: Mapping[str, Text] = field(default_factory=dict)
    jobs: Sequence[JobDeclaration]
    triggers: Triggers = ANY


Tables: TypeAlias = Mapping[tuple[str, ...], type[BaseModel]]
"""Which model describes the table at a path; `*` stands for any key or index."""

FOREIGN_KEYS: Final[Mapping[str, str]] = {
    "after_script": "write a last step with `when: always`",
    "allow_failure": "write `continue_on_error: true`",
    "before_script": "write it as the first step",
    "branches-ignore": "write `!PATTERN` under `branches`",
    "cancel-in-progress": "write `cancel_superseded: true`",
    "command": "a step's script is under `run`",
    "commands": "a step's script is under `run`",
    "container": "the image of a job's container is under `image`",
    "continue-on-error": "write `continue_on_error: true`",
    "coverage": "let a step print it, or keep its report under `artifacts`",
    "default": "each job has its own `image`; what jobs share is written once as an anchor",
    "defaults": "each step has its own `shell`, and `cd FOLDER` as its first line",
    "dependencies": "the jobs that must pass first are under `needs`, those whose files it gets under `artifacts_from`",
    "depends_on": "the jobs that must pass first are under `needs`",
    "environment": "variables are under `env`",
    "except": "write one condition under `when`, or branches with `!` under `on`",
    "expire_in": "write `retention: 7d`",
    "extends": "write the shared steps under `steps` with an anchor, and put an alias where they belong",
    "fail-fast": "write `fail_fast: true` directly under the job",
    "id": "what later jobs need is a line `NAME=value` in `$SURVEIL_OUTPUT`",
    "if": "write the condition under `when`",
    "image": "a job has one `image`, for all of its steps",
    "interruptible": "write `concurrency: {group: NAME, cancel_superseded: true}`",
    "max-parallel": "how much runs at once is up to the runners' slots; `concurrency` lets one run at a time",
    "merge_request": "write `pull_request`, which merge requests are as well",
    "name": "a job is called by its key, and a pipeline by its repository",
    "only": "write one condition under `when`, or `on: {push: {branches: [...]}}` for the whole file",
    "outputs": "write a line `NAME=value` to `$SURVEIL_OUTPUT`",
    "parallel": "write `shards: N` to split a suite, or `matrix` for each combination of values",
    "paths-ignore": "write `!PATTERN` under `paths`",
    "permissions": "a job has the rights of the secrets that it lists under `secrets`, and no others",
    "pipeline": "steps are written as `jobs: {NAME: {steps: [{run: COMMAND}]}}`",
    "resource_group": "write `concurrency: {group: NAME}`",
    "rules": "write one condition under `when`",
    "runs-on": "use `labels: [linux]` to choose machines",
    "script": "steps are written as `steps: [{run: COMMAND}]`",
    "secrets": "list it under `secrets` of the job",
    "services": "a job has its own `services`",
    "settings": "a step is a shell script: write the command that the plugin runs under `run`",
    "stage": "order jobs with `needs`",
    "stages": "order jobs with `needs`",
    "strategy": "write `matrix` directly under the job",
    "tags": "use `labels: [linux]` to choose machines",
    "tags-ignore": "write `!PATTERN` under `tags`",
    "timeout-minutes": "write `timeout: 10m`",
    "uses": "a step is a shell script: write `run: COMMAND`",
    "variables": "variables are under `env`",
    "when": "a job and a step have a `when`; the whole file decides by `on`",
    "with": "a step is a shell script: write `run: COMMAND`",
    "workflow": "write what is built under `on`",
    "workflow_dispatch": "write `manual`",
    "working-directory": "write `cd FOLDER` as the first line of `run`",
}
"""Keys of other systems' files, and what to write instead."""
_HIDDEN: Final = "write the steps that jobs share under `steps`, with an anchor"
_ONE_VALUE: Final[Mapping[str, str]] = {
    "retry": "write how many more attempts there may be, like `retry: 2`",
    "run": "write the commands below each other in one text, behind `run: |`",
    "when": "write one condition, like `branch == 'main' && event == 'push'`",
}
"""What to write where others have a list or a table, and one value is wanted."""

_Model = TypeVar("_Model", bound=BaseModel)


class Strict(BaseModel):
    """A table of the file: every key is known, nothing is guessed."""

    # Built with the first file that is read, as parts of the one whole that is asked: a third of their import else.
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, defer_build=True)


def check(model: type[_Model], tables: Tables, root: Node) -> _Model | list[Complaint]:
    """Validate a tree; every error is a complaint at the place of its key or value."""
    if not isinstance(root, Table):
        return [
            Complaint(
                f"expected keys and values like `jobs:`, not {known_as(_bare(root))}",
                root.place,
                "see `surveil init`",
            )
        ]
    try:
        return model.model_validate(_bare(root))
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        found: dict[tuple[str, str, Place], Complaint] = {}
        said = [(detail, _complaint(detail, tables, root)) for detail in details]
        instead = {(*detail["loc"][:-1], word) for detail, each in said for word in _named_instead(detail, each)}
        for detail, complaint in said:
            if detail["type"] == "missing" and detail["loc"] in instead:
                continue  # It is there under a wrong name, which is said.
            # What several jobs share by an alias is wrong once.
            found.setdefault((*_what(detail), complaint.place), complaint)
        return in_order_of_the_file(found.values())[:COMPLAINTS_MAX]


def _named_instead(detail: ErrorDetails, complaint: Complaint) -> list[str]:
    """The keys that the hint for an unknown one names."""
    if detail["type"] != "extra_forbidden" or complaint.hint.startswith("known are"):
        return []
    return re.findall(r"`([a-z_]+)\b", complaint.hint)


def _what(detail: ErrorDetails) -> tuple[str, str]:
    return detail["type"], str(detail["loc"][-1]) if detail["type"] in {"missing", "extra_forbidden"} else ""


def place_at(root: Node, path: Sequence[str | int]) -> Place:
    """The place of the key or item at `path`, or of the deepest part of the path that exists."""
    node, place = root, root.place
    for part in path:
        match node:
            case Table() if isinstance(part, str) and part in node.entries:
                place, node = node.place_of(part), node.entries[part]
            case Listing() if isinstance(part, int) and part < len(node.items):
                node = node.items[part]
                place = node.place
            case _:
                break
    return place


def _bare(node: Node) -> Any:
    """The tree as dictionaries and lists; no deeper than `document.DEPTH_MAX`, so recursion is safe."""
    if isinstance(node, Scalar):  # Most of them are.
        return node
    if isinstance(node, Table):
        return {key: _bare(value) for key, value in node.entries.items()}
    return [_bare(item) for item in node.items]


def _node_at(root: Node, path: Sequence[str | int]) -> Node | None:
    node: Node | None = root
    for part in path:
        match node:
            case Table() if isinstance(part, str):
                node = node.entries.get(part)
            case Listing() if isinstance(part, int) and part < len(node.items):
                node = node.items[part]
            case Scalar() if part == 0:
                pass  # One value stands for a list of one.
            case _:
                return None
    return node


def _complaint(detail: ErrorDetails, tables: Tables, root: Node) -> Complaint:
    path = [part for part in detail["loc"] if part != "[key]"]
    where = path_text(path)
    node = _node_at(root, path)
    about_key = "[key]" in detail["loc"] or node is None or not isinstance(node, Scalar)
    place = place_at(root, path) if about_key or node is None else node.place
    match detail["type"]:
        case "extra_forbidden":
            key = str(path[-1])
            inside = f" in `{path_text(path[:-1])}`" if path[:-1] else ""
            return Complaint(
                f"unknown key {quoted(key)}{inside}",
                place_at(root, path),
                _hint_for_key(key, path[:-1], tables),
            )
        case "missing":
            return Complaint(f"`{where}` is missing", place, hint_for_missing(str(path[-1])))
        case "value_error":
            hint = "" if isinstance(node, Scalar) else _ONE_VALUE.get(str(path[-1]), "")
            return Complaint(f"`{where}`: {detail['ctx']['error']}", place, hint)
        case "list_type" | "tuple_type":
            return Complaint(
                f"`{where}`: expected a list, not {known_as(_bare(node) if node else None)}",
                place,
                "start each item with `- `",
            )
        case "dict_type" | "model_type":
            hint = "write `run: COMMAND`" if "steps" in path[1:] else "write one `key: value` in each line"
            return Complaint(
                f"`{where}`: expected keys and values, not {known_as(_bare(node) if node else None)}",
                place,
                hint,
            )
        case _:
            return Complaint(f"`{where}`: {detail['msg']}", place)


def _hint_for_key(key: str, path: Sequence[str | int], tables: Tables) -> str:
    for pattern, model in tables.items():
        if len(pattern) == len(path) and all(want in ("*", part) for want, part in zip(pattern, path, strict=True)):
            known = set(model.model_fields)
            if key.startswith((".", "x-")) and not path:
                return _HIDDEN
            return FOREIGN_KEYS[key] if key in FOREIGN_KEYS and key not in known else did_you_mean(key, known)
    return ""


def hint_for_missing(key: str) -> str:
    """What to write where a key is missing."""
    return {
        "jobs": "write `jobs:`, below it a job's name, and below that `steps:`",
        "steps": "add `steps:` with at least one `- run: COMMAND`",
        "run": "add `run: COMMAND`",
        "command": "add `command: COMMAND`",
        "cron": "add `cron: MINUTE HOUR DAY MONTH WEEKDAY`, like `cron: 30 2 * * *`",
    }.get(key, "")


def path_text(path: Sequence[str | int]) -> str:
    """`jobs.test.steps[0].run`, from which strangers' characters are gone."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{quoted(part)[1:-1]}"
    return text.removeprefix(".")
