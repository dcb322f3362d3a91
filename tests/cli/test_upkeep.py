"""Settings, completions, versions, and what doctor finds."""

import json
import socket
from pathlib import Path

import pytest

from surveil.cli.findings import Health, check_disk, check_folder, check_ports, judge_git
from tests.cli.conftest import Type
from tests.cli.counter import Counter


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


def test_doctor_says_what_to_type_when_the_dispatcher_is_gone(type_: Type, home: Path, counter: Counter) -> None:
    counter.close()
    ended = type_("doctor")
    assert "No dispatcher answers" in ended.out
    assert f"dispatcher: surveil dispatcher --data {home / 'data'}" in ended.out
    counter.serve()


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
