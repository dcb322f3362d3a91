"""What people come in with: good until it ends, useless to whoever reads the file, the same for several processes."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from surveil.errors import InvalidError, NotAllowedError, NotFoundError, UsageError
from surveil.store import StoreError
from surveil.store.passes import FILE, KEPT_MS, SEEN_MS, Kind, Passes, is_whole
from surveil.store.people import Role

NOW = 1_000_000
HOUR = 3_600_000


@pytest.fixture
def passes(tmp_path: Path) -> Passes:
    return Passes(tmp_path)


def issue(passes: Passes, kind: Kind = Kind.TOKEN, *, now: int = NOW) -> str:
    return passes.issue(kind, "ada", "run", now=now, lasts_ms=HOUR, label="laptop")


def test_a_pass_lets_its_holder_in_until_it_expires(passes: Passes) -> None:
    secret = issue(passes)
    found = passes.admit(Kind.TOKEN, secret, now=NOW + HOUR - 1)
    assert found is not None
    assert (found.person, found.scope, found.label, found.kind) == ("ada", "run", "laptop", Kind.TOKEN)
    assert passes.admit(Kind.TOKEN, secret, now=NOW + HOUR) is None


def test_a_pass_of_one_kind_is_none_of_another(passes: Passes) -> None:
    for made in Kind:
        secret = issue(passes, made)
        assert [kind for kind in Kind if passes.admit(kind, secret, now=NOW)] == [made]


def test_a_link_works_once_however_many_come_at_the_same_moment(passes: Passes) -> None:
    secret = issue(passes, Kind.LINK)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: passes.exchange(secret, now=NOW, lasts_ms=HOUR), range(8)))
    ((session, link),) = [each for each in found if each is not None]
    assert passes.admit(Kind.LINK, secret, now=NOW) is None
    made = passes.admit(Kind.SESSION, session, now=NOW)
    assert made is not None
    assert (made.person, made.scope, made.expires_at) == (link.person, link.scope, NOW + HOUR)
    assert len(passes.listed(Kind.SESSION)) == 1


def test_a_link_whose_session_cannot_be_written_is_still_good(passes: Passes, tmp_path: Path) -> None:
    """It was used up, and nobody was in."""
    link = issue(passes, Kind.LINK)
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute("CREATE TRIGGER full BEFORE INSERT ON passes BEGIN SELECT RAISE(FAIL, 'no room'); END")
    with pytest.raises(StoreError, match="no room"):
        passes.exchange(link, now=NOW, lasts_ms=HOUR)
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute("DROP TRIGGER full")
    assert passes.exchange(link, now=NOW, lasts_ms=HOUR) is not None
    assert passes.exchange(link, now=NOW, lasts_ms=HOUR) is None


def test_nothing_is_made_for_who_was_removed_a_moment_before(passes: Passes) -> None:
    """It would have been good for whoever is given their name next."""
    passes.people.put("grace", [Role(repo="*", scope="admin")], now=NOW)
    passes.forget("grace", now=NOW)
    for kind in Kind:
        with pytest.raises(NotFoundError, match="Nobody of the name"):
            passes.issue(kind, "grace", "admin", now=NOW, lasts_ms=HOUR, user="grace")
        assert passes.listed(kind) == []


def test_what_was_ended_lets_nobody_in_and_the_others_stay(passes: Passes) -> None:
    first, second = issue(passes), issue(passes)
    ended = passes.admit(Kind.TOKEN, first, now=NOW)
    assert ended is not None
    assert passes.end(ended.id, now=NOW)
    assert not passes.end(ended.id, now=NOW)
    assert passes.admit(Kind.TOKEN, first, now=NOW) is None
    assert passes.admit(Kind.TOKEN, second, now=NOW) is not None


def test_nothing_in_the_file_can_be_used(passes: Passes, tmp_path: Path) -> None:
    secrets = [issue(passes, kind) for kind in Kind]
    passes.close()
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for secret in secrets:
        chance = secret[4:47]
        assert chance.encode() not in stored
        assert chance[:12].encode() not in stored
    assert (tmp_path / FILE).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "shown", ["", "svt_", "x" * 10_000, "svt_" + "a" * 43 + "_00000000", "svs_\0", "svt_" + "é" * 43 + "_00000000"]
)
def test_what_cannot_be_a_pass_is_not_looked_up(passes: Passes, shown: str) -> None:
    assert not is_whole(Kind.TOKEN, shown)
    assert passes.admit(Kind.TOKEN, shown, now=NOW) is None


def test_a_slip_in_a_secret_is_noticed_by_its_checksum(passes: Passes) -> None:
    secret = issue(passes)
    slipped = secret[:10] + ("a" if secret[10] != "a" else "b") + secret[11:]
    assert is_whole(Kind.TOKEN, secret)
    assert not is_whole(Kind.TOKEN, slipped)


def test_another_process_finds_the_same_passes(passes: Passes, tmp_path: Path) -> None:
    secret = issue(passes)
    other = Passes(tmp_path)
    found = other.admit(Kind.TOKEN, secret, now=NOW)
    assert found is not None
    other.end(found.id, now=NOW)
    assert passes.admit(Kind.TOKEN, secret, now=NOW) is None


def test_it_is_known_about_when_a_pass_was_used(passes: Passes) -> None:
    secret = issue(passes)
    for now in (NOW, NOW + SEEN_MS // 2, NOW + 2 * SEEN_MS):
        assert passes.admit(Kind.TOKEN, secret, now=now) is not None
    (listed,) = passes.listed(Kind.TOKEN)
    assert listed.seen_at == NOW + 2 * SEEN_MS


def test_nobody_is_shut_out_because_it_cannot_be_written_down_that_they_came(passes: Passes, tmp_path: Path) -> None:
    token, link = issue(passes), issue(passes, Kind.LINK)
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute("CREATE TRIGGER full BEFORE UPDATE ON passes BEGIN SELECT RAISE(FAIL, 'no room'); END")
    assert passes.admit(Kind.TOKEN, token, now=NOW) is not None
    with pytest.raises(StoreError, match="no room"):
        passes.exchange(link, now=NOW, lasts_ms=HOUR)  # It would work a second time.


def test_what_ended_long_ago_is_forgotten_when_the_next_is_made(passes: Passes) -> None:
    issue(passes)
    issue(passes, now=NOW + HOUR + KEPT_MS)
    assert len(passes.listed(Kind.TOKEN)) == 2
    issue(passes, now=NOW + HOUR + KEPT_MS + 1)
    assert len(passes.listed(Kind.TOKEN)) == 2


def test_a_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(InvalidError, match="newer version of surveil"):
        Passes(tmp_path)


def test_passes_of_an_earlier_version_stay_good_and_people_can_be_known(tmp_path: Path) -> None:
    passes = Passes(tmp_path)
    secret = issue(passes)
    passes.close()
    with sqlite3.connect(tmp_path / FILE) as connection:
        for statement in (
            "DROP TABLE people", "DROP TABLE roles", "ALTER TABLE passes DROP COLUMN user", "PRAGMA user_version = 1",
        ):  # fmt: skip
            connection.execute(statement)
    again = Passes(tmp_path)
    found = again.admit(Kind.TOKEN, secret, now=NOW)
    assert found is not None
    assert (found.person, found.scope, found.user) == ("ada", "run", None)
    again.people.put("grace", [Role(repo="*", scope="read")], now=NOW)
    assert [each.name for each in again.people.listed()] == ["grace"]


def test_people_of_an_earlier_version_are_those_of_the_issuer_that_they_come_from_first(tmp_path: Path) -> None:
    passes = Passes(tmp_path)
    role = Role(repo="*", scope="read", source="corp")
    passes.people.arrive("corp", "7", "grace", [role], issuer="https://a.example.org", now=NOW)
    passes.close()
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute("ALTER TABLE people DROP COLUMN issuer")
        connection.execute("PRAGMA user_version = 2")
    again = Passes(tmp_path).people
    assert [each.issuer for each in again.listed()] == [None]
    here, there = "https://a.example.org", "https://b.example.org"
    found = again.arrive("corp", "7", "grace", [role], issuer=here, now=NOW)
    assert found is not None
    assert (found.name, found.issuer) == ("grace@corp", here)
    with pytest.raises(NotAllowedError, match=r"came from https://a\.example.org, and corp is https://b\."):
        again.arrive("corp", "7", "grace", [role], issuer=there, now=NOW)
    assert again.listed() == [found]


def test_whoever_is_forgotten_has_nothing_left_and_others_keep_theirs(passes: Passes) -> None:
    for name in ("grace", "ada"):
        passes.people.put(name, [Role(repo="/srv/*", scope="run")], now=NOW)
    kept = passes.issue(Kind.TOKEN, "ada", "admin", now=NOW, lasts_ms=HOUR, user="ada")
    ended = [passes.issue(kind, "grace", "admin", now=NOW, lasts_ms=HOUR, user="grace") for kind in Kind]
    assert passes.forget("grace", now=NOW) == len(Kind)
    assert [passes.admit(kind, each, now=NOW) for kind, each in zip(Kind, ended, strict=True)] == [None] * len(Kind)
    assert passes.admit(Kind.TOKEN, kept, now=NOW) is not None
    assert passes.people.find("grace") is None
    again = passes.people.put("grace", [], now=NOW)
    assert again.roles == ()


def test_of_many_who_add_somebody_at_the_same_time_one_does_and_the_others_are_told(passes: Passes) -> None:
    def add(number: int) -> str:
        try:
            passes.people.put("grace", [Role(repo=f"/srv/{number}", scope="run")], now=NOW, new=True)
        except UsageError as error:
            return str(error)
        return f"/srv/{number}"

    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(add, range(8)))
    (added,) = [each for each in told if each.startswith("/srv/")]
    assert [each.repo for each in passes.people.listed()[0].roles] == [added]
    told.remove(added)
    assert set(told) == {"grace is known already: `surveil user role grace ROLE` gives another role."}
