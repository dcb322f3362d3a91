"""The option that writes the traces of scenarios anew."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rewrite-scenarios", action="store_true", help="write what comes out of each scenario into its file"
    )
