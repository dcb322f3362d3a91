"""validate, explain and init: from a file to complaints, a graph, or a first draft."""

import io
import json
from pathlib import Path

import pytest

from tests.cli.conftest import Type

GOOD = "jobs:\n  build: {steps: [{run: make}]}\n  test: {needs: [build], steps: [{run: make test}]}\n"
BAD = "jobs:\n  test:\n    steps:\n      - run: ls\n        foo: 1\n"


def test_a_good_file_is_valid(type_: Type, home: Path) -> None:
    (home / "here" / ".surveil.yml").write_text(GOOD)
    ended = type_("validate")
    assert (ended.code, ended.out) == (0, ".surveil.yml: valid; jobs: 2, steps: 2\n")
    assert json.loads(type_("validate", "--json").out) == {"file": ".surveil.yml", "complaints": []}


def test_a_bad_file_is_exit_code_3_with_place_line_caret_and_hint(type_: Type, home: Path) -> None:
    (home / "here" / "ci.yml").write_text(BAD)
    ended = type_("validate", "ci.yml")
    assert ended.code == 3
    lines = ended.out.splitlines()
    assert lines[0] == "ci.yml:5:9: unknown key `foo` in `jobs.test.steps[0]`"
    assert lines[1:3] == ["            foo: 1", "            ^"]
    assert "hint:" in lines[3]
    (complaint,) = json.loads(type_("validate", "ci.yml", "--json").out)["complaints"]
    assert (complaint["line"], complaint["column"]) == (5, 9)


def test_included_files_are_read_from_the_work_tree_and_links_are_not_followed(type_: Type, home: Path) -> None:
    here = home / "here"
    (here / "ci").mkdir()
    (here / ".surveil.yml").write_text("include: [ci/a.yml]\n" + GOOD)
    (here / "ci" / "a.yml").write_text("jobs: {more: {needs: [test], steps: [{run: x}]}}\n")
    assert type_("validate").out == ".surveil.yml: valid; jobs: 3, steps: 3\n"
    (home / "secret.yml").write_text("token: hunter2\n")
    (here / "ci" / "a.yml").unlink()
    assert type_("validate").out.startswith(".surveil.yml:1:11: `ci/a.yml` is no file of this work tree\n")
    (here / "ci" / "a.yml").symlink_to(home / "secret.yml")
    ended = type_("validate")
    assert (ended.code, ended.out.splitlines()[0]) == (
        3,
        ".surveil.yml:1:11: `ci/a.yml` is a link, or behind one; make it a regular file",
    )
    assert "hunter2" not in ended.out
    (here / "ci" / "a.yml").unlink()
    (here / "ci" / "a.yml").write_bytes(b"\xff")
    (complaint,) = json.loads(type_("validate", "--json").out)["complaints"]
    assert complaint["message"] == "`ci/a.yml` is not UTF-8 (byte 0); save it as UTF-8"


def test_a_file_that_is_a_link_is_refused_as_it_would_be_in_a_commit(type_: Type, home: Path) -> None:
    (home / "here" / "real.yml").write_text(GOOD)
    (home / "here" / ".surveil.yml").symlink_to("real.yml")
    for command in ("validate", "explain", "run"):
        ended = type_(command)
        assert (ended.code, ended.out) == (3, "")
        assert ".surveil.yml is a link or a folder; make it a regular file." in ended.err


def test_standard_input_is_a_file_as_well(type_: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(GOOD.encode())))
    assert type_("validate", "-").out == "standard input: valid; jobs: 2, steps: 2\n"


def test_a_file_that_is_not_there_is_exit_code_6(type_: Type) -> None:
    ended = type_("validate", "nowhere.yml")
    assert (ended.code, ended.out) == (6, "")
    assert "nowhere.yml cannot be read: No such file or directory" in ended.err


def test_the_graph_is_explained_in_the_order_of_its_needs(type_: Type, home: Path) -> None:
    (home / "here" / ".surveil.yml").write_text(GOOD)
    ended = type_("explain")
    assert ended.out.index("build") < ended.out.index("test\n")
    assert [job["needs"] for job in json.loads(type_("explain", "--json").out)["jobs"]] == [[], ["build"]]


def test_without_a_file_the_rule_is_named_and_init_writes_it_down(type_: Type, home: Path) -> None:
    here = home / "here"
    (here / "Makefile").write_text("test:\n\ttrue\n")
    explained = type_("explain")
    assert "make test" in explained.err
    assert json.loads(type_("explain", "--json").out)["rule"] == "Makefile: make test"
    assert type_("init", "--print").out.startswith("# Makefile: make test\n")
    assert not (here / ".surveil.yml").exists()
    assert type_("init").code == 0
    assert type_("validate").code == 0
    assert type_("explain").out == explained.out


def test_init_overwrites_nothing_unless_told_to(type_: Type, home: Path) -> None:
    here = home / "here"
    (here / "Makefile").write_text("test:\n\ttrue\n")
    (here / ".surveil.yml").write_text("mine")
    ended = type_("init")
    assert (ended.code, (here / ".surveil.yml").read_text()) == (2, "mine")
    assert type_("init", "--force").code == 0
    assert "make test" in (here / ".surveil.yml").read_text()


def test_a_folder_that_says_nothing_is_told_what_to_write(type_: Type) -> None:
    for command in ("validate", "explain", "init", "run"):
        ended = type_(command)
        assert (ended.code, ended.out) == (3, "")
        assert "write a .surveil.yml" in ended.err
