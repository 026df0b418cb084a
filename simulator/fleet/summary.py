"""A run of a fleet in the numbers that ``simulate --json`` prints for it.

Source: CHOICE (WS-FLEET-13).
"""

from __future__ import annotations

from fractions import Fraction

import attrs

from simulator import erlang
from simulator.capacity import Promise, promises
from simulator.fleet.bill import Bill, bill
from simulator.fleet.scenario import SECOND_NS, Fleet
from simulator.fleet.tally import COUNTS, FleetResult

MS: float = 1e6


@attrs.frozen(kw_only=True)
class Latency:
    """Model-side latency of all units, in ms (WS-FLEET-9)."""

    p50: float
    p99: float
    max: float


@attrs.frozen(kw_only=True)
class FleetSummary:
    """What a run came to (WS-FLEET-13).

    ``sessions_offered``: at a time, if nobody were refused; ``sessions_mean``: served.
    ``places_per_pair``: sessions of a pair if each may grow to the longest, 0 where admission goes
    by what is present and none could. ``sessions``: how many went each way. ``blocking_expected``:
    the closed form's blocking, None where none applies (WS-FLEET-11).
    """

    fleet: str
    preset: str
    device: str
    dtype: str
    schedule: str
    seed: int
    pairs: int
    places_per_pair: int
    sessions_offered: int
    sessions_mean: float
    rounds: int
    duration_s: float
    session_units: int
    sessions: dict[str, int]
    promises: tuple[Promise, ...]
    latency_ms: Latency
    blocking_expected: float | None
    mean_wait_ms: float
    memory_bytes: dict[str, int]
    busy: dict[str, float]
    bill: dict[str, float | str] | None
    trace_sha256: str


def fleet_summary(fleet: Fleet, result: FleetResult) -> FleetSummary:
    """The numbers of a run (WS-FLEET-13).

    Raises:
        ConfigError: as `simulator.fleet.bill.bill`.
    """
    plan, latencies = fleet.plan, result.latencies
    counts = {name: getattr(result, name) for name in COUNTS}
    state = ("at_start", "at_end", "waiting_at_start", "waiting_at_end", "waited")
    return FleetSummary(
        fleet=fleet.name,
        preset=plan.config.preset.name,
        device=plan.device.name,
        dtype=plan.dtype,
        schedule=plan.config.schedule,
        seed=fleet.seed,
        pairs=result.pairs,
        places_per_pair=result.limits.places,
        sessions_offered=fleet.arrivals.sessions,
        sessions_mean=result.session_units / result.rounds,
        rounds=result.rounds,
        duration_s=fleet.duration_ns / SECOND_NS,
        session_units=result.session_units,
        sessions={**counts, **{name: getattr(result, name) for name in state}},
        promises=promises(result, fleet.slo),
        latency_ms=Latency(
            p50=latencies.percentile_ns(Fraction(1, 2)) / MS,
            p99=latencies.percentile_ns(Fraction(99, 100)) / MS,
            max=latencies.largest_ns / MS,
        ),
        blocking_expected=blocking_expected(fleet, result),
        mean_wait_ms=result.wait_ns / max(result.admitted, 1) / MS,
        memory_bytes={
            "device": plan.device.memory_bytes,
            "weights": result.limits.weight_bytes,
            "mean": result.mean_memory_bytes,
            "peak": result.peak_memory_bytes,
        },
        busy={
            "thinker": float(result.thinker_busy),
            "performer": float(result.performer_busy),
        },
        bill=None if fleet.site is None else in_numbers(bill(fleet, fleet.site, result)),
        trace_sha256=result.sha256,
    )


def blocking_expected(fleet: Fleet, result: FleetResult) -> float | None:
    """The closed form's blocking (WS-FLEET-11): Erlang B of the places of all pairs, or of one
    where a session asks one pair only; Engset of a closed crowd. None where rates vary, places are
    not fixed, or sessions wait."""
    admission, arrivals = fleet.admission, fleet.arrivals
    fixed = admission.memory == "longest" and not admission.patience_ns
    places, lot = result.limits.places, admission.placement == "random"
    if not fixed or arrivals.kind not in ("poisson", "users"):
        return None
    if arrivals.kind == "users":
        load = float(arrivals.load_per_idle_user)
        return None if lot else erlang.engset(arrivals.users, load, places * result.pairs)
    if lot:
        return erlang.erlang_b(arrivals.sessions / result.pairs, places)
    return erlang.erlang_b(arrivals.sessions, places * result.pairs)


def in_numbers(made: Bill) -> dict[str, float | str]:
    """A bill as plain numbers, with the price of a session minute."""
    fields = attrs.asdict(made)
    return {
        **{k: v if isinstance(v, str) else float(v) for k, v in fields.items()},
        "session_minute_price": float(made.session_minute_price),
    }
