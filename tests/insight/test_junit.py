"""JUnit XML as it is meant, and as it comes: broken, huge, hostile, in whatever encoding."""

from collections.abc import Iterable
from xml.parsers import expat

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from surveil.insight import DURATION_MS_MAX, NAME_CHARACTERS_MAX, OUTPUT_CHARACTERS_MAX, Problem
from surveil.insight.junit import DEPTH_MAX, read_junit
from surveil.protocol import Case

WHOLE = """<?xml version="1.0" encoding="utf-8"?>
<testsuites><testsuite name="all">
<testcase classname="shapes.Round" name="rolls" time="0.012"/>
<testcase classname="shapes.Round" name="falls" time="1.5">
  <failure message="it stood&#10;and stood" type="AssertionError">line 7: it stood</failure>
  <system-out>before</system-out><system-err>and after</system-err>
</testcase>
<testcase classname="shapes.Round" name="breaks" time="0"><error type="ValueError">trace</error></testcase>
<testcase classname="shapes.Square" name="rolls"><skipped message="squares do not"/></testcase>
</testsuite></testsuites>
"""


def read(content: bytes | str, piece: int = 1 << 20) -> tuple[list[Case], list[Problem]]:
    """What a report holds, however its bytes are cut into pieces."""
    data = content.encode() if isinstance(content, str) else content
    return sorted_out(read_junit(data[at : at + piece] for at in range(0, len(data), piece)))


def sorted_out(found: Iterable[Case | Problem]) -> tuple[list[Case], list[Problem]]:
    cases: list[Case] = []
    problems: list[Problem] = []
    for one in found:
        if isinstance(one, Case):
            cases.append(one)
        else:
            problems.append(one)
    return cases, problems


def states(cases: Iterable[Case]) -> dict[str, str]:
    return {case.name: case.state for case in cases}


def suite(*cases: str) -> str:
    return f'<testsuite name="all">{"".join(cases)}</testsuite>'


def test_cases_have_their_suite_their_state_their_time_and_what_they_said() -> None:
    rolls, falls, breaks, square = read(WHOLE)[0]
    assert rolls == Case(suite="shapes.Round", name="rolls", state="passed", duration_ms=12)
    assert falls == Case(
        suite="shapes.Round", name="falls", state="failed", duration_ms=1500, message="it stood",
        output="line 7: it stood\nbefore\nand after",
    )  # fmt: skip
    assert breaks == Case(
        suite="shapes.Round", name="breaks", state="errored", duration_ms=0, message="trace", output="trace"
    )
    assert square == Case(suite="shapes.Square", name="rolls", state="skipped", duration_ms=0, message="squares do not")
    assert read(WHOLE)[1] == []


@given(piece=st.integers(1, 40))
def test_it_does_not_matter_how_a_report_is_cut_into_pieces(piece: int) -> None:
    text = WHOLE.replace("it stood", "it st\x1bood &#27;&amp;&#x1F600; ü")
    assert read(text, piece) == read(text)


def test_where_the_class_only_repeats_the_name_the_suite_says_more() -> None:
    cases, _ = read(suite('<testcase classname="adds" name="adds"/>', '<testcase name="falls"/>'))
    assert [case.suite for case in cases] == ["all", "all"]


def test_a_suite_in_a_suite_gives_its_name_back() -> None:
    cases, _ = read("<testsuites>" + suite(suite('<testcase name="a"/>').replace("all", "inner")) + "</testsuites>")
    assert [case.suite for case in cases] == ["inner"]
    cases, _ = read('<testsuite name="outer"><testsuite name="inner"/><testcase name="a"/></testsuite>')
    assert [case.suite for case in cases] == ["outer"]


def test_the_worst_of_what_a_case_says_counts() -> None:
    cases, _ = read(
        suite('<testcase name="a"><skipped message="s"/><error message="e"/><failure message="f"/></testcase>')
    )
    assert [(case.state, case.message) for case in cases] == [("errored", "e")]


