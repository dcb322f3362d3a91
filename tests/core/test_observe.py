"""The observer's mind: what it reports, repeats, forgets and remembers."""

import random
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

import pytest

from surveil.core.observe import (
    FAILED_POLL_MAX_MS,
    REASONS_MAX,
    REPEAT_MAX_MS,
    REPEAT_MS,
    WINDOW,
    handle,
    next_deadline,
    record,
)
from surveil.core.observe_model import (
    HINTED_MS,
    STIRRED_MS,
    Acknowledged,
    Change,
    Connected,
    Deleted,
    Disconnected,
    Effect,
    Event,
    Failing,
    Observed,
    Poll,
    PollFailed,
    Record,
    Recovered,
    Remember,
    Report,
    ReportFailed,
    State,
    Stirred,
    Tick,
    Unchanged,
)
from surveil.core.patterns import read_patterns
from surveil.core.trust import read_trust

REPO = "/srv/a"
MAIN = "refs/heads/main"
INTERVAL_MS = 2_000


def sha(name: str) -> str:
    return (name.encode().hex() + "0" * 40)[:40]


def report(ref: str, new: str, old: str | None = None, repo: str = REPO) -> Report:
    return Report(
        mid=f"push:{repo}:{ref}:{sha(new)}",
        repo=repo,
        ref=ref,
        sha=sha(new),
        old_sha=None if old is None else sha(old),
        change=Change.NEW if old is None else Change.MOVED,
    )


class Watcher:
    """One mind under a clock of its own, that looks at refs when it is told to."""

    def __init__(self, *patterns: str, known: Record | None = None, connected: bool = True, repo: str = REPO) -> None:
        self.now = 1_000_000
        self.repo = repo
        self.state = State()
        self.state.watch(repo, read_patterns(patterns), INTERVAL_MS, known, self.now)
        if connected:
            assert self.do(Connected()) == []

    def do(self, event: Event, after_ms: int = 0) -> list[Effect]:
        """What comes of it, but for the base of reports, which has tests of its own."""
        self.now += after_ms
        effects = handle(self.state, event, self.now)
        return [replace(effect, base="") if isinstance(effect, Report) else effect for effect in effects]

    def look(self, head: str | None = MAIN, **refs: str) -> list[Effect]:
        """A poll in its turn that finds these branches."""
        return self.find(head, {f"refs/heads/{name.replace('__', '/')}": sha(value) for name, value in refs.items()})

    def find(self, head: str | None, refs: Mapping[str, str]) -> list[Effect]:
        self.now = max(self.now, self.state.repos[self.repo].poll_at)
        polls = [effect for effect in self.do(Tick()) if isinstance(effect, Poll)]
        assert polls == [Poll(repo=self.repo)]
        return self.do(Observed(repo=self.repo, head=head, refs=refs))

    def acknowledge(self, *names: str, ref: str = MAIN) -> list[Effect]:
        return [effect for name in names for effect in self.do(Acknowledged(mid=report(ref, name, repo=self.repo).mid))]

    def unacknowledged(self) -> tuple[str, ...]:
        """The reports under way, oldest first."""
        sent = self.state.repos[self.repo].sent
        return tuple(sorted(sent, key=lambda mid: sent[mid].number))

    def remembered(self) -> dict[str, str]:
        known = record(self.state, self.repo)
        assert known is not None
        return dict(known.refs)


REMEMBER = Remember(repo=REPO)


def test_at_first_sight_only_the_branch_of_head_is_reported() -> None:
    watcher = Watcher()
    assert watcher.look(main="a", side="b", other="c") == [REMEMBER, report(MAIN, "a")]
    assert watcher.remembered() == {"refs/heads/side": sha("b"), "refs/heads/other": sha("c")}


def test_what_was_acknowledged_is_remembered_and_not_said_again() -> None:
    watcher = Watcher()
    watcher.look(main="a")
    assert watcher.acknowledge("a") == [REMEMBER]
    assert watcher.remembered() == {MAIN: sha("a")}
    assert watcher.look(main="a") == []
    assert watcher.do(Tick(), REPEAT_MAX_MS * 2) == [Poll(repo=REPO)]


