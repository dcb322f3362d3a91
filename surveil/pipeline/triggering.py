"""What a pipeline file may say under `on`.

What belongs here: the models of these keys, and the values that only they have. What does not: what they mean
(`core.triggers`), and the rest of the file (`schema`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, WithJsonSchema, model_validator

from surveil.core.declared import Text
from surveil.core.globs import Globs, read_globs
from surveil.core.patterns import Patterns, read_patterns
from surveil.core.spelling import quoted
from surveil.core.triggers import Input, Kind, PullRequest, Push, Schedule, Triggers
from surveil.errors import UsageError
from surveil.pipeline.checking import Strict, Tables
from surveil.pipeline.cron import check_cron, check_zone
from surveil.pipeline.document import Scalar
from surveil.pipeline.values import SCALARS, Axis, Texts, TextValue, listed, one_of, single

INPUTS_MAX: Final = 50
SCHEDULES_MAX: Final = 20


def _nothing_is_all(value: object) -> object:
    """`push:` with nothing behind it is all pushes."""
    return {} if isinstance(value, Scalar) and value.is_nothing else value


def _names(value: object) -> object:
    """`on: push` and `on: [push, pull_request]` name events and say no more of them."""
    listed = [value] if isinstance(value, Scalar) else value
    if isinstance(listed, list) and all(isinstance(each, Scalar) for each in listed):
        return {each.text: {} for each in listed}
    return value


def _refs(kind: Literal["heads", "tags"], texts: tuple[Text, ...]) -> Patterns:
    """A choice among the names of one kind of ref. Raises ValueError with a clause."""
    word, example = ("branches", "`main` or `release/*`") if kind == "heads" else ("tags", "`v*`")
    found = []
    for text in texts:
        excludes, name = text.value.startswith("!"), text.value.removeprefix("!")
        if name.startswith("refs/"):
            raise ValueError(f"{quoted(text.value)} is a whole ref: {word} go by their own names")
        found.append(f"{'!' if excludes else ''}refs/{kind}/{name}")
        try:
            read_patterns(found[-1:])
        except UsageError:
            raise ValueError(f"{quoted(text.value)} is no pattern of {word}: write one like {example}") from None
    if all(each.startswith("!") for each in found):
        found.append(f"refs/{kind}/*")
    try:
        read = read_patterns(found)
    except UsageError as error:
        raise ValueError(str(error)) from error
    return replace(read, texts=tuple(text.value for text in texts))


def _globs(texts: tuple[Text, ...]) -> Globs:
    return read_globs(tuple(text.value for text in texts))


def _checked(read: Callable[[tuple[Text, ...]], object]) -> tuple[AfterValidator, AfterValidator]:
    """Validators of one text and of all of them together that can be read so: a mistake in one has its own place."""

    def check_one(text: Text) -> Text:
        read((text,))
        return text

    def check(texts: tuple[Text, ...]) -> tuple[Text, ...]:
        read(texts)
        return texts

    return AfterValidator(check_one), AfterValidator(check)


_BRANCH, _BRANCHES = _checked(lambda texts: _refs("heads", texts))
_TAG, _TAGS = _checked(lambda texts: _refs("tags", texts))
_PATH, _PATHS = _checked(_globs)

BranchPatterns: TypeAlias = Annotated[
    tuple[Annotated[TextValue, _BRANCH], ...], _BRANCHES, BeforeValidator(listed), WithJsonSchema(SCALARS)
]
TagPatterns: TypeAlias = Annotated[
    tuple[Annotated[TextValue, _TAG], ...], _TAGS, BeforeValidator(listed), WithJsonSchema(SCALARS)
]
PathPatterns: TypeAlias = Annotated[
    tuple[Annotated[TextValue, _PATH], ...], _PATHS, BeforeValidator(listed), WithJsonSchema(SCALARS)
]
KindValue: TypeAlias = Annotated[
    Kind, one_of("text", "number", "flag"), WithJsonSchema({"enum": ["text", "number", "flag"]})
]


class PushTable(Strict):
    """`on.push`."""

    branches: BranchPatterns | None = None
    tags: TagPatterns | None = None
    paths: PathPatterns | None = None

    def declare(self) -> Push:
        """The same as core.triggers takes it."""
        return Push(
            branches=None if self.branches is None else _refs("heads", self.branches),
            tags=None if self.tags is None else _refs("tags", self.tags),
            paths=None if self.paths is None else _globs(self.paths),
        )


class PullRequestTable(Strict):
    """`on.pull_request`."""

    paths: PathPatterns | None = None

    def declare(self) -> PullRequest:
        """The same as core.triggers takes it."""
        return PullRequest(paths=None if self.paths is None else _globs(self.paths))


def _reader(check: Callable[[str], None]) -> PlainValidator:
    """A validator of a single value that this check lets pass."""

    def read(value: object) -> str:
        text = single(value)
        check(text)
        return text

    return PlainValidator(read)


CronValue: TypeAlias = Annotated[
    str, _reader(check_cron), WithJsonSchema({"type": "string", "examples": ["30 2 * * *"]})
]
ZoneValue: TypeAlias = Annotated[
    str, _reader(check_zone), WithJsonSchema({"type": "string", "examples": ["Europe/Berlin", "UTC"]})
]


class ScheduleTable(Strict):
    """One entry of `on.schedule`."""

    cron: CronValue
    timezone: ZoneValue = "UTC"


class InputTable(Strict):
    """One entry of `on.manual.inputs`."""

    type: KindValue = "text"
    description: TextValue | None = None
    default: TextValue | None = None
    options: Texts = ()

    @model_validator(mode="after")
    def _agrees(self) -> InputTable:
        """The default and the options are what the input may be."""
        plain = self.declare("it")
        for value in self.options:
            if self.type != "text" and (clause := Input(name="it", kind=plain.kind).objection(value.value)):
                raise ValueError(f"the option {quoted(value.value)} {clause}")
        if plain.default is not None and (clause := plain.objection(plain.default)):
            raise ValueError(f"the default {quoted(plain.default)} {clause}")
        return self

    def declare(self, name: str) -> Input:
        """The same as core.triggers takes it."""
        return Input(
            name=name,
            kind=self.type,
            description=self.description.value if self.description else "",
            default=self.default.value if self.default else None,
            options=tuple(option.value for option in self.options),
        )


def _few(inputs: dict[str, InputTable]) -> dict[str, InputTable]:
    if len(inputs) > INPUTS_MAX:
        raise ValueError(f"{len(inputs)} inputs are more than the {INPUTS_MAX} allowed")
    upper: dict[str, str] = {}
    for name in inputs:
        if (other := upper.setdefault(name.upper(), name)) != name:
            raise ValueError(f"{quoted(other)} and {quoted(name)} would both be INPUT_{name.upper()}: rename one")
    return inputs


class ManualTable(Strict):
    """`on.manual`."""

    inputs: Annotated[dict[Axis, Annotated[InputTable, BeforeValidator(_nothing_is_all)]], AfterValidator(_few)] = (
        Field(default_factory=dict)
    )


def _not_many(schedules: list[ScheduleTable]) -> list[ScheduleTable]:
    if len(schedules) > SCHEDULES_MAX:
        raise ValueError(f"{len(schedules)} schedules are more than the {SCHEDULES_MAX} allowed")
    return schedules


class OnTable(Strict):
    """`on`."""

    push: Annotated[PushTable, BeforeValidator(_nothing_is_all)] | None = None
    pull_request: Annotated[PullRequestTable, BeforeValidator(_nothing_is_all)] | None = None
    schedule: Annotated[list[ScheduleTable], AfterValidator(_not_many)] = Field(default_factory=list)
    manual: Annotated[ManualTable, BeforeValidator(_nothing_is_all)] | None = None

    def declare(self) -> Triggers:
        """The same as core.triggers takes it."""
        inputs = self.manual.inputs if self.manual is not None else {}
        return Triggers(
            push=None if self.push is None else self.push.declare(),
            pull_request=None if self.pull_request is None else self.pull_request.declare(),
            schedule=tuple(Schedule(cron=each.cron, timezone=each.timezone) for each in self.schedule),
            inputs=tuple(table.declare(name) for name, table in inputs.items()),
        )


OnValue: TypeAlias = Annotated[OnTable, BeforeValidator(_names)]

ON_TABLES: Final[Tables] = {
    ("on",): OnTable,
    ("on", "push"): PushTable,
    ("on", "pull_request"): PullRequestTable,
    ("on", "schedule", "*"): ScheduleTable,
    ("on", "manual"): ManualTable,
    ("on", "manual", "inputs", "*"): InputTable,
}
