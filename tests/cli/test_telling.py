"""`notify`: who is told, what waits for them, and why."""

import json
import re
from pathlib import Path

from surveil.core.model import Status
from surveil.core.outbox import Draft, Fate, Outcome, settled
from surveil.store.outbox import Outbox
from surveil.store.sqlite import open_store
from tests.cli.conftest import Type
from tests.cli.counter import Counter
from tests.forge import played
from tests.notify.post_office import Mood, PostOffice
from tests.store.records import make_build, make_job, make_note, new

NOW = 1_750_000_000_000


def test_a_target_that_is_away_is_listed_with_all_that_waits(type_: Type, home: Path) -> None:
    data = home / "data"
    store = open_store(data, now=NOW)
    store.commit(new(notes=(make_note(), make_note(), make_note())))
    store.close()
    nobody = type_("notify", "list")
    assert (nobody.code, nobody.out) == (0, "")
    assert "write `notify.toml`" in nobody.err
    (data / "notify.toml").write_text("")
    assert "`notify.toml` is there; start" in type_("notify", "list").err
    outbox = Outbox(data)
    outbox.begin("ours", position=0, at=0)
    outbox.read_on("ours", [Draft(subject="a", slot="a", body="{}", made_at=NOW)], position=1, at=NOW, now=NOW)
    queue = outbox.queue("ours")
    [parcel] = queue.waiting.values()
    after, left = settled(queue, parcel, Outcome(fate=Fate.UNAVAILABLE, reason="git.example.org hangs"), NOW)
    outbox.settle("ours", parcel, left, after, told=False, now=NOW)
    outbox.close()
    [target] = json.loads(type_("notify", "list", "--json").out)
    assert target == {
        "name": "ours",
        "delivered": 0,
        "delivered_at": None,
        "waiting": 1,
        "waiting_since": "2025-06-15T15:06:40.000Z",
        "behind": 2,
        "given_up": 0,
        "again_at": "2025-06-15T15:06:45.000Z",
        "problem": "git.example.org hangs",
    }
    (data / "notify.toml").write_text('[[forge]]\nkind = "github"\ntoken_file = "token"\n')
    found = [each for each in json.loads(type_("doctor", "--json").out) if each["name"] == "notify"]
    assert [(each["health"], each["next"]) for each in found] == [("weak", "surveil notify list")]
    assert "ours cannot be told of 1 things: git.example.org hangs" in found[0]["sentence"]
    (data / "notify.toml").write_text("[[forge]]")
    [found] = [each for each in json.loads(type_("doctor", "--json").out) if each["name"] == "notify"]
    assert (found["health"], "`kind` is missing" in found["sentence"]) == ("broken", True)
    shown = type_("notify", "list").out
    assert "ours" in shown
    assert "git.example.org hangs" in shown


def test_status_shows_who_cannot_be_told_and_what_to_type(type_: Type, counter: Counter) -> None:
    assert json.loads(type_("status", "--json").out)["outbox"] is None, "it is the folder of no dispatcher"
    store = open_store(counter.data, now=NOW)
    store.commit(new(notes=(make_note(),)))
    counter.desk.live.cluster = store.cluster.id
    store.close()
    assert json.loads(type_("status", "--json").out)["outbox"] == []
    outbox = Outbox(counter.data)
    for name, problem in (("gitea", ""), ("ours", "git.example.org answers 401")):
        outbox.begin(name, position=0, at=0)
        outbox.read_on(name, [Draft(subject="a", slot="a", body="{}", made_at=NOW)], position=1, at=NOW, now=NOW)
        queue = outbox.queue(name)
        [parcel] = queue.waiting.values()
        fate = Fate.UNAVAILABLE if problem else Fate.DELIVERED
        after, left = settled(queue, parcel, Outcome(fate=fate, reason=problem), NOW)
        outbox.settle(name, parcel, left, after, told=not problem, now=NOW)
    outbox.close()
    shown = type_("status").out
    assert re.search(r"^telling +gitea \(ok\)$", shown, re.MULTILINE)
    sentence = r"ours, 1 wait since \d+ d; git.example.org answers 401; `surveil notify list` says more"
    assert re.search(rf"^telling +{sentence}$", shown, re.MULTILINE)
    assert [each["name"] for each in json.loads(type_("status", "--json").out)["outbox"]] == ["gitea", "ours"]
    counter.desk.live.cluster = "another"
    assert json.loads(type_("status", "--json").out)["outbox"] is None


