"""The HTML report, read as a browser reads it: whole, self-contained, and safe with any port.

A fresh CI machine has no browser, so what a browser would complain of is checked on the parsed
page: balance, ids and anchors, scripts and addresses, and a scroll box around whatever can be wider
than a phone. `scripts/look_at_report.py` looks at it in Chromium.
"""

from __future__ import annotations

import re
from functools import cache
from html.parser import HTMLParser
from math import inf

import attrs
import pytest
from report_samples import ALL, EVERY, EVIL, HOSTILE

from conformance.checks.registry import CLAUSES
from conformance.reporting.measure import Drift, Measurements, Point
from conformance.reporting.rendering.page import anchor, page
from conformance.reporting.rendering.plots import curves
from conformance.reporting.rendering.prose import prose, reflowed
from conformance.reporting.trace_matrix import kill_table
from conformance.stdio.untrusted import one_line
from spec.clauses import registry

VOID = {"meta", "br", "hr", "img", "link", "input"}
ADDRESSES = {"href", "src", "srcset", "action", "data", "poster", "xlink:href", "formaction"}


class Page(HTMLParser):
    """Elements with their attributes and ancestors, the text, and whatever does not balance."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str], tuple[str, ...]]] = []
        self.unbalanced: list[str] = []
        self.text: list[str] = []
        self._open: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        self.unbalanced += [name for name, _ in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        assert len(found) == len(attrs), f"an attribute twice: {attrs}"
        self.elements.append((tag, found, tuple(kind for _, kind in self._open)))
        if tag not in VOID:
            self._open.append((tag, found.get("class", tag)))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open[-1][0] != tag:
            self.unbalanced.append(f"/{tag}")
        else:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@cache
def html(name: str) -> str:
    return page(ALL[name])


@cache
def parsed(name: str) -> Page:
    return Page(html(name))


every_page = pytest.mark.parametrize("name", ALL)


@every_page
def test_every_element_is_closed_where_it_was_opened(name: str) -> None:
    assert parsed(name).unbalanced == []


@every_page
def test_ids_are_unique_and_anchors_lead_somewhere(name: str) -> None:
    ids = [found["id"] for _, found, _ in parsed(name).elements if "id" in found]
    assert len(ids) == len(set(ids))
    targets = [
        value.removeprefix("#")
        for _, found, _ in parsed(name).elements
        for key, value in found.items()
        if key in ("href", "xlink:href") and value.startswith("#")
    ]
    assert targets
    assert set(targets) - set(ids) == set()
    urls = re.findall(r"url\(([^)]*)\)", html(name))
    assert {url.removeprefix("#") for url in urls} - set(ids) == set()


@every_page
def test_nothing_is_fetched_and_nothing_runs(name: str) -> None:
    """No address but anchors inside the page, no script, no handler, no imported style."""
    for tag, found, _ in parsed(name).elements:
        assert tag not in {"script", "iframe", "object", "embed", "link", "base", "form", "img"}
        for key, value in found.items():
            assert not key.startswith("on"), (tag, key)
            if key in ADDRESSES:
                assert value.startswith("#"), (tag, key, value)
    styles = "".join(re.findall(r"<style.*?</style>", html(name), flags=re.DOTALL))
    assert "@import" not in styles
    assert "http" not in styles


@every_page
def test_what_can_be_wide_scrolls_by_itself(name: str) -> None:
    """Else the whole page would scroll sideways on a phone."""
    wide = [above for tag, _, above in parsed(name).elements if tag == "table"]
    assert wide
    assert all("scroll" in above for above in wide)
    viewport = [f for tag, f, _ in parsed(name).elements if f.get("name") == "viewport"]
    assert viewport == [{"name": "viewport", "content": "width=device-width, initial-scale=1"}]
    pictures = [found for tag, found, _ in parsed(name).elements if tag == "svg"]
    assert all("viewbox" in found and "width" not in found for found in pictures)


@every_page
def test_light_and_dark(name: str) -> None:
    """The page follows the reader's scheme, and so does the ink of its pictures."""
    assert "prefers-color-scheme: dark" in html(name)
    assert "#010203" not in html(name)


