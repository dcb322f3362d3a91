"""What is there for good is left out by the collector of garbage, and what was garbage before goes all the same."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from importlib import import_module

import pytest

from surveil.lasting import begin_anew, loading, settle

ROLE = """
import gc
looks = []
gc.callbacks.append(lambda phase, info: looks.append(info) if phase == "start" else None)
from surveil.lasting import loading, settle
before = len(looks)
with loading():
    import surveil.core.dispatch
during = len(looks) - before
settle()
print(during, len(gc.get_objects()) < gc.get_freeze_count() / 10, gc.isenabled())
"""


@loading()
def load_what_is_missing() -> None:
    """Fail while the collector rests."""
    assert not gc.isenabled()
    import_module("surveil.missing")


class Circle:
    """Garbage that only the collector finds."""

    def __init__(self) -> None:
        self.itself = self


def test_the_collector_rests_while_modules_are_loaded_and_leaves_them_out_afterwards() -> None:
    said = subprocess.run([sys.executable, "-c", ROLE], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["0", "True", "True"]


def test_the_collector_goes_on_though_loading_fails_and_rests_on_where_it_rested() -> None:
    try:
        with pytest.raises(ModuleNotFoundError):
            load_what_is_missing()
        assert gc.isenabled()
        gc.disable()
        with loading():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
        begin_anew()


def test_what_was_there_for_good_goes_when_all_is_opened_anew() -> None:
    circle = Circle()
    gone = weakref.ref(circle)
    settle()
    del circle
    gc.collect()
    assert gone() is not None
    begin_anew()
    assert gone() is None
