"""A place for the test with real processes."""

from tests.system.conftest import place

__all__ = ["place"]
