"""Records and states that are quick to handle: `dataclass` and `replace` as the standard library has them, for those
frozen records of which a busy process makes tens of thousands a second, and enumerations whose members are at hand.

What belongs here: how such a record is filled, copied, compared and shown, and how a member is found. What does not:
any record.

The standard library fills a frozen record with one call of `object.__setattr__` for each field, which is most of what
a dispatcher would do all day. Here a record is filled as an instance of a twin, a class with the same slots that is
not frozen, and becomes its own class at the end. Measured with twelve fields: 0.8 instead of 2.0 microseconds to make
one, 0.75 instead of 5.7 for `replace`. Whoever holds a record sees no difference, and the type checker sees the
standard library's functions.

It also looks at all fields, and writes and compiles seven methods, for each class as it is imported: more than half of
the time in which a runner starts, and most processes use few of these classes. Here each method is made when it is
first called, and the fields are described when somebody first asks what they are.
"""

from __future__ import annotations

import dataclasses
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from dataclasses import dataclass, replace

    __all__ = ["dataclass", "replace"]
else:

    def dataclass(**options: bool) -> Any:
        """Make a class a dataclass, by the standard library's options; a frozen one with slots is quick."""
        if not (options.get("frozen") and options.get("slots")):
            return dataclasses.dataclass(**options)
        assert options.keys() <= {"frozen", "slots", "kw_only"}, f"{options} are more than a quick record can be"
        return lambda plain: _quick(plain, kw_only=options.get("kw_only", False))

    def replace(record: Any, /, **changes: Any) -> Any:
        """A copy of the record with these fields changed."""
        kind = type(record)
        copied = _COPIERS.get(kind)
        if copied is None:
            copied = _COPIERS[kind] = _copier(kind)
        return copied(record, changes)


KindT = TypeVar("KindT", bound=type[Enum])


def members_at_hand(kind: KindT) -> KindT:
    """Make the members plain attributes of their class, as they are from Python 3.12 on: 3.11 calls a function for each
    look at one, which takes four times as long.
    """
    for member in kind:
        type.__setattr__(kind, member.name, member)
    return kind


_OF_OPEN_CLASSES: Final = frozenset({"__dict__", "__weakref__"})
"""What a class has that has no slots."""
_NO_FIELDS: Final = ("ClassVar", "InitVar")
"""What an annotation says that the standard library takes for something else; a `ClassVar[...]` is left out before."""
_TWINS: Final[dict[type, type]] = {}
_COPIERS: Final[dict[type, Any]] = {}


def _quick(plain: Any, *, kw_only: bool) -> Any:
    """The class as a frozen one that has slots for its fields, with its methods."""
    name = plain.__name__
    annotated = {field: kind for field, kind in plain.__annotations__.items() if not kind.startswith("ClassVar[")}
    given = {field: vars(plain)[field] for field in annotated if field in vars(plain)}
    written = [each for each in given.values() if isinstance(each, dataclasses.Field)]
    assert plain.__bases__ == (object,), f"{name} has fields elsewhere than in its own slots"
    assert all(each.init and each.hash is None for each in written), f"{name} has fields that are not simply given"
    assert not any(word in each for word in _NO_FIELDS for each in annotated.values()), f"{name} has what is no field"
    assert not any(field.startswith("_") for field in annotated), f"{name} has fields that are its own"
    assert not hasattr(plain, "__post_init__"), f"{name} wants to do more than to be filled"
    body = {key: value for key, value in vars(plain).items() if key not in annotated and key not in _OF_OPEN_CLASSES}
    by_name = {key for key, value in given.items() if isinstance(value, dataclasses.Field) and value.kw_only is True}
    body["__slots__"] = tuple(annotated)
    body["__match_args__"] = () if kw_only else tuple(field for field in annotated if field not in by_name)
    body["__dataclass_fields__"] = _Description(annotated, given, kw_only=kw_only)
    kind: Any = type(name, (), body)
    kind.__qualname__ = plain.__qualname__
    for method, make in _MADE.items():
        # A class that compares its records in its own way has None for the other method.
        if kind.__dict__.get(method) is None:
            setattr(kind, method, _made_at_first_use(kind, method, make))
    kind.__setattr__, kind.__delattr__ = _refuse_change, _refuse_removal
    kind.__getstate__, kind.__setstate__ = _state, _take_state
    return kind


