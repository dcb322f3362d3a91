"""The how-to of webhooks: what it says to type is taken as it stands."""

import os
import re
import subprocess
from pathlib import Path
from typing import Final

from tests.web.stage import Stage

HOW_TO: Final = Path(__file__).parents[2] / "docs" / "how-to" / "webhooks.md"
REPO: Final = "git@example.org:team/lib.git"
SECRET: Final = "it is a long secret"
FORM: Final = "application/x-www-form-urlencoded"
"""What curl says of a body where nobody says otherwise."""


def test_the_example_of_anything_that_can_sign_is_taken(stage: Stage) -> None:
    stage.hooks.set(REPO, SECRET, now=stage.now, overlap_ms=0)
    [typed] = [each for each in re.findall(r"```sh\n(.*?)```", HOW_TO.read_text(), re.DOTALL) if "curl" in each]
    # Whatever curl would be told is printed, and asked here.
    script = f"curl() {{ printf '%s\\0' \"$@\"; }}\n{typed}"
    told = subprocess.run(
        ["sh", "-euc", script], env={**os.environ, "SECRET": SECRET}, capture_output=True, check=True, timeout=60
    )
    words = told.stdout.decode().split("\0")
    pairs = [words[at + 1].partition(": ") for at, word in enumerate(words) if word == "-H"]
    headers = {"content-type": FORM, **{name.lower(): value for name, _, value in pairs}}
    answer = stage.post("/hooks/generic", headers, content=words[words.index("-d") + 1].encode())
    assert (answer.status_code, answer.json().get("heard")) == (202, "a hint"), answer.text
    assert stage.dispatcher.wishes == [("look", {"repo": REPO})]
