"""What steps put out, read from files that strangers wrote."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from surveil.execute.files import OutputStatus
from surveil.execute.keeper.outputs import OUTPUTS_BYTES_MAX, OUTPUTS_MAX, OutputsError, read_outputs
from tests.execute.conftest import Kept, job


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "outputs"


def test_the_last_value_of_each_name_counts_and_a_value_may_hold_anything_but_line_ends(file: Path) -> None:
    file.write_text("a=1\n\nversion=1.2=beta \N{SNOWMAN}\ta\nempty=\na=2\nx-y_Z9=no end of line")
    assert read_outputs(str(file)) == [
        OutputStatus("a", "2"),
        OutputStatus("version", "1.2=beta \N{SNOWMAN}\ta"),
        OutputStatus("empty", ""),
        OutputStatus("x-y_Z9", "no end of line"),
    ]


def test_without_a_file_there_is_nothing(file: Path) -> None:
    assert read_outputs(str(file)) == []


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"a=1\nversion 2\n", "line 2 of $SURVEIL_OUTPUT is not `NAME=value`"),
        (b"1a=1\n", "line 1 of $SURVEIL_OUTPUT is not `NAME=value`"),
        (b"a" * 101 + b"=1\n", "line 1 of $SURVEIL_OUTPUT is not `NAME=value`"),
        (b"a=1\nb=\xff\n", "line 2 of $SURVEIL_OUTPUT is no UTF-8"),
        (b"a=1\r\n", "line 1 of $SURVEIL_OUTPUT has a control character in its value"),
        (b"a=\x1b[31m\n", "line 1 of $SURVEIL_OUTPUT has a control character in its value"),
        (
            b"a=" + b"x" * OUTPUTS_BYTES_MAX,
            "$SURVEIL_OUTPUT is over 64 KiB: put out names, and keep files as artifacts",
        ),
        (
            b"".join(b"n%d=\n" % number for number in range(OUTPUTS_MAX + 1)),
            "$SURVEIL_OUTPUT has 257 names; at most 256 are kept",
        ),
    ],
)
def test_what_is_no_list_of_outputs_is_refused_with_its_place(file: Path, content: bytes, sentence: str) -> None:
    file.write_bytes(content)
    with pytest.raises(OutputsError) as refused:
        read_outputs(str(file))
    assert str(refused.value) == sentence


def test_as_many_bytes_and_names_as_may_be_are_read(file: Path) -> None:
    file.write_bytes(b"".join(b"n%03d=\n" % number for number in range(OUTPUTS_MAX)))
    assert len(read_outputs(str(file))) == OUTPUTS_MAX
    file.write_bytes(b"a=" + b"x" * (OUTPUTS_BYTES_MAX - 2))
    assert len(read_outputs(str(file))[0].value) == OUTPUTS_BYTES_MAX - 2


def test_a_link_to_a_file_that_only_the_runner_may_read_is_not_followed(file: Path, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("secret=1\n")
    file.symlink_to(tmp_path / "key")
    with pytest.raises(OutputsError, match="cannot be read"):
        read_outputs(str(file))


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_neither_a_pipe_nor_a_folder_holds_anybody_up(file: Path, make: object) -> None:
    make(file)  # type: ignore[operator]
    with pytest.raises(OutputsError):
        read_outputs(str(file))


# ---- with a real keeper ----


def test_every_step_of_a_job_may_put_something_out(kept: Kept) -> None:
    status = kept.run(
        job('echo "version=1.2" >> "$SURVEIL_OUTPUT"', 'printf "a=b\\nversion=1.3\\n" >> "$SURVEIL_OUTPUT"')
    )
    assert (status.outcome, status.outputs) == ("passed", [OutputStatus("version", "1.3"), OutputStatus("a", "b")])


def test_a_failed_job_puts_out_what_it_had(kept: Kept) -> None:
    status = kept.run(job('echo "reason=early" >> "$SURVEIL_OUTPUT"; exit 3'))
    assert (status.outcome, status.exit_code, status.outputs) == ("failed", 3, [OutputStatus("reason", "early")])


def test_a_job_whose_outputs_cannot_be_read_has_not_passed(kept: Kept) -> None:
    status = kept.run(job('ln -sf /etc/passwd "$SURVEIL_OUTPUT"'))
    assert (status.outcome, status.outputs) == ("failed", [])
    assert "$SURVEIL_OUTPUT cannot be read" in status.reason


def test_outputs_fit_into_what_is_held_back_for_a_full_disk(kept: Kept) -> None:
    script = 'python3 -c "print(\'a=\' + \'\\"\\u2603\' * 16000)" >> "$SURVEIL_OUTPUT"'
    status = kept.run(job(script))
    assert status.outcome == "passed", status.reason
    assert len(status.outputs[0].value) == 32_000
    assert (kept.folder / "status.json").stat().st_size < 320 * 1024
