"""Units of systemd: each as closed as it may be, understood line by line, and never written over what a person did."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from surveil.cli import systemd, units
from surveil.cli.units import ROLES
from surveil.errors import InvalidError
from tests.cli.conftest import Type

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "systemd.md"
FLAGS = {"observer": ("--", "https://example.org/project.git"), "up": ("--", "/srv/project")}
STEPS = ("runner", "up")


@pytest.fixture
def analyze() -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("systemd-analyze is not here; type `apt install systemd`")
    return found


@pytest.fixture
def machine(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the machine's units, on a machine with the user `surveil`."""
    folder = home / "system"
    monkeypatch.setattr(systemd, "SYSTEM", folder)
    monkeypatch.setattr(units, "SYSTEM", folder)
    monkeypatch.setattr(systemd, "USER", "root")
    return folder


def printed(type_: Type, role: str, whose: str, *flags: str) -> str:
    ended = type_("systemd", "install", f"--{whose}", "--dry-run", role, *(flags or FLAGS.get(role, ())))
    assert ended.code == 0, ended.err
    return ended.out


@pytest.mark.parametrize("whose", ["system", "user"])
def test_systemd_understands_every_line_and_never_gives_up(type_: Type, home: Path, analyze: str, whose: str) -> None:
    paths = []
    for role in ROLES:
        text = printed(type_, role, whose)
        head, _, rest = text.partition("[Service]")
        assert "\nStartLimitIntervalSec=0\n" in head, "by default five starts in ten seconds are the last"
        assert "\nRestart=always\n" in rest
        assert re.search(rf"^ExecStart={re.escape(sys.executable)} -P -m surveil {role}\b", rest, re.MULTILINE)
        path = home / f"surveil-{role}.service"
        path.write_text(text)
        paths.append(str(path))
    command = [analyze, "verify", f"--{whose}", "--man=no", *paths]
    # A user's own systemd keeps what runs in a folder, which this machine may have for nobody.
    runtime = {**os.environ, "XDG_RUNTIME_DIR": str(home)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=runtime)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_units_are_as_closed_as_the_page_says(type_: Type, home: Path, analyze: str) -> None:
    rows = re.findall(r"^\| surveil-(\w+) \| ([\d.]+) \|$", PAGE.read_text(), re.MULTILINE)
    said = {name: float(figure) for name, figure in rows}
    assert sorted(said) == sorted(ROLES)
    for role in ROLES:
        path = home / f"surveil-{role}.service"
        path.write_text(printed(type_, role, "system"))
        command = [analyze, "security", "--offline=yes", "--no-pager", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        found = re.search(r"Overall exposure level for [\w.-]+: ([\d.]+)", done.stdout)
        assert found is not None, done.stderr
        assert float(found[1]) <= said[role], role


@pytest.mark.parametrize("role", ROLES)
def test_what_runs_steps_keeps_what_sandboxes_are_made_of(type_: Type, role: str) -> None:
    text = printed(type_, role, "system")
    hindering = (
        "RestrictNamespaces=",
        "ProtectKernelTunables=",
        "ProtectProc=",
        "PrivateTmp=",
        "UMask=",
        "SystemCallFilter=",
    )
    assert [each for each in hindering if each in text] == ([] if role in STEPS else list(hindering))
    assert "NoNewPrivileges=yes" in text
    assert ("ProtectSystem=full" in text) == (role in STEPS)
    assert ("KillMode=process" in text) == (role == "runner")


def test_flags_of_the_command_stand_before_the_role_or_behind_it(type_: Type) -> None:
    before = printed(type_, "web", "system", "--", "--http", "127.0.0.1:8000")
    behind = type_("systemd", "install", "web", "--dry-run", "--system", "--", "--http", "127.0.0.1:8000")
    assert (behind.code, behind.out) == (0, before)


def test_a_dispatcher_that_starts_runners_keeps_it_too(type_: Type) -> None:
    text = printed(type_, "dispatcher", "system", "--", "--spawn", "2")
    assert "RestrictNamespaces=" not in text
    assert "MemoryMax=" not in text


def test_a_unit_knows_its_data_wherever_that_is(type_: Type) -> None:
    web = printed(type_, "web", "system")
    assert "--data /var/lib/surveil/dispatcher" in web
    assert "StateDirectory=surveil/dispatcher\n" in web
    elsewhere = printed(type_, "web", "system", "--", "--data", "/srv/a b")
    assert 'ReadWritePaths="/srv/a b"\n' in elsewhere
    assert "StateDirectory=" not in elsewhere
    assert "--data" not in printed(type_, "web", "user")


def test_words_come_through_systemd_as_they_were_typed(type_: Type) -> None:
    text = printed(type_, "observer", "system", "--", "--ref", 'a$b %n "c" \\d', "https://example.org/x%20y.git")
    assert '--ref "a$$b %%n \\"c\\" \\\\d" https://example.org/x%%20y.git\n' in text


def test_what_is_there_already_is_kept_and_other_flags_change_it(type_: Type, home: Path) -> None:
    place = home / "home" / "config" / "systemd" / "user" / "surveil-web.service"
    first = type_("systemd", "install", "--user", "web")
    assert first.code == 0
    assert "is made." in first.err
    assert "systemctl --user daemon-reload && systemctl --user enable --now surveil-web" in first.err
    assert place.stat().st_mode & 0o777 == 0o644
    text = place.read_text()
    assert "there already" in type_("systemd", "install", "--user", "web").err
    assert "made anew" in type_("systemd", "install", "--user", "web", "--", "--http", "127.0.0.1:8000").err
    assert place.read_text() != text
    assert "--http 127.0.0.1:8000" in place.read_text()


def test_what_somebody_changed_or_wrote_beside_it_stays(type_: Type, home: Path) -> None:
    folder = home / "home" / "config" / "systemd" / "user"
    place, beside = folder / "surveil-web.service", folder / "surveil-web.service.d" / "override.conf"
    type_("systemd", "install", "--user", "web")
    beside.parent.mkdir()
    beside.write_text("[Service]\nNice=5\n")
    place.write_text(place.read_text().replace("RestartSec=1", "RestartSec=5"))
    changed = place.read_text()
    for words in (("install", "--user", "web"), ("remove", "--user", "web")):
        ended = type_("systemd", *words)
        assert ended.code == 3
        assert "changed by hand" in ended.err
    assert place.read_text() == changed
    place.unlink()
    type_("systemd", "install", "--user", "web")
    assert "is removed" in type_("systemd", "remove", "--user", "web").err
    assert "not there" in type_("systemd", "remove", "--user", "web").err
    assert beside.read_text() == "[Service]\nNice=5\n"


def test_a_unit_that_is_enabled_is_not_taken_away_from_under_systemd(type_: Type, home: Path) -> None:
    folder = home / "home" / "config" / "systemd" / "user"
    type_("systemd", "install", "--user", "web")
    (folder / "default.target.wants").mkdir()
    (folder / "default.target.wants" / "surveil-web.service").symlink_to(folder / "surveil-web.service")
    ended = type_("systemd", "remove", "--user", "web")
    assert ended.code == 3
    assert "systemctl --user disable --now surveil-web" in ended.err


REFUSED = [
    (("runner", "--", "--join", "svl1.secret"), 3, "join once by hand"),
    (("web", "--", "--database", "postgresql://me:word@db/x"), 3, "SURVEIL_DATABASE_FILE"),
    (("web", "--", "--data", "here"), 3, "whole path"),
    (("observer", "--", "../project"), 3, "whole path"),
    (("runner", "--", "drain", "spare-2"), 2, "is no service"),
    (("web", "--", "--htpt", "x"), 2, "--htpt"),
    (("nothing",), 2, "nothing"),
]


@pytest.mark.parametrize(("words", "code", "sentence"), REFUSED, ids=lambda value: str(value)[:30])
def test_what_no_service_should_start_with_is_refused(
    type_: Type, words: tuple[str, ...], code: int, sentence: str
) -> None:
    ended = type_("systemd", "install", "--system", "--dry-run", *words)
    assert (ended.code, ended.out) == (code, "")
    assert sentence in ended.err
    assert "svl1.secret" not in ended.err


def test_the_machine_has_its_own_folder_and_a_user_for_it(type_: Type, machine: Path) -> None:
    assert type_("systemd", "install", "--system", "--as", "nobody-of-this-name", "dispatcher").code == 3
    assert not machine.exists()
    assert type_("systemd", "install", "--system", "--as", "root", "dispatcher").code == 0
    assert "\nUser=root\n" in (machine / "surveil-dispatcher.service").read_text()
    (machine / "surveil-up.service").write_text("[Unit]\n")
    with pytest.raises(InvalidError, match="by hand"):
        units.remove(machine, "up")
