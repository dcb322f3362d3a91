"""What a role says of itself: one line for one event, which no stranger's text can break or fake."""

import json
import logging
import re

import pytest

from surveil.say import LEVELS, Voice, begin

pytestmark = pytest.mark.usefixtures("own_log")

NASTY = 'x\n12:00:00 dispatcher: all is well key=1 "quoted" \x1b[31m\u202e'


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


@pytest.mark.parametrize("form", ["text", "auto"])
def test_people_read_the_time_the_role_the_event_and_its_keys(capsys: pytest.CaptureFixture[str], form: str) -> None:
    begin("runner", log_format=form, log_level="info")
    Voice("runner").info("attempt accepted", job="7/test", attempt=1)
    Voice("runner").warning("the disk is nearly full", free_mib=7)
    usual, weak = said(capsys)
    assert re.fullmatch(r"\d\d:\d\d:\d\d runner: attempt accepted job=7/test attempt=1", usual)
    assert re.fullmatch(r"\d\d:\d\d:\d\d runner: warning: the disk is nearly full free_mib=7", weak)


def test_machines_read_a_document_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    begin("dispatcher", log_format="json", log_level="info")
    Voice("gate").error("key refused", peer=NASTY)
    (line,) = map(json.loads, said(capsys))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("at"))
    assert line == {"role": "dispatcher", "part": "gate", "level": "error", "event": "key refused", "peer": NASTY}


def test_a_strangers_text_is_one_value_and_begins_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    begin("dispatcher", log_format="text", log_level="info")
    Voice("gate").info("runner joined", runner=NASTY, host="two words", empty="")
    (line,) = said(capsys)
    values = re.fullmatch(r'\S+ dispatcher: runner joined runner=(".*") host="two words" empty=""', line)
    assert values is not None
    assert json.loads(values[1]) == NASTY
    assert line.isascii()
    assert line.isprintable()


@pytest.mark.parametrize("level", LEVELS)
def test_less_than_the_wanted_level_is_not_said(capsys: pytest.CaptureFixture[str], level: str) -> None:
    begin("observer", log_format="json", log_level=level)
    voice = Voice("observer")
    for say in (voice.debug, voice.info, voice.warning, voice.error):
        say("it happened")
    known = list(LEVELS)
    assert [json.loads(line)["level"] for line in said(capsys)] == known[known.index(level) :]


def test_an_event_that_holds_an_error_tells_all_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    begin("observer", log_format="json", log_level="info")
    try:
        raise ZeroDivisionError("oops")
    except ZeroDivisionError:
        logging.getLogger("surveil.x").exception("a mistake of ours")
    (line,) = map(json.loads, said(capsys))
    assert "ZeroDivisionError: oops" in line["exception"]
    begin("observer", log_format="text", log_level="info")
    try:
        raise ZeroDivisionError("oops")
    except ZeroDivisionError:
        logging.getLogger("surveil.x").exception("a mistake of ours")
    assert said(capsys)[-1] == "ZeroDivisionError: oops"