def test_what_cannot_tell_anybody_says_what_to_write(type_: Type, home: Path) -> None:
    ended = type_("notify")
    assert ended.code == 3
    assert str(home / "data" / "notify.toml") in ended.err
    elsewhere = type_("notify", "list")
    assert elsewhere.code == 3
    assert "--data" in elsewhere.err


def built(data: Path) -> None:
    """A build that broke what was well."""
    store = open_store(data, now=NOW)
    for number, state in ((1, Status.PASSED), (2, Status.FAILED), (3, Status.CANCELLED)):
        build = make_build(number, state=state, reason="", message="Change it", finished_at=NOW + number)
        store.commit(new(build, make_job(number, state=state)))
    store.close()


def test_a_preview_shows_what_people_would_read(type_: Type, home: Path) -> None:
    built(home / "data")
    shown = type_("notify", "preview", "2", "--public-url", "https://ci.example.org")
    assert shown.code == 0
    assert shown.out.startswith(
        "Broken: main of repo: failed (build 2)\nhttps://ci.example.org/builds/2\n\nBuild 2 of "
    )
    assert "<a href" in type_("notify", "preview", "2", "--html", "--public-url", "https://ci.example.org").out
    document = json.loads(type_("notify", "preview", "2", "--json").out)
    assert (document["event"], document["build"], document["after"], document["url"]) == ("broken", 2, 1, None)
    assert type_("notify", "preview", "1", "--event", "fixed").out.startswith("Fixed: main of repo (build 1)\n")
    for number, said in (("3", "Build 3 is no news"), ("4", "There is no build 4")):
        ended = type_("notify", "preview", number)
        assert (ended.code, ended.out) == (6, "")
        assert said in ended.err
    assert type_("notify", "preview", "2", "--data", str(home / "elsewhere")).code == 3


def test_a_channel_of_apprise_can_be_tried_as_well(type_: Type, home: Path) -> None:
    built(home / "data")
    service = played.PlayedForge()
    (home / "data" / "notify.toml").write_text('[[apprise]]\nname = "phones"\nurl_file = "phones.url"\n')
    try:
        (home / "data" / "phones.url").write_text(service.url.replace("http://", "json://") + "/hush-hush")
        taken = type_("notify", "test", "phones")
        assert (taken.code, taken.out) == (0, "")
        assert "phones took a message.\n" in taken.err
        [told] = service.told
        assert (told.path, told.document["title"]) == ("/hush-hush", "Test: surveil can tell phones")
        service.moods = [played.Mood(status=401)] * 5
        refused = type_("notify", "test", "phones")
        assert refused.code == 7
        assert "phones took no message: Apprise says: " in refused.err
        assert "hush" not in refused.err
    finally:
        service.close()


def test_a_channel_can_be_tried(type_: Type, home: Path) -> None:
    built(home / "data")
    office = PostOffice()
    office.moods = [Mood(), Mood(answer="550 no such thing")]
    (home / "data" / "notify.toml").write_text(
        f'[[mail]]\nname = "team"\nserver = "127.0.0.1:{office.port}"\nfrom = "a@example.org"\nto = ["b@example.org"]\n'
    )
    try:
        taken = type_("notify", "test", "team")
        assert (taken.code, taken.out, taken.err) == (0, "", "team took a message.\n")
        assert office.letters[0].message["Subject"] == "Test: surveil can tell team"
        refused = type_("notify", "test", "team")
        assert refused.code == 7
        assert "team took no message: 127.0.0.1:" in refused.err
        assert "answers 550: no such thing" in refused.err
    finally:
        office.close()
    unknown = type_("notify", "test", "taem")
    assert unknown.code == 6
    assert "did you mean `team`?" in unknown.err
