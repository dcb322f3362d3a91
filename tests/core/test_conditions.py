"""Conditions: what may be asked, and what is said of one that makes no sense."""

from __future__ import annotations

import pytest

from surveil.core.conditions import Known, asks_for_ends, check, path_patterns
from surveil.core.expressions import CHARACTERS_MAX, DEPTH_MAX, TOKENS_MAX, ExpressionError, parse

KNOWN = Known(
    matrix=["python", "db"],
    env=["LEVEL"],
    needs={"build": ["build"], "test": ["test[a=1]", "test[a=2]"], "test[a=1]": ["test[a=1]"], "Unit tests": ["x"]},
)


def objections(text: str) -> list[tuple[int, str]]:
    """Where and what is wrong with a text, and the hint in brackets."""
    try:
        found = check(parse(text), KNOWN)
    except ExpressionError as error:
        found = [error]
    return [(error.at, f"{error} ({error.hint})" if error.hint else str(error)) for error in found]


@pytest.mark.parametrize(
    "text",
    [
        "always()",
        "passed() || failed()",
        "branch == 'main'",
        'branch == "it\'s"',
        "ref == 'refs/heads/main' && event != 'manual'",
        "tag != '' && startswith(tag, 'v')",
        "event in ['push', 'manual']",
        "'docs/index.md' in paths",
        "changed('docs/**', '!docs/old/**')",
        "matches(branch, 'release/*')",
        "contains(repo, 'surveil')",
        "matrix.python >= 3.11 && matrix.db == 'sqlite'",
        "env.LEVEL == 2",
        "needs.build.state == 'passed'",
        "needs.build.outputs.version > 1.2",
        "needs['Unit tests'].state in ['failed', 'errored']",
        "needs['test[a=1]'].outputs.x == ''",
        "!(failed() && !changed('a'))",
        "true",
        "(branch == 'a') == (tag == '')",
    ],
)
def test_conditions_that_make_sense_are_taken(text: str) -> None:
    assert objections(text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", (0, "expected a value, not the end")),
        ("branch = 'main'", (7, "`=` means nothing here (write `==`)")),
        ("branch == 'main", (10, "`'` means nothing here (the text's other quote is missing)")),
        ("failed() and always()", (9, "expected `&&`, `||` or the end, not `and` (write `&&`)")),
        ("always() ||", (11, "expected a value, not the end")),
        ("not failed()", (0, "expected a value, not `not` (write `!`)")),
        ("(always()", (9, "expected `)`, not the end")),
        ("needs.", (6, "expected a name behind the `.`, not the end")),
        ("needs[build].state == 'passed'", (6, "expected a name between quotes, not `build`")),
        ("1 < 2 < 3", (6, "comparisons cannot be chained (join two of them by `&&`)")),
        ("$branch == 'x'", (0, "`$` means nothing here (write the name alone, like `branch` or `env.NAME`)")),
        ("branch == main", (10, "there is no `main` (a text stands between quotes: 'main')")),
        ("brnch == 'main'", (0, "there is no `brnch` (did you mean `branch`?)")),
        (
            "github.ref == 'x'",
            (0, "there is no `github` (write `ref`, `branch`, `event` and so on without `github.`)"),
        ),
        ("CI_COMMIT_BRANCH == 'x'", (0, "there is no `CI_COMMIT_BRANCH` (write `branch`)")),
        ("success()", (0, "there is no function `success` (write `passed()`)")),
        ("startsWith(ref, 'x')", (0, "there is no function `startsWith` (did you mean `startswith()`?)")),
        ("startswith(ref)", (0, "`startswith` is written `startswith(TEXT, BEGINNING)`")),
        ("passed('build')", (0, "`passed` is written `passed()`")),
        ("matches(ref, branch)", (13, "the pattern of `matches` is a text between quotes")),
        ("matrix.pyton == '3'", (0, "there is no `matrix.pyton` (did you mean `python`?)")),
        ("env.SURVEIL_REF == 'x'", (0, "there is no `env.SURVEIL_REF` (write `ref`)")),
        ("env == 'x'", (0, "`env` is no value: write `env.NAME`")),
        ("needs.biuld.state == 'passed'", (0, "the job `biuld` is not among its `needs` (did you mean `build`?)")),
        ("needs.build.stat == 'passed'", (0, "`needs.build.stat` is no value (write `.state` or `.outputs.NAME`)")),
        ("needs.build.state == 'success'", (21, "no job ends as `success` (did you mean `passed`?)")),
        (
            "needs.test.outputs.x == '1'",
            (
                0,
                "`test` is 2 jobs, each with outputs of its own (name one of them: `needs['test[a=1]'].outputs.x`)",
            ),
        ),
        (
            "event in ['push', 'merge_request']",
            (18, "no build is made for the event `merge_request` (did you mean `pull_request`?)"),
        ),
        ("event == 'tag'", (9, "no build is made for the event `tag` (write `tag != ''`)")),
        ("'pusch' != event", (0, "no build is made for the event `pusch` (did you mean `push`?)")),
        (
            "needs.build.state in ['failure', 'failed']",
            (22, "no job ends as `failure` (did you mean `failed`?)"),
        ),
        ("ref == 'main'", (7, "`ref` is a full name like `refs/heads/main`, never `main` (write `branch == 'main'`)")),
        ("tag", (0, "a condition is true or false, and this is a text (compare it, for example `tag != ''`)")),
        ("paths", (0, "a condition is true or false, and this is a list (ask for a member: `'docs/a.md' in paths`)")),
        (
            "tag && always()",
            (0, "`&&` joins conditions, and this is a text (compare it, for example `tag != ''`)"),
        ),
        ("paths == 'x'", (6, "`==` compares texts, not a list with a text")),
        ("always() < failed()", (9, "`<` compares texts, not true or false with true or false")),
        ("branch in 'main'", (10, "`in` looks into a list like `['push', 'manual']`, and this is a text")),
        ("matrix.python < 'new'", (16, "`<` compares numbers like 3.11, and `new` is none")),
        (
            "changed()",
            (0, "`changed` takes patterns of paths between quotes (for example `changed('docs/**')`)"),
        ),
        (
            "changed('*.{c,h}')",
            (8, "`*.{c,h}` holds `{`: only `*`, `**` and `?` are special, so write two patterns"),
        ),
        (
            "${{ always() }}",
            (0, "a condition is written without `${{ }}` (everything in a condition is an expression already)"),
        ),
    ],
)
def test_conditions_that_make_no_sense_are_objected_to_at_their_place(text: str, expected: tuple[int, str]) -> None:
    assert objections(text) == [expected]


