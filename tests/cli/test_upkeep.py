"""Settings, completions, versions, and what doctor finds."""

import json
import socket
import sys
from pathlib import Path

import pytest

from surveil.cli.findings import (
    Health,
    check_disk,
    check_folder,
    check_libzmq,
    check_memory,
    check_ports,
    check_user,
    judge_git,
)
from surveil.net.keys import load_or_make_keys
from tests.cli.conftest import Type
from tests.cli.counter import Counter
from tests.store.buckets import NAME, rclone
from tests.store.records import make_build, make_job


def test_settings_are_shown_with_their_origins(type_: Type, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SURVEIL_SLOTS", "3")
    (home / "config.toml").write_text('labels = ["gpu"]\n')
    ended = type_("config", "show", "--role", "runner", "--json", "--config", str(home / "config.toml"))
    shown = {each["key"]: (each["value"], each["origin"]) for each in json.loads(ended.out)}
    assert shown["slots"] == ("3", "environment SURVEIL_SLOTS")
    assert shown["labels"] == ("gpu", str(home / "config.toml"))
    assert shown["log_level"] == ("info", "default")
    assert "environment SURVEIL_SLOTS" in type_("config", "show", "--role", "runner", "--origin").out


def test_an_unknown_setting_is_exit_code_3_wherever_it_stands(type_: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SURVEIL_SLOT", "3")
    for command in (["status"], ["config", "show"], ["runner"]):
        ended = type_(*command)
        assert (ended.code, ended.out) == (3, "")
        assert "SURVEIL_SLOTS" in ended.err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_completion_prints_a_script_for_each_shell(type_: Type, shell: str) -> None:
    ended = type_("completion", shell)
    assert (ended.code, ended.err) == (0, "")
    assert "_SURVEIL_COMPLETE" in ended.out


def test_a_shell_is_told_the_commands_that_fit(type_: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_SURVEIL_COMPLETE", "bash_complete")
    monkeypatch.setenv("_SURVEIL_LINE", "surveil bui")
    assert type_().out == "plain\tbuilds\tList builds, newest first.\n"


def test_versions_are_printed(type_: Type) -> None:
    assert json.loads(type_("version", "--json").out)["protocol"] == 1
    assert type_("--version").out.startswith("surveil ")


def test_doctor_finds_a_machine_fit_and_names_what_it_looked_at(type_: Type, counter: Counter) -> None:
    ended = type_("doctor", "--json")
    found = {each["name"]: each["health"] for each in json.loads(ended.out)}
    assert (ended.code, counter.asked) == (0, ["status"])
    assert "broken" not in found.values()
    assert found["dispatcher"] == "ok"
    assert {"settings", "python", "system", "git", "libzmq", "open files", "disk", "data folder"} <= found.keys()
    assert found["runners"] == "weak"


def test_doctor_says_which_jobs_wait_for_something_that_a_person_can_do(type_: Type, counter: Counter) -> None:
    build, job = make_build(5), make_job(5)
    counter.desk.live.state.put(build, 0)
    counter.desk.live.state.put(job, 0)
    out = type_("doctor").out
    assert "1 job waits: no runner has joined yet: make a token with `surveil token create`" in out
    assert "  queue: surveil show 5\n" in out


def test_doctor_knows_a_restored_folder(type_: Type, home: Path) -> None:
    for name in ("client.key", "server.key"):
        load_or_make_keys(home / "data" / "keys" / name)
    (home / "data").chmod(0o700)
    ended = type_("doctor")
    assert f"  dispatcher: surveil dispatcher --data {home / 'data'}\n" in ended.out
    assert ended.code == 7


@pytest.mark.parametrize(
    ("variable", "next_"), [("SURVEIL_SLOTS", "unset SURVEIL_SLOTS"), ("SURVEIL_SLOTZ", "unset SURVEIL_SLOTZ")]
)
def test_doctor_says_how_to_take_back_a_setting(
    type_: Type, monkeypatch: pytest.MonkeyPatch, variable: str, next_: str
) -> None:
    monkeypatch.setenv(variable, "many")
    ended = type_("doctor")
    assert f"  settings: {next_}\n" in ended.out
    assert ended.code == 7


def test_doctor_leads_to_the_line_of_a_file(type_: Type, home: Path) -> None:
    file = home / "surveil.toml"
    file.write_text("slotz = 3\n")
    assert f"  settings: ${{EDITOR:-vi}} {file}\n" in type_("doctor", "--config", str(file)).out


def test_a_runner_of_root_is_weak_and_of_anybody_else_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert [found.health for found in check_user()] == [Health.WEAK]
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert list(check_user()) == []


def test_memory_for_secrets_is_looked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    [good] = check_memory()
    assert (good.health, good.next) == (Health.OK, "")
    monkeypatch.setattr("surveil.execute.keeper.entrusted.MEMORY", str(tmp_path))
    [found] = check_memory()
    assert found.health is Health.WEAK
    assert found.sentence.startswith(f"{tmp_path} is no memory to write to")
    assert found.next.endswith(f"mount -t tmpfs -o mode=1777 tmpfs {tmp_path}")


def test_a_libzmq_with_holes_is_named_with_the_command_for_this_python(monkeypatch: pytest.MonkeyPatch) -> None:
    [good] = check_libzmq()
    assert good.sentence.startswith("libzmq 4.")
    monkeypatch.setattr("zmq.zmq_version_info", lambda: (4, 3, 2))
    [bad] = check_libzmq()
    assert bad.health is Health.BROKEN
    assert bad.sentence.endswith(" has known holes.")
    assert bad.next == f"{sys.executable} -m pip install --upgrade 'pyzmq>=26'"


def test_doctor_says_what_to_type_when_the_dispatcher_is_gone(type_: Type, home: Path, counter: Counter) -> None:
    counter.close()
    ended = type_("doctor")
    assert "No dispatcher answers" in ended.out
    assert f"dispatcher: surveil dispatcher --data {home / 'data'}" in ended.out
    counter.serve()


def test_doctor_tries_the_bucket_and_says_what_is_wrong_with_it(
    type_: Type, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with rclone(tmp_path) as server:
        monkeypatch.setenv("SURVEIL_BLOBS", f"s3://{NAME}/one")
        monkeypatch.setenv("SURVEIL_BLOBS_ENDPOINT", server.endpoint)
        monkeypatch.setenv("SURVEIL_BLOBS_CREDENTIALS", str(server.keys))
        out = type_("doctor").out
        assert f"s3://{NAME}/one at {server.endpoint} takes files, gives and deletes them" in out
        assert [path for path in (tmp_path / "kept").rglob("*") if path.is_file()] == []
        monkeypatch.setenv("SURVEIL_BLOBS", "s3://nobodys")
        ended = type_("doctor")
        assert (ended.code, "there is no bucket nobodys" in ended.out) == (7, True)
        assert "  bucket: surveil config show --role dispatcher --origin\n" in ended.out


def test_doctor_is_content_where_nothing_was_begun(type_: Type) -> None:
    ended = type_("doctor")
    assert "none known here yet" in ended.out
    assert type_("doctor", "--dispatcher", "tcp://127.0.0.1:1").code == 7


@pytest.mark.parametrize(
    ("words", "health"),
    [
        ("git version 2.50.1", Health.OK),
        ("git version 2.50.0", Health.WEAK),
        ("git version 2.43.7", Health.OK),
        ("git version 2.43.6", Health.WEAK),
        ("git version 2.39.5 (Debian)", Health.WEAK),
        ("git version 2.52.GIT", Health.OK),
        ("git version 3.0.0", Health.OK),
        ("git version 2.30.2", Health.BROKEN),
        ("gti", Health.WEAK),
    ],
)
def test_git_is_judged_by_the_releases_that_closed_the_known_holes(words: str, health: Health) -> None:
    found = judge_git(words)
    assert found.health is health
    assert bool(found.next) is (health is not Health.OK)


@pytest.mark.parametrize(
    ("user", "command"), [(0, "apt update && apt install"), (1000, "sudo apt update && sudo apt install")]
)
def test_what_only_root_may_do_is_said_as_this_user_types_it(
    monkeypatch: pytest.MonkeyPatch, user: int, command: str
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: user)
    assert judge_git("git version 2.39.5").next == f"{command} --only-upgrade git"


def test_a_data_folder_that_others_can_read_or_write_is_noticed(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    assert [found.health for found in check_folder(tmp_path)] == [Health.WEAK]
    tmp_path.chmod(0o777)
    assert [found.health for found in check_folder(tmp_path)] == [Health.BROKEN]
    tmp_path.chmod(0o700)
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "server.key").touch(mode=0o644)
    assert [(found.health, found.next) for found in check_folder(tmp_path)] == [
        (Health.OK, ""),
        (Health.BROKEN, f"chmod 600 {tmp_path / 'keys' / 'server.key'}"),
    ]


def test_a_port_in_use_is_noticed_with_the_command_that_finds_its_user() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        found = next(iter(check_ports(f"tcp://127.0.0.1:{port}")))
    assert (found.health, found.next) == (Health.BROKEN, f"ss -ltnp sport = :{port}")


def test_a_full_disk_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _path: type("Usage", (), {"free": 1024})())
    assert {found.health for found in check_disk(tmp_path)} == {Health.BROKEN}
