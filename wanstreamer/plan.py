"""``wanstreamer plan``: what a preset takes on a device, before anything is built or run.

Source: design §15; the numbers are those of WS-COST.
"""

from __future__ import annotations

import json
from typing import Any

import attrs
import click
from rich.console import Console
from rich.table import Table

from spec import clock, cost, cost_stages, latency, roofline
from spec.devices import Device, Dtype, device_named, devices
from spec.errors import ConfigError
from spec.presets import preset_named
from spec.roofline import Plan
from spec.session import SessionConfig
from spec.sizes import LAG_OF_SCHEDULE, Preset, Schedule

HISTORIES = (0, cost.UNITS_PER_MINUTE, 10 * cost.UNITS_PER_MINUTE)
"""Units at which stages are shown, as far as memory reaches: the first, a minute, ten."""

STAGES = ("encode", "update", "solve", "comm", "decode", "commit")

LOWER_BOUND = (
    "Every time is a lower bound: what the device's peak numbers allow, reached by no program. "
    "Thinker and performer have one such device each."
)


@click.command("plan")
@click.option("--preset", default="qwen3-8b", show_default=True, help="Sizes of the model.")
@click.option("--device", default="h100-sxm", show_default=True, help=", ".join(devices()) + ".")
@click.option("--dtype", help="bfloat16 or float32; the device's own if left out.")
@click.option("--schedule", help="overlapped or sequential; the preset's own if left out.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def plan_command(
    preset: str, device: str, dtype: str | None, schedule: str | None, *, as_json: bool
) -> None:
    """Parameters, FLOPs, bytes, KV growth, predicted stage times, and what fits on a device."""
    plan = plan_of(preset_named(preset), device_named(device), dtype, schedule)
    result = report(plan)
    if as_json:
        click.echo(json.dumps(result))
    else:
        show(plan, result, Console())


def plan_of(preset: Preset, device: Device, dtype: str | None, schedule: str | None) -> Plan:
    """The plan that the options ask for (WS-COST-7).

    Raises:
        ConfigError: a dtype that the device lacks, or an unknown schedule.
    """
    allowed: tuple[Dtype, ...] = ("bfloat16", "float32")
    if device.bf16_flops is None:
        allowed = ("float32",)
    chosen = next((d for d in allowed if d == (dtype or device.default_dtype)), None)
    if chosen is None:
        raise ConfigError(f"--dtype on {device.name}", dtype, ", ".join(allowed))
    served: Schedule | None = next(
        (s for s in LAG_OF_SCHEDULE if s == (schedule or preset.schedule)), None
    )
    if served is None:
        raise ConfigError("--schedule", schedule, ", ".join(sorted(LAG_OF_SCHEDULE)))
    config = SessionConfig(preset=preset, schedule=served)
    return Plan(config=config, device=device, dtype=chosen)


def report(plan: Plan) -> dict[str, Any]:
    """Everything that is printed, as one JSON object (WS-COST-8, WS-COST-9, WS-COST-10)."""
    config, preset, element = plan.config, plan.config.preset, plan.element
    layout, counted = config.layout, cost.parameters(preset)
    in_memory, in_time = roofline.units_in_memory(plan), roofline.units_in_time(plan)
    units = [k for k in HISTORIES if k == 0 or k < in_memory]
    if in_memory > 1:
        units = sorted({*units, in_memory - 1})
    return {
        "preset": preset.name,
        "device": attrs.asdict(plan.device),
        "dtype": plan.dtype,
        "schedule": config.schedule,
        "efficiency": float(plan.efficiency),
        "lower_bound": plan.efficiency == roofline.BOUND,
        "parameters": {**counted, "total": sum(counted.values())},
        "weight_bytes": cost.weight_bytes(preset, element),
        "tokens_per_unit": {
            "observation": layout.observation_slots,
            "language": layout.language_slots,
            "response": layout.response_slots,
        },
        "kv_bytes": {
            "token": cost.kv_bytes_per_token(preset.backbone, element),
            "unit": cost.unit_tokens(layout) * cost.kv_bytes_per_token(preset.backbone, element),
            "minute": cost.UNITS_PER_MINUTE
            * cost.unit_tokens(layout)
            * cost.kv_bytes_per_token(preset.backbone, element),
        },
        "link_bytes": {
            "slice": cost.slice_bytes(config, element),
            "latents": cost.latents_bytes(config, element),
        },
        "histories": [at_history(plan, unit) for unit in units],
        "session": {
            "units_in_memory": in_memory,
            "units_in_time": in_time,
            "units": min(in_memory, in_time),
            "limited_by": "memory" if in_memory <= in_time else "time",
        },
    }


def at_history(plan: Plan, unit: int) -> dict[str, Any]:
    """Stages of one unit: FLOPs, bytes, predicted times and what follows from them."""
    passes = cost_stages.stages(cost_stages.Workload.full(plan.config), unit)
    totals = {name: cost_stages.total(works) for name, works in passes.items()}
    times, schedule = roofline.stage_times(plan, unit), plan.config.schedule
    return {
        "unit": unit,
        "history_ns": clock.unit_start_ns(unit),
        "flops": {name: work.flops for name, work in totals.items()},
        "bytes": {name: work.elements * plan.element for name, work in totals.items()},
        "stage_ns": attrs.asdict(times),
        "critical_path_ns": latency.critical_path_ns(times),
        "model_side_ns": as_scheduled(plan, unit),
        "cycle_ns": latency.cycle_ns(times, schedule),
        "binding": latency.binding(times, schedule),
        "keeps_up": roofline.keeps_up(plan, unit),
        "solver_steps_that_fit": roofline.solver_steps_in_time(plan, unit),
    }


