"""What ``wanstreamer bench`` measures: named rates with a target each.

A benchmark is a function that measures once and gives a rate; more is better. A topic adds its own
to `BENCHMARKS`. Source: CHOICE (design §15).
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from typing import Final

import attrs

from simulator import benchmark_simpy
from simulator.benchmark_trace import check_text, split_trace
from simulator.campaign import run_campaign
from simulator.durations import draw
from simulator.faults import RATES
from simulator.fleet.benchmark import fleet_rate
from simulator.link import Network
from simulator.maxplus import run_maxplus
from simulator.scenario import Scenario, StageModels
from simulator.stage_models import Constant, Uniform
from simulator.timing import Pipeline
from spec.errors import ConfigError

MS: Final = 1_000_000

REPEATS: Final = 3
"""The best of so many is reported: what else the machine does only slows it down."""


@attrs.frozen(kw_only=True)
class Benchmark:
    """One rate with its target (WS-BENCH-1). ``measure`` runs it once."""

    name: str
    target: float
    measure: Callable[[], float]


@attrs.frozen(kw_only=True)
class Result:
    """What a benchmark came to (WS-BENCH-1). ``command`` measures it alone again."""

    name: str
    target: float
    measured: float
    met: bool
    command: str


def bench_scenario(sessions: int, units: int) -> Scenario:
    """A pipeline with a different time in every unit, handed over at boundaries."""

    def around(ms: int) -> Uniform:
        return Uniform(low_ns=(ms - 2) * MS, high_ns=(ms + 2) * MS)

    return Scenario(
        name="bench",
        stages=StageModels(
            encode=around(20),
            update=around(20),
            comm=around(5),
            solve=around(110),
            back=around(5),
            decode=around(30),
            commit=around(5),
        ),
        network=Network(up=around(20), down=Constant(ns=0)),
        units=units,
        sessions=sessions,
    )


def event_rate() -> float:
    """Units a second of the event engine, stage by stage, its times given (WS-BENCH-2)."""
    scenario = bench_scenario(1, 40_000)
    pipeline = Pipeline(scenario, draw(scenario))
    return scenario.units / seconds(pipeline.run)


def simpy_ratio() -> float:
    """How many times faster the event engine is than SimPy on the same model, one run of each right
    after the other (WS-BENCH-2)."""
    scenario = bench_scenario(1, 10_000)
    times = draw(scenario)
    ours = seconds(Pipeline(scenario, times).run)
    return seconds(lambda: benchmark_simpy.run(times)) / ours


def recurrence_rate() -> float:
    """Units a second of the recurrences over many sessions, times given (WS-BENCH-2)."""
    scenario = bench_scenario(10_000, 100)
    times = draw(scenario)
    return scenario.units * scenario.sessions / seconds(lambda: run_maxplus(scenario, times))


def drawn_recurrence_rate() -> float:
    """The same, drawing eight random times a unit as well."""
    scenario = bench_scenario(10_000, 100)
    return scenario.units * scenario.sessions / seconds(lambda: run_maxplus(scenario))


def checker_rate() -> float:
    """Events of a trace in memory that are read and checked in a second."""
    text = split_trace()
    events = check_text(text)
    return events / seconds(lambda: check_text(text))


def campaign_rate() -> float:
    """Units a second of a campaign on two worker processes, the full protocol under all faults
    (WS-FAULTS-8): a million in two minutes are 8,334."""
    return 20_000 / wall_seconds(lambda: run_campaign(20_000, RATES, workers=2))


BENCHMARKS: Final[list[Benchmark]] = [
    Benchmark(name="event engine, units/s", target=80_000, measure=event_rate),
    Benchmark(name="event engine, times SimPy", target=2, measure=simpy_ratio),
    Benchmark(name="recurrences, units/s", target=5_000_000, measure=recurrence_rate),
    Benchmark(name="recurrences with draws, units/s", target=1_000_000,
              measure=drawn_recurrence_rate),
    Benchmark(name="fleet of a million sessions, units/s", target=5_000_000, measure=fleet_rate),
    Benchmark(name="trace checker, events/s", target=300_000, measure=checker_rate),
    Benchmark(name="fault campaign, units/s", target=8_334, measure=campaign_rate),
]  # fmt: skip
"""Every benchmark, in the order in which they run."""


def run_benchmarks(only: str | None = None) -> list[Result]:
    """Run them all, or those whose name contains ``only``, the best of `REPEATS` each
    (WS-BENCH-1).

    Raises:
        ConfigError: no benchmark is called so, or a library that one needs is missing.
    """
    chosen = [b for b in BENCHMARKS if only is None or only in b.name]
    if not chosen:
        raise ConfigError("--only", only, ", ".join(b.name for b in BENCHMARKS))
    results = []
    for benchmark in chosen:
        measured = max(benchmark.measure() for _ in range(REPEATS))
        results.append(
            Result(
                name=benchmark.name,
                target=benchmark.target,
                measured=measured,
                met=measured >= benchmark.target,
                command=f'wanstreamer bench --only "{benchmark.name}"',
            )
        )
    return results


def machine() -> dict[str, str | int]:
    """What the numbers were measured on."""
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count() or 1,
        "system": platform.system(),
        "python": platform.python_version(),
    }


def seconds(work: Callable[[], object]) -> float:
    """Processor time that ``work`` takes in this process: a core's, whoever else uses the machine
    (WS-BENCH-1)."""
    return _taken(work, time.process_time)


def wall_seconds(work: Callable[[], object]) -> float:
    """How long ``work`` takes by the clock: for what runs in several processes."""
    return _taken(work, time.perf_counter)


def _taken(work: Callable[[], object], now: Callable[[], float]) -> float:
    start = now()
    work()
    return now() - start