def test_everything_that_is_wrong_is_said_at_once() -> None:
    assert [at for at, _ in objections("brnch == 'a' || matrix.x == 'b' || failure()")] == [0, 16, 35]


def test_a_condition_has_bounds() -> None:
    assert objections("||".join(["true"] * (TOKENS_MAX // 2))) == []
    assert "at most 250 words" in objections("||".join(["true"] * (TOKENS_MAX // 2 + 1)))[0][1]
    assert "at most 1000 characters" in objections("x" * (CHARACTERS_MAX + 1))[0][1]
    for opening, closing in (("(", ")"), ("!", ""), ("[", "]"), ("f(", ")")):
        assert "nested" not in str(objections(opening * DEPTH_MAX + "true" + closing * DEPTH_MAX))
        assert "nested" in objections(opening * (DEPTH_MAX + 1) + "true" + closing * (DEPTH_MAX + 1))[0][1]


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ("failed()", True),
        ("!(branch == 'a' && passed())", True),
        ("needs.build.state != 'passed'", True),
        ("needs.build.outputs.state == 'passed'", False),
        ("needs.build.outputs.x == 'passed'", False),
        ("branch == 'main'", False),
    ],
)
def test_a_condition_is_known_to_ask_how_its_needs_ended(text: str, asks: bool) -> None:
    assert asks_for_ends(parse(text)) is asks


def test_the_patterns_of_a_condition_are_found() -> None:
    node = parse("changed('a', '!b') && (tag == 'x' || !changed('c'))")
    assert list(path_patterns(node)) == [("a", "!b"), ("c",)]
