"""Small fleets for tests."""

from __future__ import annotations

from fractions import Fraction

from simulator.fleet.scenario import Admission, Arrivals, Fleet, LengthKind, Lengths, Slo
from spec.devices import device_named
from spec.presets import preset_named
from spec.roofline import Plan
from spec.session import SessionConfig
from spec.sizes import Schedule

SECOND = 1_000_000_000
HALF = Fraction(1, 2)


def plan(
    preset: str = "qwen3-8b",
    device: str = "h200-sxm",
    schedule: Schedule = "overlapped",
    efficiency: Fraction = HALF,
) -> Plan:
    """A preset on a device, at half its peaks unless stated."""
    config = SessionConfig(preset=preset_named(preset), schedule=schedule)
    named = device_named(device)
    return Plan(config=config, device=named, dtype=named.default_dtype, efficiency=efficiency)


def fleet(
    *,
    sessions: int = 12,
    pairs: int | None = 5,
    mean_s: int = 10,
    longest_s: int = 60,
    kind: LengthKind = "exponential",
    spread: Fraction = Fraction(0),
    duration_s: int = 40,
    warmup_s: int = 0,
    jitter: Fraction = Fraction(0),
    seed: int = 0,
    on: Plan | None = None,
    arrivals: Arrivals | None = None,
    admission: Admission | None = None,
) -> Fleet:
    """A few sessions on a few pairs."""
    return Fleet(
        name="test",
        plan=on or plan(),
        arrivals=arrivals or Arrivals(kind="poisson", sessions=sessions),
        lengths=Lengths(
            kind=kind, mean_ns=mean_s * SECOND, longest_ns=longest_s * SECOND, spread=spread
        ),
        admission=admission or Admission(),
        slo=Slo(),
        duration_ns=duration_s * SECOND,
        warmup_ns=warmup_s * SECOND,
        pairs=pairs,
        jitter=jitter,
        seed=seed,
    )
