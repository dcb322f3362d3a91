"""The HTTP API below `/api/v1`: the same documents that `--json` prints, by the same names.

What belongs here: the contract of the package. What does not: the routes: `reading` looks, `acting` changes,
`submitting` has commits built, `keeping` is about secrets and tokens, `auditing` tells who did what, `narwhal`
speaks as that does, `logs` gives bytes and lines, `following` tells what happens, `questions` is for the command line;
`asking` holds what they share.

Every route takes a token (`Authorization: Bearer`) or a session. Lists come in pages, with `next` to ask for the
next one. What is wrong is said as `application/problem+json`.
"""

from typing import Final

PREFIX: Final = "/api/v1"
