"""Builds as pictures: which jobs stand where."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from surveil.web.pages import pictures
from surveil.web.pages.shown import against, size

NOW = datetime(2026, 11, 20, 9, 0, 30, tzinfo=UTC)


def job(name: str, *needs: str, state: str = "passed", attempts: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    return {"name": name, "needs": list(needs), "state": state, "attempts": list(attempts)}


def attempt(runner: str, start: int, end: int | None, number: int = 1) -> dict[str, Any]:
    at = "2026-11-20T09:00:{:02d}.000Z"
    return {
        "number": number, "runner": runner, "state": "passed", "assigned_at": at.format(start),
        "finished_at": None if end is None else at.format(end),
    }  # fmt: skip


def test_each_job_stands_right_of_all_that_it_needs_and_cells_are_one_node() -> None:
    found = pictures.groups([
        job("deploy", "test[a=1]", "test[a=2]", "lint"), job("test[a=1]", "build"), job("test[a=2]", "build"),
        job("lint"), job("build"),
    ])  # fmt: skip
    graph = pictures.graph(found)
    assert graph is not None
    columns = {node.group.name: node.x // pictures.COLUMN for node in graph.nodes}
    assert columns == {"deploy": 2, "test": 1, "lint": 0, "build": 0}
    assert len({(node.x, node.y) for node in graph.nodes}) == 4
    assert len(graph.lines) == 3
    assert graph.width == 2 * pictures.COLUMN + pictures.NODE_WIDTH


def test_jobs_that_need_nothing_and_crowds_are_not_drawn() -> None:
    assert pictures.graph(pictures.groups([job("a"), job("b")])) is None
    crowd = [job("a"), *(job(f"b{number}", "a") for number in range(pictures.NODES_MAX))]
    assert pictures.graph(pictures.groups(crowd)) is None


def test_a_group_shows_the_state_that_matters_most() -> None:
    (group,) = pictures.groups([job("t[a=1]"), job("t[a=2]", state="failed"), job("t[a=3]", state="running")])
    assert (group.state, group.passed) == ("failed", 1)
    ordered = sorted(group.jobs, key=pictures.urgency)
    assert [each["state"] for each in ordered] == ["failed", "running", "passed"]


def test_attempts_stand_by_runner_and_time_and_never_over_each_other() -> None:
    jobs = [
        job("a", attempts=(attempt("one", 0, 10), attempt("two", 10, None, 2))),
        job("b", attempts=(attempt("one", 5, 15),)),
        job("c", attempts=(attempt("one", 10, 20),)),
    ]
    drawn = pictures.waterfall(jobs, NOW)
    assert drawn is not None
    assert [lane.runner for lane in drawn.lanes] == ["one", "two"]
    places = {(bar.job, bar.attempt["number"]): (bar.x, bar.width, bar.y) for bar in drawn.bars}
    first, second = pictures.LABEL, pictures.LABEL + pictures.LANE
    assert drawn.whole_ms == 30_000
    assert places[("a", 1)] == (0.0, 33.33, first)
    assert places[("b", 1)] == (16.67, 33.33, second)
    assert places[("c", 1)] == (33.33, 33.33, first)
    assert places[("a", 2)] == (33.33, 66.67, second + pictures.LANE + pictures.LABEL)
    assert drawn.left_out == 0


def test_a_picture_has_so_many_bars_each_of_which_can_be_seen_and_none_leaves_it() -> None:
    many = tuple(attempt("one", 1, 1, number) for number in range(pictures.BARS_MAX + 5))
    drawn = pictures.waterfall([job("a", attempts=(attempt("one", 0, None), *many))], NOW)
    assert drawn is not None
    assert (len(drawn.bars), drawn.left_out) == (pictures.BARS_MAX, 6)
    assert all(bar.width > 0 and bar.x + bar.width <= 100 for bar in drawn.bars)
    assert pictures.waterfall([job("a")]) is None


def test_a_clock_that_went_back_makes_no_bar_of_less_than_nothing() -> None:
    drawn = pictures.waterfall([job("a", attempts=(attempt("one", 9, 3),))], NOW)
    assert drawn is not None
    assert drawn.bars[0].width > 0


def test_a_duration_is_compared_with_the_usual_one_where_that_says_something() -> None:
    record = {"state": "passed", "started_at": "2026-11-20T09:00:00.000Z", "finished_at": "2026-11-20T09:00:12.000Z"}
    assert against(record, 10_000) == "20 % longer than usual"
    assert against(record, 11_000) == ""
    assert against(record, 4_000) == "3.0 times as long as usual"
    assert against(record, 24_000) == "50 % shorter than usual"
    assert against({**record, "state": "failed"}, 4_000) == ""
    assert against(record, None) == ""


def test_sizes_are_written_as_people_read_them() -> None:
    assert [size(each) for each in (0, 1023, 1536, 5 * 2**20, 3 * 2**30)] == [
        "0 B", "1023 B", "1.5 KiB", "5.0 MiB", "3.0 GiB",
    ]  # fmt: skip
