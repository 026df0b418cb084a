"""A simulated run for a person: the waterfall, what a millisecond is worth, and what binds.

Source: design §10, §13.
"""

from __future__ import annotations

from collections import Counter

from rich.console import Console
from rich.table import Table

from simulator.critical_path import PathFinder, sensitivities
from simulator.prediction import binding_sentence
from simulator.random_streams import Times
from simulator.run import Run
from simulator.scenario import Scenario
from simulator.summary import MS, Summary, percentile_ns, summary
from simulator.timeline import Timeline
from simulator.waterfall import PARTS, waterfall
from spec import clock


def show(result: Run, console: Console) -> None:
    """The run for a person: the waterfall, the numbers, and what binds."""
    scenario, numbers = result.scenario, summary(result)
    console.print(
        f"{scenario.name}: {scenario.schedule}, {scenario.handover} hand-over, thinker on "
        f"{scenario.thinker}, {scenario.units} units in each of {scenario.sessions} sessions",
        highlight=False,
    )
    if result.timeline is not None:
        console.print(waterfall_table(scenario, result.timeline))
        console.print(sensitivity_table(scenario, result.timeline))
        console.print(path_sentence(scenario, result.timeline), highlight=False)
    else:
        console.print(latency_table(result))
        reached = ", ".join(f"{name} {count}" for name, count in sorted(result.marks.items()))
        cost = result.cost
        console.print(
            f"policy {scenario.policy}: {cost.units_skipped} units skipped, {cost.frames_repeated} "
            f"frames repeated, {cost.steps_lost} solver steps left out",
            highlight=False,
        )
        console.print(f"reached: {reached or 'nothing'}", highlight=False)
    print_end(numbers, scenario, console)


def show_numbers(numbers: Summary, scenario: Scenario, console: Console) -> None:
    """The numbers of a run that holds no units (WS-SIMULATION-13)."""
    table = Table("ms", "p50", "p99")
    for name, found in (("model side", numbers.model_side_ms), ("total", numbers.total_ms)):
        shown = ("none" if ms is None else f"{ms:,.2f}" for ms in (found.p50, found.p99))
        table.add_row(name, *shown)
    console.print(table)
    print_end(numbers, scenario, console)


def print_end(numbers: Summary, scenario: Scenario, console: Console) -> None:
    """What every report ends with: the cycle, misses, violations, what binds, the digest."""
    console.print(
        f"cycle {numbers.cycle_ms:g} ms (predicted {numbers.cycle_predicted_ms:g} ms), critical "
        f"path {numbers.critical_path_ms:g} ms, {numbers.deadline_misses} units later than "
        f"{scenario.slo.deadline_ns / MS:g} ms, {numbers.violations} violations",
        highlight=False,
    )
    console.print(f"{real_time_sentence(numbers)} {binding_sentence(scenario)}", highlight=False)
    console.print(f"trace sha256 {numbers.trace_sha256}", highlight=False)


def latency_table(result: Run) -> Table:
    """Latencies of the responses that came, in ms, where no timing model can say why."""
    table = ms_table()
    add_row(table, "model side", result.model_side)
    add_row(table, "total", result.total)
    return table


def waterfall_table(scenario: Scenario, timeline: Timeline) -> Table:
    """Where the latency goes: each part over all units, in ms (WS-SIMULATION-8)."""
    parts = waterfall(scenario, timeline)
    table = ms_table()
    for name in PARTS:
        if name != "capture_wait":
            add_row(table, name.replace("_", " "), getattr(parts, name))
    table.add_section()
    add_row(table, "model side", parts.model_side)
    add_row(table, "total", parts.total)
    table.add_section()
    add_row(table, "capture wait, beside the total", parts.capture_wait)
    add_row(table, "from signal to response", parts.from_signal)
    return table


def sensitivity_table(scenario: Scenario, timeline: Timeline) -> Table:
    """What a millisecond off each stage gives (WS-SIMULATION-11)."""
    table = Table("1 ms off", "cycle, ms less", "latency, ms less")
    for column in table.columns[1:]:
        column.justify = "right"
    for row in sensitivities(scenario, timeline):
        table.add_row(row.stage, f"{row.cycle_ns / MS:,.2f}", f"{row.latency_ns / MS:,.2f}")
    return table


def real_time_sentence(numbers: Summary) -> str:
    """Does it hold 25 frames a second? (WS-SIMULATION-6)

    Within half a percent: by so much the times of the first and the last unit that are looked at
    may move the mean step of a few hundred.
    """
    if numbers.cycle_ms * MS <= clock.UNIT_NS * 201 // 200:
        return f"Holds {clock.FPS} frames a second."
    frames = clock.FRAMES_PER_UNIT * 1_000 / numbers.cycle_ms
    return f"Falls short of {clock.FPS} frames a second: {frames:.1f}."


def path_sentence(scenario: Scenario, timeline: Timeline) -> str:
    """What the response in the middle of the first session waited for (WS-SIMULATION-11)."""
    unit = scenario.units // 2
    arrival, *steps = PathFinder(scenario, timeline).path(unit)
    counted = Counter(step.stage for step in steps if step.end_ns > step.start_ns)
    stages = ", ".join(f"{count} {stage}" for stage, count in counted.items())
    return (
        f"The critical path to response {unit} goes back to the arrival of unit {arrival.unit}, "
        f"over {stages}."
    )


def ms_table() -> Table:
    """An empty table of times."""
    table = Table("ms", "mean", "p50", "p99")
    for column in table.columns[1:]:
        column.justify = "right"
    return table


def add_row(table: Table, name: str, times: Times) -> None:
    """Mean and percentiles of some times, in ms."""
    if not times.size:
        table.add_row(name, "none", "none", "none")
        return
    shown = (times.mean() / MS, *(percentile_ns(times, percent) / MS for percent in (50, 99)))
    table.add_row(name, *(f"{ms:,.2f}" for ms in shown))
