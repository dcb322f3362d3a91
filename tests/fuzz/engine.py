"""One target under the engine: `python -m tests.fuzz.engine TARGET [--planted MISTAKE] [options of libFuzzer]`.

What belongs here: atheris, and nothing else imports it. It is told which of our modules to watch before they are
imported, and writes down an input under which a target raises. What does not: how long, and what is printed
(`__main__`).
"""

from __future__ import annotations

import builtins
import importlib
import sys
from pathlib import Path
from types import CodeType
from typing import Any, Final

import atheris

LATE: Final = {
    "surveil.pipeline": ("surveil.pipeline.dialects", "surveil.pipeline.document", "surveil.pipeline.schema"),
    "surveil.config": ("surveil.config.loading", "surveil.config.roles"),
}
"""What rooms of our own code import at its first use, which would be too late to be watched."""


def main(arguments: list[str]) -> None:
    """Watch our own code, plant a mistake if asked, and run until the engine has enough."""
    name, *options = arguments
    planted = options.pop(1) if options[:1] == ["--planted"] else ""
    if planted:
        options.pop(0)
    with atheris.instrument_imports(include=["surveil"], enable_loader_override=False):
        from tests.fuzz.planted import PLANTED  # noqa: PLC0415  # what it imports is watched
        from tests.fuzz.targets import TARGETS  # noqa: PLC0415

        target = TARGETS[name]
        target.load()
        importlib.import_module("surveil.codec")  # for what is made of it below
        for room, modules in LATE.items():
            for module in modules if room in sys.modules else ():
                importlib.import_module(module)
    _watch_made_code()
    if planted:
        PLANTED[planted].plant()
    seeds = [option for option in options if not option.startswith("-")]
    for number, seed in enumerate(target.seeds() if seeds else ()):
        path = Path(seeds[0], f"seed-{number:04d}")
        if not path.exists():
            path.write_bytes(seed)
    atheris.Setup([sys.argv[0], *options], target.check)
    atheris.Fuzz()


def _watch_made_code() -> None:
    """Codecs are text that is made from annotations; what it becomes is watched as well."""
    import surveil.codec as made  # noqa: PLC0415  # it is imported by now, and watched

    def execute(text: str | CodeType, known: dict[str, Any]) -> None:
        builtins.exec(text, known)
        for name in ("unpack", "pack"):
            if name in known:
                known[name] = atheris.instrument_func(known[name])

    made.exec = execute  # type: ignore[attr-defined]  # it shadows the built-in one there


if __name__ == "__main__":
    main(sys.argv[1:])
