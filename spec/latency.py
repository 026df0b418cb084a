"""Latency and throughput of the pipeline in closed form (design §10).

Stage times e, u, p, c, d, m are integer nanoseconds, the same in every unit. The paper's own sums
stand beside the ones that a schedule really gives.
Source: PAPER §2.4 (throughput condition, model-side latency), §3 (measurement protocol).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import attrs

from spec import clock
from spec.errors import ConfigError
from spec.sizes import Schedule

Handover = Literal["boundary", "eager"]

NETWORK_NS: Final = 350_000_000
"""Both directions together (WS-LATENCY-5, PAPER §3)."""


@attrs.frozen(kw_only=True)
class StageTimes:
    """What each stage of one unit takes, in ns (WS-LATENCY-1).

    ``encode``: causal encoders. ``update``: the thinker's language pass (sequential: its commit
    pass is part of it). ``solve``: the performer's solver and, overlapped, its own commit.
    ``comm``: KV slice or latents from one side to the other. ``decode``: causal decoders.
    ``commit``: the thinker's own commit pass, off the critical path; 0 when sequential.
    """

    encode: int
    update: int
    comm: int
    solve: int
    decode: int
    commit: int = 0

    def __attrs_post_init__(self) -> None:
        for field in attrs.fields(StageTimes):
            value = getattr(self, field.name)
            if value < 0:
                raise ConfigError(f"stage {field.name}", value, "0 ns or more")


def critical_path_ns(stages: StageTimes) -> int:
    """e + u + p + d: the paper's model-side latency, communication not counted (WS-LATENCY-2)."""
    return stages.encode + stages.update + stages.solve + stages.decode


def meets_paper_condition(stages: StageTimes) -> bool:
    """p + c ≤ T: necessary for real time, not sufficient (WS-LATENCY-3, PAPER §2.4)."""
    return stages.solve + stages.comm <= clock.UNIT_NS


def cycle_terms_ns(stages: StageTimes, schedule: Schedule) -> Mapping[str, int]:
    """What a unit can be bound by, by name (WS-LATENCY-3).

    ``unit``: T, the arrival of user units. ``performer``: p + c. ``thinker``: e + u + c + d + m,
    for one thinker that works in sequence. ``loop``: p + u + 2c, sequential only, since unit k + 1
    cannot be updated before z_k came back, nor z_k be solved before slice k went over.
    """
    s = stages
    terms = {
        "unit": clock.UNIT_NS,
        "performer": s.solve + s.comm,
        "thinker": s.encode + s.update + s.comm + s.decode + s.commit,
    }
    if schedule == "sequential":
        terms["loop"] = s.solve + s.update + 2 * s.comm
    return terms


def cycle_ns(stages: StageTimes, schedule: Schedule) -> int:
    """Time a unit in the long run: the largest of `cycle_terms_ns` (WS-LATENCY-3)."""
    return max(cycle_terms_ns(stages, schedule).values())


def binding(stages: StageTimes, schedule: Schedule) -> str:
    """Name of the term that sets the cycle; the first one among equals (WS-LATENCY-3)."""
    terms = cycle_terms_ns(stages, schedule)
    return max(terms, key=terms.__getitem__)


def as_scheduled_ns(stages: StageTimes, handover: Handover) -> int:
    """From "unit k available" to "response k decoded", the pipeline keeping up (WS-LATENCY-4).

    ``boundary``: latents are handed over at the next boundary only: T + e + u + c + d, whatever p
    is while p + c ≤ T. ``eager``: they come back as soon as they are solved: e + u + c + p + c + d.
    """
    s = stages
    if handover == "boundary":
        return clock.UNIT_NS + s.encode + s.update + s.comm + s.decode
    return s.encode + s.update + s.comm + s.solve + s.comm + s.decode


def total_ns(model_side_ns: int, network_ns: int = NETWORK_NS) -> int:
    """Model side plus both directions of the network (WS-LATENCY-5, PAPER §3)."""
    return model_side_ns + network_ns


def capture_wait_ns(offset_ns: int) -> int:
    """How long a signal waits for its unit to be complete, by its offset in the unit: 0 to T
    (WS-LATENCY-6)."""
    return clock.UNIT_NS - offset_ns % clock.UNIT_NS