@every_page
def test_every_case_is_there_with_its_verdict(name: str) -> None:
    text = "".join(parsed(name).text)
    for case in ALL[name].cases:
        assert one_line(case.id) in text
    for reason in ALL[name].reasons:
        assert one_line(reason)[1:] in text


def test_the_page_says_what_differed_by_how_much_and_what_to_do() -> None:
    text = " ".join("".join(parsed("every").text).split())
    failed = EVERY.cases[1]
    what, _, command = failed.detail.partition("; reproduce: ")
    own = text[text.index(what) :]
    assert command in own[: own.index("Checks")], "the case's command stands under the case"
    assert "WS-STREAMING-10 MUST, 1 failing" in text
    for number in ("2.125", "0.125", "0.25", "[3, 1, 7]"):
        assert number in text
    assert "Streaming is defined by the offline form" in text
    assert "What to do next" in text


def test_pictures_of_error_and_growth_are_in_the_page() -> None:
    pictures = [found for tag, found, _ in parsed("every").elements if tag == "svg"]
    assert len(pictures) == 2
    text = "".join(parsed("every").text)
    assert "error / budget" in text
    assert "error of audio_latents" in text
    assert "<svg" not in html("empty")


@pytest.mark.parametrize("error", [2e-6, 1e-6, 9.9e-6, 0.0, 5e-324, 1.7e308, inf])
def test_an_axis_of_errors_within_a_decade_still_has_numbers(error: float) -> None:
    """The labels of a log scale stand at powers of ten, and a curve may lie between two."""
    points = tuple(Point(unit=k, error=error, budget=3e-6) for k in range(9))
    drift = (Drift(tensor="audio", points=points),)
    case = attrs.evolve(EVERY.cases[1], measurements=Measurements(drift=drift))
    (picture,) = curves(attrs.evolve(EVERY, cases=(case,)))
    numbers = re.findall(r">(1e[-+]\d+|0\.0*1)<", str(picture.svg))
    assert len(numbers) >= 2, numbers


def test_every_judged_clause_and_every_mutant_has_its_place() -> None:
    ids = {found.get("id") for _, found, _ in parsed("every").elements}
    assert {anchor(clause) for clause in CLAUSES} <= ids
    assert {f"mutant-{anchor(name)}" for name in kill_table()} <= ids


def test_a_hostile_port_is_shown_as_text() -> None:
    """Its markup, terminal codes and template code are words on the page, nothing more."""
    text = "".join(parsed("hostile").text)
    assert "<script>alert(1)</script>" in text
    assert "{{ 7*7 }}" in text
    assert not re.search(r"[\x00-\x08\x0b-\x1f\u202e\ufffe]", html("hostile"))
    assert len(HOSTILE.cases) == 12
    html("hostile").encode("utf-8")


def test_a_huge_detail_is_cut_and_says_so() -> None:
    assert "characters left out" in html("huge")
    assert len(html("huge")) < len(html("every")) + 200_000


def test_prose_brings_no_element_of_its_own() -> None:
    shown = str(prose(f"`a<b>` *c* {EVIL}"))
    assert shown.startswith("<code>a&lt;b&gt;</code> <em>c</em> ")
    assert set(re.findall(r"</?(\w+)", shown)) <= {"code", "em"}


def test_paragraphs_are_one_line_and_lists_tables_and_code_keep_theirs() -> None:
    """Words stay as they are, and every clause keeps all of them."""
    text = "One\ntwo.\n\n- a\n  b\n- c\n\n| x |\n| y |\n```\nf\n\ng\n```\nlast\nline\n1. n\n2. m"
    assert reflowed(text).split("\n") == [
        "One two.", "", "- a b", "- c", "", "| x |", "| y |", "```", "f", "", "g", "```",
        "last line", "1. n", "2. m",
    ]  # fmt: skip
    for clause in registry().values():
        assert reflowed(clause.statement).split() == clause.statement.split()
