"""What only the dispatcher's memory knows, as far as answers need it.

What belongs here: one record that the dispatcher fills in and keeps current. What does not: anything that is on disk,
which is read from the store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from surveil.core.model import Note, Runner
from surveil.core.policy import Policy
from surveil.core.state import Session, State
from surveil.protocol import WatchedRepo


@dataclass(slots=True, kw_only=True)
class Live:
    """The dispatcher's memory. Answers only read it, on the dispatcher's own thread.

    `now` is the dispatcher's clock in milliseconds since 1970; `watching` maps an observer's name to what it said
    last; `troubles` are those of the ports: a name, how often, and the last one's address; `offenders` are the so many
    peers that did most of what they should not: role, name, and how often what.
    """

    cluster: str
    epoch: int
    started_at: int
    state: State
    now: Callable[[], int]
    log_wait_ms: int = Policy().log_wait_ms
    """How long the rest of a log is waited for."""
    is_revoked: Callable[[str], bool] = lambda _: False
    """Whether a runner's key was revoked, so that nothing more of its logs will come."""
    watching: dict[str, tuple[WatchedRepo, ...]] = field(default_factory=dict)
    schedules: Callable[[], Sequence[tuple[str, str, str, int | None]]] = tuple
    """What is built by the clock: repository, expression, time zone, and the next time."""
    troubles: Callable[[], Sequence[tuple[str, int, str | None]]] = tuple
    offenders: Callable[[int], Sequence[tuple[str, str, Mapping[str, int]]]] = lambda _most: ()
    put_aside: Callable[[], Sequence[str]] = tuple
    """Files of the data folder that were damaged and got another name."""

    def is_watched(self, repo: str) -> bool:
        """Whether an observer said that it looks at this repository."""
        return any(watched.repo == repo for repos in self.watching.values() for watched in repos)

    def runner(self, stored: Runner) -> tuple[Runner, Session | None, int]:
        """A runner as memory knows it (the mind forgets those that were away for long), its session, and how many
        slots it has busy.
        """
        runner = self.state.runners.get(stored.id, stored)
        return runner, self.state.sessions.get(stored.id), len(self.state.held_by.get(stored.id, ()))

    def name_of(self, note: Note) -> str | None:
        """The name of the runner that a line of the journal is about; its id is the runner's key."""
        runner = self.state.runners.get(note.id) if note.what == "runner" else None
        return None if runner is None else runner.name
