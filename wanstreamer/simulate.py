"""``wanstreamer simulate``: the pipeline in virtual time.

Source: design §13, §15.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import attrs
import click
from rich.console import Console
from rich.table import Table

from simulator.prediction import binding_sentence
from simulator.scenario import Scenario
from simulator.scenario_reading import complete, parse_stages, read_scenario
from simulator.summary import MS, Summary, percentile_ns, summary
from simulator.timeline import Timeline
from simulator.timing import run_events
from simulator.timing_trace import trace, trace_sha256
from simulator.waterfall import PARTS, waterfall
from spec.errors import ConfigError
from spec.sizes import LAG_OF_SCHEDULE
from spec.trace import write_trace
from spec.trace_check import check_trace
from wanstreamer.atomic import replacing
from wanstreamer.simulate_fleet import fleet_file, run_fleet

DEFAULT_SCENARIO = "paper"


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
@click.option("--trace", "trace_file", type=Path, help="Write what happened, as JSONL.")
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
    trace_file: Path | None,
    *,
    as_json: bool,
) -> None:
    """Does a schedule hold 25 fps, and where does each millisecond go?

    SCENARIO.toml is a file or the name of a shipped scenario; the paper's operating point if
    neither it nor --stages is given.
    """
    fleet = fleet_file(scenario_file)
    if fleet is not None:
        unused = {"stages": stages, "schedule": schedule, "handover": handover, "trace": trace_file}
        run_fleet(fleet, seed=seed, units=units, sessions=sessions, capacity=capacity,
                  as_json=as_json, unused=unused)  # fmt: skip
        return
    if capacity is not None:
        raise ConfigError("--capacity", capacity, "a scenario with a [fleet] table")
    named = {"schedule": schedule, "handover": handover}
    counts = {"seed": seed, "units": units, "sessions": sessions}
    chosen = scenario_of(scenario_file, stages, {
        name: value for name, value in (*named.items(), *counts.items()) if value is not None
    })  # fmt: skip
    timeline = run_events(chosen)
    if trace_file is not None:
        with replacing(trace_file) as stream:
            write_trace(stream, trace(chosen, timeline))
    violations = check_trace(trace(chosen, timeline)).violation_count
    result = summary(chosen, timeline, violations, trace_sha256(trace(chosen, timeline)))
    if as_json:
        click.echo(json.dumps(attrs.asdict(result)))
    else:
        show(chosen, timeline, result, Console())


def scenario_of(file: str | None, stages: str | None, changes: Mapping[str, str | int]) -> Scenario:
    """The scenario that the command line asks for: the file's, its stages and fields replaced.

    Raises:
        ConfigError: no such scenario, a mistake in it, or a value outside its domain.
    """
    given = {} if stages is None else parse_stages(stages)
    if file is None and stages is not None:
        base = Scenario(name="stages", stages=complete("--stages", given))
    else:
        base = read_scenario(DEFAULT_SCENARIO if file is None else file)
        replaced = {**attrs.asdict(base.stages, recurse=False), **given}
        if "comm" in given and "back" not in given:
            replaced["back"] = given["comm"]
        base = attrs.evolve(base, stages=complete("--stages", replaced))
    return attrs.evolve(base, **changes)


def show(scenario: Scenario, timeline: Timeline, result: Summary, console: Console) -> None:
    """The run for a person: the waterfall, the numbers, and what binds."""
    console.print(
        f"{scenario.name}: {scenario.schedule}, {scenario.handover} hand-over, thinker on "
        f"{scenario.thinker}, {scenario.units} units in each of {scenario.sessions} sessions",
        highlight=False,
    )
    console.print(waterfall_table(scenario, timeline))
    console.print(
        f"cycle {result.cycle_ms:g} ms (predicted {result.cycle_predicted_ms:g} ms), critical path "
        f"{result.critical_path_ms:g} ms, {result.deadline_misses} units later than "
        f"{scenario.slo.deadline_ns / MS:g} ms, {result.violations} violations",
        highlight=False,
    )
    console.print(binding_sentence(scenario), highlight=False)
    console.print(f"trace sha256 {result.trace_sha256}", highlight=False)


def waterfall_table(scenario: Scenario, timeline: Timeline) -> Table:
    """Where the latency goes: each part over all units, in ms (WS-SIMULATION-8)."""
    parts = waterfall(scenario, timeline)
    table = Table("ms", "mean", "p50", "p99")
    for column in table.columns[1:]:
        column.justify = "right"
    rows = {name.replace("_", " "): getattr(parts, name) for name in PARTS}
    rows["capture wait (beside the total)"] = rows.pop("capture wait")
    totals = {"model side": parts.model_side, "total": parts.total}
    for name, times in (*rows.items(), *totals.items()):
        if name in ("capture wait (beside the total)", "model side"):
            table.add_section()
        table.add_row(
            name,
            f"{times.mean() / MS:,.2f}",
            *(f"{percentile_ns(times, percent) / MS:,.2f}" for percent in (50, 99)),
        )
    return table
