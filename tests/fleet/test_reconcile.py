"""What is decided about a fleet, from what is wanted and what is there."""

from surveil.fleet.reconcile import (
    BACK_OFF_MS_MAX,
    HEALTHY_MS,
    Member,
    Phase,
    Plan,
    back_off_ms,
    ended,
    reconcile,
    start_at,
)


def member(name: str, phase: Phase, since: int = 0, failures: int = 0, *, given_up: bool = False) -> Member:
    return Member(name=name, phase=phase, since=since, failures=failures, given_up=given_up)


def plan(
    *,
    start: tuple[str, ...] = (),
    stop: tuple[str, ...] = (),
    forget: tuple[str, ...] = (),
    wake_at: int | None = None,
) -> Plan:
    return Plan(start=start, stop=stop, forget=forget, wake_at=wake_at)


def test_what_is_wanted_and_absent_is_started_in_order() -> None:
    assert reconcile(["b", "a"], {}, 5) == plan(start=("b", "a"))


def test_what_runs_starts_or_stops_is_left_alone() -> None:
    present = {phase.value: member(phase.value, phase) for phase in (Phase.STARTING, Phase.RUNNING, Phase.STOPPING)}
    assert reconcile(list(present), present, 5) == plan()


def test_what_is_not_wanted_is_stopped_once_and_then_forgotten() -> None:
    assert reconcile([], {"a": member("a", Phase.RUNNING)}, 5) == plan(stop=("a",))
    assert reconcile([], {"a": member("a", Phase.STARTING)}, 5) == plan(stop=("a",))
    assert reconcile([], {"a": member("a", Phase.STOPPING)}, 5) == plan()
    assert reconcile([], {"a": member("a", Phase.ENDED)}, 5) == plan(forget=("a",))


def test_the_dead_wait_for_their_back_off_and_not_a_moment_longer() -> None:
    present = {"a": member("a", Phase.ENDED, since=1000, failures=1), "b": member("b", Phase.ENDED, 1000, 2)}
    assert reconcile(["a", "b"], present, 1199) == plan(wake_at=1200)
    assert reconcile(["a", "b"], present, 1200) == plan(start=("a",), wake_at=1400)
    assert reconcile(["a", "b"], present, 1400) == plan(start=("a", "b"))


def test_what_was_given_up_stays_down() -> None:
    present = {"a": member("a", Phase.ENDED, given_up=True)}
    assert reconcile(["a"], present, 10**9) == plan()


def test_the_back_off_doubles_from_a_fifth_of_a_second_to_half_a_minute() -> None:
    waits = [back_off_ms(failures) for failures in range(12)]
    assert waits == [0, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000, 30_000]
    assert back_off_ms(10**6) == BACK_OFF_MS_MAX


def test_a_minute_of_health_is_a_new_beginning() -> None:
    sick = member("a", Phase.RUNNING, since=0, failures=7)
    assert ended(sick, HEALTHY_MS - 1) == member("a", Phase.ENDED, HEALTHY_MS - 1, 8)
    assert ended(sick, HEALTHY_MS) == member("a", Phase.ENDED, HEALTHY_MS, 1)
    assert start_at(ended(sick, HEALTHY_MS)) == HEALTHY_MS + 200


def test_waiting_long_to_start_is_no_health() -> None:
    slow = member("a", Phase.STARTING, since=0, failures=3)
    assert ended(slow, 10 * HEALTHY_MS).failures == 4
