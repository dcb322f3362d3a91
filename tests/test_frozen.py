"""Quick records are what the standard library would have made of them, however late their methods are made."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from dataclasses import field
from typing import Any, ClassVar

import pytest

from surveil import frozen


@dataclasses.dataclass(frozen=True, slots=True)
class Plain:
    """A record of the standard library."""

    first: int
    second: str = "two"
    unshown: int = field(default=3, repr=False)
    uncompared: int = field(default=4, compare=False)
    by_name: tuple[int, ...] = field(default=(), kw_only=True)


@frozen.dataclass(frozen=True, slots=True)
class Quick:
    """The same as a quick one."""

    first: int
    second: str = "two"
    unshown: int = field(default=3, repr=False)
    uncompared: int = field(default=4, compare=False)
    by_name: tuple[int, ...] = field(default=(), kw_only=True)


@frozen.dataclass(frozen=True, slots=True)
class Own:  # noqa: PLW1641  # that it gets a hash all the same is looked at
    """A record with its own way to be compared and shown."""

    kind: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Own) and self.kind.lower() == other.kind.lower()

    def __repr__(self) -> str:
        return self.kind


GIVEN: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((1,), {}),
    ((1, "x"), {}),
    ((1, "x", 7, 8), {"by_name": (9,)}),
    ((), {"first": 1, "by_name": (1,), "uncompared": 0}),
]


@frozen.dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A record with a field that is made for each, and with a word that all share."""

    shared: ClassVar[str] = "all"
    made: list[int] = field(default_factory=list)
    given: int


def fresh(kind: Any) -> Any:
    """The class anew, with none of its methods made yet."""
    annotated = {name: kind.__annotations__[name] for name in kind.__slots__}
    fields = {each.name: field(default=each.default, repr=each.repr, compare=each.compare, kw_only=each.kw_only)
              for each in dataclasses.fields(kind)}  # fmt: skip
    body = {"__annotations__": annotated, "__module__": __name__, "__doc__": kind.__doc__, **fields}
    return frozen.dataclass(frozen=True, slots=True)(type(kind.__name__, (), body))


@pytest.mark.parametrize("given", GIVEN)
def test_a_quick_record_is_filled_shown_compared_and_told_like_any_other(given: Any) -> None:
    positional, by_name = given
    plain, kind = Plain(*positional, **by_name), fresh(Quick)
    quick = kind(*positional, **by_name)
    assert [getattr(quick, name) for name in kind.__slots__] == [getattr(plain, name) for name in Plain.__slots__]
    assert repr(quick) == repr(plain).replace("Plain", "Quick")
    assert hash(quick) == hash(plain)
    assert dataclasses.asdict(quick) == dataclasses.asdict(plain)
    assert kind.__match_args__ == Plain.__match_args__
    assert quick != plain


@pytest.mark.parametrize("wrong", [((), {}), ((1, "x", 7, 8, 9), {}), ((1,), {"unknown": 1}), ((1,), {"first": 1})])
def test_what_does_not_fill_a_record_is_refused(wrong: Any) -> None:
    positional, by_name = wrong
    for kind in (Plain, fresh(Quick)):
        with pytest.raises(TypeError):
            kind(*positional, **by_name)


@pytest.mark.parametrize("change", [{"first": 2}, {"unshown": 0}, {"uncompared": 0}, {"second": "x", "by_name": (1,)}])
def test_records_are_equal_where_those_of_the_standard_library_are(change: dict[str, Any]) -> None:
    kind = fresh(Quick)
    assert (kind(1) == frozen.replace(kind(1), **change)) is (Plain(1) == dataclasses.replace(Plain(1), **change))
    assert (hash(kind(1)) == hash(frozen.replace(kind(1), **change))) is (
        hash(Plain(1)) == hash(dataclasses.replace(Plain(1), **change))
    )
    assert dataclasses.replace(kind(1), **change) == frozen.replace(kind(1), **change)


def test_nothing_of_a_record_can_be_changed() -> None:
    record = Quick(1)
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'first'"):
        record.first = 2  # type: ignore[misc]  # that is what must not be
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot delete field 'first'"):
        del record.first
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.unknown = 2  # type: ignore[attr-defined]  # the same
    assert record == Quick(1)


def test_a_record_travels_and_is_copied() -> None:
    record = Quick(1, "x", by_name=(1, 2))
    assert pickle.loads(pickle.dumps(record)) == copy.copy(record) == copy.deepcopy(record) == record
    with pytest.raises(dataclasses.FrozenInstanceError):
        pickle.loads(pickle.dumps(record)).first = 2


def test_a_class_keeps_its_own_methods() -> None:
    assert Own("A") == Own("a")
    assert repr(Own("A")) == "A"
    assert hash(Own("A")) == hash(("A",))


def test_what_a_record_is_not_given_is_made_for_it() -> None:
    first, second = Made(given=1), Made(given=1)
    assert first.made == second.made == []
    assert first.made is not second.made
    assert Made(given=1, made=[2]).made == [2]
    with pytest.raises(TypeError, match="given"):
        Made()  # type: ignore[call-arg]  # that is what must not be


def test_a_word_of_the_class_is_no_field() -> None:
    assert Made.shared == Made(given=1).shared == "all"
    assert [each.name for each in dataclasses.fields(Made)] == ["made", "given"]
    assert Made.__slots__ == ("made", "given")
    assert Made.__match_args__ == ()


def test_fields_are_described_when_somebody_asks_and_once() -> None:
    kind = fresh(Quick)
    assert isinstance(vars(kind)["__dataclass_fields__"], frozen._Description)  # noqa: SLF001  # whether it is late
    described = dataclasses.fields(kind)
    assert vars(kind)["__dataclass_fields__"] == {each.name: each for each in described}
    assert dataclasses.is_dataclass(kind)
    for ours, theirs in zip(described, dataclasses.fields(Plain), strict=True):
        for what in ("name", "type", "default", "default_factory", "init", "repr", "hash", "compare", "kw_only"):
            assert getattr(ours, what) == getattr(theirs, what)


@pytest.mark.parametrize(
    ("body", "because"),
    [
        ({"__annotations__": {"_own": "int"}}, "fields that are its own"),
        ({"__annotations__": {"asked": "InitVar[int]"}}, "has what is no field"),
        ({"__annotations__": {"shared": "typing.ClassVar[int]"}}, "has what is no field"),
        ({"__annotations__": {"late": "int"}, "late": field(init=False)}, "not simply given"),
        ({"__annotations__": {"apart": "int"}, "apart": field(hash=False)}, "not simply given"),
        ({"__annotations__": {}, "__post_init__": print}, "more than to be filled"),
    ],
)
def test_a_record_that_cannot_be_quick_is_refused_with_its_class(body: dict[str, Any], because: str) -> None:
    make = frozen.dataclass(frozen=True, slots=True)
    with pytest.raises(AssertionError, match=because):
        make(type("Refused", (), body))


def test_a_record_that_is_not_frozen_is_the_standard_librarys() -> None:
    @frozen.dataclass(slots=True)
    class Open:
        """Its field may change."""

        number: int

    record = Open(1)
    record.number = 2
    assert frozen.replace(record, number=3) == Open(3)
    assert record == Open(2)
