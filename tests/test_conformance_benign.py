"""WS-CONFORMANCE-15: harmless variants are not accused, where they come closest to it."""

from __future__ import annotations

import pytest
from port_judging import judged

from conformance.mutants import BENIGN

NUMBERS = ("causality/padding", "session/modalities", "streaming/split-equals-single")
ORDER = ("session/interleaved", "session/outputs-are-final", "session/refusals")
FEW = ("session/noise-is-input", "lifecycle/ending")
NEAREST = {
    "float64-only": FEW,
    "bfloat16-declared": FEW,
    "float16-declared": FEW,
    "bfloat16-fused-attention": FEW,
    "float16-wide-accumulators": FEW,
    "float32-offline-only": ("port/claims", "session/interleaved"),
    "answers-two-steps-later": ("session/outputs-are-final", "lifecycle/ending"),
    "batched-sessions": ("session/fresh-start",),
    "compiles-after-a-while": (*FEW, "session/interleaved", "session/refusals"),
    "waits-for-all-sessions": ("session/interleaved", "session/refusals", "lifecycle/ending"),
    "not-deterministic": ("session/repeatable", "session/outputs-are-final"),
    "extra-features": ("port/honest",),
    "arrays-in-column-order": ("session/outputs-are-final",),
    "prefills-late": FEW,
    "prefill-in-chunks": FEW,
    "paged-cache": FEW,
    "padding-holds-anything": ("session/probe", "causality/padding", "streaming/kv-digest"),
    "answers-at-the-end": ("session/outputs-are-final", "lifecycle/ending"),
    "fused-attention": FEW,
    "einsum-attention": FEW,
    "wide-accumulators": FEW,
    "mlp-channels-permuted": FEW,
    "mlp-in-two-halves": FEW,
    "rotation-by-complex-numbers": FEW,
    "fused-solver-step": FEW,
    "youngest-key-first": NUMBERS,
    "attention-in-blocks": NUMBERS,
    "float64-inside": NUMBERS,
    "sums-term-after-term": ("session/modalities",),
    "python-manners": ("port/honest", "streaming/split-equals-single", "exchange/exactly-once"),
    "sums-in-any-order": ("session/repeatable", "session/noise-is-input"),
    "unsteady-codecs": ("codec/geometry", "codec/fresh-start", "codec/repeated"),
    "sends-in-another-order": ("exchange/thinker", "exchange/hostile-wire"),
    "own-probe-points": ("session/probe",),
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
