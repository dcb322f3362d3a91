"""Lists of steps that are used in several jobs: what YAML's aliases make of them.

What belongs here: lists of steps inside of lists of steps, which become one list. What does not: aliases and their
limits (`document`), and what a step may say (`schema`).
"""

from __future__ import annotations

from dataclasses import replace

from surveil.pipeline.document import Listing, Node, Table


def flatten_steps(root: Node) -> Node:
    """The tree with one plain list under each `steps`. Parts of the tree that an alias shares stay as they are."""
    if not isinstance(root, Table):
        return root
    entries = dict(root.entries)
    if isinstance(shared := entries.get("steps"), Table):
        entries["steps"] = replace(shared, entries={name: _flat(steps) for name, steps in shared.entries.items()})
    if isinstance(jobs := entries.get("jobs"), Table):
        entries["jobs"] = replace(jobs, entries={name: _with_flat_steps(job) for name, job in jobs.entries.items()})
    return replace(root, entries=entries)


def _with_flat_steps(job: Node) -> Node:
    if not isinstance(job, Table) or "steps" not in job.entries:
        return job
    return replace(job, entries={**job.entries, "steps": _flat(job.entries["steps"])})


def _flat(steps: Node) -> Node:
    if not isinstance(steps, Listing) or not any(isinstance(item, Listing) for item in steps.items):
        return steps
    return replace(steps, items=[step for item in steps.items for step in _steps_of(item)])


def _steps_of(item: Node) -> list[Node]:
    """No deeper than `document.DEPTH_MAX`, so recursion is safe."""
    if not isinstance(item, Listing):
        return [item]
    return [step for inner in item.items for step in _steps_of(inner)]
