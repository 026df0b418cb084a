"""``wanstreamer simulate``: the pipeline in virtual time.

Source: design §13, §15.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import get_args

import attrs
import click
from rich.console import Console
from rich.table import Table

from simulator.critical_path import PathFinder, sensitivities
from simulator.faults import parse_faults
from simulator.prediction import binding_sentence
from simulator.random_streams import Times
from simulator.run import Run, rates_of, run
from simulator.scenario import Scenario
from simulator.scenario_reading import complete, parse_stages, read_scenario
from simulator.scenario_values import choose
from simulator.summary import MS, percentile_ns, summary
from simulator.timeline import Timeline
from simulator.waterfall import PARTS, waterfall
from spec import clock
from spec.errors import ConfigError
from spec.latency import Handover
from spec.sizes import LAG_OF_SCHEDULE, Schedule
from wanstreamer.atomic import replacing
from wanstreamer.simulate_calibration import show_calibration
from wanstreamer.simulate_campaign import show_campaign
from wanstreamer.simulate_fleet import fleet_file, run_fleet
from wanstreamer.simulate_views import Views, check_folder, draw_curves, view_options

DEFAULT_SCENARIO = "paper"
DEFAULT_SCHEDULE: Schedule = "overlapped"


@click.command("simulate")
@click.argument("scenario_file", metavar="[SCENARIO.toml]", required=False)
@click.option("--stages", help="encode=20,update=20,comm=5,solve=110,decode=30 and commit, in ms.")
@click.option("--schedule", help=f"{' or '.join(sorted(LAG_OF_SCHEDULE))}.")
@click.option("--handover", help="boundary or eager.")
@click.option("--seed", type=int, help="Same seed, same trace.")
@click.option("--units", type=int, help="Units of each session.")
@click.option(
    "--sessions",
    type=int,
    help="Sessions, each on a pair of its own; of a fleet, how many are offered at a time.",
)
@click.option(
    "--capacity", help="Of a fleet: search the pairs or sessions-per-pair of its promise."
)
@click.option("--curves", type=Path, help="Draw latencies, or a fleet's curves, into this folder.")
@click.option("--faults", help="none, all, or kind=rate,... with faults a unit.")
@click.option("--policy", help="What gives way under overload.")
@click.option("--campaign", is_flag=True, help="Many random runs under faults, --units in all.")
@click.option("--defect", help="Of a campaign: run it with this seeded defect.")
@click.option("--trace", "trace_file", type=Path, help="Write what happened, as JSONL.")
@view_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def simulate_command(
    scenario_file: str | None,
    stages: str | None,
    schedule: str | None,
    handover: str | None,
    seed: int | None,
    units: int | None,
    sessions: int | None,
    capacity: str | None,
    curves: Path | None,
    faults: str | None,
    policy: str | None,
    defect: str | None,
    trace_file: Path | None,
    *,
    campaign: bool,
    views: Views,
    as_json: bool,
) -> None:
    """Does a schedule hold 25 fps, and where does each millisecond go?

    SCENARIO.toml is a file or the name of a shipped scenario; the paper's operating point if
    neither it nor --stages is given.
    """
    if views.from_trace is not None:
        show_calibration(views.from_trace, as_json=as_json)
        return
    if campaign:
        if scenario_file is not None or stages is not None:
            raise ConfigError(
                "--campaign", scenario_file or stages, "no scenario: it draws its own"
            )
        show_campaign(units, faults, seed=seed, defect=defect, as_json=as_json)
        return
    if defect is not None:
        raise ConfigError("--defect", defect, "with --campaign only")
    fleet = fleet_file(scenario_file)
    if fleet is not None:
        unused = {"stages": stages, "schedule": schedule, "handover": handover, "faults": faults,
                  "policy": policy, "trace": trace_file, "gantt": views.gantt,
                  "perfetto": views.perfetto, "tables": views.tables or None}  # fmt: skip
        run_fleet(fleet, seed=seed, units=units, sessions=sessions, capacity=capacity,
                  curves=curves, as_json=as_json, unused=unused)  # fmt: skip
        return
    if capacity is not None:
        raise ConfigError("--capacity", capacity, "a scenario with a [fleet] table")
    check_folder(curves)
    wanted = None if schedule is None else choose(
        "schedule", schedule, tuple(LAG_OF_SCHEDULE), DEFAULT_SCHEDULE
    )  # fmt: skip
    base = scenario_of(scenario_file, stages, wanted)
    chosen = attrs.evolve(
        base,
        handover=choose("handover", handover, get_args(Handover), base.handover),
        policy=base.policy if policy is None else policy,
        seed=base.seed if seed is None else seed,
        units=base.units if units is None else units,
        sessions=base.sessions if sessions is None else sessions,
    )
    rates = rates_of(chosen.faults) if faults is None else parse_faults(faults)
    with tempfile.TemporaryFile("w+", encoding="utf-8", newline="\n") as trace:
        result = run(chosen, trace, rates)
        if trace_file is not None:
            trace.seek(0)
            with replacing(trace_file) as stream:
                shutil.copyfileobj(trace, stream)
        views.show(trace, chosen.name, as_json=as_json)
    draw_curves(result, curves)
    if views.tables:
        return
    if as_json:
        click.echo(json.dumps(attrs.asdict(summary(result))))
    else:
        show(result, Console())


def scenario_of(file: str | None, stages: str | None, schedule: Schedule | None) -> Scenario:
    """The scenario that the command line asks for: the file's, with some stages replaced.

    Raises:
        ConfigError: no such scenario, a mistake in it, or a value outside its domain.
    """
    given = {} if stages is None else parse_stages(stages)
    if file is None and stages is not None:
        return Scenario(
            name="stages",
            stages=complete("--stages", given),
            schedule=DEFAULT_SCHEDULE if schedule is None else schedule,
        )
    base = read_scenario(DEFAULT_SCENARIO if file is None else file, schedule)
    if "comm" in given:
        given = {"back": given["comm"], **given}
    replaced = {**attrs.asdict(base.stages, recurse=False), **given}
    return attrs.evolve(base, stages=complete("--stages", replaced))


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
        console.print(f"policy {scenario.policy}; reached: {reached or 'nothing'}", highlight=False)
    console.print(
        f"cycle {numbers.cycle_ms:g} ms (predicted {numbers.cycle_predicted_ms:g} ms), critical "
        f"path {numbers.critical_path_ms:g} ms, {numbers.deadline_misses} units later than "
        f"{scenario.slo.deadline_ns / MS:g} ms, {numbers.violations} violations",
        highlight=False,
    )
    console.print(f"{real_time_sentence(result)} {binding_sentence(scenario)}", highlight=False)
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


def real_time_sentence(result: Run) -> str:
    """Does it hold 25 frames a second? (WS-SIMULATION-6)

    Within half a percent: by so much the times of the first and the last unit that are looked at
    may move the mean step of a few hundred.
    """
    if result.cycle_ns <= clock.UNIT_NS * 201 // 200:
        return f"Holds {clock.FPS} frames a second."
    frames = clock.FRAMES_PER_UNIT * 1_000_000_000 / result.cycle_ns
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
