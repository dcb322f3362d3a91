"""`python -m tests.campaign.table FILES`: what several campaigns amount to, as the table of docs/reliability.md.

What belongs here: merging reports and laying out the table. What does not: measuring (measures).
"""

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from tests.campaign.measures import Measure

HEAD: Final = (
    "| fault | faults | jobs | attempts | lost | twice at once | needless reruns | noticed after (p50, p99, max) "
    "| runs again after (p50, p99, max) |"
)


def main() -> int:
    """Print the table of the reports that are named."""
    measures = [
        Measure.of_document(each)
        for name in sys.argv[1:]
        for each in json.loads(Path(name).read_text(encoding="utf-8"))["rounds"]
    ]
    sys.stdout.write("\n".join(table(measures)) + "\n")
    return 0


def table(measures: Iterable[Measure]) -> list[str]:
    """The lines of the table, one for each kind and one for all."""
    rows: dict[str, list[Measure]] = {}
    for each in measures:
        name = each.kind if "+" not in each.kind else "two at once"
        rows.setdefault(name, []).append(each)
    everything = [each for group in rows.values() for each in group]
    lines = [HEAD, "|---|" + "--:|" * (HEAD.count("|") - 2)]
    lines += [_row(f"`{name}`" if " " not in name else name, rows[name]) for name in sorted(rows)]
    return [*lines, _row("**all**", everything)]


def _row(name: str, group: Sequence[Measure]) -> str:
    counts = [
        sum(each.faults for each in group),
        sum(each.jobs for each in group),
        sum(each.attempts for each in group),
        sum(each.lost for each in group),
        sum(each.doubled for each in group),
        sum(each.needless for each in group),
    ]
    times = [
        seconds([ms for each in group for ms in each.detected_ms]),
        seconds([ms for each in group for ms in each.rerun_ms]),
    ]
    return f"| {name} | {' | '.join(map(str, counts))} | {' | '.join(times)} |"


def seconds(times_ms: list[int]) -> str:
    """The median, the 99th percentile and the maximum, in seconds."""
    if not times_ms:
        return ""
    ordered = sorted(times_ms)
    picked = [ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] for percent in (50, 99, 100)]
    return ", ".join(f"{ms / 1000:.1f}" for ms in picked) + " s"


if __name__ == "__main__":
    sys.exit(main())