@pytest.mark.parametrize("tag", ["flakyFailure", "flakyError"])
def test_a_case_that_passed_in_a_later_try_passed_and_says_so(tag: str) -> None:
    inner = f"<{tag} message='m'><system-out>no</system-out></{tag}>"
    cases, _ = read(suite(f'<testcase name="a">{inner * 2}</testcase>'))
    assert cases == [Case(suite="all", name="a", state="passed", duration_ms=0, message="passed after 2 failed tries")]


def test_a_failure_without_a_word_is_told_by_its_type() -> None:
    assert [case.message for case in read(suite('<testcase name="a"><error type="ValueError"/></testcase>'))[0]] == [
        "ValueError"
    ]


def test_a_case_that_failed_in_every_try_failed_once() -> None:
    again = '<rerunFailure message="second"><system-out>no</system-out></rerunFailure>'
    cases, _ = read(suite(f'<testcase name="a"><failure message="first">t</failure>{again}</testcase>'))
    assert [(case.state, case.message, case.output) for case in cases] == [("failed", "first", "t")]


@pytest.mark.parametrize("status", ["notrun", "disabled"])
def test_a_case_that_was_only_listed_was_skipped(status: str) -> None:
    assert states(read(suite(f'<testcase name="a" status="{status}"/>'))[0]) == {"a": "skipped"}


@pytest.mark.parametrize(
    ("text", "duration_ms"),
    [
        ("0.0125", 12), ("1,234.5", 1_234_500), ("0,012", 12), ("", 0), ("soon", 0), ("-1", 0), ("nan", 0), ("inf", 0),
        ("1e300", DURATION_MS_MAX),
    ],
)  # fmt: skip
def test_durations_are_milliseconds_or_nothing(text: str, duration_ms: int) -> None:
    assert read(suite(f'<testcase name="a" time="{text}"/>'))[0][0].duration_ms == duration_ms


def test_names_and_output_are_cut_and_a_case_without_a_name_has_one() -> None:
    long = "x" * 100_000
    cases, _ = read(suite(f'<testcase name="{long}"><failure>{long}</failure></testcase>', "<testcase/>"))
    assert [len(cases[0].name), len(cases[0].output)] == [NAME_CHARACTERS_MAX, OUTPUT_CHARACTERS_MAX]
    assert cases[1].name == "a test without a name"


# ---- what is broken --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [len(WHOLE) // 2, len(WHOLE) - 30, WHOLE.index("breaks")])
def test_a_report_that_ends_in_the_middle_says_so_and_loses_nothing_before(at: int) -> None:
    cases, problems = read(WHOLE[:at])
    assert [case.name for case in cases] == ["rolls", "falls", "breaks", "rolls"][: len(cases)]
    assert len(cases) >= 1
    assert ["ends in the middle" in problem.sentence for problem in problems] == [True]


def test_a_report_that_turns_into_something_else_says_where() -> None:
    cases, problems = read(WHOLE.replace("</testsuites>", "</testsuits>"))
    assert len(cases) == 4
    assert problems == [Problem("it is no XML from here on (mismatched tag); what stands before was read", line=10)]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "it is no XML (no element found)"),
        ("no report at all", "it is no XML (syntax error)"),
        ("\x00" * 5000, "it is no XML (not well-formed (invalid token))"),
        ("<coverage line-rate='1'/>", "it is no JUnit report: its outermost element is `coverage`"),
    ],
)
def test_what_is_no_report_is_told_apart_from_a_broken_one(content: str, sentence: str) -> None:
    cases, problems = read(content)
    assert cases == []
    assert [(problem.sentence, problem.foreign) for problem in problems] == [(sentence, True)]


def test_the_parser_is_one_that_stops_entities_that_grow() -> None:
    """From 2.4.1 on expat itself counts what entities become; we refuse them long before, and want both."""
    assert expat.version_info >= (2, 4, 1)


def laughs(levels: int) -> str:
    entities = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, levels))
    case = f"<testcase name='a'>&l{levels - 1};</testcase>"
    return f'<!DOCTYPE t [<!ENTITY l0 "ha">{entities}]><testsuite>{case}</testsuite>'


