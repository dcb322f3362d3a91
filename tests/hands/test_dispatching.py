"""What a dispatcher looks at before it begins: whether its key and its database belong together."""

from pathlib import Path

import pytest

from surveil.errors import InvalidError
from surveil.hands.dispatching import check_pair
from surveil.net.keys import SERVER_KEY, load_or_make_keys
from surveil.places import KEYS, RUNNERS


@pytest.mark.parametrize("content", [None, b"", b"S"])
def test_a_database_that_lost_everything_is_no_new_one(tmp_path: Path, content: bytes | None) -> None:
    """SQLite takes a file of one byte for an empty database, and all builds would be forgotten without a word."""
    (tmp_path / KEYS).mkdir()
    load_or_make_keys(tmp_path / KEYS / SERVER_KEY)
    if content is not None:
        (tmp_path / "surveil.db").write_bytes(content)
    with pytest.raises(InvalidError, match="is missing or empty: put back a copy"):
        check_pair(tmp_path, tmp_path / "surveil.db")


def test_a_database_without_its_key_is_refused_and_a_new_folder_is_not(tmp_path: Path) -> None:
    check_pair(tmp_path, tmp_path / "surveil.db")
    (tmp_path / "surveil.db").write_bytes(b"SQLite format 3")
    with pytest.raises(InvalidError, match="has a database but not its key"):
        check_pair(tmp_path, tmp_path / "surveil.db")


def test_whoever_begins_anew_is_told_to_remove_what_joined_by_the_old_key_and_would_not_join_by_the_next(
    tmp_path: Path,
) -> None:
    for folder in (KEYS, "observer", RUNNERS):
        (tmp_path / folder).mkdir()
    load_or_make_keys(tmp_path / KEYS / SERVER_KEY)
    with pytest.raises(InvalidError) as caught:
        check_pair(tmp_path, tmp_path / "surveil.db")
    gone = f"{tmp_path / KEYS / SERVER_KEY} and {tmp_path / 'observer'} and {tmp_path / RUNNERS}"
    assert f"to begin anew, remove {gone} as well" in str(caught.value)
