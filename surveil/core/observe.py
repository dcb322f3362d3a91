"""The observer's mind: which refs moved since what was acknowledged, what to report, and what to repeat.

What belongs here: decisions about refs and polls, for every repository that one observer watches. What does not: how
refs are read, what a commit holds, sockets and files (the hands, `surveil.observer`).

A ref's *last word* is the newest commit that was reported for it, or else the one acknowledged. What is observed
is compared with that. A report is repeated until it is acknowledged, whatever the ref does meanwhile; what moves on
before it could be reported is coalesced: only the newest is said. Only what was acknowledged is worth remembering,
so a crash at any point leads to a report too many and never to one too few.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Final, assert_never
from zlib import crc32

from surveil.core.observe_model import (
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
    Repo,
    Report,
    ReportFailed,
    Sent,
    State,
    Stirred,
    Tick,
    Unchanged,
)

WINDOW: Final = 64
"""Reports of one repository under way at once; the next leaves when one is acknowledged."""
REPEAT_MS: Final = 2_000
REPEAT_MAX_MS: Final = 60_000
FAILED_POLL_MAX_MS: Final = 300_000
"""A repository that cannot be read is asked ever more seldom, but at least this often."""
REASONS_MAX: Final = 4
"""So many reasons are said while a repository cannot be read, each once: servers have many words for one trouble."""


def next_deadline(state: State) -> int | None:
    """When `handle` wants a Tick at the latest; None if only the world can bring news."""
    return state.next_deadline()


def record(state: State, repo: str) -> Record | None:
    """What is to be written down for this repository; None before its first sight."""
    known = state.repos[repo]
    if known.acknowledged is None:
        return None
    return Record(repo=repo, patterns=known.known_under.texts, head_owed=known.head_owed, refs=dict(known.acknowledged))


def is_under_way(state: State, mid: str) -> bool:
    """Whether this report waits for its acknowledgement."""
    return _find(state, mid) is not None


def handle(state: State, event: Event, now: int) -> list[Effect]:
    """Take in one event; returns what is to be done. `now` is in milliseconds and never runs back."""
    match event:
        case Observed():
            effects = _observed(state, state.repos[event.repo], event, now)
        case Unchanged():
            effects = _poll_ended(state.repos[event.repo], now)
        case PollFailed():
            effects = _poll_failed(state.repos[event.repo], event.reason, now)
        case Stirred():
            effects = _stirred(state, state.repos[event.repo], event.gap_ms, now)
        case Acknowledged():
            return _acknowledged(state, event.mid, now)
        case ReportFailed():
            return _report_failed(state, event.mid, now)
        case Connected() | Disconnected():
            state.connected = isinstance(event, Connected)
            return _everywhere(state, now)
        case Tick():
            return [effect for repo in state.take_due(now) for effect in _due(state, repo, now)]
        case _:
            assert_never(event)
    state.schedule(state.repos[event.repo])
    return effects


# ---- polls ----


def _due(state: State, repo: Repo, now: int) -> list[Effect]:
    effects: list[Effect] = []
    if not repo.polling and repo.poll_at <= now:
        repo.polling, repo.stirred_ms, repo.polled_at = True, None, now
        effects.append(Poll(repo=repo.repo))
    if state.connected:
        effects += _repeat(state, repo, now)
    state.schedule(repo)
    return effects


def _stirred(state: State, repo: Repo, gap_ms: int, now: int) -> list[Effect]:
    repo.stirred_ms = gap_ms if repo.stirred_ms is None else min(repo.stirred_ms, gap_ms)
    if repo.polling:
        return []
    # A repository that fails keeps its turn, however much moves there; only its back-off ends.
    wait_ms = repo.interval_ms if repo.failures else gap_ms
    repo.poll_at = min(repo.poll_at, max(now, repo.polled_at + wait_ms))
    return _due(state, repo, now) if repo.poll_at <= now else []


def _poll_ended(repo: Repo, now: int) -> list[Effect]:
    """A poll found the repository well: the next one comes in its turn, or at once if files moved meanwhile."""
    repo.polling = False
    repo.polls += 1
    repo.poll_at = now + _scatter(repo, repo.interval_ms)
    if repo.stirred_ms is not None:
        repo.poll_at = min(repo.poll_at, max(now, repo.polled_at + repo.stirred_ms))
    if not repo.failures:
        return []
    repo.failures = 0
    repo.told.clear()
    return [Recovered(repo=repo.repo)]


def _poll_failed(repo: Repo, reason: str, now: int) -> list[Effect]:
    repo.polling = False
    repo.polls += 1
    repo.failures += 1
    wait_ms = min(repo.interval_ms << min(repo.failures, 16), max(FAILED_POLL_MAX_MS, repo.interval_ms))
    repo.poll_at = now + _scatter(repo, wait_ms)
    if reason in repo.told or len(repo.told) == REASONS_MAX:
        return []
    repo.told.append(reason)
    return [Failing(repo=repo.repo, reason=reason, retry_ms=wait_ms)]


def _scatter(repo: Repo, wait_ms: int) -> int:
    """The wait, up to a tenth shorter, so that many repositories do not stay in step."""
    dice = crc32(f"{repo.repo} {repo.polls}".encode())
    return wait_ms - dice % (wait_ms // 10 + 1)


# ---- refs ----


def _observed(state: State, repo: Repo, event: Observed, now: int) -> list[Effect]:
    if not event.refs and repo.acknowledged:
        # A web server's page of excuse reads like a repository without refs; believing it would forget everything.
        sentence = (
            f"{repo.repo} lists no refs any more; was it emptied, or does another answer? "
            f"Type `git ls-remote -- {repo.repo}` to see."
        )
        return _poll_failed(repo, sentence, now)
    effects = _poll_ended(repo, now)
    seen = {ref: sha for ref, sha in event.refs.items() if repo.patterns.match(ref, event.head)}
    remember = _first_sight(repo, event, seen)
    assert repo.acknowledged is not None, f"{repo.repo} was seen and has no baseline"
    for ref in sorted(repo.acknowledged.keys() - seen.keys()):
        effects.append(Deleted(repo=repo.repo, ref=ref, sha=repo.acknowledged.pop(ref)))
        repo.numbers.pop(ref, None)
        remember = True
    repo.seen, repo.head, repo.head_sha = seen, event.head, event.head_sha
    repo.queue = deque(sorted(ref for ref, sha in seen.items() if repo.last_word(ref) != sha))
    if remember:
        effects.append(Remember(repo=repo.repo))
    return effects + _fill(state, repo, now)


def _first_sight(repo: Repo, event: Observed, seen: Mapping[str, str]) -> bool:
    """Take as known what was there before us, all but the branch that HEAD names; True if that changed anything.

    The same for refs that only new patterns chose, and for HEAD's branch if HEAD named no commit until now.
    """
    changed = False
    if repo.acknowledged is None:
        repo.acknowledged = dict(seen)
        changed = True
    if repo.known_under.texts != repo.patterns.texts:
        for ref, sha in seen.items():
            if ref not in repo.acknowledged and not repo.known_under.match(ref, event.head):
                repo.acknowledged[ref] = sha
        repo.known_under = repo.patterns
        changed = True
    if repo.head_owed and event.head in event.refs:
        repo.head_owed = False
        if event.head is not None and event.head not in repo.newest:
            repo.acknowledged.pop(event.head, None)
        changed = True
    return changed


# ---- reports ----


def _fill(state: State, repo: Repo, now: int) -> list[Effect]:
    """Report what waits, as far as the window allows."""
    effects: list[Effect] = []
    while state.connected and repo.queue and len(repo.sent) < WINDOW:
        ref = repo.queue.popleft()
        sha = repo.seen.get(ref)
        old_sha = repo.last_word(ref)
        if sha is None or sha == old_sha:
            continue
        state.reports += 1
        mid = f"push:{repo.repo}:{ref}:{sha}"
        # A ref that went to and fro says the same again; then only its place among the others changes.
        sent = repo.sent[mid] = Sent(
            mid=mid,
            ref=ref,
            sha=sha,
            old_sha=old_sha,
            change=Change.NEW if old_sha is None else Change.MOVED,
            number=state.reports,
            repeat_at=now + _repeat_ms(mid, 1),
        )
        repo.newest[ref] = mid
        effects.append(_report(state, repo, sent))
    return effects


def _repeat(state: State, repo: Repo, now: int) -> list[Effect]:
    effects: list[Effect] = []
    for sent in sorted(repo.sent.values(), key=lambda sent: sent.number):
        if sent.repeat_at <= now:
            sent.tries += 1
            sent.repeat_at = now + _repeat_ms(sent.mid, sent.tries)
            effects.append(_report(state, repo, sent))
    return effects


def _report(state: State, repo: Repo, sent: Sent) -> Report:
    return Report(
        mid=sent.mid, repo=repo.repo, ref=sent.ref, sha=sent.sha, old_sha=sent.old_sha, change=sent.change,
        trusted=state.trust.trusts(sent.ref), base=repo.head or "", base_sha=repo.head_sha or "",
    )  # fmt: skip


def _repeat_ms(mid: str, tries: int) -> int:
    wait_ms = min(REPEAT_MS << min(tries - 1, 16), REPEAT_MAX_MS)
    return wait_ms + crc32(f"{mid} {tries}".encode()) % (wait_ms // 4 + 1)


def _everywhere(state: State, now: int) -> list[Effect]:
    """The connection came or went: with it everything unacknowledged is said again."""
    effects: list[Effect] = []
    for repo in state.repos.values():
        for sent in repo.sent.values():
            sent.tries, sent.repeat_at = 0, now
        if state.connected:
            effects += _repeat(state, repo, now)
            effects += _fill(state, repo, now)
        state.schedule(repo)
    return effects


def _find(state: State, mid: str) -> tuple[Repo, Sent] | None:
    for repo in _candidates(state, mid):
        if (sent := repo.sent.get(mid)) is not None:
            return repo, sent
    return None


def _candidates(state: State, mid: str) -> Iterable[Repo]:
    """The repositories whose report this may be: an address may hold colons, and so may its neighbour's."""
    parts = mid.split(":")
    for end in range(2, len(parts)):
        if (repo := state.repos.get(":".join(parts[1:end]))) is not None:
            yield repo


