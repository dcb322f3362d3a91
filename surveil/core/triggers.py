"""Which events a pipeline is for, as its `on` says: why a commit is not built, and what a person may type.

What belongs here: what `on` means. What does not: how it is written down (`surveil.pipeline.triggering`), and what
becomes of a commit that is built (`core.builds`).

Without `on`, every event is built. With it, only the events that it names are, but for what a person submits: whoever
types a command has decided already.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, Literal, TypeAlias

from surveil.core.globs import Globs, any_match
from surveil.core.patterns import Patterns
from surveil.core.spelling import did_you_mean, quoted
from surveil.frozen import dataclass
from surveil.protocol import Trigger

INPUT_CHARACTERS_MAX: Final = 4_000
_BRANCHES: Final = "refs/heads/"
_TAGS: Final = "refs/tags/"
_SKIP: Final = re.compile(r"\[(?:skip ci|ci skip)\]", re.IGNORECASE)
_NUMBER: Final = re.compile(r"-?[0-9]{1,15}")

Kind: TypeAlias = Literal["text", "number", "flag"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """Branches and tags that move. Where only one of the two is chosen from, there is nothing of the other."""

    branches: Patterns | None = None
    tags: Patterns | None = None
    paths: Globs | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PullRequest:
    """Pull and merge requests."""

    paths: Globs | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Times at which the newest commit of the main branch is built: cron's five fields, in a time zone."""

    cron: str
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """What a person may type with `submit --input NAME=VALUE`; without `options` anything of its kind."""

    name: str
    kind: Kind = "text"
    description: str = ""
    default: str | None = None
    options: tuple[str, ...] = ()

    def objection(self, value: str) -> str:
        """What is wrong with a value, as a clause; empty if nothing is."""
        if self.options and value not in self.options:
            return f"is not one of {', '.join(map(quoted, self.options))}"
        if self.kind == "number" and not _NUMBER.fullmatch(value):
            return "is not a whole number"
        if self.kind == "flag" and value not in {"true", "false"}:
            return "is neither `true` nor `false`"
        if len(value) > INPUT_CHARACTERS_MAX or "\0" in value:
            return f"is not a text of at most {INPUT_CHARACTERS_MAX} characters"
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Triggers:
    """All of `on`; None stands for an event that it does not name."""

    push: Push | None = Push()
    pull_request: PullRequest | None = PullRequest()
    schedule: tuple[Schedule, ...] = ()
    inputs: tuple[Input, ...] = ()


ANY: Final = Triggers()
"""What a pipeline without `on` is for."""


def variable(name: str) -> str:
    """The variable by which steps know an input."""
    return f"INPUT_{name.upper()}"


def objection(triggers: Triggers, *, event: Trigger, ref: str, paths: Sequence[str] | None, message: str) -> str:
    """Why this commit is not to be built, as a clause; empty if it is. `paths` None means that nobody knows what it
    changes, and then everything counts as changed.
    """
    if event in {"schedule", "manual"}:
        return ""
    if (skip := _SKIP.search(message)) is not None:
        return f"its message says {skip[0]}"
    wanted = triggers.push if event == "push" else triggers.pull_request
    if wanted is None:
        return f"`on` names no `{event}`"
    if isinstance(wanted, Push) and (left_out := _ref_objection(wanted, ref)):
        return left_out
    if wanted.paths is None or paths is None or ref.startswith(_TAGS):
        return ""
    if any_match(wanted.paths, paths) is None:
        files = f"any of the {len(paths)} files that it changes" if len(paths) > 1 else "the file that it changes"
        return f"`on.{event}.paths` does not choose {files}" if paths else "it changes no file"
    return ""


def _ref_objection(push: Push, ref: str) -> str:
    if push.branches is None and push.tags is None:
        return ""
    for name, patterns, prefix in (("branches", push.branches, _BRANCHES), ("tags", push.tags, _TAGS)):
        if ref.startswith(prefix):
            if patterns is not None and patterns.match(ref, None):
                return ""
            short = quoted(ref.removeprefix(prefix))
            return f"`on.push` names no {name}" if patterns is None else f"`on.push.{name}` does not choose {short}"
    return f"`on.push` chooses branches and tags, and {quoted(ref)} is neither"


def fill_inputs(inputs: Sequence[Input], typed: Mapping[str, str] | None) -> tuple[dict[str, str], list[str]]:
    """The value of each input, and what is wrong, in sentences. What nobody typed has its default, and is empty without
    one; `typed` is None where no person is there who could have typed anything.
    """
    known = {each.name: each for each in inputs}
    wrong = []
    for name in typed or {}:
        if name not in known:
            hint = did_you_mean(name, known) or "it has no inputs: declare them under `on.manual.inputs`"
            wrong.append(f"the pipeline has no input {quoted(name)}; {hint}")
    values: dict[str, str] = {}
    for name, each in known.items():
        value = (typed or {}).get(name, each.default)
        if value is None and typed is not None:
            wrong.append(f"the input {quoted(name)} has no default: type `--input {name}=VALUE`")
        elif value is not None and (clause := each.objection(value)):
            wrong.append(f"the input {quoted(name)} is {quoted(value)}, which {clause}")
        values[name] = value or ""
    return values, wrong


def describe(triggers: Triggers) -> list[str]:
    """A line for each event that is built, for people."""
    lines = []
    if (push := triggers.push) is not None:
        refs = [pattern for each in (push.branches, push.tags) if each is not None for pattern in each.texts]
        lines.append(f"push{_of(refs)}{_changing(push.paths)}")
    if triggers.pull_request is not None:
        lines.append(f"pull requests{_changing(triggers.pull_request.paths, 'change')}")
    lines += [f"schedule {each.cron} in {each.timezone}" for each in triggers.schedule]
    named = [f"{each.name}={each.default}" if each.default is not None else each.name for each in triggers.inputs]
    lines.append(f"by hand{', with ' + ', '.join(named) if named else ''}")
    return lines


def _of(refs: Sequence[str]) -> str:
    return f" of {', '.join(refs)}" if refs else ""


def _changing(paths: Globs | None, verb: str = "changes") -> str:
    return "" if paths is None else f" that {verb} {', '.join(paths.texts)}"
