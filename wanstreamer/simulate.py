"""``wanstreamer simulate``: the pipeline in virtual time.

Source: design §13, §15.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import get_args

import attrs
import click
from rich.console import Console

from simulator.faults import parse_faults
from simulator.run import rates_of, run
from simulator.scenario import Scenario, ThinkerMode
from simulator.scenario_reading import complete, parse_stages, read_scenario
from simulator.scenario_values import choose
from simulator.streamed import run_streamed
from simulator.summary import summary
from spec.errors import ConfigError
from spec.latency import Handover
from spec.sizes import LAG_OF_SCHEDULE, Schedule
from wanstreamer.atomic import replacing
from wanstreamer.simulate_calibration import show_calibration
from wanstreamer.simulate_campaign import show_campaign
from wanstreamer.simulate_fleet import fleet_file, run_fleet
from wanstreamer.simulate_report import show, show_numbers
from wanstreamer.simulate_views import (
    Views,
    check_folder,
    draw_curves,
    refuse_views,
    view_options,
)

DEFAULT_SCENARIO = "paper"
DEFAULT_SCHEDULE: Schedule = "overlapped"


@click.command("simulate")
@click.argument("scenario_file", metavar="[SCENARIO.toml]", required=False)
@click.option("--stages", help="encode=20,update=20,comm=5,solve=110,decode=30 and commit, in ms.")
@click.option("--schedule", help=f"{' or '.join(sorted(LAG_OF_SCHEDULE))}.")
@click.option("--handover", help="boundary or eager.")
@click.option("--thinker", help="one-stream or separate-streams.")
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
@click.option("--stream", is_flag=True, help="Numbers only, in memory that does not grow.")
@click.option("--trace", "trace_file", type=Path, help="Write what happened, as JSONL.")
@view_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def simulate_command(
    scenario_file: str | None,
    stages: str | None,
    schedule: str | None,
    handover: str | None,
    thinker: str | None,
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
    stream: bool,
    views: Views,
    as_json: bool,
) -> None:
    """Does a schedule hold 25 fps, and where does each millisecond go?

    SCENARIO.toml is a file or the name of a shipped scenario; the paper's operating point if
    neither it nor --stages is given. Exit status 1 if an invariant was broken.
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
        unused = {"stages": stages, "schedule": schedule, "handover": handover, "thinker": thinker,
                  "faults": faults,
                  "policy": policy, "trace": trace_file, "gantt": views.gantt,
                  "perfetto": views.perfetto, "tables": views.tables or None,
                  "stream": stream or None}  # fmt: skip
        run_fleet(fleet, seed=seed, units=units, sessions=sessions, capacity=capacity,
                  curves=curves, as_json=as_json, unused=unused)  # fmt: skip
        return
    if capacity is not None:
        raise ConfigError("--capacity", capacity, "a scenario with a [fleet] table")
    check_folder(curves)
    if stream:
        refuse_views(views, curves)
    wanted = None if schedule is None else choose(
        "schedule", schedule, tuple(LAG_OF_SCHEDULE), DEFAULT_SCHEDULE
    )  # fmt: skip
    base = scenario_of(scenario_file, stages, wanted)
    chosen = attrs.evolve(
        base,
        handover=choose("handover", handover, get_args(Handover), base.handover),
        thinker=choose("thinker", thinker, get_args(ThinkerMode), base.thinker),
        policy=base.policy if policy is None else policy,
        seed=base.seed if seed is None else seed,
        units=base.units if units is None else units,
        sessions=base.sessions if sessions is None else sessions,
    )
    rates = rates_of(chosen.faults) if faults is None else parse_faults(faults)
    with tempfile.TemporaryFile("w+", encoding="utf-8", newline="\n") as trace:
        result = None if stream else run(chosen, trace, rates)
        numbers = run_streamed(chosen, trace, rates) if result is None else summary(result)
        if trace_file is not None:
            trace.seek(0)
            with replacing(trace_file) as file:
                shutil.copyfileobj(trace, file)
        views.show(trace, chosen.name, as_json=as_json)
    if result is not None:
        draw_curves(result, curves)
    if views.tables:
        return
    if as_json:
        click.echo(json.dumps(attrs.asdict(numbers)))
    elif result is None:
        show_numbers(numbers, chosen, Console())
    else:
        show(result, Console())
    if numbers.violations:
        raise SystemExit(1)


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
