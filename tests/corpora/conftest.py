"""The command line's own fixtures."""

from tests.cli.conftest import counter, home, type_

__all__ = ["counter", "home", "type_"]
