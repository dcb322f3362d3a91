"""What comes of conditions over facts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from surveil.core.conditions import Known, check
from surveil.core.decisions import REASONS_MAX, Decision, Facts, Need, Turn, decide, fill_in, turn_of
from surveil.core.expressions import TOKENS_MAX, ExpressionError, parse
from surveil.core.references import Room

FACTS = Facts(
    event="push",
    repo="/srv/project",
    ref="refs/heads/release/1.2",
    sha="a" * 40,
    paths=("docs/index.md", "src/main.py"),
    matrix={"python": "3.10"},
    env={"LEVEL": "2"},
    needs={"build": Need(state="passed", outputs={"version": "1.10.0"})},
)
KNOWN = Known(matrix=["python"], env=["LEVEL"], needs={"build": ["build"], "test": ["test[a=1]", "test[a=2]"]})


@pytest.mark.parametrize(
    ("when", "word"),
    [
        ("passed", "passed"),
        ("always", "always"),
        ("passed()", "passed"),
        ("failed()", "failed"),
        ("!passed()", "failed"),
        ("passed() || failed()", "always"),
        ("startswith(branch, 'release/')", "passed"),
        ("failed() && branch == 'release/1.2'", "failed"),
        ("always() && matrix.python == 3.10", "always"),
        ("failed() || env.OWN == 'yes'", "always"),
        ("changed('docs/**')", "passed"),
        ("needs.build.state == 'passed'", "passed"),
    ],
)
def test_of_a_steps_condition_a_word_is_left_once_the_commit_is_known(when: str, word: str) -> None:
    assert turn_of(when, {"OWN": "yes"}, FACTS).word == word


@pytest.mark.parametrize(
    ("when", "because"),
    [
        ("failed() && branch == 'main'", "branch is `release/1.2`"),
        ("branch == 'main'", "branch is `release/1.2`"),
        ("always() && env.OWN == 'no'", "env.OWN is `yes`"),
        ("passed() && failed()", "it asks for what cannot be"),
    ],
)
def test_a_step_that_runs_after_nothing_says_by_which_values(when: str, because: str) -> None:
    assert turn_of(when, {"OWN": "yes"}, FACTS) == Turn(word="", because=because)


def test_a_steps_condition_that_cannot_be_decided_says_why() -> None:
    assert turn_of("failed() && branch < 2", {}, FACTS).problem == "branch is `release/1.2`, which is no number"


def needing(**states: str) -> Facts:
    return replace(FACTS, needs={name.replace("__", "[a=") + ("]" if "__" in name else ""): Need(state=state)
                                 for name, state in states.items()})  # fmt: skip


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("branch == 'release/1.2'", True),
        ("tag == ''", True),
        ("ref == 'refs/heads/release/1.2' && event == 'push'", True),
        ("matches(branch, 'release/*')", True),
        ("matches(branch, 'release')", False),
        ("startswith(sha, 'aaa') && contains(repo, 'pro')", True),
        ("matrix.python == 3.10", True),
        ("matrix.python == 3.1", False),
        ("matrix.python > 3.9", True),
        ("matrix.python >= 3.10 && matrix.python <= 3.10.0", True),
        ("needs.build.outputs.version > 1.9", True),
        ("needs.build.outputs.version < 1.9", False),
        ("needs.build.outputs.nothing == ''", True),
        ("env.LEVEL in ['1', '2']", True),
        ("env.LEVEL in []", False),
        ("changed('docs/**')", True),
        ("changed('docs/**', '!**/index.md')", False),
        ("'src/main.py' in paths && !('src/x' in paths)", True),
        ("false || true && !false", True),
        ("true || env.LEVEL < 'x'", True),
        ("(branch == 'a') == false", True),
    ],
)
def test_conditions_are_decided(text: str, holds: bool) -> None:
    decision = decide(text, FACTS)
    assert (decision.holds, decision.problem) == (holds, "")


@pytest.mark.parametrize(
    ("when", "states", "holds"),
    [
        ("passed", {"a": "passed", "b": "passed"}, True),
        ("passed", {"a": "passed", "b": "skipped"}, False),
        ("passed", {}, True),
        ("failed", {"a": "passed", "b": "failed"}, True),
        ("failed", {"a": "errored"}, True),
        ("failed", {"a": "cancelled", "b": "skipped"}, False),
        ("failed", {}, False),
        ("always", {"a": "cancelled"}, True),
        ("event == 'push'", {"a": "failed"}, False),
        ("event == 'push' && always()", {"a": "failed"}, True),
        ("needs.a.state == 'failed'", {"a": "failed", "b": "errored"}, True),
        ("needs.a.state == 'failed'", {"a__1": "passed", "a__2": "failed"}, True),
        ("needs.a.state == 'passed'", {"a__1": "passed", "a__2": "skipped"}, False),
        ("needs.a.state == 'passed'", {"a__1": "passed", "ab": "failed"}, True),
    ],
)
def test_how_the_needs_ended_counts_unless_it_is_asked_for(when: str, states: dict[str, str], holds: bool) -> None:
    assert decide(when, needing(**states)).holds is holds


def test_a_tag_is_no_branch() -> None:
    facts = replace(FACTS, ref="refs/tags/v1")
    assert decide("tag == 'v1' && branch == ''", facts).holds


def test_where_nobody_knows_what_changed_everything_did() -> None:
    facts = replace(FACTS, paths=None)
    assert decide("changed('nothing') && 'x' in paths", facts) == Decision(
        holds=True, because="nobody knows what changed"
    )


@pytest.mark.parametrize(
    ("when", "because"),
    [
        ("always() && branch == 'main'", "branch is `release/1.2`"),
        ("always() && tag != ''", "tag is empty"),
        ("always() && changed('x/**', 'y')", "nothing that changed matches `x/**`, `y`"),
        ("always() && !changed('src/**')", "`src/main.py` changed"),
        ("always() && 'a' in paths", "`a` did not change"),
        ("event == 'x' && passed() || needs.build.state == 'failed'", "event is `push`, needs.build.state is `passed`"),
        ("failed", "nothing that it needs failed"),
    ],
)  # fmt: skip
def test_the_values_that_decided_are_told(when: str, because: str) -> None:
    assert decide(when, FACTS) == Decision(holds=False, because=because)


def test_what_did_not_pass_is_told() -> None:
    assert decide("branch == 'x'", needing(a="passed", b="cancelled")).because == "`b` was cancelled"
    assert decide("passed", needing(a="failed")).because == "`a` failed"


def test_not_more_is_told_than_anybody_reads() -> None:
    names = ["event", "repo", "ref", "branch", "tag", "sha", "matrix.python"]
    because = decide("always() && (" + " || ".join(f"{name} == 'refs/x'" for name in names) + ")", FACTS).because
    assert because.count(" is ") == REASONS_MAX
    assert because.endswith(", ...")


@pytest.mark.parametrize(
    ("when", "problem"),
    [
        ("env.LEVEL > 1 && branch < 3", "branch is `release/1.2`, which is no number"),
        ("nonsense", "there is no `nonsense`"),
        ("branch", "what should be true or false is neither"),
        ("f()", "there is no function `f` of 0 values"),
        ("changed('[')", "`[` holds `[`: only `*`, `**` and `?` are special, so write two patterns"),
        ("((", "expected a value, not the end"),
    ],
)
def test_what_cannot_be_decided_is_said(when: str, problem: str) -> None:
    decision = decide(when, FACTS)
    assert (decision.holds, decision.problem) == (False, problem)


# ---- every condition that there is ----

TEXTS = st.sampled_from(
    ["repo", "branch", "tag", "sha", "matrix.python", "env.LEVEL", "needs.build.outputs.version", "'x'", "'3.10'", "3"]
)  # fmt: skip
LEAVES = st.one_of(
    st.sampled_from(["true", "false", "passed()", "failed()", "always()", "changed('docs/**')", "'a' in paths"]),
    st.builds("{} {} {}".format, TEXTS, st.sampled_from(["==", "!="]), TEXTS),
    st.builds("contains({}, {})".format, TEXTS, TEXTS),
    st.builds("{} in [{}, {}]".format, TEXTS, TEXTS, TEXTS),
)
SOUND = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds("!({})".format, inner),
        st.builds("({}) && ({})".format, inner, inner),
        st.builds("({}) || ({})".format, inner, inner),
    ),
    max_leaves=8,
)
PUNCTUATION = [
    "(", ")", "[", "]", ",", ".", "!", "==", "!=", "<", "<=", "&&", "||", "in", "true", "always", "failed", "needs",
    "build", "state", "matrix", "'",
]  # fmt: skip
PIECES = st.lists(
    st.one_of(
        st.sampled_from(PUNCTUATION),
        st.text(max_size=3),
    ),
    max_size=20,
)


@given(SOUND)
def test_what_makes_sense_can_be_decided(text: str) -> None:
    assert check(parse(text), KNOWN) == []
    assert decide(text, FACTS).problem == ""


@given(SOUND, SOUND)
def test_joined_conditions_mean_what_logic_says(one: str, other: str) -> None:
    # Each of two may be sound, and both together more than a condition may be.
    assume(f"at most {TOKENS_MAX} words" not in decide(f"always() && !(({one}) && ({other}))", FACTS).problem)
    first, second = (decide(f"always() && ({text})", FACTS).holds for text in (one, other))
    assert decide(f"always() && !(({one}) && ({other}))", FACTS).holds is (not first or not second)
    assert decide(f"always() && (({one}) || ({other}))", FACTS).holds is (first or second)
    assert decide(f"always() && ({one}) || ({other})", FACTS).holds is (first or second)


@given(st.one_of(PIECES.map(" ".join), PIECES.map("".join), st.text(max_size=40)))
def test_no_text_breaks_the_language(text: str) -> None:
    try:
        objections = check(parse(text), KNOWN)
    except ExpressionError as error:
        objections = [error]
    for objection in objections:
        assert 0 <= objection.at <= len(text)
        assert str(objection).isprintable()
        assert objection.hint.isprintable()
    decision = decide(text, FACTS)
    assert (decision.because + decision.problem).isprintable()
    if not objections and "<" not in text:
        assert decision.problem == ""


def test_a_failure_that_is_tolerated_is_none() -> None:
    facts = replace(FACTS, needs={"lint": Need(state="failed", tolerated=True)})
    assert decide("passed", facts).holds
    assert decide("failed", facts) == Decision(holds=False, because="nothing that it needs failed")
    assert decide("needs.lint.state == 'failed'", facts).holds


def test_what_failed_behind_a_skipped_need_failed_for_whoever_needs_it() -> None:
    facts = replace(FACTS, needs={"test": Need(state="skipped")}, behind={"build": Need(state="errored")})
    assert decide("failed", facts) == Decision(holds=True, because="`build` was errored")
    assert not decide("passed", facts).holds
    assert not decide("failed", replace(facts, behind={"build": Need(state="passed")})).holds


# ---- what is filled in ----

UNKNOWN = "${{ needs.build }} ${{ x }} ${{ env.LEVEL }} ${{ 'x' }} ${{"


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("v${{ needs.build.outputs.version }}!", "v1.10.0!"),
        ("${{needs.build.state}} ${{ branch }}", "passed release/1.2"),
        ("${{ needs.build.outputs.nothing }}", ""),
        (UNKNOWN, UNKNOWN),
    ],
)  # fmt: skip
def test_what_is_known_late_is_filled_in(text: str, filled: str) -> None:
    assert fill_in(text, FACTS, Room()) == filled


def test_what_was_filled_in_is_not_looked_at_again() -> None:
    facts = replace(FACTS, needs={"build": Need(state="passed", outputs={"a": "${{ needs.build.outputs.a }}"})})
    assert fill_in("${{ needs.build.outputs.a }}", facts, Room()) == "${{ needs.build.outputs.a }}"


def test_a_condition_sees_a_variable_as_its_steps_will() -> None:
    facts = replace(FACTS, env={"V": "v${{ needs.build.outputs.version }}", "W": "${{ env.W }}"})
    assert decide("env.V == 'v1.10.0' && env.W == '${' || contains(env.W, 'env.W')", facts).holds
