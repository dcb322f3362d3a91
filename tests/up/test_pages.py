"""Where the pages of `up` are served."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from surveil.config import HTTP_DEFAULT, UpConfig
from surveil.errors import UsageError
from surveil.up import pages
from surveil.up.pages import address_for, require_apart, settings_for_notify, settings_for_pages


def taken() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def test_nobody_who_wants_none_gets_any() -> None:
    assert address_for(UpConfig(http="off")) is None


def test_an_address_that_was_asked_for_is_the_one_even_if_it_is_taken() -> None:
    with taken() as other:
        wanted = f"127.0.0.1:{other.getsockname()[1]}"
        assert address_for(UpConfig(http=wanted)) == wanted


def test_the_usual_address_gives_way_where_it_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with taken() as other:
        usual = f"127.0.0.1:{other.getsockname()[1]}"
        monkeypatch.setattr(pages, "HTTP_DEFAULT", usual)
        found = address_for(UpConfig())
        assert found is not None
        assert found != usual
    assert address_for(UpConfig()) == usual


@pytest.mark.parametrize(
    ("about", "refused"),
    [
        (
            {"http": "127.0.0.1:7400"},
            "--http 127.0.0.1:7400 is where something else of this `up` listens, by --listen:",
        ),
        ({"http": "localhost:7401"}, "by --listen, as the dispatcher takes ports 7400 and 7401: choose another port"),
        ({"http": "0.0.0.0:7401"}, "choose another port with --http"),
        ({"http": "127.0.0.9:7401", "listen": "tcp://*:7400"}, "choose another port with --http"),
        ({"http": "[::1]:7401", "listen": "tcp://[::1]:7400"}, "choose another port with --http"),
        ({"http": "off", "metrics": "127.0.0.1:7401"}, "choose another port with --metrics"),
        ({"http": "127.0.0.1:80", "metrics": "127.0.0.1:80"}, "listens, by --http: choose another port with --metrics"),
        ({"http": "127.0.0.1:7402", "metrics": "127.0.0.1:7399"}, ""),
        ({"http": "127.0.0.2:7401"}, ""),
        ({"http": "127.0.0.1:0", "metrics": "127.0.0.1:0"}, ""),
        ({"http": "127.0.0.1:1", "listen": "tcp://127.0.0.1:0"}, ""),
        ({}, ""),
    ],
)
def test_pages_that_could_never_be_served_are_refused(about: dict[str, str], refused: str) -> None:
    """The link to them was printed, and the second port of the dispatcher answered it with nothing."""
    config = UpConfig(**{"listen": "tcp://127.0.0.1:7400", **about})  # type: ignore[arg-type]
    if not refused:
        require_apart(config)
        return
    with pytest.raises(UsageError) as told:
        require_apart(config)
    assert refused in str(told.value)


def test_a_port_is_chosen_once_so_that_pages_stay_where_they_are() -> None:
    found = address_for(UpConfig(http="127.0.0.1:0"))
    assert found is not None
    assert not found.endswith(":0")


def test_pages_are_told_where_the_dispatcher_keeps_its_things_and_nothing_else() -> None:
    config = UpConfig(database="sqlite:////srv/x.db", blobs="s3://builds", blobs_credentials=Path("/etc/keys"), slots=3)
    assert settings_for_pages(config) == {
        "SURVEIL_DATABASE": "sqlite:////srv/x.db",
        "SURVEIL_BLOBS": "s3://builds",
        "SURVEIL_BLOBS_CREDENTIALS": "/etc/keys",
    }
    assert HTTP_DEFAULT.startswith("127.0.0.1:")


def test_who_tells_others_is_told_where_the_pages_are_and_where_the_dispatcher_keeps_its_builds() -> None:
    config = UpConfig(database="sqlite:////srv/x.db", blobs="s3://builds", public_url="https://ci.example.org")
    assert settings_for_notify(config) == {
        "SURVEIL_DATABASE": "sqlite:////srv/x.db",
        "SURVEIL_PUBLIC_URL": "https://ci.example.org",
    }


def test_no_database_is_imported_where_nobody_wants_pages() -> None:
    words = "import surveil.up.once, surveil.up.watching, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, timeout=60, check=True)
    assert {"surveil.up.pages", "sqlalchemy"} & set(done.stdout.split()) == {"surveil.up.pages"}