@pytest.mark.parametrize(
    "content",
    [
        laughs(10),
        '<!DOCTYPE t [<!ENTITY x SYSTEM "file:///etc/passwd">]><testsuite><testcase name="&x;"/></testsuite>',
        '<!DOCTYPE t [<!ENTITY % x SYSTEM "http://127.0.0.1:9/x"> %x;]><testsuite/>',
    ],
    ids=["a bomb", "a file", "an address"],
)
def test_entities_are_refused_where_they_are_declared(content: str) -> None:
    cases, problems = read(content)
    assert cases == []
    assert ["declares the entity" in problem.sentence for problem in problems] == [True]


def test_elements_that_are_nested_without_end_are_refused() -> None:
    cases, problems = read("<testsuite>" * 100_000)
    assert cases == []
    assert [problem.sentence for problem in problems] == [
        f"its elements are nested deeper than {DEPTH_MAX}; it was not read further"
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "iso-8859-15", "windows-1252", "shift_jis"])
def test_reports_are_read_in_the_encoding_that_they_name(encoding: str) -> None:
    word = "直線" if encoding == "shift_jis" else "größer €"
    named = encoding.removesuffix("-sig")
    text = f'<?xml version="1.0" encoding="{named}"?>{suite(f"<testcase name={word!r}/>")}'
    assert read(text.encode(encoding)) == ([Case(suite="all", name=word, state="passed", duration_ms=0)], [])


@pytest.mark.parametrize("codec", ["zlib", "base64", "rot13", "idna", "utf-16", "no-such", "unicode_escape"])
def test_an_encoding_that_is_none_or_not_the_files_is_said_and_read_as_utf_8(codec: str) -> None:
    cases, problems = read(f"<?xml version='1.0' encoding='{codec}'?>" + suite("<testcase name='ä'/>"))
    assert states(cases) == {"ä": "passed"}
    assert problems == [Problem(f"its encoding `{codec}` is not known, so it was read as UTF-8")]


def test_bytes_of_another_encoding_lose_no_report() -> None:
    cases, problems = read(suite('<testcase name="gr\xf6\xdfer"/>', '<testcase name="b"/>').encode("latin-1"))
    assert states(cases) == {"gr��er": "passed", "b": "passed"}
    assert problems == [Problem("it holds bytes that are not UTF-8, which were replaced")]


def test_characters_that_xml_forbids_lose_no_report() -> None:
    cases, problems = read(
        suite('<testcase name="a"><failure>\x1b[31m &#27;[0m &#xFFFE; &#99999999;</failure></testcase>')
    )
    assert [case.output for case in cases] == ["�[31m �[0m � �"]
    assert problems == []


ALPHABET = st.sampled_from(
    ["<testsuite name='s'>", "</testsuite>", "<testcase name='a' time='1'>", "</testcase>", "<failure message='m'>",
     "</failure>", "<skipped/>", "<error/>", "<system-out>", "</system-out>", "<![CDATA[", "]]>", "&amp;", "&#0;", "&",
     "<", ">", "<?xml version='1.0' encoding='", "'?>", "<!DOCTYPE t [", "<!ENTITY a 'b'>", "]>", "\x00", "\xff", "ü"]
)  # fmt: skip


@given(st.lists(ALPHABET, max_size=30).map("".join), st.sampled_from(["utf-8", "utf-16", "latin-1"]))
@example("<testcase name='a'>", "utf-8")
def test_whatever_a_report_holds_nothing_is_raised_and_every_limit_holds(text: str, encoding: str) -> None:
    cases, problems = read(text.encode(encoding, errors="replace"), 7)
    for case in cases:
        assert len(case.name) <= NAME_CHARACTERS_MAX
        assert 0 <= case.duration_ms <= DURATION_MS_MAX
    assert cases or problems or text.startswith("<testsuite")


@given(st.binary(max_size=300))
def test_whatever_bytes_a_report_has_nothing_is_raised(content: bytes) -> None:
    assert read(content, 5)[1]
