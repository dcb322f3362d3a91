"""The dispatcher's mind, scenario by scenario: the files under `scenarios/` say what goes in and all that must
come out.
"""

from pathlib import Path

import pytest

from tests.core.script import Player

SCENARIOS = sorted((Path(__file__).parent / "scenarios").glob("*.txt"))


def replay(text: str) -> str:
    """Play the commands of a scenario and write it down again with what came out."""
    player, lines = Player(), []
    for line in text.splitlines():
        if line.startswith("  "):
            continue
        lines.append(line)
        if line and not line.startswith("#"):
            lines += [f"  {out}" for out in player.play(line)]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_what_comes_out_is_what_the_scenario_says(path: Path, request: pytest.FixtureRequest) -> None:
    expected = path.read_text()
    real = replay(expected)
    if request.config.getoption("--rewrite-scenarios"):
        path.write_text(real)
    else:
        assert real == expected
