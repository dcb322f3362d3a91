"""The examples of the how-to: each is a file that can be used as it stands."""

import re
from pathlib import Path

import pytest

from surveil.notify.rules import load_rules

ROOT = Path(__file__).parent.parent.parent
PAGES = ("notifications.md", "statuses.md")
EXAMPLES = [
    (page, number, text)
    for page in PAGES
    for number, text in enumerate(
        re.findall(r"```toml\n(.*?)```", (ROOT / "docs/how-to" / page).read_text(), re.DOTALL)
    )
]  # fmt: skip


@pytest.mark.parametrize(("page", "number", "text"), EXAMPLES)
def test_an_example_is_read_as_it_stands(tmp_path: Path, page: str, number: int, text: str) -> None:
    (tmp_path / "notify.toml").write_text(text)
    rules = load_rules(tmp_path / "notify.toml")
    assert len(rules.forges) + len(rules.channels) + len(rules.exchanges) == text.count("[[")
