"""How the tests of the command line type commands."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from surveil.cli.failing import run_to_exit_code
from surveil.cli.grammar import root
from tests.cli.counter import Counter, open_counter


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a command ended: its exit code and what it printed."""

    code: int
    out: str
    err: str
    raw: bytes


Type = Callable[..., Ended]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine on which nobody has set anything; the current folder is empty and the data folder not yet there."""
    for name in ("SURVEIL_DISPATCHER", "SURVEIL_CONFIG", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home" / "config"))
    monkeypatch.setenv("SURVEIL_DATA", str(tmp_path / "data"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


@pytest.fixture
def type_(home: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> Type:
    """Types a command as a shell would: `type_("show", "12")`."""

    def run(*arguments: str) -> Ended:
        capfdbinary.readouterr()
        code = run_to_exit_code(root, arguments)
        out, err = capfdbinary.readouterr()
        return Ended(code=code, out=out.decode(errors="replace"), err=err.decode(errors="replace"), raw=out)

    return run


@pytest.fixture
def counter(home: Path) -> Iterator[Counter]:
    """A dispatcher's counter that the commands find by themselves."""
    with open_counter(home / "data") as opened:
        yield opened