def test_a_new_ref_and_a_moved_one_are_reported_in_order_of_their_names() -> None:
    watcher = Watcher()
    watcher.look(main="a", side="s")
    watcher.acknowledge("a")
    assert watcher.look(main="b", side="s", beta="x", alpha="y") == [
        report("refs/heads/alpha", "y"),
        report("refs/heads/beta", "x"),
        report(MAIN, "b", old="a"),
    ]


def test_a_branch_that_was_there_before_us_is_reported_when_it_moves() -> None:
    watcher = Watcher()
    watcher.look(main="a", side="s")
    assert watcher.look(main="a", side="t") == [report("refs/heads/side", "t", old="s")]


def test_a_report_is_repeated_ever_more_seldom_until_it_is_acknowledged() -> None:
    watcher = Watcher()
    watcher.look(main="a")
    waits, last = [], watcher.now
    for _ in range(8):
        while True:
            deadline = next_deadline(watcher.state)
            assert deadline is not None
            watcher.now = max(watcher.now, deadline)
            effects = watcher.do(Tick())
            if Poll(repo=REPO) in effects:
                watcher.do(Unchanged(repo=REPO))
            if report(MAIN, "a") in effects:
                break
        waits.append(watcher.now - last)
        last = watcher.now
    assert REPEAT_MS <= waits[0] <= REPEAT_MS * 5 // 4
    assert all(earlier < later for earlier, later in pairwise(waits[:5]))
    assert all(REPEAT_MAX_MS <= wait <= REPEAT_MAX_MS * 5 // 4 for wait in waits[5:])
    watcher.acknowledge("a")
    assert watcher.do(Tick(), REPEAT_MAX_MS * 2) == [Poll(repo=REPO)]


def test_a_new_connection_repeats_everything_unacknowledged_in_order() -> None:
    watcher = Watcher()
    watcher.look(main="a", side="s")
    watcher.acknowledge("a")
    watcher.look(main="b", side="t")
    watcher.look(main="c", side="t")
    watcher.do(Disconnected())
    assert watcher.do(Connected()) == [
        report(MAIN, "b", old="a"),
        report("refs/heads/side", "t", old="s"),
        report(MAIN, "c", old="b"),
    ]


def test_while_nobody_listens_only_the_newest_commit_is_kept() -> None:
    watcher = Watcher(connected=False)
    assert watcher.look(main="a") == [REMEMBER]
    assert watcher.look(main="b") == []
    assert watcher.look(main="c") == []
    assert watcher.do(Connected()) == [report(MAIN, "c")]


def test_a_reported_commit_is_not_lost_when_its_ref_moves_on() -> None:
    watcher = Watcher()
    watcher.look(main="a")
    assert watcher.look(main="b") == [report(MAIN, "b", old="a")]
    assert watcher.unacknowledged() == (report(MAIN, "a").mid, report(MAIN, "b").mid)
    assert watcher.acknowledge("b") == [REMEMBER]
    assert watcher.remembered() == {MAIN: sha("b")}
    assert watcher.unacknowledged() == (report(MAIN, "a").mid,)
    assert watcher.acknowledge("a") == []
    assert watcher.remembered() == {MAIN: sha("b")}
    assert watcher.look(main="b") == []


def test_an_acknowledgement_for_nobody_changes_nothing() -> None:
    watcher = Watcher()
    watcher.look(main="a")
    watcher.acknowledge("a")
    assert watcher.acknowledge("a", "never") == []
    assert watcher.do(Acknowledged(mid="manual:1234")) == []
    assert watcher.do(Acknowledged(mid="")) == []


def test_an_acknowledgement_finds_a_repository_whose_address_holds_colons() -> None:
    repo = "ssh://git@example.org:2222/a:b"
    watcher = Watcher(repo=repo)
    assert report(MAIN, "a", repo=repo) in watcher.look(main="a")
    assert watcher.acknowledge("a") == [Remember(repo=repo)]


def test_a_deleted_ref_is_forgotten_and_reported_when_it_comes_back() -> None:
    watcher = Watcher()
    watcher.look(main="a", side="s")
    assert watcher.look(main="a") == [Deleted(repo=REPO, ref="refs/heads/side", sha=sha("s")), REMEMBER]
    assert watcher.look(main="a", side="s") == [report("refs/heads/side", "s")]


def test_a_repository_that_suddenly_lists_nothing_is_not_believed() -> None:
    watcher = Watcher()
    watcher.look(main="a", side="s")
    watcher.acknowledge("a")
    (failing,) = watcher.look(head=None)
    assert isinstance(failing, Failing)
    assert watcher.remembered() == {MAIN: sha("a"), "refs/heads/side": sha("s")}
    assert watcher.look(main="a", side="t") == [Recovered(repo=REPO), report("refs/heads/side", "t", old="s")]


def test_a_ref_deleted_before_its_acknowledgement_is_repeated_but_not_remembered() -> None:
    watcher = Watcher()
    watcher.look(main="a", side="s")
    watcher.acknowledge("a")
    watcher.look(main="a", side="t")
    watcher.look(main="a")
    watcher.do(Disconnected())
    assert watcher.do(Connected()) == [report("refs/heads/side", "t", old="s")]
    assert watcher.acknowledge("t", ref="refs/heads/side") == []
    assert watcher.remembered() == {MAIN: sha("a")}


def test_a_ref_that_goes_to_and_fro_ends_where_it_is() -> None:
    watcher = Watcher()
    watcher.look(main="a")
    watcher.acknowledge("a")
    assert watcher.look(main="b") == [report(MAIN, "b", old="a")]
    assert watcher.look(main="a") == [report(MAIN, "a", old="b")]
    watcher.acknowledge("a", "b")
    assert watcher.remembered() == {MAIN: sha("a")}
    assert watcher.look(main="a") == []


def test_an_empty_repository_reports_its_first_commit() -> None:
    watcher = Watcher()
    assert watcher.look() == [REMEMBER]
    assert watcher.look(main="a", side="s") == [REMEMBER, report(MAIN, "a"), report("refs/heads/side", "s")]


def test_a_head_that_named_nothing_at_first_sight_is_owed_a_report() -> None:
    watcher = Watcher()
    assert watcher.look(head="refs/heads/master", main="a", side="s") == [REMEMBER]
    assert watcher.look(head=MAIN, main="a", side="s") == [REMEMBER, report(MAIN, "a")]


def test_a_detached_head_at_first_sight_is_owed_a_report_even_after_a_restart() -> None:
    before = Watcher()
    assert before.look(head=None, main="a") == [REMEMBER]
    after = Watcher(known=record(before.state, REPO))
    assert after.look(head=MAIN, main="a") == [REMEMBER, report(MAIN, "a")]


def test_switching_branches_is_no_news() -> None:
    watcher = Watcher()
    watcher.look(main="a", side="s")
    watcher.acknowledge("a")
    assert watcher.look(head="refs/heads/side", main="a", side="s") == []


def test_a_renamed_main_branch_is_a_new_one() -> None:
    watcher = Watcher()
    watcher.look(main="a")
    watcher.acknowledge("a")
    assert watcher.look(head="refs/heads/trunk", trunk="a") == [
        Deleted(repo=REPO, ref=MAIN, sha=sha("a")),
        REMEMBER,
        report("refs/heads/trunk", "a"),
    ]


def test_the_pattern_head_follows_head() -> None:
    watcher = Watcher("HEAD")
    assert watcher.look(main="a", trunk="t") == [REMEMBER, report(MAIN, "a")]
    watcher.acknowledge("a")
    assert watcher.look(head="refs/heads/trunk", main="b", trunk="t") == [
        Deleted(repo=REPO, ref=MAIN, sha=sha("a")),
        REMEMBER,
        report("refs/heads/trunk", "t"),
    ]


def test_tags_are_reported_where_patterns_choose_them() -> None:
    watcher = Watcher("main", "tags/v*")
    refs = {MAIN: sha("a"), "refs/tags/v1": sha("1"), "refs/tags/other": sha("2")}
    assert watcher.find(MAIN, refs) == [REMEMBER, report(MAIN, "a")]
    assert watcher.find(MAIN, refs | {"refs/tags/v2": sha("3"), "refs/tags/more": sha("4")}) == [
        report("refs/tags/v2", "3")
    ]


@pytest.mark.parametrize(
    ("ref", "more", "trusted"),
    [
        (MAIN, (), True),
        ("refs/tags/v1", (), True),
        ("refs/pull/5/head", (), False),
        ("refs/merge-requests/5/head", (), False),
        ("refs/anything/else", (), False),
        ("refs/pull/5/head", ("refs/pull/*",), True),
        ("refs/heads/bot/x", ("!bot/*",), False),
    ],
)
def test_a_report_says_whether_strangers_write_its_ref_and_where_head_is(
    ref: str, more: tuple[str, ...], *, trusted: bool
) -> None:
    state = State(read_trust(more))
    state.watch(REPO, read_patterns(("refs/*",)), INTERVAL_MS, None, 0)
    for event in (Connected(), Tick()):
        handle(state, event, 0)
    head = sha("h")
    handle(state, Observed(repo=REPO, head=MAIN, head_sha=head, refs={MAIN: head}), 0)
    handle(state, Tick(), INTERVAL_MS)
    moved = {MAIN: head} | {ref: sha("x")}
    found = [
        effect
        for effect in handle(state, Observed(repo=REPO, head=MAIN, head_sha=head, refs=moved), INTERVAL_MS)
        if isinstance(effect, Report)
    ]
    assert [(said.ref, said.trusted, said.base, said.base_sha) for said in found] == [(ref, trusted, MAIN, head)]


def test_refs_that_only_new_patterns_choose_are_no_news() -> None:
    before = Watcher("main")
    refs = {MAIN: sha("a"), "refs/tags/v1": sha("1")}
    before.find(MAIN, refs)
    before.acknowledge("a")
    after = Watcher("main", "tags/*", known=record(before.state, REPO))
    assert after.find(MAIN, refs) == [REMEMBER]
    assert after.find(MAIN, refs | {"refs/tags/v2": sha("2")}) == [report("refs/tags/v2", "2")]


def test_after_a_restart_what_moved_meanwhile_and_what_was_not_acknowledged_is_reported() -> None:
    before = Watcher()
    before.look(main="a", side="s")
    after = Watcher(known=record(before.state, REPO))
    assert after.look(main="a", side="t", new="n") == [
        report(MAIN, "a"),
        report("refs/heads/new", "n"),
        report("refs/heads/side", "t", old="s"),
    ]


def test_ten_thousand_new_refs_are_reported_a_window_at_a_time() -> None:
    watcher = Watcher()
    watcher.look(main="a")
    watcher.acknowledge("a")
    many = {f"refs/heads/many/{number:05}": sha(str(number)) for number in range(10_000)}
    waiting = [effect for effect in watcher.find(MAIN, {MAIN: sha("a")} | many) if isinstance(effect, Report)]
    assert len(waiting) == WINDOW
    said = []
    while waiting:
        said.append(waiting.pop(0))
        assert len(waiting) < WINDOW
        effects = watcher.do(Acknowledged(mid=said[-1].mid))
        waiting += [effect for effect in effects if isinstance(effect, Report)]
    assert [effect.ref for effect in said] == sorted(many)
    assert watcher.remembered() == {MAIN: sha("a")} | many


def test_a_failing_repository_is_asked_ever_more_seldom_and_said_once() -> None:
    watcher = Watcher()
    said: list[Effect] = []
    waits = []
    for _ in range(12):
        deadline = next_deadline(watcher.state)
        assert deadline is not None
        waits.append(deadline - watcher.now)
        watcher.now = deadline
        assert watcher.do(Tick()) == [Poll(repo=REPO)]
        said += watcher.do(PollFailed(repo=REPO, reason="Gone."), 10)
    assert said == [Failing(repo=REPO, reason="Gone.", retry_ms=2 * INTERVAL_MS)]
    assert all(earlier < later for earlier, later in pairwise(waits[:7]))
    assert FAILED_POLL_MAX_MS * 9 // 10 <= waits[-1] <= FAILED_POLL_MAX_MS
    assert watcher.look(main="a") == [Recovered(repo=REPO), REMEMBER, report(MAIN, "a")]
    assert watcher.state.repos[REPO].poll_at - watcher.now <= INTERVAL_MS


def test_each_reason_is_said_once_and_a_remote_of_ever_new_words_is_not_said_for_ever() -> None:
    watcher = Watcher()
    watcher.look(main="a")
    said: list[Effect] = []
    for number in (1, 2, 1, 2, *range(3, 20)):
        watcher.now = max(watcher.now, watcher.state.repos[REPO].poll_at)
        watcher.do(Tick())
        said += watcher.do(PollFailed(repo=REPO, reason=f"Reason {number}."))
    reasons = [effect.reason for effect in said if isinstance(effect, Failing)]
    assert reasons == [f"Reason {number}." for number in range(1, REASONS_MAX + 1)]
    assert watcher.look(main="a") == [Recovered(repo=REPO)]
    watcher.now = watcher.state.repos[REPO].poll_at
    watcher.do(Tick())
    (again,) = watcher.do(PollFailed(repo=REPO, reason="Reason 1."))
    assert isinstance(again, Failing)


def test_one_failing_repository_does_not_delay_another() -> None:
    watcher = Watcher()
    watcher.state.watch("/srv/b", read_patterns(()), INTERVAL_MS, None, watcher.now)
    assert watcher.do(Tick()) == [Poll(repo=REPO), Poll(repo="/srv/b")]
    watcher.do(PollFailed(repo=REPO, reason="Gone."))
    watcher.do(Observed(repo="/srv/b", head=MAIN, refs={}))
    assert watcher.do(Tick(), INTERVAL_MS) == [Poll(repo="/srv/b")]


def test_many_repositories_do_not_stay_in_step() -> None:
    watcher = Watcher()
    repos = [REPO, *(f"/srv/more/{number}" for number in range(50))]
    for repo in repos[1:]:
        watcher.state.watch(repo, read_patterns(()), INTERVAL_MS, None, watcher.now)
    assert watcher.do(Tick()) == [Poll(repo=repo) for repo in sorted(repos)]
    for repo in repos:
        watcher.do(Unchanged(repo=repo))
    waits = [watcher.state.repos[repo].poll_at - watcher.now for repo in repos]
    assert len(set(waits)) > len(repos) // 2
    assert all(INTERVAL_MS * 9 // 10 <= wait <= INTERVAL_MS for wait in waits)


def test_a_poll_under_way_is_not_doubled() -> None:
    watcher = Watcher()
    assert watcher.do(Tick()) == [Poll(repo=REPO)]
    assert watcher.do(Tick(), 10 * INTERVAL_MS) == []
    assert watcher.do(Stirred(repo=REPO)) == []
    assert next_deadline(watcher.state) is None


def test_a_stir_of_files_polls_at_once_but_a_storm_does_not() -> None:
    watcher = Watcher()
    watcher.look(main="a")
    assert watcher.do(Stirred(repo=REPO), 500) == [Poll(repo=REPO)]
    assert watcher.do(Stirred(repo=REPO)) == []
    watcher.do(Unchanged(repo=REPO))
    assert watcher.do(Stirred(repo=REPO)) == []
    deadline = next_deadline(watcher.state)
    assert deadline == watcher.now + STIRRED_MS
    assert watcher.do(Tick(), STIRRED_MS) == [Poll(repo=REPO)]


def test_a_stir_during_a_poll_is_followed_by_another_poll() -> None:
    watcher = Watcher()
    watcher.look(main="a")
    watcher.do(Stirred(repo=REPO), 500)
    watcher.do(Stirred(repo=REPO), 100)
    watcher.do(Unchanged(repo=REPO))
    assert watcher.do(Tick()) == [Poll(repo=REPO)]


def test_a_hint_from_outside_polls_at_once_but_many_hints_poll_once_a_second() -> None:
    watcher = Watcher()
    watcher.look(main="a")
    hint = Stirred(repo=REPO, gap_ms=HINTED_MS)
    assert watcher.do(hint, HINTED_MS) == [Poll(repo=REPO)]
    assert watcher.do(hint, 100) == []
    assert watcher.do(Unchanged(repo=REPO)) == []
    assert [watcher.do(hint, 100) for _ in range(8)] == [[]] * 8
    assert watcher.do(Tick(), HINTED_MS - 901) == []
    assert watcher.do(Tick(), 1) == [Poll(repo=REPO)]


def test_files_that_moved_do_not_wait_for_the_gap_of_a_hint() -> None:
    watcher = Watcher()
    watcher.look(main="a")
    watcher.do(Stirred(repo=REPO), 500)
    watcher.do(Stirred(repo=REPO, gap_ms=HINTED_MS))
    watcher.do(Stirred(repo=REPO))
    watcher.do(Stirred(repo=REPO, gap_ms=HINTED_MS))
    watcher.do(Unchanged(repo=REPO))
    assert next_deadline(watcher.state) == watcher.now + STIRRED_MS


def test_a_hint_about_a_repository_that_cannot_be_read_does_not_hurry_it() -> None:
    watcher = Watcher()
    watcher.do(Tick())
    watcher.do(PollFailed(repo=REPO, reason="It is gone."))
    assert watcher.do(Stirred(repo=REPO, gap_ms=HINTED_MS), HINTED_MS) == []
    assert watcher.do(Tick(), INTERVAL_MS - HINTED_MS) == [Poll(repo=REPO)]


def test_a_commit_that_could_not_be_read_is_tried_again_while_its_ref_is_there() -> None:
    watcher = Watcher()
    watcher.look(main="a")
    assert watcher.do(ReportFailed(mid=report(MAIN, "a").mid)) == []
    deadline = next_deadline(watcher.state)
    assert deadline is not None
    assert report(MAIN, "a") in watcher.do(Tick(), REPEAT_MS * 2)


def test_a_commit_that_was_forced_away_before_it_could_be_read_is_dropped() -> None:
    watcher = Watcher()
    watcher.look(main="a")
    assert watcher.look(main="b") == [report(MAIN, "b", old="a")]
    watcher.do(ReportFailed(mid=report(MAIN, "a").mid))
    assert watcher.unacknowledged() == (report(MAIN, "b").mid,)
    assert watcher.do(ReportFailed(mid="push:unheard:of")) == []


def test_the_same_events_give_the_same_effects() -> None:
    def play() -> list[list[Effect]]:
        watcher = Watcher()
        found = [watcher.look(main="a", b="b", c="c"), watcher.look(main="d", b="e", f="f")]
        return [*found, watcher.do(Tick(), 3_000), watcher.do(Tick(), 9_000)]

    assert play() == play()


@pytest.mark.parametrize("seed", range(60))
def test_whatever_is_lost_and_whenever_it_crashes_the_dispatcher_learns_of_every_resting_place(seed: int) -> None:
    """Refs move while messages and acknowledgements are lost and the observer crashes; then all is quiet.

    At the end the dispatcher has heard of the commit at which each ref rests, and the observer has nothing left to say.
    """
    dice = random.Random(seed)
    names = ["main", "b", "c/d", "e"]
    refs = {"main": "0", "b": "1"}
    heard: set[str] = set()
    watcher = Watcher()
    disk: Record | None = None
    baseline = {"refs/heads/b": sha("1")}
    under_way: list[str] = []
    polling = False
    for step in range(400):
        calm = step > 300
        now = watcher.now + dice.choice([1, 50, 500, 3_000])
        event: Event = Tick()
        roll = dice.random()
        if roll < 0.3 and not calm and step > 10:
            name = dice.choice(names)
            refs[name] = f"{step}"
            if name != "main" and dice.random() < 0.3:
                del refs[name]
        elif roll < 0.4:
            happening: list[Event] = [Connected(), Disconnected(), Stirred(repo=REPO)]
            event = happening[0] if calm else dice.choice(happening)
        elif roll < 0.7 and under_way:
            mid = under_way.pop(dice.randrange(len(under_way)))
            if calm or dice.random() < 0.6:
                heard.add(mid)
                if calm or dice.random() < 0.6:
                    event = Acknowledged(mid=mid)
        elif roll < 0.73 and not calm:
            watcher = Watcher(known=disk, connected=False)
            polling = False
            under_way = []
        if polling and isinstance(event, Tick):
            polling = False
            found = {f"refs/heads/{name}": sha(value) for name, value in refs.items()}
            event = Observed(repo=REPO, head=MAIN, refs=found)
        watcher.now = max(watcher.now, now)
        for effect in watcher.do(event):
            match effect:
                case Poll():
                    polling = True
                case Report():
                    under_way.append(effect.mid)
                case Remember() if calm or dice.random() < 0.7:
                    disk = record(watcher.state, REPO)
                case _:
                    pass
    for name, value in refs.items():
        ref = f"refs/heads/{name}"
        assert f"push:{REPO}:{ref}:{sha(value)}" in heard or baseline.get(ref) == sha(value)
    assert watcher.unacknowledged() == ()
