"""The reference documents every key, with an example that means what the reference says it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from surveil.core.graph import in_order
from surveil.pipeline import FILENAMES, Invalid, Pipeline, load
from surveil.pipeline.dialects import NARWHAL_TABLES, RUNNERCI_TABLES
from surveil.pipeline.including import gather
from surveil.pipeline.schema import TABLES
from surveil.pipeline.values import SET_BY_SURVEIL
from surveil.protocol import IncludedFile

PAGE = (Path(__file__).parents[2] / "docs/reference/pipeline.md").read_text()
FENCE = re.compile(r"^```yaml *(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SECTION = re.compile(r"^### `([^`]+)`\n(.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)
PREFIXES = {
    (): "",
    ("on",): "on.",
    ("on", "push"): "on.push.",
    ("on", "pull_request"): "on.pull_request.",
    ("on", "schedule", "*"): "on.schedule[].",
    ("on", "manual"): "on.manual.",
    ("on", "manual", "inputs", "*"): "on.manual.inputs.NAME.",
    ("jobs", "*"): "jobs.NAME.",
    ("jobs", "*", "matrix"): "jobs.NAME.matrix.",
    ("jobs", "*", "concurrency"): "jobs.NAME.concurrency.",
    ("jobs", "*", "secrets", "*"): "jobs.NAME.secrets[].",
    ("jobs", "*", "image"): "jobs.NAME.image.",
    ("jobs", "*", "shards"): "jobs.NAME.shards.",
    ("jobs", "*", "services", "*"): "jobs.NAME.services.NAME.",
    ("jobs", "*", "services", "*", "health"): "jobs.NAME.services.NAME.health.",
    ("jobs", "*", "steps", "*"): "jobs.NAME.steps[].",
    ("jobs", "*", "artifacts", "*"): "jobs.NAME.artifacts[].",
    ("jobs", "*", "cache", "*"): "jobs.NAME.cache[].",
}

EXAMPLES = FENCE.findall(PAGE)
INCLUDED = {kind: text for kind, text in EXAMPLES if "/" in kind}
"""Examples that another one includes, by their paths."""
SECTIONS = dict(SECTION.findall(PAGE))
KEYS = [prefix + key for path, prefix in PREFIXES.items() for key in TABLES[path].model_fields]


@pytest.mark.parametrize(("kind", "text"), EXAMPLES)
def test_every_example_is_what_the_page_calls_it(kind: str, text: str) -> None:
    if kind in INCLUDED:
        return  # It is read with the example that includes it.
    files = gather(text, lambda paths: [IncludedFile(path=path, text=INCLUDED[path]) for path in paths])
    loaded = load(text, kind if kind in FILENAMES else ".surveil.yml", files)
    if kind == "refused":
        assert isinstance(loaded, Invalid)
    else:
        assert isinstance(loaded, Pipeline), loaded.render()
        assert sum(len(rank) for rank in in_order(loaded.jobs)) == len(loaded.jobs)


@pytest.mark.parametrize("key", KEYS)
def test_every_key_has_a_section_with_an_example_that_uses_it(key: str) -> None:
    (_, text), *_ = FENCE.findall(SECTIONS[key])
    node = yaml.load(text, yaml.BaseLoader)  # the other one takes `on` for a flag
    for part in key.split("."):
        name = part.removesuffix("[]")
        candidates = list(node.values()) if name == "NAME" else [node[name]]
        node = next((item for item in candidates if _holds(item, key)), candidates[0])
        if part.endswith("[]"):
            node = next((item for item in node if key.rpartition(".")[2] in item), node[0])


def _holds(item: object, key: str) -> bool:
    """Whether the last part of the key is anywhere inside: of several jobs, one shows it."""
    last = key.rpartition(".")[2]
    if isinstance(item, dict):
        return last in item or any(_holds(inner, key) for inner in item.values())
    return isinstance(item, list) and any(_holds(inner, key) for inner in item)


def test_no_section_documents_a_key_that_does_not_exist() -> None:
    assert set(SECTIONS) == set(KEYS)


@pytest.mark.parametrize(
    ("tables", "heading"), [(RUNNERCI_TABLES, "`.runnerci.yml`"), (NARWHAL_TABLES, "`narwhal.yml`")]
)
def test_the_keys_of_the_other_formats_are_named(tables: dict[tuple[str, ...], type], heading: str) -> None:
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    for model in tables.values():
        for key in model.__annotations__:
            assert re.search(rf"[`.]{key}[`.]", section), key


def test_the_variables_that_cannot_be_set_are_listed() -> None:
    assert all(f"`{name}`" in PAGE for name in SET_BY_SURVEIL)