class _Description:
    """The fields of a class, where the standard library looks for them; it describes them when somebody asks."""

    def __init__(self, annotated: dict[str, str], given: dict[str, Any], *, kw_only: bool) -> None:
        self._annotated = annotated
        self._given = given
        self._kw_only = kw_only

    def __get__(self, _record: object, kind: Any) -> Any:
        # For a class that says nothing of itself the standard library would find out how it is called.
        said = kind.__doc__ or kind.__name__
        body = {"__annotations__": self._annotated, "__module__": kind.__module__, "__doc__": said, **self._given}
        make = dataclasses.dataclass(init=False, repr=False, eq=False, kw_only=self._kw_only)
        described: Any = make(type(kind.__name__, (), body))
        kind.__dataclass_fields__ = described.__dataclass_fields__
        return kind.__dataclass_fields__


def _made_at_first_use(kind: Any, name: str, make: Any) -> Any:
    def first(*arguments: Any, **by_name: Any) -> Any:
        made = make(kind)
        setattr(kind, name, made)
        return made(*arguments, **by_name)

    return first


def _refuse_change(_record: Any, name: str, _value: object) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_removal(_record: Any, name: str) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")


def _state(record: Any) -> list[Any]:
    return [getattr(record, name) for name in record.__slots__]


def _take_state(record: Any, state: list[Any]) -> None:
    for name, value in zip(record.__slots__, state, strict=True):
        object.__setattr__(record, name, value)


def _twin_of(kind: Any) -> type:
    """The class with the same slots that is not frozen."""
    if kind not in _TWINS:
        _TWINS[kind] = type(kind.__name__, (), {"__slots__": tuple(kind.__slots__)})
    return _TWINS[kind]


def _initialiser(kind: Any) -> Any:
    fields = dataclasses.fields(kind)
    # No field has a name with a line before it, as what the function knows besides.
    known = {"_kind": kind, "_twin": _twin_of(kind), "_become": object.__setattr__}
    known |= {f"_default_{field.name}": field.default for field in fields}
    known |= {f"_make_{field.name}": field.default_factory for field in fields}
    is_made = {field.name for field in fields if field.default_factory is not dataclasses.MISSING}
    needed = {field.name for field in fields if field.default is dataclasses.MISSING} - is_made
    # What is to be made for each record is missing until then.
    given = [field.name + ("" if field.name in needed else f"=_default_{field.name}") for field in fields]
    # Positional fields come first, as in the order of the standard library.
    by_position = [text for text, field in zip(given, fields, strict=True) if not field.kw_only]
    by_name = [text for text, field in zip(given, fields, strict=True) if field.kw_only]
    filled = [
        f"self.{name} = _make_{name}() if {name} is _default_{name} else {name}" if name in is_made
        else f"self.{name} = {name}"
        for name in kind.__slots__
    ]  # fmt: skip
    return _function(
        "__init__",
        ", ".join(["self", *by_position, *(["*", *by_name] if by_name else [])]),
        ["_become(self, '__class__', _twin)", *filled, "self.__class__ = _kind"],
        known,
    )


def _comparer(kind: Any) -> Any:
    mine, other = _compared(kind, "self"), _compared(kind, "other")
    same = f"return {mine} == {other} if other.__class__ is self.__class__ else NotImplemented"
    return _function("__eq__", "self, other", [same], {})


def _hasher(kind: Any) -> Any:
    return _function("__hash__", "self", [f"return hash({_compared(kind, 'self')})"], {})


def _compared(kind: Any, record: str) -> str:
    """The tuple of what counts when two records are compared."""
    return f"({''.join(f'{record}.{field.name}, ' for field in dataclasses.fields(kind) if field.compare)})"


def _teller(kind: Any) -> Any:
    shown = ", ".join(f"{field.name}={{self.{field.name}!r}}" for field in dataclasses.fields(kind) if field.repr)
    return _function("__repr__", "self", [f"return f'{{self.__class__.__qualname__}}({shown})'"], {})


_MADE: Final = {"__init__": _initialiser, "__eq__": _comparer, "__hash__": _hasher, "__repr__": _teller}
"""How each method is made."""


def _copier(kind: Any) -> Any:
    """The function that copies a record of this class with a map of changes."""
    if getattr(kind, "__setstate__", None) is not _take_state:
        return lambda record, changes: dataclasses.replace(record, **changes)
    return _function(
        "copied",
        "record, changes",
        [
            "new = twin()",
            *(f"new.{name} = record.{name}" for name in kind.__slots__),
            "for name, value in changes.items(): change(new, name, value)",
            "new.__class__ = kind",
            "return new",
        ],
        {"kind": kind, "twin": _twin_of(kind), "change": setattr},
    )


def _function(name: str, parameters: str, lines: list[str], known: dict[str, Any]) -> Any:
    body = "\n    ".join(lines)
    made = dict(known)
    # The text is made of the names of our own fields; the standard library makes its methods in the same way.
    exec(f"def {name}({parameters}):\n    {body}\n", made)  # noqa: S102
    return made[name]
