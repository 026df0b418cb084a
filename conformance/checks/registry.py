"""All checks by id, in the order in which they are run and read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from conformance.case import Check
from conformance.checks import (
    cache,
    causality,
    claims,
    codec,
    codec_memory,
    combinations,
    drift,
    exchange,
    exchange_far,
    exchange_rows,
    exchange_thinker,
    exchange_wire,
    identity,
    isolation,
    latency,
    lifecycle,
    math,
    moved,
    port,
    positions,
    prefill_chunks,
    probe,
    random,
    refusals,
    sampling,
    sampling_refused,
    session,
    split,
    streaming,
    transfer,
    visibility,
)

CHECKS: Final[Mapping[str, Check]] = {
    check.id: check
    for module in (
        port,
        claims,
        math,
        codec,
        codec_memory,
        streaming,
        visibility,
        causality,
        positions,
        session,
        combinations,
        isolation,
        refusals,
        lifecycle,
        transfer,
        moved,
        cache,
        probe,
        identity,
        prefill_chunks,
        sampling,
        sampling_refused,
        random,
        drift,
        split,
        exchange,
        exchange_thinker,
        exchange_rows,
        exchange_wire,
        exchange_far,
        latency,
    )
    for check in module.CHECKS
}

CLAUSES: Final = tuple(
    dict.fromkeys(clause for check in CHECKS.values() for clause in check.clauses)
)
"""Every clause that some check judges."""

LONG: Final = ("drift/late", "drift/long")
"""Checks of long sessions: what a short one can find is found there first."""
