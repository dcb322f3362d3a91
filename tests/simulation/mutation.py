"""How a bug is planted: a fragment of a function's source is exchanged at run time, wherever the function is known.

What belongs here: planting, and taking out again. What does not: which bugs (mutants).
"""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

_HOMES = ("surveil.core.", "surveil.hands.", "tests.simulation.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One planted bug: in `place` (`module:function` or `module:Class.method`), `old` became `new`."""

    name: str
    sentence: str
    place: str
    old: str
    new: str
    seeds: tuple[int, ...] = ()
    """Worlds that are known to notice it; they are tried first."""
    rule: str = ""
    """The promise that the first of them sees broken."""
    argued: str = ""
    """Why no world can notice it, and which directed test does."""


class StaleMutantError(Exception):
    """The code that the bug was to be planted into has changed: the list of mutants must follow it."""


@contextmanager
def planted(mutant: Mutant) -> Iterator[None]:
    """Have the bug in place for a while.

    Raises:
        StaleMutantError: its fragment is not, or not once, in its place any more.
    """
    module_name, _, path = mutant.place.partition(":")
    module = import_module(module_name)
    owner, _, name = path.rpartition(".")
    holder = getattr(module, owner) if owner else module
    original = holder.__dict__[name]
    mutated = _mutate(original, mutant, module.__dict__)
    undo = [(holder, name, original)]
    if not owner:
        # Other modules took the function by name, and know it as their own.
        for other_name, other in list(sys.modules.items()):
            if other_name.startswith(_HOMES) and other is not module and other.__dict__.get(name) is original:
                undo.append((other, name, original))
    for where, attribute, _ in undo:
        setattr(where, attribute, mutated)
    try:
        yield
    finally:
        for where, attribute, before in undo:
            setattr(where, attribute, before)


def _mutate(original: Any, mutant: Mutant, names: dict[str, Any]) -> Any:
    function: Any = original.fget if isinstance(original, property) else original
    source = textwrap.dedent(inspect.getsource(function))
    old, new = (textwrap.dedent(text) for text in (mutant.old, mutant.new))
    if source.count(old) != 1:
        raise StaleMutantError(f"{mutant.name}: {old!r} is {source.count(old)} times in {mutant.place}, not once")
    made: dict[str, Any] = {}
    code = compile("from __future__ import annotations\n" + source.replace(old, new), f"<{mutant.name}>", "exec")
    exec(code, names, made)  # the text is our own, with one fragment exchanged
    return made[function.__name__]