def as_scheduled(plan: Plan, unit: int) -> dict[str, int] | None:
    """As-scheduled latency by hand-over; None if units pile up, so that it has no end
    (WS-COST-8, WS-LATENCY-4)."""
    if not roofline.keeps_up(plan, unit):
        return None
    times = roofline.stage_times(plan, unit)
    return {
        "boundary": latency.as_scheduled_ns(times, "boundary"),
        "eager": latency.as_scheduled_ns(times, "eager"),
    }


def show(plan: Plan, result: dict[str, Any], console: Console) -> None:
    """The report as tables for a person."""
    console.print(f"{result['preset']} on {result['device']['name']}, {result['dtype']}, "
                  f"{result['schedule']}, {plan.config.preset.solver_steps} solver steps",
                  highlight=False)  # fmt: skip
    show_sizes(result, console)
    show_histories(result, console)
    show_limits(result, console)
    console.print(LOWER_BOUND, highlight=False)


def show_sizes(result: dict[str, Any], console: Console) -> None:
    """Parameters, and what a unit adds."""
    table = Table("parameters", "")
    right(table)
    for name, count in result["parameters"].items():
        table.add_row(name.replace("_", " "), f"{count:,}")
    console.print(table)
    tokens, kv, link = result["tokens_per_unit"], result["kv_bytes"], result["link_bytes"]
    table = Table("a unit", "")
    right(table)
    table.add_row("tokens O + L + Z", " + ".join(str(n) for n in tokens.values()))
    for name, size in (
        ("weights", result["weight_bytes"]),
        ("keys and values, a token", kv["token"]),
        ("keys and values, a unit", kv["unit"]),
        ("keys and values, a minute", kv["minute"]),
        ("slice on the link", link["slice"]),
        ("latents on the link", link["latents"]),
    ):
        table.add_row(name, readable(size))
    console.print(table)


def show_histories(result: dict[str, Any], console: Console) -> None:
    """FLOPs, bytes and times of the stages, a column a history."""
    histories = result["histories"]
    for title, key in (("GFLOP", "flops"), ("GB moved", "bytes")):
        table = titled(title, histories)
        for name in histories[0][key]:
            table.add_row(name, *(f"{row[key][name] / 1e9:,.2f}" for row in histories))
        console.print(table)
    table = titled("ms, at least", histories)

    def add(name: str, times_ns: list[int]) -> None:
        table.add_row(name, *(f"{ns / 1e6:,.2f}" for ns in times_ns))

    for name in STAGES:
        add(name, [row["stage_ns"][name] for row in histories])
    table.add_section()
    add("critical path", [row["critical_path_ns"] for row in histories])
    for handover in ("boundary", "eager"):
        latencies = [row["model_side_ns"] for row in histories]
        cells = ("none" if ns is None else f"{ns[handover] / 1e6:,.2f}" for ns in latencies)
        table.add_row(f"{handover} latency", *cells)
    add("cycle", [row["cycle_ns"] for row in histories])
    table.add_row("cycle bound by", *(row["binding"] for row in histories))
    table.add_row("steps in 160 ms", *(str(row["solver_steps_that_fit"]) for row in histories))
    console.print(table)


def titled(title: str, histories: list[dict[str, Any]]) -> Table:
    """An empty table with a column a history."""
    table = Table(title, *(f"after {duration(row['unit'])}" for row in histories))
    right(table)
    return table


def right(table: Table) -> None:
    """Numbers to the right, the first column to the left."""
    for column in table.columns[1:]:
        column.justify = "right"


def show_limits(result: dict[str, Any], console: Console) -> None:
    """How long a session can last."""
    session, memory = result["session"], readable(result["device"]["memory_bytes"])
    if session["units_in_memory"] == 0:
        console.print(f"Does not fit: weights {readable(result['weight_bytes'])}, memory {memory}.",
                      highlight=False)  # fmt: skip
    for name, limit in (("memory", f"{memory} hold"), ("time", "a unit takes 160 ms or less for")):
        units = session[f"units_in_{name}"]
        console.print(f"{name}: {limit} {duration(units)} ({units:,} units)", highlight=False)
    console.print(f"A full-history session can last {duration(session['units'])}, "
                  f"limited by {session['limited_by']}.", highlight=False)  # fmt: skip


def readable(size: int) -> str:
    """Bytes in the largest unit that leaves at least 1, decimal."""
    for name, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= scale:
            return f"{size / scale:,.2f} {name}"
    return f"{size} B"


def duration(units: int) -> str:
    """So many units as hours, minutes and seconds."""
    seconds = units * clock.UNIT_NS // 1_000_000_000
    minutes, s = divmod(seconds, 60)
    h, m = divmod(minutes, 60)
    parts = [f"{n} {name}" for n, name in ((h, "h"), (m, "min"), (s, "s")) if n]
    return " ".join(parts) or "0 s"
