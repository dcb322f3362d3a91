"""Secrets reach the steps of an attempt, and nothing else: no disk, no log, no other process."""

from __future__ import annotations

import base64
import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from surveil.execute import files
from surveil.execute.isolation.isolating import UNKEPT
from surveil.execute.keeper import entrusted
from surveil.execute.keeper.entrusted import Entrusted
from surveil.execute.nursery import Nursery
from surveil.execute.processes import kill_left_behind
from tests.execute.conftest import PATIENCE_S, Kept, job

TOKEN = "ghp_q7XvT3mLk9sWbe2u"
KEY = b"-----BEGIN KEY-----\n\xff\x00binary\n-----END KEY-----\n"
SECRETS = Entrusted(variables={"TOKEN": TOKEN}, files={"KEY_FILE": KEY})


def bytes_below(*folders: str | Path) -> bytes:
    """All that is in all files below these folders."""
    found = b""
    for folder in folders:
        for path in Path(folder).rglob("*"):
            if path.is_file():
                found += str(path).encode() + b"\0" + path.read_bytes()
    return found


def test_what_is_handed_over_is_taken_as_it_was() -> None:
    what = Entrusted(variables={"A": "b\udcff"}, files={"F": KEY}, others=[b"\x00"])
    assert entrusted.take(entrusted.hand_over(what)) == what
    assert entrusted.take(entrusted.hand_over(what._replace(registry=b"you:hush"))) == what, "no keeper fetches images"


