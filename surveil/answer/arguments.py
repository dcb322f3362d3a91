"""Reads the arguments of a question: every one is checked, and one that nobody knows is an error.

What belongs here: types, limits and the sentences about them. What does not: what an argument means.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeVar

from surveil.codec import unpacker
from surveil.core.spelling import did_you_mean, quoted
from surveil.errors import NotFoundError, ProtocolError, UsageError
from surveil.protocol import INCLUDES_MAX, PIPELINE_BYTES_MAX, IncludedFile

NUMBER_MAX: Final = 2**53
TEXT_CHARACTERS_MAX: Final = 4096
NAMES_MAX: Final = 256
REPOS_MAX: Final = 1000
NAME_CHARACTERS_MAX: Final = 255

_FILE: Final = unpacker(IncludedFile)

_Choice = TypeVar("_Choice", bound=str)


class Arguments:
    """The arguments of one question. Read all that it takes, then call `finish`."""

    def __init__(self, what: str, about: Mapping[str, Any]) -> None:
        self._what = what
        self._about = about
        self._known: list[str] = []

    def has(self, name: str) -> bool:
        """Whether the argument was given, and not as None."""
        self._known.append(name)
        return self._about.get(name) is not None

    def number(self, name: str, default: int | None = None, *, least: int = 0, most: int = NUMBER_MAX) -> int:
        """An integer from `least` to `most`; without a default it must be there."""
        value = self._value(name, default)
        if type(value) is not int or not least <= value <= most:
            raise self._wrong(name, f"must be an integer from {least} to {most}")
        return value

    def text(self, name: str, default: str | None = None, *, most: int = TEXT_CHARACTERS_MAX) -> str:
        """A text of at most `most` characters; without a default it must be there."""
        value = self._value(name, default)
        if type(value) is not str or len(value) > most:
            raise self._wrong(name, f"must be a text of at most {most} characters")
        return value

    def script(self, name: str) -> str | None:
        """A pipeline's text, or None."""
        return self.text(name, most=PIPELINE_BYTES_MAX) if self.has(name) else None

    def files(self, name: str) -> tuple[IncludedFile, ...]:
        """A list of files that a pipeline includes; absent means none."""
        value = self._value(name, default=[])
        try:
            if len(value) > INCLUDES_MAX:
                raise self._wrong(name, f"must be a list of at most {INCLUDES_MAX} files")
            return tuple(_FILE(file, None) for file in value)
        except (ProtocolError, TypeError, AttributeError) as error:
            raise self._wrong(name, "must be a list of files, each with `path`, `text` and `problem`") from error

    def flag(self, name: str) -> bool:
        """True or false; absent means false."""
        value = self._value(name, default=False)
        if type(value) is not bool:
            raise self._wrong(name, "must be true or false")
        return value

    def names(self, name: str) -> tuple[str, ...]:
        """A list of names, without repetitions; absent means none."""
        value = self._value(name, default=[])
        if (
            not isinstance(value, list | tuple)
            or len(value) > NAMES_MAX
            or not all(type(item) is str and 0 < len(item) <= NAME_CHARACTERS_MAX for item in value)
        ):
            raise self._wrong(
                name, f"must be a list of at most {NAMES_MAX} names of at most {NAME_CHARACTERS_MAX} characters"
            )
        return tuple(dict.fromkeys(value))

    def repos(self, name: str) -> tuple[str, ...] | None:
        """A list of addresses of repositories; None where none is given, which is all of them."""
        value = self._value(name, None)
        if value is None:
            return None
        if (
            not isinstance(value, list | tuple)
            or len(value) > REPOS_MAX
            or not all(type(each) is str and len(each) <= TEXT_CHARACTERS_MAX for each in value)
        ):
            raise self._wrong(name, f"must be a list of at most {REPOS_MAX} repositories")
        return tuple(value)

    def texts(self, name: str) -> dict[str, str]:
        """Texts by name; absent means none."""
        value = self._value(name, default={})
        if (
            not isinstance(value, dict)
            or len(value) > NAMES_MAX
            or not all(type(each) is str and len(each) <= NAME_CHARACTERS_MAX for each in value)
            or not all(type(each) is str and len(each) <= TEXT_CHARACTERS_MAX for each in value.values())
        ):
            raise self._wrong(name, f"must be a map of at most {NAMES_MAX} names to texts")
        return dict(value)

    def choice(self, name: str, choices: Iterable[_Choice]) -> _Choice:
        """One of the texts that are allowed."""
        value = self._value(name, None)
        known = {str(choice): choice for choice in choices}
        if type(value) is not str or value not in known:
            raise self._wrong(name, f"must be one of {', '.join(known)}")
        return known[value]

    def finish(self) -> None:
        """Complain about arguments that nobody has read: a misspelt limit must not be silently without effect."""
        for name in self._about:
            if name not in self._known:
                hint = did_you_mean(name, self._known)
                raise UsageError(f"The question `{self._what}` takes no argument {quoted(name)}; {hint}")

    def _value(self, name: str, default: Any) -> Any:
        self._known.append(name)
        value = self._about.get(name)
        return default if value is None else value

    def _wrong(self, name: str, must: str) -> UsageError:
        return UsageError(f"The argument `{name}` of the question `{self._what}` {must}.")


def not_found(what: str, name: object, hint: str) -> NotFoundError:
    """The error for something that does not exist: what, its name, and what to type to see those that do."""
    return NotFoundError(f"There is no {what} {quoted(str(name))}; {hint}")


def no_build(number: object) -> NotFoundError:
    """The error for a build that does not exist, or must not be known to."""
    return not_found("build", number, "`surveil builds` lists those that there are.")


def whole_refs(ref: str | None) -> tuple[str | None, ...]:
    """What a person may mean by a ref: what it says, a branch, a tag."""
    if ref is None or ref.startswith("refs/"):
        return (ref,)
    return (f"refs/heads/{ref}", f"refs/tags/{ref}", ref)


def ends_with(repo: str, end: str) -> bool:
    """Whether `end` is the last part, or parts, of a repository's address."""
    plain = repo.rstrip("/").removesuffix(".git")
    wanted = end.strip("/").removesuffix(".git")
    return bool(wanted) and (plain == wanted or plain.endswith((f"/{wanted}", f":{wanted}")))
