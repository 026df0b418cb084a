"""The numpy port of the examples plays sessions over stdio; a broken copy is caught.

WS-STREAMING-10, WS-STDIO-2: it is written from the clauses alone and shares no code with the
reference, so in float64 each is evidence for the other.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from conformance.inputs import base
from conformance.oracle import Oracle
from conformance.ports.reference import ReferencePort
from conformance.protocol import Port, UnitOutput
from conformance.recording import TENSORS, Script
from conformance.reporting.report import Report
from conformance.resolve import resolve
from conformance.runner import run, select
from conformance.stdio.port import StdioPort
from spec.sizes import Schedule

PORT = Path(__file__).parent.parent / "examples" / "ports" / "numpy_port"
CHOSEN = (
    "port/honest",
    "session/presets",
    "session/refusals",
    "lifecycle/load",
    "lifecycle/ending",
    "visibility/lag",
)


@contextmanager
def served(folder: Path) -> Iterator[StdioPort]:
    """The program in ``folder``, until the block ends."""
    port = resolve(f"cmd:{shlex.join([sys.executable, str(folder / 'serve.py')])}")
    assert isinstance(port, StdioPort)
    try:
        yield port
    finally:
        port.stop()


def judged(folder: Path, *checks: str) -> Report:
    with served(folder) as port:
        selected = [check for check in select(None, None) if check.id in checks]
        assert len(selected) == len(checks)
        return run(port, Oracle(ReferencePort()), "the port", selected)


def test_ws_streaming_10_it_passes_a_selection_of_each_kind() -> None:
    """WS-STDIO-2, WS-CONFORMANCE-4."""
    report = judged(PORT, *CHOSEN)
    assert report.failures() == ()
    assert report.exit_status == 0
    # It has no offline form that could refuse anything.
    offline = [case for case in report.cases if case.id.startswith("session/refusals:offline-")]
    assert {case.verdict.value for case in offline} == {"unsupported"}
    assert report.counts["pass"] == len(report.cases) - len(offline) > 50


def test_ws_visibility_7_a_broken_copy_fails(tmp_path: Path) -> None:
    """Its thinker sees the last response one unit too early where the schedule is overlapped."""
    broken = Path(shutil.copytree(PORT, tmp_path / "port"))
    text = (broken / "tokens.py").read_text()
    assert "unit - 1 - lag" in text
    (broken / "tokens.py").write_text(text.replace("unit - 1 - lag", "unit - 1"))
    report = judged(broken, "visibility/lag")
    assert report.exit_status == 1
    assert {case.clause for case in report.failures()} <= {"WS-VISIBILITY-2", "WS-VISIBILITY-7"}


def played(port: Port, script: Script) -> list[UnitOutput]:
    session = port.open(script.open)
    outputs = [output for unit in script.units for output in port.step(session, unit)]
    return [*outputs, *port.finish(session)]


@pytest.mark.parametrize("schedule", ["overlapped", "sequential"])
def test_ws_streaming_10_two_implementations_agree_in_float64(schedule: Schedule) -> None:
    script = base("tiny", schedule, "float64", units=3)
    with served(PORT) as port:
        pairs = zip(played(port, script), played(ReferencePort(), script), strict=True)
        for ours, reference in pairs:
            assert ours.text == reference.text
            for name in TENSORS:
                a, b = getattr(ours, name), getattr(reference, name)
                assert np.abs(a - b).max() <= 1e-13 * np.abs(b).max()
