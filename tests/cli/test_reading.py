"""Commands that show: what scripts get, what people see, and how each one ends when there is nothing to show."""

import json
import re

import pytest

from surveil.cli import noise
from surveil.core.model import AttemptState, Status
from surveil.core.peers import Peer, Role
from surveil.frozen import replace
from surveil.net import audit
from surveil.net.admission import Stranger
from surveil.net.audit import MAY_NOT, TOKENS, Audit
from surveil.net.counts import TROUBLES, ServerCounts
from surveil.protocol import JobOutput, StepReport, WatchedRepo
from tests.cli.conftest import Type
from tests.cli.counter import Counter
from tests.store.records import finished, make_attempt, make_build, make_job, make_runner, new


def fill(counter: Counter) -> None:
    failed = make_attempt(2, state=AttemptState.FAILED, reason="step `Tests` failed", exit_code=1)
    counter.desk.store.commit(
        new(
            make_build(1, state=Status.PASSED, message="First\n\nbody"),
            make_job(1, state=Status.PASSED, attempt=1),
            finished(make_attempt(1)),
            make_build(2, state=Status.FAILED, message="Evil \x1b]0;owned\x07 title", ref="refs/tags/v1"),
            make_job(2, state=Status.FAILED, attempt=1, reason="step `Tests` failed"),
            failed,
            make_runner(),
        )
    )


def test_builds_are_listed_as_json_in_the_shape_that_is_promised(type_: Type, counter: Counter) -> None:
    fill(counter)
    ended = type_("builds", "--json")
    assert (ended.code, ended.err) == (0, "")
    builds = json.loads(ended.out)
    assert [(build["id"], build["state"]) for build in builds] == [(2, "failed"), (1, "passed")]
    assert builds[1]["jobs"][0]["attempts"][0]["steps"][0]["name"] == "Tests"


def test_builds_are_listed_for_people_without_obeying_what_strangers_wrote(type_: Type, counter: Counter) -> None:
    fill(counter)
    ended = type_("builds")
    lines = ended.out.splitlines()
    assert lines[0].split() == ["ID", "STATE", "REPOSITORY", "REF", "COMMIT", "AGE", "TOOK", "MESSAGE", "REASON"]
    assert lines[1].startswith("2   failed  repo        v1    aaaaaaa ")
    assert lines[2].endswith("First")
    assert "\x1b" not in ended.out


def test_builds_say_on_stderr_that_there_are_none(type_: Type, counter: Counter) -> None:
    assert counter.asked == []
    ended = type_("builds", "--repo", "nothing")
    assert (ended.code, ended.out) == (0, "")
    assert "There are no builds yet: commit something" in ended.err
    assert type_("builds", "--json").out == "[]\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--repo", "rpeo"), "There are no builds of the repository `rpeo`; did you mean `repo`?"),
        (("--ref", "mian"), "There are no builds of the ref `mian`; did you mean `main`?"),
        (("--author", "Anne"), "There are no builds of the author `Anne`; did you mean `Ann`?"),
        (("--repo", "/elsewhere/repo"), "There are no builds of this kind; `surveil builds` lists what there is."),
    ],
)
def test_a_misspelt_repository_or_ref_is_answered_with_the_one_that_was_meant(
    type_: Type, counter: Counter, words: tuple[str, ...], sentence: str
) -> None:
    fill(counter)
    ended = type_("builds", *words)
    assert (ended.code, ended.out, ended.err) == (0, "", sentence + "\n")


def test_one_build_is_shown_with_what_failed_and_the_command_that_tells_more(type_: Type, counter: Counter) -> None:
    fill(counter)
    ended = type_("show", "2")
    assert ended.code == 0
    assert "state       failed" in ended.out
    assert "`surveil logs 2 test`" in ended.out
    assert json.loads(type_("show", "2", "--json").out)["jobs"][0]["attempts"][0]["exit_code"] == 1


def test_a_build_says_once_why_it_could_not_begin(type_: Type, counter: Counter) -> None:
    build = make_build(3, state=Status.ERRORED, reason="no pipeline file", complaints=("no pipeline file", "and more"))
    counter.desk.store.commit(new(build))
    shown = type_("show", "3").out
    assert shown.count("no pipeline file") == 1
    assert "  and more\n" in shown


def test_a_build_that_does_not_exist_is_exit_code_6_and_one_sentence(type_: Type, counter: Counter) -> None:
    assert counter.data.exists()
    ended = type_("show", "99")
    assert (ended.code, ended.out) == (6, "")
    assert ended.err == "surveil: There is no build `99`; `surveil builds` lists those that there are.\n"


