"""The reference passes: what the suite demands can be met.

The longest checks are left to the main job, which runs them all on the same port.
"""

from __future__ import annotations

import pytest
from port_judging import judged

from conformance.checks.registry import CHECKS
from conformance.ports.reference import ReferencePort

LEFT_TO_MAIN_JOB = {
    "streaming/equals-offline",
    "causality/agent-text",
    "causality/response",
    "causality/user-audio",
    "causality/user-video",
    "session/prompt",
    "session/presets",
    "session/noise-is-input",
    "positions/far-out",
    "session/inputs",
    "session/modalities",
    "session/interleaved",
    "session/fresh-start",
    "session/probe",
    "session/random",
    "session/combinations",
    "session/refusals",
    "identity/apart",
    "identity/late",
    "identity/sessions",
    "sampling/words",
    "transfer/moved",
    "transfer/refused",
    "streaming/text",
    "visibility/tokens",
    "visibility/cache",
    "lifecycle/reset",
    "transfer/continues",
    "transfer/contents",
    "drift/long",
    "drift/late",
    # In real time: tests/test_conformance_latency.py has a clock of its own.
    "latency/backlog",
    "latency/deadlines",
}


@pytest.mark.parametrize("check_id", [c for c in CHECKS if c not in LEFT_TO_MAIN_JOB])
def test_reference_passes(check_id: str) -> None:
    report = judged(ReferencePort(), check_id)
    assert report.cases
    assert report.failures() == ()
    assert report.exit_status == 0
