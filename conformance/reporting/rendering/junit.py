"""JUnit XML, which every CI system reads: a suite a check, a test case a case.

Failures become ``failure``, errors ``error``, unsupported and waived cases ``skipped``; an
inconclusive case is a ``failure`` too, since the run does not exit with 0 for it. What speaks
against the run but belongs to no case stands in a suite of its own. Source: CHOICE (the form that
the public JUnit schema and the common CI readers agree on).
"""

from __future__ import annotations

from typing import Final
from xml.etree import ElementTree as ET

from conformance.reporting.report import Report, by_check
from conformance.stdio.untrusted import one_line, visible
from conformance.verdicts import CaseResult, Verdict

TAG: Final = {
    Verdict.FAIL: "failure",
    Verdict.INCONCLUSIVE: "failure",
    Verdict.ERROR: "error",
    Verdict.UNSUPPORTED: "skipped",
    Verdict.WAIVED: "skipped",
}
MESSAGE_LIMIT: Final = 300
RUN: Final = "run"


def junit(report: Report) -> str:
    """The whole file, with its XML declaration."""
    root = ET.Element("testsuites")
    for check_id, cases in by_check(report.cases).items():
        root.append(_suite(report, check_id, cases))
    if report.reasons:
        root.append(_suite(report, RUN, [_reason(report)]))
    for name in ("tests", "failures", "errors", "skipped"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in root)))
    root.set("name", f"wanstreamer {_name(report)}")
    root.set("time", f"{sum(case.seconds for case in report.cases):.3f}")
    ET.indent(root, " ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, "unicode") + "\n"


def _reason(report: Report) -> CaseResult:
    return CaseResult(
        id=f"{RUN}:verdict",
        clause="WS-CONFORMANCE-11",
        verdict=Verdict.FAIL if report.verdict is Verdict.PASS else report.verdict,
        detail="; ".join(report.reasons),
    )


def _name(report: Report) -> str:
    return one_line(f"{report.port} {report.profile}", MESSAGE_LIMIT)


def _suite(report: Report, check_id: str, cases: list[CaseResult]) -> ET.Element:
    tags = [TAG.get(case.verdict) for case in cases]
    suite = ET.Element(
        "testsuite",
        name=check_id,
        tests=str(len(cases)),
        failures=str(tags.count("failure")),
        errors=str(tags.count("error")),
        skipped=str(tags.count("skipped")),
        time=f"{sum(case.seconds for case in cases):.3f}",
        # The schema's form: no time zone.
        timestamp=report.started.removesuffix("+00:00"),
    )
    properties = ET.SubElement(suite, "properties")
    for name, value in (("port", _name(report)), ("suite", report.suite)):
        ET.SubElement(properties, "property", name=name, value=value)
    for case in cases:
        suite.append(_case(check_id, case))
    return suite


def _case(check_id: str, case: CaseResult) -> ET.Element:
    element = ET.Element(
        "testcase",
        classname=f"wanstreamer.{check_id.replace('/', '.')}",
        name=one_line(case.id.partition(":")[2], MESSAGE_LIMIT),
        time=f"{case.seconds:.3f}",
    )
    tag = TAG.get(case.verdict)
    if tag is not None:
        what = f"{case.clause} {case.verdict.value}: {case.detail}"
        child = ET.SubElement(element, tag, message=one_line(what, MESSAGE_LIMIT))
        if tag != "skipped":
            child.set("type", case.verdict.value)
        child.text = visible(what)
    return element
