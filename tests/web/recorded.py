"""What GitHub's webhooks were recorded to hold, for tests that believe no memory of ours."""

from __future__ import annotations

import json
from functools import cache
from typing import Any, Final

from tests.npm import unpacked

PACKAGE: Final = "@octokit/webhooks-examples"
VERSION: Final = "7.6.1"
SHA512: Final = "De6U3XB6O3DtCa7bKgCMzTHdeopqqZ6SNivMYJnK65ierKL1AnNIA0tkRYCRS7lwGT792d+Ps1WbfHlso6MynQ=="


@cache
def recorded() -> dict[str, list[dict[str, Any]]]:
    """All payloads of GitHub's cloud and of its own servers, by event."""
    found: dict[str, list[dict[str, Any]]] = {}
    for file in sorted(unpacked(PACKAGE, VERSION, SHA512).glob("*/index.json")):
        for event in json.loads(file.read_text()):
            found.setdefault(event["name"], []).extend(event["examples"])
    return found
