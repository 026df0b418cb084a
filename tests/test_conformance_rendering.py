"""WS-CONFORMANCE-19: JUnit XML, Markdown and badge say everything, whatever a port wrote."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_samples import ALL, EVERY, EVIL, HOSTILE, HUGE

from conformance.reporting.rendering.badge import badge
from conformance.reporting.rendering.junit import junit
from conformance.reporting.rendering.summary import code, summary
from conformance.reporting.report import Report
from conformance.stdio.untrusted import clipped, one_line, visible
from conformance.verdicts import Verdict

KINDS = {"failure", "error", "skipped"}


def parsed(report: Report) -> ET.Element:
    return ET.fromstring(junit(report).encode("utf-8"))  # noqa: S314 - our own text


@pytest.mark.parametrize("report", ALL.values(), ids=ALL)
def test_junit_is_what_ci_readers_read(report: Report) -> None:
    """Well-formed; every case is there; the sums are those of the elements."""
    root = parsed(report)
    assert root.tag == "testsuites"
    suites = list(root)
    assert {suite.tag for suite in suites} <= {"testsuite"}
    cases = root.findall("testsuite/testcase")
    assert len(cases) == len(report.cases) + bool(report.reasons)
    for element, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        found = root.findall(f"testsuite/testcase/{tag}")
        assert int(root.attrib[element]) == len(found)
        assert sum(int(suite.attrib[element]) for suite in suites) == len(found)
    assert int(root.attrib["tests"]) == len(cases)
    for case in cases:
        assert set(case.attrib) == {"classname", "name", "time"}
        float(case.attrib["time"])
        assert [child.tag for child in case] in ([], *([kind] for kind in sorted(KINDS)))


def test_junit_maps_each_verdict() -> None:
    tags = {
        case.attrib["name"]: [child.tag for child in case]
        for case in parsed(EVERY).findall("testsuite/testcase")
    }
    assert tags == {
        "a": [], "b": ["failure"], "c": ["error"], "d": ["skipped"], "e": ["skipped"],
        "f": ["failure"], "verdict": ["failure"],
    }  # fmt: skip


def test_junit_keeps_the_whole_detail_and_where_to_look() -> None:
    failure = parsed(EVERY).find(".//failure")
    assert failure is not None
    assert failure.text is not None
    assert EVERY.cases[1].detail in failure.text
    assert failure.text.startswith("WS-STREAMING-10 fail: ")


def test_a_passing_run_without_a_reason_has_no_failure_in_junit() -> None:
    passed = attrs.evolve(EVERY, cases=EVERY.cases[:1], reasons=(), verdict=Verdict.PASS)
    assert parsed(passed).attrib["failures"] == "0"


def test_summary_tells_the_verdict_and_every_case_that_is_no_pass() -> None:
    text = summary(EVERY)
    assert text.startswith("## ❌ Wan-Streamer conformance: fail\n")
    for case in EVERY.cases[1:3] + EVERY.cases[4:]:
        assert f"`{case.id}` ({case.clause}): `{case.detail}`" in text
    assert EVERY.reasons[0] in text


def test_summary_of_a_hostile_port_is_code_and_nothing_else() -> None:
    """What the port wrote stands in code spans: no HTML, link, heading, mention or table of its
    own."""
    outside = re.sub(r"`[^`\n]*`", "", summary(HOSTILE))
    assert "evil" not in outside
    assert "<" not in outside
    assert "@" not in outside
    headings = [line for line in outside.splitlines() if line.startswith("#")]
    assert [h.split()[0] for h in headings] == ["##", "###", "###", "###", "###"]


def test_summary_is_of_bounded_size() -> None:
    """A CI summary takes about a megabyte; a port cannot fill it."""
    many = attrs.evolve(HUGE, cases=HUGE.cases * 200)
    assert len(summary(many)) < 100_000
    assert "and 550 more" in summary(many)


@pytest.mark.parametrize("report", ALL.values(), ids=ALL)
def test_badge_is_an_svg_that_says_the_verdict(report: Report) -> None:
    root = ET.fromstring(badge(report))  # noqa: S314 - our own text
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    title = root.find("{http://www.w3.org/2000/svg}title")
    assert title is not None
    assert title.text is not None
    assert report.verdict.value in title.text


def test_badge_counts_what_was_judged() -> None:
    assert "fail 1/5" in badge(EVERY)


@given(st.text(st.characters(), max_size=60))
def test_visible_text_cannot_steer_anything(text: str) -> None:
    """No control, format or surrogate character is left, and nothing else has changed."""
    shown = visible(text)
    shown.encode("utf-8")
    assert not re.search(
        r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]", shown
    )
    if text.isalnum() and text.isascii():
        assert shown == text


def test_a_separator_of_lines_is_shown() -> None:
    """One that is no line feed; in a terminal or a script it may begin a line all the same."""
    assert visible("a\u2028b\u2029c\nd") == "a\\u2028b\\u2029c\nd"


@given(st.text(max_size=60), st.integers(1, 50))
def test_what_is_cut_says_how_much(text: str, limit: int) -> None:
    cut = clipped(text, limit)
    assert cut == text if len(text) <= limit else f"{len(text) - limit} characters left out" in cut
    assert len(cut) <= limit + 50


@given(st.text(max_size=60))
def test_a_code_span_is_one_line_and_closed(text: str) -> None:
    span = code(text)
    assert len(span.splitlines()) == 1
    assert span == "(nothing)" or (span.count("`") == 2 and "|" not in span)


def test_one_line_is_one_line() -> None:
    assert len(one_line(EVIL).splitlines()) == 1
