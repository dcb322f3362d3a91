"""What each route answers with, for the description of the API.

What belongs here: the documents by route, and putting them into the description. What does not: what a document holds
(`surveil.answer.shapes`), and what may be wrong with a request (`surveil.web.problems`).

Documents are made by our own functions, and nothing checks them again before they are sent: that would take longer than
making them. Tests hold what every route sends against what is said here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from fastapi import FastAPI

from surveil.answer.shapes.building import (
    ARTIFACT,
    ATTEMPT,
    BUILD,
    CASE,
    FLAKY,
    JOB,
    NOTE,
    REPOSITORY,
    ROW,
    STEP,
    STORY,
    TALLY,
    TESTS,
)
from surveil.answer.shapes.keeping import ACT, HOOK, PASS, PERSON, RUNNER, SCHEDULE, SECRET, STATUS, TARGET, TOKEN
from surveil.answer.shapes.kinds import Schema, Shape, a, components, flag, many, maybe, one_of, record, text, whole
from surveil.core.model import Status
from surveil.store.people import SCOPES
from surveil.web.api import PREFIX
from surveil.web.events import MEDIA_TYPE as EVENTS
from surveil.web.problems import PROBLEM
from surveil.web.routes import read_all
from surveil.web.visitors import COOKIE

_JSON: Final = "application/json"
_UUID: Final = text("the same build for programs that expect a UUID")
_NEXT: Final = "what to give as `before` for more of them; `null` at the end"
_NUMBER: Final = whole("the build's number", least=1)
_STATE: Final = one_of(Status, "how it stands now")

_NAMED_BUILD: Final = BUILD.refined("Build with UUID", uuid=_UUID)
_LISTED_BUILD: Final = BUILD.refined("Listed build", uuid=_UUID, optional=("jobs",))
_LISTED_ARTIFACT: Final = ARTIFACT.refined(
    "Listed artifact", repo=text("its build's repository"), ref=text("its build's ref")
)
_STEP_AT: Final = record(
    optional=("remarks",),
    name=text("its name"),
    state=STEP.keys["state"],
    log_at=STEP.keys["log_at"],
    remarks=many(record(at=whole("the byte behind which it stands"), text=text("the sentence"))),
)
_ROWS: Final = Shape(
    "Rows of a log",
    {
        "attempt": whole("the attempt's number", least=1),
        "runner": maybe(text("the name of its runner")),
        "steps": many(_STEP_AT, "where in the log its steps begin, and what surveil has to say of their output"),
        "missing": ATTEMPT.keys["log_missing"],
        "rows": many(ROW, "the rows, in their order"),
        "number": maybe(whole("the number of the line of the first row; `null` while nobody has counted so far")),
        "at": whole("the first row's first byte"),
        "next": whole("the byte after the last row"),
        "end": whole("the byte after the log"),
        "damaged": flag("whether something of it cannot be read any more"),
    },
)
_DAMAGED: Final = many(
    record(at=whole("the first byte"), end=whole("the byte after the last one")), "what cannot be read any more"
)
_NEW_ROWS: Final = Shape(
    "New rows of a log",
    {
        "attempt": _ROWS.keys["attempt"],
        "runner": text("the name of its runner; may be empty"),
        "steps": _ROWS.keys["steps"],
        "missing": ATTEMPT.keys["log_missing"],
        "rows": many(ROW, "the rows, in their order; an `open` one comes again, as a whole, with more of it"),
        "at": whole("the first row's first byte"),
        "next": whole("the byte from which on is told next"),
        "damaged": _DAMAGED,
    },
)
_PIECE: Final = Shape(
    "New piece of a log",
    {
        "attempt": _ROWS.keys["attempt"],
        "at": whole("its first byte"),
        "next": whole("the byte after its last one"),
        "text": text("the bytes between as UTF-8; what is not UTF-8 is replaced"),
        "runner": text("the name of its runner; may be empty"),
        "steps": _ROWS.keys["steps"],
        "damaged": _DAMAGED,
        "missing": ATTEMPT.keys["log_missing"],
    },
)
_FOUND_ROW: Final = ROW.refined("Found row", number=maybe(whole("its line's number, where that is known", least=1)))
_ASKED: Final = Shape("Asked", {"build": _NUMBER, "state": _STATE})
_MADE: Final = Shape("Made", {"id": _NUMBER, "uuid": _UUID})
_ME: Final = Shape(
    "Me",
    {
        "person": text("who asks"),
        "user": maybe(text("the person whose roles they have; `null` where their pass alone says what they may")),
        "everywhere": maybe(one_of(SCOPES, "what they may do in all repositories")),
        "roles": many(
            record(repo=text("a pattern of repositories"), role=one_of(SCOPES, "what they may do there")),
            "what they may do beyond that",
        ),
    },
)
_NEW_TOKEN: Final = Shape(
    "New token",
    {
        "token": text("what a machine joins with: `surveil runner --join TOKEN`; it is never shown again"),
        "id": TOKEN.keys["id"],
        "expires_at": TOKEN.keys["expires_at"],
    },
)
SHAPES: Final = (
    PROBLEM, ACT, ARTIFACT, ATTEMPT, BUILD, CASE, FLAKY, HOOK, JOB, NOTE, PASS, PERSON, ROW, RUNNER, SCHEDULE, SECRET,
    REPOSITORY, STATUS, STEP, STORY, TALLY, TARGET, TESTS, TOKEN, _ASKED, _FOUND_ROW, _LISTED_ARTIFACT, _LISTED_BUILD,
    _MADE, _ME, _NAMED_BUILD, _NEW_ROWS, _NEW_TOKEN, _PIECE, _ROWS,
)  # fmt: skip

_BUILDS: Final = f"{PREFIX}/builds"
_ONE: Final = f"{_BUILDS}/{{build}}"
_JOB: Final = f"{_ONE}/jobs/{{job}}"
_LOG: Final = f"{_JOB}/attempts/{{attempt}}/log"
_LOG_ROUTE: Final = f"GET {_LOG}"

ANSWERS: Final[Mapping[str, Schema]] = {
    f"GET {PREFIX}/status": a(STATUS),
    f"GET {_BUILDS}": record(
        builds=many(_LISTED_BUILD, "the builds, newest first; without `jobs` where these are not wanted"),
        next=maybe(whole(_NEXT)),
    ),
    f"POST {_BUILDS}": record(
        id={"type": ["integer", "string"], "description": "the build's number, or its UUID for who said `repo_url`"},
        build=_NUMBER, uuid=_UUID, state=one_of(("queued",), "how it stands"),
    ),
    f"GET {_ONE}": a(_NAMED_BUILD),
    f"GET {_ONE}/artifacts": many(ARTIFACT),
    f"GET {_ONE}/story": many(STORY),
    f"GET {_ONE}/tests": a(TESTS),
    f"POST {_ONE}/approve": a(_ASKED),
    f"POST {_ONE}/cancel": a(_ASKED),
    f"POST {_ONE}/unhold": a(_ASKED),
    f"POST {_ONE}/retry": record(build=whole("the new build's number", least=1), uuid=_UUID),
    f"GET {_JOB}": a(JOB),
    f"GET {_JOB}/attempts/{{attempt}}": a(ATTEMPT),
    f"GET {_LOG}/rows": a(_ROWS),
    f"GET {_LOG}/search": record(
        rows=many(_FOUND_ROW), next=maybe(whole("the byte at which to go on; `null` at the log's end"))
    ),
    f"GET {PREFIX}/artifacts": record(artifacts=many(_LISTED_ARTIFACT, "newest first"), next=maybe(whole(_NEXT))),
    f"GET {PREFIX}/audit": record(acts=many(ACT, "newest first"), next=maybe(whole(_NEXT))),
    f"GET {PREFIX}/hooks": many(HOOK),
    f"PUT {PREFIX}/hooks": a(HOOK),
    f"POST {PREFIX}/hooks/allow": record(repo=HOOK.keys["repo"], may=HOOK.keys["may"]),
    f"GET {PREFIX}/join-tokens": many(TOKEN),
    f"POST {PREFIX}/join-tokens": a(_NEW_TOKEN),
    f"GET {PREFIX}/me": a(_ME),
    f"GET {PREFIX}/passes": many(PASS),
    f"POST {PREFIX}/questions/{{question}}": record(
        body={"description": "the answer: the document that the command prints, or what it is made of"},
        data={"type": "string", "contentEncoding": "base64", "description": "the bytes beside it"},
    ),
    f"GET {PREFIX}/repositories": many(REPOSITORY),
    f"GET {PREFIX}/runners": many(RUNNER),
    f"POST {PREFIX}/runners/{{name}}/{{order}}": record(
        name=text("the runner, as it was named"), order=one_of(("drain", "cordon", "uncordon"), "what it was ordered")
    ),
    f"GET {PREFIX}/schedules": many(SCHEDULE),
    f"GET {PREFIX}/secrets": many(SECRET),
    f"PUT {PREFIX}/secrets/{{name}}": record(name=SECRET.keys["name"]),
    f"GET {PREFIX}/users": many(PERSON),
    f"PUT {PREFIX}/users/{{name}}": a(PERSON),
    f"DELETE {PREFIX}/users/{{name}}": record(
        name=PERSON.keys["name"], ended=whole("how many of their links, sessions and tokens were still good")
    ),
    "GET /runner": many(RUNNER),
    "POST /runner": a(_NEW_TOKEN),
    "POST /commit": a(_MADE),
}  # fmt: skip
"""The document of each route that answers with one."""
STREAMS: Final[Mapping[str, Mapping[str, Schema]]] = {
    f"GET {PREFIX}/events": {"note": a(NOTE)},
    f"GET {_JOB}/log/follow": {"piece": a(_PIECE), "end": record()},
    f"GET {_JOB}/log/rows/follow": {"rows": a(_NEW_ROWS), "end": record()},
}
"""The events of each route that tells what happens as it happens, by kind. Each ends with `problem` where something
went wrong.
"""
_PROBLEM_EVENT: Final = record(detail=PROBLEM.keys["detail"])
FILES: Final[Mapping[str, str]] = {
    _LOG_ROUTE: "text/plain",
    f"GET {_ONE}/artifacts/{{name}}": "application/octet-stream",
}
"""What each route sends that sends bytes."""
_TAG: Final = "the document's tag, another one exactly when the document is; `If-None-Match` takes it"
_SAME: Final = "the document is the one whose tag `If-None-Match` named"
_PART: Final = "the bytes that `Range` names"
_NO_PART: Final = "the log has none of the bytes that `Range` names"
_WAYS_IN: Final[Mapping[str, Schema]] = {
    "token": {"type": "http", "scheme": "bearer", "description": "what `surveil login --token` makes"},
    "session": {"type": "apiKey", "in": "cookie", "name": COOKIE, "description": "a browser that signed in"},
}


class DescribedApp(FastAPI):
    """An application whose description says what its routes answer with."""

    def openapi(self) -> dict[str, Any]:
        """The description, made once."""
        if self.openapi_schema is None:
            read_all(self.routes)
            describe(super().openapi())
        assert self.openapi_schema is not None, "the framework keeps what it made"
        return self.openapi_schema


def describe(document: dict[str, Any]) -> None:
    """Complete the framework's description with what it cannot know."""
    asked, sent = document["components"]["schemas"], components(SHAPES)
    assert asked.keys().isdisjoint(sent), f"what is asked has the names of documents: {asked.keys() & sent.keys()}"
    asked.update(sent)
    document["components"]["securitySchemes"] = dict(_WAYS_IN)
    document["security"] = [{name: []} for name in _WAYS_IN]
    for label, operation in operations(document):
        status = next(status for status in operation["responses"] if status.startswith("2"))
        answer = operation["responses"][status]
        if label in ANSWERS:
            answer["content"] = {_JSON: {"schema": dict(ANSWERS[label])}}
            if label.startswith(f"GET {PREFIX}/"):
                answer["headers"] = {"ETag": {"required": True, "schema": {"type": "string"}, "description": _TAG}}
                operation["responses"]["304"] = {"description": _SAME}
        elif label in STREAMS:
            kinds = {**STREAMS[label], "problem": _PROBLEM_EVENT}
            answer["description"] = "Server-sent events; what each kind of them holds is below `x-events`"
            answer["content"] = {EVENTS: {"schema": {"type": "string"}, "x-events": kinds}}
        elif label in FILES:
            answer["content"] = {FILES[label]: {"schema": {"type": "string", "format": "binary"}}}
        if label == _LOG_ROUTE:
            operation["responses"]["206"] = {**answer, "description": _PART}
            operation["responses"]["416"] = {"description": _NO_PART}


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The routes of a description, each as its method and path."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation
