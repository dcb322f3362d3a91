"""Commands about people: who is known, what they may do, and that removing somebody ends all that they have."""

import json
from pathlib import Path

import pytest

from surveil.store.acts import Acts
from surveil.store.passes import Kind, Passes
from surveil.store.people import People, Role
from tests.cli.conftest import Type
from tests.cli.counter import Counter

LIB, OTHER = "https://example.org/lib.git", "https://example.org/other.git"


@pytest.fixture
def data(counter: Counter) -> Path:
    """The folder of a dispatcher."""
    (counter.data / "surveil.db").touch()
    return counter.data


def roles(type_: Type) -> list[tuple[str, str, str]]:
    listed = json.loads(type_("user", "ls", "--json").out)
    return [(person["name"], each["role"], each["repo"]) for person in listed for each in person["roles"]]


@pytest.mark.usefixtures("data")
def test_roles_are_given_for_repositories_and_taken_again(type_: Type) -> None:
    assert type_("user", "ls").err.startswith("Nobody is known by name")
    added = type_("user", "add", "grace", "--role", "run", "--repo", LIB, "--repo", OTHER)
    assert f"grace may `run` in {LIB}, `run` in {OTHER}." in added.err
    assert "surveil login --person grace" in added.err
    assert type_("user", "add", "grace").code == 2
    assert type_("user", "role", "grace", "admin", "--repo", LIB).code == 0
    assert roles(type_) == [("grace", "admin", LIB), ("grace", "run", OTHER)]
    type_("user", "role", "grace", "none", "--repo", OTHER)
    assert roles(type_) == [("grace", "admin", LIB)]
    shown = type_("user", "ls").out
    assert ("grace" in shown, "admin" in shown, LIB in shown) == (True, True, True)
    type_("user", "role", "grace", "none")
    assert roles(type_) == []
    assert "none" in type_("user", "ls").out


def test_who_signs_in_elsewhere_is_listed_with_what_they_are_there(type_: Type, data: Path) -> None:
    passes = Passes(data)
    role = Role(repo=LIB, scope="run", source="git")
    passes.people.arrive("git", "7", "grace", [role], issuer="https://git.example.org", now=1)
    passes.close()
    shown = type_("user", "ls").out
    assert "SIGNS IN AS" in shown.upper()
    assert "7 at" in shown
    assert "https://git.example.org" in shown
    (listed,) = json.loads(type_("user", "ls", "--json").out)
    assert (listed["subject"], listed["issuer"]) == ("7", "https://git.example.org")


@pytest.mark.usefixtures("data")
def test_whoever_is_not_known_has_no_role_and_nobody_is_called_like_a_command(type_: Type) -> None:
    assert type_("user", "role", "nobody", "read").code == 6
    assert type_("user", "remove", "nobody").code == 6
    for name in ("", "a b", "../x", "x" * 61, "a@B", "<b>"):
        assert type_("user", "add", name).code == 3, name
    assert type_("user", "add", "grace", "--repo", "a\nb").code == 3
    assert type_("user", "add", "anybody", "--role", "run").code == 3
    assert type_("user", "add", "anybody", "--repo", LIB).code == 0


def test_a_link_or_token_for_somebody_who_is_known_is_theirs_and_ends_with_them(type_: Type, data: Path) -> None:
    before = type_("login", "--token", "--person", "grace", "--scope", "read")
    type_("user", "add", "grace", "--role", "run", "--repo", LIB)
    made = type_("login", "--token", "--person", "grace")
    assert "It lets grace do what their roles say, and `admin` at most." in made.err
    passes = Passes(data)
    now = 1_000
    held = passes.admit(Kind.TOKEN, made.out.strip(), now=now)
    assert held is not None
    assert held.user == "grace"
    other = passes.admit(Kind.TOKEN, before.out.strip(), now=now)
    assert other is not None
    assert other.user is None
    assert type_("user", "remove", "grace").err == (
        "grace may do nothing any more; 1 of their links, sessions and tokens ended.\n"
    )
    assert passes.admit(Kind.TOKEN, made.out.strip(), now=now) is None
    passes.close()
    assert type_("login", "--person", "anybody").code == 3


def test_of_administrators_who_add_somebody_at_the_same_time_one_does(
    type_: Type, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = Passes(data)

    def both_looked(self: People, name: str, *_: object, **__: object) -> None:
        """Nobody was known so, and by now somebody is."""
        if self.find(name) is None:
            passes.people.put(name, [Role(repo=OTHER, scope="read")], now=1, new=True)

    monkeypatch.setattr(People, "see", both_looked)
    late = type_("user", "add", "grace", "--role", "admin")
    assert late.code == 2
    assert "grace is known already: `surveil user role grace ROLE` gives another role." in late.err
    assert roles(type_) == [("grace", "read", OTHER)]
    passes.close()


@pytest.mark.parametrize("how", ["changed", "removed"])
def test_what_an_administrator_takes_away_no_other_one_gives_back_unknowingly(
    type_: Type, data: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Who added a role at that moment put all those of before back, and knew somebody again who was removed."""
    type_("user", "add", "grace", "--role", "admin")
    passes = Passes(data)

    def another_one_comes(*_: object, **__: object) -> None:
        if how == "changed":
            passes.people.put("grace", [], now=1)
        else:
            passes.forget("grace", now=1)

    with monkeypatch.context() as patched:
        patched.setattr(People, "see", another_one_comes)
        late = type_("user", "role", "grace", "read", "--repo", LIB)
    assert late.code == (2 if how == "changed" else 6)
    assert ("Somebody else changed what grace may do" in late.err) == (how == "changed")
    assert roles(type_) == []
    assert [each.name for each in passes.people.listed()] == (["grace"] if how == "changed" else [])
    passes.close()


def test_of_whoever_is_refused_as_known_already_no_act_says_that_they_were_added(type_: Type, data: Path) -> None:
    for _ in range(2):
        type_("user", "add", "grace")
    acts = Acts(data)
    assert [each.subject for each in acts.listed(what="user", limit=9)] == ["grace may `read` in all repositories"]
    acts.close()
