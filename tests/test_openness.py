"""Files with secrets that every user of the machine can read are not taken silently."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from surveil import openness
from surveil.calling import read_credential
from surveil.config import ClientConfig, load
from surveil.errors import InfrastructureError
from surveil.hands.vault import Vault
from surveil.openness import is_open_to_all, warn_if_open
from surveil.store.bucket import read_credentials


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[str]]:
    """What is said; around the folder of this test everybody may go."""
    heard: list[str] = []

    class Hearing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(record.getMessage())

    def within(path: Path) -> list[Path]:
        return [each for each in path.parents if each.is_relative_to(tmp_path)]

    monkeypatch.setattr(openness, "folders_around", within)
    handler = Hearing()
    logger = logging.getLogger("surveil.openness")
    logger.addHandler(handler)
    tmp_path.chmod(0o755)
    try:
        yield heard
    finally:
        logger.removeHandler(handler)


def secret(folder: Path, mode: int, text: str = "a secret") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "file with a secret"
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(("mode", "is_open"), [(0o600, False), (0o640, False), (0o644, True), (0o444, True)])
def test_a_file_is_open_that_lets_everybody_read(said: list[str], tmp_path: Path, mode: int, is_open: bool) -> None:
    assert said == []
    assert is_open_to_all(secret(tmp_path / "inner", mode)) is is_open


def test_a_file_in_a_closed_folder_is_not_open_and_one_behind_a_link_is(said: list[str], tmp_path: Path) -> None:
    path = secret(tmp_path / "inner", 0o644)
    link = tmp_path / "link"
    link.symlink_to(path)
    assert is_open_to_all(link)
    (tmp_path / "inner").chmod(0o700)
    assert not is_open_to_all(link)
    assert not is_open_to_all(path)
    assert not is_open_to_all(tmp_path / "nowhere")
    warn_if_open(path, "x")
    assert said == []


def ask_the_vault(token: Path) -> None:
    """Nobody answers there; the token is read before that is known."""
    with pytest.raises(InfrastructureError, match="Vault"):
        Vault(address="http://127.0.0.1:1", token=token, mount="kv").read("a#b")


def load_settings(token: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SURVEIL_TOKEN_FILE", str(token))
        load(ClientConfig, {})


READERS: dict[str, Callable[[Path], object]] = {
    "the token of the forge": lambda path: read_credential(path, "the token of the forge"),
    "the token for the Vault": ask_the_vault,
    "the keys of the bucket": read_credentials,
    "what SURVEIL_TOKEN is": load_settings,
}


@pytest.mark.parametrize("what", list(READERS))
def test_whoever_reads_a_secret_that_everybody_can_read_says_so_once_and_reads_it(
    said: list[str], tmp_path: Path, what: str
) -> None:
    text = "[default]\naws_access_key_id = a\naws_secret_access_key = b\n" if "bucket" in what else "a-secret"
    path = secret(tmp_path / "inner", 0o600, text)
    READERS[what](path)
    assert said == []
    path.chmod(0o644)
    for _ in range(2):
        READERS[what](path)
    assert said == [f"every user of this machine can read {what} in '{path}': type `chmod o= '{path}'`"]
