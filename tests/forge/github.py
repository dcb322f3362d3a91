"""A GitHub with its apps, played on loopback: it lets nobody in who cannot prove who they are, and takes nothing that
its own description does not know.

The schemas hold facts of GitHub's description of its API (npm `@octokit/openapi` 23.0.2): names, kinds and limits.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import jsonschema
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from tests.forge.played import Mood, PlayedForge, Told

TEXT: Final = {"type": "string"}
LINE: Final = {"type": "integer", "minimum": 1}
TIME: Final = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"}
ANNOTATION: Final = {
    "type": "object",
    "properties": {
        "path": TEXT, "start_line": LINE, "end_line": LINE, "start_column": LINE, "end_column": LINE,
        "annotation_level": {"enum": ["notice", "warning", "failure"]},
        "message": {"type": "string", "minLength": 1, "maxLength": 64 * 1024},
        "title": {"type": "string", "maxLength": 255}, "raw_details": TEXT,
    },
    "required": ["path", "start_line", "end_line", "annotation_level", "message"],
    "additionalProperties": False,
}  # fmt: skip
OUTPUT: Final = {
    "type": "object",
    "properties": {
        "title": TEXT, "summary": {"type": "string", "maxLength": 65_535},
        "text": {"type": "string", "maxLength": 65_535},
        "annotations": {"type": "array", "maxItems": 50, "items": ANNOTATION},
    },
    "required": ["title", "summary"],
    "additionalProperties": False,
}  # fmt: skip
CONCLUSIONS: Final = [
    "action_required", "cancelled", "failure", "neutral", "success", "skipped", "stale", "timed_out",
]  # fmt: skip
CHANGED: Final = {
    "name": TEXT, "details_url": TEXT, "external_id": TEXT, "started_at": TIME, "completed_at": TIME,
    "status": {"enum": ["queued", "in_progress", "completed"]}, "conclusion": {"enum": CONCLUSIONS}, "output": OUTPUT,
}  # fmt: skip
CHECK_RUN: Final = {
    "type": "object", "properties": {**CHANGED, "head_sha": TEXT}, "required": ["name", "head_sha"],
    "additionalProperties": False,
}  # fmt: skip
UPDATE: Final = {
    "type": "object", "properties": CHANGED, "additionalProperties": False,
    "dependentRequired": {"completed_at": ["conclusion"]},
    "if": {"properties": {"status": {"const": "completed"}}}, "then": {"required": ["conclusion"]},
}  # fmt: skip
ACCESS: Final = {
    "type": "object",
    "properties": {
        "repositories": {"type": "array", "items": TEXT},
        "permissions": {"type": "object", "properties": {"checks": {"enum": ["read", "write"]}}},
    },
    "additionalProperties": False,
}


class PlayedGitHub(PlayedForge):
    """Knows one app, which is installed for some projects. `now` is its clock, in milliseconds since 1970."""

    app = "Iv23liTheApp"

    def __init__(self, key: RSAKey, now: int) -> None:
        self._key = key
        self.now = now
        self.installed = {"acme/it": 77}
        self.tokens: dict[str, int] = {}
        """By project and number of its making, until when it is good."""
        self.runs: list[dict[str, Any]] = []
        super().__init__()

    def good(self, told: Told) -> Mood:
        path = urlsplit(told.path)
        proof = told.headers.get("authorization", "").removeprefix("Bearer ")
        if found := re.fullmatch(r"/api/v3/repos/([^/]+/[^/]+)/installation", path.path):
            return self._installation(unquote(found[1]), proof)
        if found := re.fullmatch(r"/api/v3/app/installations/(\d+)/access_tokens", path.path):
            return self._access(int(found[1]), proof, told.document)
        if found := re.fullmatch(r"/api/v3/repos/([^/]+/[^/]+)/(commits/(\w+)/)?check-runs(/(\d+))?", path.path):
            if self.now >= self.tokens.get(proof, 0) or not proof.startswith(f"{unquote(found[1])}#"):
                return _said(401, "Bad credentials")
            if told.method == "GET":
                return self._listed(found[3], parse_qs(path.query))
            return self._said_of(told, int(found[5]) if found[5] else None)
        return _said(404, "Not Found")

    def _listed(self, sha: str, asked: dict[str, list[str]]) -> Mood:
        named = [run for run in self.runs if run["head_sha"] == sha and run["name"] == asked["check_name"][0]]
        newest = named[-1:] if asked.get("filter", ["latest"]) == ["latest"] else named
        return _answer(200, {"total_count": len(newest), "check_runs": newest})

    def _said_of(self, told: Told, number: int | None) -> Mood:
        try:
            jsonschema.validate(told.document, CHECK_RUN if number is None else UPDATE)
            jsonschema.validate(told.document, {**UPDATE, "additionalProperties": True, "properties": {}})
        except jsonschema.ValidationError as error:
            return _said(422, error.message)
        if number is None:
            run: dict[str, Any] = {"id": len(self.runs) + 1, "conclusion": None, "external_id": None, "annotations": []}
            self.runs.append(run)
        else:
            run = self.runs[number - 1]
        said = dict(told.document)
        output = dict(said.pop("output"))
        run["annotations"] += output.pop("annotations", [])
        run.update(said, output={**output, "text": None, "annotations_count": len(run["annotations"])})
        return _answer(201 if number is None else 200, run)

    def _installation(self, project: str, proof: str) -> Mood:
        if not self._is_the_app(proof):
            return _said(401, "A JSON web token could not be decoded")
        if project not in self.installed:
            return _said(404, "Not Found")
        return _answer(200, {"id": self.installed[project], "app_slug": "it"})

    def _access(self, number: int, proof: str, wanted: dict[str, Any]) -> Mood:
        if not self._is_the_app(proof):
            return _said(401, "A JSON web token could not be decoded")
        jsonschema.validate(wanted, ACCESS)
        [project] = [name for name, known in self.installed.items() if known == number]
        if wanted != {"repositories": [project.split("/")[1]], "permissions": {"checks": "write"}}:
            return _said(422, "more is asked for than checks of one project")
        token, until = f"{project}#{len(self.tokens)}", self.now + 3_600_000
        self.tokens[token] = until
        text = datetime.fromtimestamp(until / 1000, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return _answer(201, {"token": token, "expires_at": text, "permissions": {"checks": "write"}})

    def _is_the_app(self, proof: str) -> bool:
        try:
            claims = jwt.decode(proof, self._key, algorithms=["RS256"]).claims
        except (JoseError, ValueError):
            return False
        now = self.now // 1000
        return bool(claims["iss"] == self.app and claims["iat"] <= now < claims["exp"] <= now + 600)


def _answer(status: int, document: object) -> Mood:
    return Mood(status=status, body=json.dumps(document).encode())


def _said(status: int, message: str) -> Mood:
    return _answer(status, {"message": message, "documentation_url": "https://docs.github.com/rest"})