@pytest.mark.parametrize(
    "packed",
    [
        b"", b"{", b"null", b"[]", b"1", b"{}", b"[" * 100_000, b"\xff",
        b'{"variables": [], "files": {}, "others": []}',
        b'{"variables": {"A": 1}, "files": {}, "others": []}',
        b'{"variables": {"A": "\\ud800"}, "files": {}, "others": []}',
        b'{"variables": {"A=B": "x"}, "files": {}, "others": []}',
        b'{"variables": {}, "files": {"A": 1}, "others": []}',
        b'{"variables": {}, "files": {"A": "!"}, "others": []}',
        b'{"variables": {}, "files": {"../../tmp/mine": ""}, "others": []}',
        b'{"variables": {}, "files": {"/tmp/mine": ""}, "others": []}',
        b'{"variables": {}, "files": {"": ""}, "others": []}',
        b'{"variables": {}, "files": {}, "others": 1}',
        b'{"variables": {}, "files": {}, "others": [], "registry": null}',
    ],
)  # fmt: skip
def test_what_nobody_packed_is_refused_and_no_name_leads_out_of_its_folder(packed: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        entrusted.unpack(packed)


def test_steps_find_secrets_in_variables_and_in_files_that_only_they_can_read(kept: Kept) -> None:
    check = f'test "${{#TOKEN}}" = {len(TOKEN)}; stat -c "%a %h" "$KEY_FILE"; dirname "$KEY_FILE"; '
    check += 'stat -c %a "$(dirname "$KEY_FILE")"; wc -c < "$KEY_FILE"; sha256sum < "$KEY_FILE" > sum'
    status = kept.run(job(check, 'test -n "$TOKEN" -a -r "$KEY_FILE"'), secrets=SECRETS)
    assert (status.outcome, status.reason) == ("passed", "")
    assert kept.log().decode().split() == ["600", "1", kept.memory, "700", str(len(KEY))]
    assert not Path(kept.memory).exists(), "they go with the attempt"


def test_no_output_shows_a_secret(kept: Kept) -> None:
    ways = [
        "env", "set", 'echo "$TOKEN"', 'printf %s "$TOKEN" | base64', 'printf %s "u:$TOKEN" | base64',
        'printf %s "$TOKEN" | od -An -tx1 | tr -d " \\n"', 'cat "$KEY_FILE"', "tr '\\0' '\\n' < /proc/self/environ",
        'printf %s "$TOKEN" | rev || true', "set -x; : $TOKEN", 'cat "/no/$TOKEN" || true',
        'printf %s "${TOKEN%??????????}"; sleep 0.6; printf "%s\\n" "${TOKEN#??????????}"',
        "for c in g h p _ q 7 X v T 3 m L k 9 s W b e 2 u; do printf %s $c; done; echo",
    ]  # fmt: skip
    status = kept.run(job(*ways), secrets=SECRETS)
    assert (status.outcome, status.reason) == ("passed", "")
    log = kept.log()
    assert log.count(b"***") >= len(ways)
    raw = TOKEN.encode()
    for shown in (raw, raw[::-1], base64.b64encode(raw), raw.hex().encode(), raw[:12], b"binary"):
        assert shown not in log


def test_the_last_words_of_a_step_are_covered_too(kept: Kept) -> None:
    status = kept.run(job(f"printf %s $TOKEN; exit 3 # {TOKEN}"), secrets=SECRETS)
    assert (status.outcome, kept.log()) == ("failed", b"***")


def test_names_and_reasons_of_steps_show_no_secret(kept: Kept) -> None:
    spec = job("exit 3")
    named = type(spec)(**{
        **{name: getattr(spec, name) for name in spec.__slots__},
        "steps": (type(spec.steps[0])(name=f"with {TOKEN}", run="exit 3", env={}),),
    })  # fmt: skip
    status = kept.run(named, secrets=SECRETS)
    assert status.reason == "step 'with ***' ended with exit code 3"
    assert [step.name for step in status.steps] == ["with ***"]


def test_a_prompt_that_looks_like_the_beginning_of_a_secret_is_shown_while_its_step_waits(kept: Kept) -> None:
    kept.start(job("printf 'go gh'; sleep 60"), secrets=SECRETS)
    kept.wait_for_log(b"go gh")
    kept.say("cancel 0")
    kept.wait()


def test_no_file_and_no_command_line_holds_a_secret_while_it_is_used(kept: Kept) -> None:
    kept.start(job("echo ready; sleep 60"), secrets=SECRETS)
    kept.wait_for_log(b"ready")
    on_disk = bytes_below(kept.root)
    assert TOKEN.encode() not in on_disk
    assert KEY not in on_disk
    words = [word for process in psutil.process_iter() for word in _command_line(process)]
    assert all(TOKEN not in word for word in words)
    assert Path(kept.memory, "KEY_FILE").read_bytes() == KEY
    kept.say("cancel 0")
    kept.wait()
    assert not Path(kept.memory).exists()


def _command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def test_a_keeper_that_is_killed_takes_no_secret_with_it_to_a_disk(tmp_path: Path, nursery: Nursery) -> None:
    kept = Kept(tmp_path, nursery, UNKEPT)
    kept.start(job("echo ready; exec sleep 60"), secrets=SECRETS)
    kept.wait_for_log(b"ready")
    signal.pidfd_send_signal(kept.pidfd, signal.SIGKILL)
    # What outlives it of its step is ended as an agent ends it that finds the keeper dead.
    until = time.monotonic() + PATIENCE_S
    while kept.left_behind():
        assert time.monotonic() < until, "its step goes on"
        kill_left_behind(tmp_path)
    assert TOKEN.encode() not in bytes_below(tmp_path)
    entrusted.remove_files(kept.memory)
    assert not Path(kept.memory).exists()
    kept.close()


def test_a_folder_that_is_no_memory_takes_no_secret(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    with pytest.raises(OSError, match="secrets are written to no disk"):
        entrusted.write_files(str(folder), SECRETS)
    assert not folder.exists()


def test_an_attempt_without_memory_for_its_files_is_errored_in_a_sentence(
    tmp_path: Path, nursery: Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Kept, "memory", str(tmp_path / "disk"))
    kept = Kept(tmp_path, nursery, UNKEPT)
    status = kept.run(job("true"), secrets=SECRETS)
    assert status.outcome == "errored"
    assert status.reason == (
        f"the files for its secrets cannot be made in memory: {tmp_path}: it is no memory, and secrets are written to "
        "no disk; mount a tmpfs there on the runner, or give the secrets to steps by variables"
    )
    kept.close()


def test_what_others_laid_in_the_place_of_the_folder_is_not_used(tmp_path: Path) -> None:
    folder = Path(entrusted.folder_for(f"test-{os.getpid()}-{tmp_path.name}"))
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to(tmp_path / "elsewhere")
    try:
        with pytest.raises(FileExistsError):
            entrusted.write_files(str(folder), SECRETS)
        assert list((tmp_path / "elsewhere").iterdir()) == []
    finally:
        folder.unlink()
    folder.mkdir(mode=0o755)
    try:
        with pytest.raises(FileExistsError):
            entrusted.write_files(str(folder), SECRETS)
    finally:
        folder.rmdir()


def test_a_folder_of_ours_that_is_there_already_is_emptied_and_used(tmp_path: Path) -> None:
    folder = Path(entrusted.folder_for(f"test-{os.getpid()}-{tmp_path.name}"))
    entrusted.make_folder(str(folder))
    (folder / "old").touch()
    paths = entrusted.write_files(str(folder), SECRETS)
    assert Path(paths["KEY_FILE"]).read_bytes() == KEY
    assert [path.name for path in folder.iterdir()] == ["KEY_FILE"]
    entrusted.remove_files(str(folder))
    assert not folder.exists()


def test_an_order_holds_none(kept: Kept) -> None:
    kept.run(job("true"), secrets=SECRETS)
    assert TOKEN not in (kept.folder / files.ORDER).read_text()
