"""The table of several campaigns."""

import json
from pathlib import Path

import pytest

from tests.campaign import table
from tests.campaign.measures import Measure


def test_reports_are_merged_by_kind_and_counted_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one = Measure(kind="host-power", jobs=5, attempts=6, lost=1, detected_ms=[2_000], rerun_ms=[2_500])
    two = Measure(kind="host-power", jobs=4, attempts=6, lost=2, doubled=1, needless=1, detected_ms=[4_000, 9_000])
    both = Measure(kind="agent-kill+herd", faults=2, jobs=3, attempts=3)
    for name, measures in (("a", [one, both]), ("b", [two])):
        (tmp_path / name).write_text(json.dumps({"rounds": [each.document() for each in measures]}))
    monkeypatch.setattr("sys.argv", ["table", str(tmp_path / "a"), str(tmp_path / "b")])
    assert table.main() == 0
    head, _, *rows = capsys.readouterr().out.splitlines()
    assert head.startswith("| fault | faults | jobs |")
    assert rows == [
        "| `host-power` | 2 | 9 | 12 | 3 | 1 | 1 | 4.0, 9.0, 9.0 s | 2.5, 2.5, 2.5 s |",
        "| two at once | 2 | 3 | 3 | 0 | 0 | 0 |  |  |",
        "| **all** | 4 | 12 | 15 | 3 | 1 | 1 | 4.0, 9.0, 9.0 s | 2.5, 2.5, 2.5 s |",
    ]
