"""WS-CONFORMANCE-15: harmless variants are not accused, where they come closest to it."""

from __future__ import annotations

import pytest
from port_judging import judged

from conformance.mutants import BENIGN

NUMBERS = ("causality/padding", "session/modalities", "streaming/split-equals-single")
ORDER = ("session/interleaved", "session/outputs-are-final", "session/refusals")
NEAREST = {
    "youngest-key-first": NUMBERS,
    "attention-in-blocks": NUMBERS,
    "float64-inside": NUMBERS,
    "answers-a-step-later": ORDER,
    "other-chunking": ("codec/chunking", "codec/fresh-start"),
    "two-threads": ("codec/fresh-start", "codec/geometry"),
    "no-optional-features": ("port/honest", "streaming/kv-digest", "causality/user-text"),
}


# Variants of the math profile are put through all of it in test_conformance_math.
@pytest.mark.parametrize("name", [name for name in BENIGN if not name.startswith("math-")])
def test_ws_conformance_15_variant_passes(name: str) -> None:
    report = judged(BENIGN[name].factory(), *NEAREST[name])
    assert report.failures() == ()
    assert report.exit_status == 0
    assert report.counts["pass"] > 0