def test_status_shows_the_queue_and_says_what_is_missing(type_: Type, counter: Counter) -> None:
    counter.desk.live.watching["eye"] = (WatchedRepo(repo="/srv/repo", problem="it is gone"),)
    ended = type_("status")
    assert "nothing to do" in ended.out
    assert "/srv/repo (it is gone)" in ended.out
    assert "No runner is online" in ended.err
    assert json.loads(type_("status", "--json").out)["runners"] == {"online": 0, "offline": 0, "slots": 0, "busy": 0}


def test_status_tells_what_comes_to_the_ports_and_should_not(type_: Type, counter: Counter) -> None:
    counts = ServerCounts(foreign=12)
    counts.note("handshakes_refused", "10.0.0.7")
    assert "its ports" not in type_("status").out
    counter.desk.live.troubles = counts.troubles
    out = type_("status").out
    assert "connections that do not speak surveil's protocol: 12\n" in out
    assert "handshakes by keys that are unknown or revoked: 1, the last from 10.0.0.7\n" in out
    assert json.loads(type_("status", "--json").out)["ports"] == [
        {"trouble": "foreign", "count": 12, "last_from": None},
        {"trouble": "handshakes_refused", "count": 1, "last_from": "10.0.0.7"},
    ]


def test_status_and_doctor_name_what_was_damaged_and_put_aside(type_: Type, counter: Counter) -> None:
    assert "aside" not in type_("status").out + type_("doctor").out
    counter.desk.live.put_aside = lambda: ["acts.db.damaged-1"]
    assert "acts.db.damaged-1 is damaged; `surveil doctor` says more" in type_("status").out
    [found] = [each for each in json.loads(type_("doctor", "--json").out) if each["name"] == "damage"]
    assert found["health"] == "weak"
    assert found["sentence"].startswith(
        "acts.db.damaged-1 in the dispatcher's data folder was damaged and is put aside;"
    )
    assert found["next"].startswith("mv acts.db.damaged-1 ELSEWHERE ")


def test_doctor_says_what_it_costs_that_something_was_put_aside(type_: Type, counter: Counter) -> None:
    counter.desk.live.put_aside = lambda: ["outbox.db.damaged-1", "hooks.db.damaged-2"]
    told, heard = [each["sentence"] for each in json.loads(type_("doctor", "--json").out) if each["name"] == "damage"]
    assert told.endswith(" What waited to be told until then stays untold.")
    assert heard.endswith(" Webhooks are refused until `surveil hook secret` has set each secret anew.")


def test_status_and_doctor_name_the_peers_that_do_what_they_should_not(type_: Type, counter: Counter) -> None:
    audited = Audit()
    assert "should not" not in type_("doctor").out
    audited.count(Peer(key="e" * 40, role=Role.OBSERVER, name="eve\x1b[2J"), MAY_NOT)
    audited.count(Stranger("s" * 40), TOKENS, 2)
    audited.look(1)
    audited.count(Stranger("t" * 40), TOKENS)
    counter.desk.live.offenders, counter.desk.live.troubles = audited.worst, ServerCounts(foreign=12).troubles
    assert json.loads(type_("status", "--json").out)["offenders"] == [
        {"peer": None, "role": "stranger", "did": {"tokens_refused": 3}},
        {"peer": "eve\x1b[2J", "role": "observer", "did": {"may_not_say": 1}},
    ]
    shown, found = type_("status").out, type_("doctor").out
    assert re.search(r"^a stranger +tokens that are worth nothing: 3$", shown, re.MULTILINE)
    assert "messages that its role may not say: 1" in shown
    assert "connections that do not speak surveil's protocol: 12." in found
    assert "A stranger did what it should not: tokens that are worth nothing: 3." in found
    assert "  peer: surveil peer revoke 'eve" in found
    assert "\x1b[2J" not in shown + found


def test_every_trouble_has_its_words() -> None:
    assert set(noise.TROUBLES) == set(TROUBLES)
    named = {value for name, value in vars(audit).items() if name.isupper() and isinstance(value, str)}
    assert set(noise.DID) == named


def test_runners_are_listed(type_: Type, counter: Counter) -> None:
    fill(counter)
    assert "spare-2  suspect  0/4" in type_("runners").out
    (runner,) = json.loads(type_("runners", "--json").out)
    assert (runner["name"], runner["slots"], runner["load"]) == ("spare-2", 4, None)


def test_without_a_dispatcher_the_exit_code_says_what_kind_of_absence_it_is(type_: Type) -> None:
    ended = type_("status")
    assert (ended.code, ended.out) == (5, "")
    assert "holds no key for any dispatcher" in ended.err
    assert "surveil client --join TOKEN" in ended.err


