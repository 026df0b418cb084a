"""WS-STDIO-2, WS-CONFORMANCE-1, WS-CONFORMANCE-12: one port, two entrances, the same verdicts case
by case; shown with the example port, which is made from the pages alone, and with a bad one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from conformance.oracle import Oracle
from conformance.protocol import Port
from conformance.reporting.report import Report
from conformance.resolve import resolve
from conformance.runner import run, select
from conformance.stdio.port import StdioPort
from conformance.verdicts import Verdict

EXAMPLES = Path(__file__).resolve().parents[1] / "examples" / "ports"
SERVER = f"{sys.executable} -m conformance.stdio.server"
CODEC = ("port/honest", "codec/fresh-start", "codec/geometry")
SESSION = ("port/honest", "lifecycle/ending", "session/outputs-are-final")


@pytest.fixture(scope="module")
def oracle() -> Oracle:
    return Oracle(resolve("reference"))


@contextmanager
def port_named(name: str) -> Iterator[Port]:
    port = resolve(name)
    try:
        yield port
    finally:
        if isinstance(port, StdioPort):
            port.stop()


def judged(name: str, checks: tuple[str, ...], oracle: Oracle) -> Report:
    with port_named(name) as port:
        selected = [check for check in select(None, None) if check.id in checks]
        return run(port, oracle, "the port", selected)


def verdicts(report: Report) -> dict[str, tuple[Verdict, str]]:
    return {case.id: (case.verdict, case.detail) for case in report.cases}


@pytest.mark.parametrize(
    ("name", "checks", "verdict"),
    [
        ("inprocess:Port", CODEC, Verdict.PASS),
        ("reference", SESSION, Verdict.PASS),
        ("mutant:second-call-not-fresh", CODEC, Verdict.FAIL),
    ],
)
def test_the_same_verdicts_by_both_entrances(
    name: str,
    checks: tuple[str, ...],
    verdict: Verdict,
    oracle: Oracle,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """WS-STDIO-2: and the same reasons, to the last digit, where a case fails."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setenv("PYTHONPATH", str(EXAMPLES))
    direct = judged(name, checks, oracle)
    assert direct.verdict is verdict
    assert len(direct.cases) >= 5
    assert verdicts(judged(f"cmd:{SERVER} {name}", checks, oracle)) == verdicts(direct)
