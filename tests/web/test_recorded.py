"""Webhooks as GitHub was recorded to send them, each event of it, to its cloud's customers and from its own servers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from surveil.mirror.place import place_of
from surveil.web.hooks.forges import FORGES, addresses_in
from tests.web.recorded import recorded
from tests.web.stage import Stage
from tests.web.test_hooks import SECRET, deliver, github

MOVING = ("push", "create", "pull_request")


def repository(payload: dict[str, Any]) -> str:
    """What a person would copy from the page of the repository."""
    return str(payload["repository"]["clone_url"])


def test_every_payload_of_a_repository_names_it_as_people_copy_it() -> None:
    seen = 0
    for event, payloads in recorded().items():
        for payload in payloads:
            known = payload.get("repository") or {}
            if "clone_url" not in known:
                continue
            addresses = addresses_in(FORGES["github"], payload)
            assert len(addresses) == 4, event
            # Some were recorded on a server that calls itself `localhost` for ssh.
            assert place_of(repository(payload)) in {place_of(each) for each in addresses}, event
            seen += 1
    assert seen > 500


@pytest.mark.parametrize("event", [*MOVING, "ping"])
def test_what_moves_a_ref_is_a_hint_as_it_was_recorded(stage: Stage, event: str) -> None:
    for number, payload in enumerate(recorded()[event]):
        if "clone_url" not in payload.get("repository", {}):
            continue  # It pings an organisation.
        stage.hooks.set(repository(payload), SECRET, now=stage.now, overlap_ms=0)
        stage.dispatcher.wishes.clear()
        body = json.dumps({**payload, "surveil_test": number}).encode()
        answer = deliver(stage, "github", body, github(body, event=event, delivery=f"{event}-{number}"))
        assert answer.status_code == (200 if event == "ping" else 202), answer.text
        wished = [] if event == "ping" else [("look", {"repo": repository(payload)})]
        assert stage.dispatcher.wishes == wished


def test_nothing_that_github_sends_is_more_than_we_bear(stage: Stage) -> None:
    for event, payloads in recorded().items():
        payload = payloads[0]
        named = "clone_url" in (payload.get("repository") or {})
        if named:
            stage.hooks.set(repository(payload), SECRET, now=stage.now, overlap_ms=0)
        stage.dispatcher.wishes.clear()
        body = json.dumps(payload).encode()
        answer = deliver(stage, "github", body, github(body, event=event, delivery=event))
        assert answer.status_code in ({200, 202} if named else {401}), (event, answer.text)
        assert bool(stage.dispatcher.wishes) == (named and event in MOVING), event
