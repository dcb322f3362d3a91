"""`python -m tests.campaign`: real faults on a cluster of real processes, and whether its promises hold.

What belongs here: the command line. What does not: rounds, kinds and rules.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random

from tests.campaign import apart
from tests.campaign.cluster import Cluster
from tests.campaign.faults import Kind, all_kinds
from tests.campaign.rounds import Campaign, Round
from tests.campaign.settings import Settings, draw
from tests.campaign.table import table


def main() -> int:
    """Run what the command line asks for; 0 if nothing was wrong, 2 if this machine cannot."""
    chosen = _parse()
    kinds = all_kinds()
    if chosen.list:
        for each in kinds.values():
            _say(f"{each.name:<24} {' '.join(each.matrix):<8} {each.sentence}")
        return 0
    unknown = [name for name in chosen.only if name not in kinds]
    if unknown:
        _say(f"There is no kind {', '.join(unknown)}; `python -m tests.campaign --list` names them all.")
        return 2
    if not apart.inside():
        lack = apart.missing()
        if lack:
            _say(lack)
            return 2
        apart.enter("tests.campaign", sys.argv[1:])
    return _campaign(chosen, kinds)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    parser.add_argument("--faults", type=int, default=30, help="how many rounds (default: 30)")
    parser.add_argument("--seed", type=int, default=1, help="what everything is drawn from (default: 1)")
    parser.add_argument("--only", action="append", default=[], metavar="KIND", help="strike only this kind; repeatable")
    parser.add_argument("--each", action="store_true", help="strike each kind once, in order, instead of drawing")
    parser.add_argument("--usual", action="store_true", help="live by the usual policy, not the quick one")
    parser.add_argument("--keep", action="store_true", help="keep the folders even if nothing was wrong")
    parser.add_argument("--discard", action="store_true", help="keep no folders even if something was wrong")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write all measures there, as JSON")
    parser.add_argument("--list", action="store_true", help="name every kind, and end")
    return parser.parse_args()


def _campaign(chosen: argparse.Namespace, kinds: dict[str, Kind]) -> int:
    wanted = {name: kinds[name] for name in chosen.only} or {n: each for n, each in kinds.items() if each.weight > 0}
    weights = {name: each.weight or 1.0 for name, each in wanted.items()}
    settings = draw(chosen.seed, chosen.faults, weights, usual=chosen.usual, each=chosen.each)
    names = iter([[name] for name in wanted]) if chosen.each else _drawn(settings, kinds)
    folder = Path(tempfile.mkdtemp(prefix="surveil-campaign-"))
    rounds: list[Round] = []
    with Cluster(folder, settings) as cluster:
        campaign = Campaign(cluster, kinds)
        for each in campaign.run(names):
            rounds.append(each)
            _say(f"{each.number:>4} {'+'.join(each.kinds):<28} {each.seconds:5.1f} s  {each.what}")
        complaints = rounds[-1].complaints or campaign.last() if rounds else []
    if chosen.report is not None:
        measures = [each.measure.document() for each in rounds if each.measure is not None]
        chosen.report.write_text(json.dumps({"settings": settings.expanded(), "rounds": measures}), encoding="utf-8")
    for line in table(each.measure for each in rounds if each.measure is not None):
        _say(line)
    if complaints:
        for complaint in complaints:
            _say(str(complaint))
        _say(f"options: {json.dumps(settings.expanded())}")
        _say(f"faults so far: {', '.join('+'.join(each.kinds) for each in rounds)}")
        _say(f"replay: python -m tests.campaign {' '.join(sys.argv[1:])}")
    if (complaints or chosen.keep) and not chosen.discard:
        _say(f"everything that was written is kept in {folder}")
    else:
        shutil.rmtree(folder)
    return 1 if complaints else 0


def _drawn(settings: Settings, kinds: dict[str, Kind]) -> Iterator[list[str]]:
    """The kinds of each round: mostly one, sometimes two that overlap."""
    dice = Random(f"kinds {settings.seed}")
    names, weights = list(settings.weights), list(settings.weights.values())
    for _ in range(settings.faults):
        first, second = dice.choices(names, weights, k=2)
        pair = dice.random() < settings.pairs and kinds[first].overlaps(kinds[second])
        yield [first, second] if pair else [first]


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
