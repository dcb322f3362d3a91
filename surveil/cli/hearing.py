"""What `doctor` says of who is told of builds.

What belongs here: this one check. What does not: the list of all that waits (`telling`), and telling.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from surveil.cli.findings import Finding, Health
from surveil.errors import SurveilError
from surveil.places import RULES


def check_telling(data: Path) -> Iterator[Finding]:
    """Whether the rules can be used, and everybody whom they name can be told."""
    from surveil.answer.outboxes import targets_in
    from surveil.notify.rules import load_rules

    if not (data / RULES).exists():
        return
    try:
        load_rules(data / RULES)
        targets = targets_in(data)
    except SurveilError as error:
        yield Finding(name="notify", health=Health.BROKEN, sentence=str(error), next=f"edit {data / RULES}")
        return
    for each in targets:
        if each["problem"] is not None:
            sentence = f"{each['name']} cannot be told of {each['waiting']} things: {each['problem']}"
            yield Finding(name="notify", health=Health.WEAK, sentence=sentence, next="surveil notify list")
        else:
            sentence = f"{each['name']} was told {each['delivered']} things, and {each['waiting']} wait"
            yield Finding(name="notify", health=Health.OK, sentence=sentence)
