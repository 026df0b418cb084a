"""Known-bad ports, by which the suite is tested, and harmless variants that it must let pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from conformance.mutants import (
    afterwards,
    again,
    asides,
    backbone,
    benign,
    benign_arithmetic,
    benign_caches,
    benign_dtypes,
    benign_manners,
    benign_sessions,
    between,
    claims,
    codec,
    codec_memory,
    combined,
    exchange,
    exchange_far,
    exchange_history,
    identity,
    identity_sessions,
    late,
    latency,
    lifecycle,
    math_benign,
    math_bytes,
    math_edges,
    math_numbers,
    math_plans,
    math_signals,
    math_tables,
    moving,
    response,
    sampling,
    seldom,
    session,
    shared,
    unseen,
    unsteady,
    visibility,
)
from conformance.mutants.patching import Benign, Mutant

MUTANTS: Final[Mapping[str, Mutant]] = {
    mutant.name: mutant
    for module in (
        math_tables,
        math_numbers,
        math_signals,
        math_bytes,
        math_edges,
        math_plans,
        visibility,
        backbone,
        response,
        codec,
        codec_memory,
        session,
        late,
        lifecycle,
        between,
        claims,
        seldom,
        afterwards,
        again,
        identity,
        identity_sessions,
        sampling,
        unsteady,
        combined,
        moving,
        asides,
        shared,
        unseen,
        exchange,
        exchange_history,
        exchange_far,
        latency,
    )
    for mutant in module.MUTANTS
}
"""Every known-bad port by name (WS-CONFORMANCE-14)."""

BENIGN: Final[Mapping[str, Benign]] = {
    variant.name: variant
    for module in (
        math_benign,
        benign,
        benign_sessions,
        benign_caches,
        benign_dtypes,
        benign_arithmetic,
        benign_manners,
    )
    for variant in module.VARIANTS
}
"""Every harmless variant by name (WS-CONFORMANCE-15)."""