def _acknowledged(state: State, mid: str, now: int) -> list[Effect]:
    found = _find(state, mid)
    if found is None:
        return []  # Said twice, or meant for an observer that was here before us.
    repo, sent = found
    effects: list[Effect] = []
    assert repo.acknowledged is not None, f"{repo.repo} reported before its first sight"
    _drop(repo, sent)
    # Acknowledgements may overtake each other: the newest report's commit stays.
    if sent.ref in repo.seen and sent.number > repo.numbers.get(sent.ref, 0):
        repo.acknowledged[sent.ref] = sent.sha
        repo.numbers[sent.ref] = sent.number
        effects.append(Remember(repo=repo.repo))
    effects += _fill(state, repo, now)
    state.schedule(repo)
    return effects


def _report_failed(state: State, mid: str, now: int) -> list[Effect]:
    """A commit that cannot be read and that its ref has left is nobody's loss; otherwise it is tried again later."""
    found = _find(state, mid)
    if found is None:
        return []
    repo, sent = found
    effects: list[Effect] = []
    if repo.seen.get(sent.ref) != sent.sha:
        _drop(repo, sent)
        effects = _fill(state, repo, now)
    state.schedule(repo)
    return effects


def _drop(repo: Repo, sent: Sent) -> None:
    del repo.sent[sent.mid]
    if repo.newest.get(sent.ref) == sent.mid:
        del repo.newest[sent.ref]
