"""The cycle in closed form for a scenario, and the name of what binds it.

Source: WS-LATENCY-3 for a thinker in sequence; DERIVED for one with separate streams.
"""

from __future__ import annotations

from collections.abc import Mapping

from simulator.scenario import Scenario, ThinkerMode
from spec import clock, latency
from spec.latency import StageTimes
from spec.sizes import Schedule


def cycle_terms_ns(
    stages: StageTimes, schedule: Schedule, thinker: ThinkerMode
) -> Mapping[str, int]:
    """What a unit can be bound by, by name, in ns (WS-SIMULATION-6, WS-LATENCY-3).

    With separate streams the thinker's sum falls apart: ``encoder`` e, ``updater`` u + c + m,
    ``decoder`` d; ``unit``, ``performer`` and, sequential, ``loop`` stay.
    """
    terms = dict(latency.cycle_terms_ns(stages, schedule))
    if thinker == "one-stream":
        return terms
    del terms["thinker"]
    terms["encoder"] = stages.encode
    terms["updater"] = stages.update + stages.comm + stages.commit
    terms["decoder"] = stages.decode
    return terms


def predicted_cycle_ns(scenario: Scenario) -> int:
    """The largest term at the scenario's typical times (WS-SIMULATION-6)."""
    return max(_terms(scenario).values())


def binding(scenario: Scenario) -> str:
    """Name of the largest term; the first among equals (WS-SIMULATION-6)."""
    terms = _terms(scenario)
    return max(terms, key=terms.__getitem__)


def binding_sentence(scenario: Scenario) -> str:
    """What binds the cycle and by how much, for a person (WS-SIMULATION-6)."""
    name, times = binding(scenario), scenario.stages.typical
    cycle = predicted_cycle_ns(scenario)
    holds = "holds" if latency.meets_paper_condition(times) else "does not hold"
    condition = f"The condition p + c <= T {holds}: {_ms(times.solve + times.comm)} ms."
    if name == "unit":
        return f"A unit takes {_ms(clock.UNIT_NS)} ms, as long as the user's take. {condition}"
    return f"A unit takes {_ms(cycle)} ms, bound by the {name} ({SUMS[name]}). {condition}"


SUMS: Mapping[str, str] = {
    "performer": "p + c",
    "thinker": "e + u + c + d + m",
    "loop": "p + u + 2c",
    "encoder": "e",
    "updater": "u + c + m",
    "decoder": "d",
}


def _terms(scenario: Scenario) -> Mapping[str, int]:
    return cycle_terms_ns(scenario.stages.typical, scenario.schedule, scenario.thinker)


def _ms(ns: int) -> str:
    return f"{ns / 1_000_000:g}"