def test_builds_say_why_they_did_not_pass_and_why_they_wait(type_: Type, counter: Counter) -> None:
    errored = make_build(3, state=Status.ERRORED, reason="no pipeline file", complaints=("no pipeline file",))
    queued = make_build(4, complaints=())
    counter.desk.store.commit(new(errored, queued, make_job(4)))
    counter.desk.live.state.put(queued, 0)
    counter.desk.live.state.put(make_job(4), 0)
    lines = type_("builds").out.splitlines()
    assert "  no runner has joined yet: make a token with `surveil token create`, and type " in lines[1]
    assert lines[2].endswith("  no pipeline file")


def test_earlier_attempts_are_shown_with_their_runner_and_reason(type_: Type, counter: Counter) -> None:
    lost = make_attempt(
        5, state=AttemptState.LOST, reason="runner spare-2 stopped answering 8.1 s ago", finished_at=9000
    )
    second = make_attempt(5, number=2, runner_name="spare-3", state=AttemptState.RUNNING)
    job = make_job(5, state=Status.RUNNING, attempt=2)
    counter.desk.store.commit(new(make_build(5, state=Status.RUNNING), job, lost, second))
    out = type_("show", "5").out
    lines = out[out.index("Earlier attempts") :].splitlines()
    assert lines[1].split() == ["JOB", "ATTEMPT", "STATE", "RUNNER", "ISOLATION", "BEGAN", "TOOK", "REASON"]
    assert lines[2].split()[:4] == ["test", "1", "lost", "spare-2"]
    assert lines[2].endswith("  7.0 s  runner spare-2 stopped answering 8.1 s ago")
    assert len(lines) == 3
    counter.desk.store.commit(new(make_build(6, state=Status.PASSED), make_job(6, state=Status.PASSED, attempt=1)))
    assert "Earlier attempts" not in type_("show", "6").out


def test_the_images_of_services_are_shown_where_there_are_any(type_: Type, counter: Counter) -> None:
    steps = (
        StepReport(name="Tests", state="failed"),
        StepReport(name="service db", state="passed", image="docker.io/library/postgres@sha256:9f86"),
    )
    attempt = replace(make_attempt(5), steps=steps, state=AttemptState.FAILED)
    counter.desk.store.commit(new(make_build(5), make_job(5, attempt=1), attempt))
    out = type_("show", "5").out
    assert out[out.index("\nServices\n") :].splitlines()[2:3] == [
        "test: service db of docker.io/library/postgres@sha256:9f86"
    ]
    counter.desk.store.commit(new(make_build(6), make_job(6)))
    assert "Services" not in type_("show", "6").out


def test_what_jobs_put_out_is_shown_on_lines_of_its_own(type_: Type, counter: Counter) -> None:
    outputs = tuple(JobOutput(name=f"n{number}", value="x" * number) for number in range(21))
    counter.desk.store.commit(new(make_build(9), make_job(9, outputs=(*outputs, JobOutput(name="e", value="\x1b[2J")))))
    out = type_("show", "9").out
    lines = out[out.index("Outputs") :].splitlines()
    assert lines[:4] == ["Outputs", "test: n0=", "test: n1=x", "test: n2=xx"]
    assert lines[21] == "and 2 more outputs"
    counter.desk.store.commit(new(make_build(10), make_job(10, outputs=())))
    assert "Outputs" not in type_("show", "10").out


def test_a_job_that_waits_for_its_next_attempt_shows_what_became_of_the_last(type_: Type, counter: Counter) -> None:
    lost = make_attempt(8, state=AttemptState.LOST, reason="its runner is gone", finished_at=9000)
    build = make_build(8, state=Status.RUNNING)
    job = make_job(8, state=Status.QUEUED, attempt=1, reason="its runner is gone")
    counter.desk.store.commit(new(build, job, lost))
    counter.desk.live.state.put(build, 0)
    counter.desk.live.state.put(job, 0)
    out = type_("show", "8").out
    [row] = [line for line in out.splitlines() if line.startswith("test  queued")]
    assert "no runner has joined yet" in row
    assert "spare-2" not in row
    assert out.splitlines()[-1].split()[:4] == ["test", "1", "lost", "spare-2"]


def test_show_and_status_say_what_a_queued_job_waits_for(type_: Type, counter: Counter) -> None:
    build, job = make_build(7, state=Status.QUEUED), make_job(7)
    counter.desk.store.commit(new(build, job))
    counter.desk.live.state.put(build, 0)
    counter.desk.live.state.put(job, 0)
    counter.desk.live.state.put(make_runner("spare-2", labels=("arm",)), 0)
    sentence = (
        "no online runner has labels big, linux: 1 runner checked; "
        "start one with `surveil runner --label big --label linux`"
    )
    assert f"reason      {sentence}\n" in type_("show", "7").out
    assert f"1 queued    {sentence}\n" in type_("status").out
