"""The dashboard, the alerts and the how-to speak of numbers that there are, and Prometheus' own tool can read them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from surveil.store.outbox import Outbox
from tests.web.stage import Stage

HOW_TO = Path(__file__).parents[2] / "docs/how-to"
PAGE, ALERTS, DASHBOARD = (
    HOW_TO / "watch-over.md",
    HOW_TO / "watch-over/alerts.yml",
    HOW_TO / "watch-over/dashboard.json",
)
NAME = re.compile(r"\b(?:surveil|process)_[a-z_]+\b")
LABELS = re.compile(r"\{([^}]*)\}")


@pytest.fixture
def there_are(stage: Stage) -> Iterator[dict[str, set[str]]]:
    """Every name that may be asked for, with its labels."""
    outbox = Outbox(stage.folder)
    outbox.begin("forge", position=0, at=0)
    outbox.close()
    stage.post("/hooks/github")
    stage.desk.live.troubles = lambda: [("strangers turned away", 3, "192.0.2.1")]
    text = stage.get("/metrics", stage.token()).text
    found: dict[str, set[str]] = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, _, rest = line.rpartition(" ")[0].partition("{")
            found.setdefault(name, set()).update(re.findall(r'(\w+)="', rest))
    yield found
    stage.app.state.gatherer.close()


def promtool(*words: str | Path) -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("there is no promtool: type `apt install prometheus`")
    done = subprocess.run([found, *words], check=False, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def queries() -> list[str]:
    dashboard: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def test_every_query_asks_for_what_there_is(there_are: dict[str, set[str]]) -> None:
    for text in (*queries(), ALERTS.read_text().replace("SurveilNo", "")):
        for name, labels in re.findall(r"\b((?:surveil|process)_[a-z_]+)\b(\{[^}]*\})?", text):
            assert name in there_are, name
            asked = set(re.findall(r"(\w+)=", labels)) - {"job"}
            assert asked <= there_are[name], (name, labels)


def test_what_is_grouped_by_is_a_label_of_what_is_asked_for(there_are: dict[str, set[str]]) -> None:
    for query in queries():
        for by in re.findall(r"by \(([^)]*)\)", query):
            (name, *_) = NAME.findall(query)
            assert {each.strip() for each in by.split(",")} <= there_are[name], query


def test_the_how_to_names_every_number_and_no_other(there_are: dict[str, set[str]]) -> None:
    table = PAGE.read_text().partition("## What there is")[2]
    said = {
        name: set(filter(None, labels.split(",")))
        for name, labels in re.findall(r"`(surveil_\w+)(?:\{([\w,]+)\})?`", table)
    }
    ends = re.compile(r"_(?:bucket|sum|count)$")
    whole = {ends.sub("", name): labels - {"le"} for name, labels in there_are.items() if name.startswith("surveil_")}
    assert said == whole


def test_every_panel_has_a_name_and_stands_beside_the_others() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["title"] for panel in panels}) == len(panels) == len({panel["id"] for panel in panels})
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(set(places)) == len(places)


def test_prometheus_understands_the_alerts_the_queries_and_the_configuration(tmp_path: Path) -> None:
    assert "9 rules found" in promtool("check", "rules", ALERTS)
    # A dashboard's queries, with what Grafana would put in their place, are what a rule may record.
    rules = [
        {"record": f"query:{at}", "expr": query.replace("$__rate_interval", "5m").replace("$job", "surveil")}
        for at, query in enumerate(queries())
    ]
    written = tmp_path / "queries.yml"
    written.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", written)
    (configuration,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    collecting = tmp_path / "prometheus.yml"
    collecting.write_text(configuration)
    promtool("check", "config", "--syntax-only", collecting)
