"""Scenario files (TOML) and the ``--stages`` option: strict, with one clear line for a mistake.

Source: CHOICE (design §13, §15).
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path
from typing import Final, get_args

import attrs

from simulator.link import Link, Network
from simulator.scenario import (
    STAGES,
    Scenario,
    Slo,
    StageModels,
    ThinkerMode,
    no_time,
)
from simulator.scenario_values import UNITS_NS, Table, ratio, time_ns, times_ns
from simulator.stage_models import (
    MAX_SIGMA_Q16,
    Constant,
    Lognormal,
    Quantiles,
    Recorded,
    Roofline,
    StageModel,
    Uniform,
)
from spec import cost
from spec.devices import ELEMENT_BYTES, Dtype, device_named
from spec.errors import ConfigError
from spec.latency import Handover
from spec.presets import preset_named
from spec.roofline import Plan
from spec.session import SessionConfig
from spec.sizes import LAG_OF_SCHEDULE, Schedule

LEAST_UNIT_NS: Final = 1_000_000
"""A unit whose stages take less altogether was given in seconds (WS-SIMULATION-3)."""

SHIPPED: Final = Path(__file__).parent / "scenarios"

MODELS: Final = "a table with uniform_ms, quantiles_ms, recorded_ms, median_ms or device"


def shipped() -> dict[str, Path]:
    """The scenarios that come with the simulator, by name."""
    return {path.stem: path for path in sorted(SHIPPED.glob("*.toml"))}


def read_scenario(path: str | Path) -> Scenario:
    """The scenario of a file, or a shipped one by its name (WS-SIMULATION-3).

    Raises:
        ConfigError: not a file, not TOML, an unknown key, a value outside its domain.
    """
    file = shipped().get(str(path), Path(path))
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        allowed = f"a TOML file, or one of {', '.join(shipped())}"
        raise ConfigError(f"scenario ({type(error).__name__})", str(path), allowed) from None
    try:
        return scenario_of(text, file.stem)
    except ConfigError as error:
        raise ConfigError(f"{file.name}: {error.what}", error.value, error.allowed) from None


def scenario_of(text: str, name: str) -> Scenario:
    """The scenario that a TOML text describes (WS-SIMULATION-3).

    Args:
        text: the TOML text.
        name: of the scenario where the text gives none.

    Raises:
        ConfigError: as `read_scenario`.
    """
    try:
        top = Table("", tomllib.loads(text, parse_float=Decimal))
    except (ValueError, InvalidOperation, RecursionError) as error:
        raise ConfigError("scenario", str(error) or type(error).__name__, "TOML") from None
    preset = top.of_type("preset", str, "tiny")
    schedule = top.choice(
        "schedule", tuple(LAG_OF_SCHEDULE), preset_named(preset).schedule
    )  # fmt: skip
    tables = {key: Table(key, top.take(key)) for key in ("link", "stages", "network", "slo")}
    handover = top.choice("handover", get_args(Handover), "boundary")
    thinker = top.choice("thinker", get_args(ThinkerMode), "one-stream")
    counts = {
        field: top.of_type(field, int, default)
        for field, default in (("units", 400), ("sessions", 1), ("seed", 0))
    }
    name, policy = top.of_type("name", str, name), top.of_type("policy", str, "none")
    faults = top.of_type("faults", dict, {})
    top.done()
    link = read_link(tables["link"])
    return Scenario(
        name=name,
        preset=preset,
        schedule=schedule,
        handover=handover,
        thinker=thinker,
        link=link,
        stages=read_stages(tables["stages"], link, preset, schedule),
        network=read_network(tables["network"]),
        **counts,
        faults=faults,
        policy=policy,
        slo=read_slo(tables["slo"]),
    )


def read_network(table: Table) -> Network:
    """``[network]``: ``up`` and ``down``, half the budget each where left out (WS-LATENCY-5)."""
    up, down = read_model(table, "up"), read_model(table, "down")
    table.done()
    return Network(up=up or Network().up, down=down or Network().down)


def read_link(table: Table) -> Link | None:
    """``[link]``: latency, jitter (0 if left out) and bandwidth; None without such a table."""
    if table.empty:
        return None
    latency, jitter = table.time_ns("latency"), table.time_ns("jitter")
    where = table.at("gigabytes_per_second")
    bandwidth = table.take("gigabytes_per_second")
    table.done()
    if latency is None or bandwidth is None:
        raise ConfigError(table.where, "not all of it", "latency_us, gigabytes_per_second")
    per_second = ratio(where, bandwidth, Fraction(1, 1000), Fraction(100_000)) * 10**9
    return Link(latency_ns=latency, jitter_ns=jitter or 0, bytes_per_second=int(per_second))


def read_slo(table: Table) -> Slo:
    """``[slo]``: deadline_ms and on_time, a share from 0 to 1."""
    deadline, share = table.time_ns("deadline"), table.take("on_time")
    where = table.at("on_time")
    table.done()
    result = Slo() if deadline is None else Slo(deadline_ns=deadline)
    if share is None:
        return result
    parts = ratio(where, share, Fraction(0), Fraction(1)) * 1_000_000
    return attrs.evolve(result, on_time_ppm=int(parts))


def read_stages(table: Table, link: Link | None, preset: str, schedule: Schedule) -> StageModels:
    """``[stages]``: a model a stage; ``device`` for all that are not given (WS-SIMULATION-2).

    Raises:
        ConfigError: a stage without a time, or two sources for one.
    """
    device = read_roofline(table, preset, schedule)
    given = {name: read_model(table, name, preset, schedule) for name in STAGES}
    table.done()
    found = {name: model for name, model in given.items() if model is not None}
    if link is not None:
        for name in ("comm", "back"):
            if name in found:
                raise ConfigError(table.at(name), "a time", "either a time or a [link]")
        found |= link_models(link, preset, schedule)
    if device is not None:
        found = {**{name: of_stage(device, name) for name in STAGES}, **found}
    return complete(table.where, found, f"_ms, or {MODELS}")


def complete(where: str, found: Mapping[str, StageModel], form: str = "=MS") -> StageModels:
    """Stage models with what has a default filled in; refuses a unit of less than 1 ms
    (WS-SIMULATION-3)."""
    found = {"commit": no_time(), **found}
    if "comm" in found:
        found = {"back": found["comm"], **found}
    for name in STAGES:
        if name not in found:
            raise ConfigError(f"{where} {name}", "no time", f"{name}{form}")
    stages = StageModels(**found)
    times = stages.typical
    total = times.encode + times.update + times.solve + times.decode
    predicted = any(isinstance(model, Roofline) for model in found.values())
    if total < LEAST_UNIT_NS and not predicted:
        allowed = "1 ms or more altogether: times are in ms, not in s"
        raise ConfigError(f"{where} of a unit", f"{total / UNITS_NS['ms']:g} ms", allowed)
    return stages


def read_model(
    table: Table, name: str, preset: str = "tiny", schedule: Schedule = "overlapped"
) -> StageModel | None:
    """The model of one stage: ``NAME_ms = 20``, or ``NAME = {...}``; None if neither is there.

    ``{uniform_ms = [low, high]}``, ``{quantiles_ms = [...]}``, ``{recorded_ms = [...]}``,
    ``{median_ms = 20, sigma = 0.2, least_ms = 5}``, or ``{device = "h100-sxm"}`` (WS-SIMULATION-2).
    """
    constant, inner = table.time_ns(name), table.take(name)
    if inner is None:
        return None if constant is None else Constant(ns=constant)
    if constant is not None or not isinstance(inner, dict):
        raise ConfigError(table.at(name), inner, f"either {name}_ms = 20 or {MODELS}")
    model = Table(table.at(name), inner)
    found = [m for m in read_each(model, name, preset, schedule) if m is not None]
    model.done()
    if len(found) != 1:
        raise ConfigError(model.where, inner, MODELS)
    return found[0]


def read_each(
    model: Table, name: str, preset: str, schedule: Schedule
) -> Iterator[StageModel | None]:
    """Each kind of model that the table of one stage can hold."""
    if (bounds := model.timed("uniform", times_ns)) is not None:
        if len(bounds) != 2:
            raise ConfigError(model.at("uniform"), bounds, "two times, low and high")
        yield Uniform(low_ns=bounds[0], high_ns=bounds[1])
    if (points := model.timed("quantiles", times_ns)) is not None:
        yield Quantiles(points_ns=points)
    if (values := model.timed("recorded", times_ns)) is not None:
        yield Recorded(values_ns=values)
    if (median := model.time_ns("median")) is not None:
        sigma = ratio(model.at("sigma"), model.take("sigma") or 0, Fraction(0), Fraction(1))
        yield Lognormal(
            least_ns=model.time_ns("least") or 0,
            median_ns=median,
            sigma_q16=int(sigma * MAX_SIGMA_Q16),
        )
    roofline = read_roofline(model, preset, schedule)
    if roofline is not None:
        yield of_stage(roofline, name)


def read_roofline(table: Table, preset: str, schedule: Schedule) -> Roofline | None:
    """``device``, ``dtype``, ``efficiency`` and ``history_units``; None without a device."""
    device = table.of_type("device", str, "")
    dtype, efficiency = table.of_type("dtype", str, ""), table.take("efficiency")
    history = table.of_type("history_units", int, 0)
    if not device:
        if dtype or efficiency is not None or history:
            raise ConfigError(table.where, "no device", "a device for what is predicted")
        return None
    chosen = device_named(device)
    names: dict[str, Dtype] = {name: name for name in ELEMENT_BYTES}
    if dtype and dtype not in names:
        raise ConfigError(table.at("dtype"), dtype, ", ".join(names))
    element: Dtype = names[dtype] if dtype else chosen.default_dtype
    chosen.peak_flops(element)
    if history < 0:
        raise ConfigError(table.at("history_units"), history, "0 or more")
    reached = Fraction(1) if efficiency is None else ratio(
        table.at("efficiency"), efficiency, Fraction(1, 1000), Fraction(1)
    )  # fmt: skip
    config = SessionConfig(preset=preset_named(preset), schedule=schedule)
    plan = Plan(config=config, device=chosen, dtype=element, efficiency=reached)
    return Roofline(plan=plan, stage="encode", history=history)


def of_stage(device: Roofline, name: str) -> Roofline:
    """A device's time of one stage; both directions of the link are one of its (WS-COST-8)."""
    return attrs.evolve(device, stage="comm" if name == "back" else name)


def link_models(link: Link, preset: str, schedule: Schedule) -> dict[str, StageModel]:
    """Slice and latents of a preset, in float32 on the wire, over a link (WS-SIMULATION-4)."""
    config = SessionConfig(preset=preset_named(preset), schedule=schedule)
    element = ELEMENT_BYTES["float32"]
    return {
        "comm": link.model(cost.slice_bytes(config, element)),
        "back": link.model(cost.latents_bytes(config, element)),
    }


def parse_stages(text: str) -> dict[str, Constant]:
    """``encode=20,update=20,comm=5,solve=110,decode=30``, in ms (WS-SIMULATION-3).

    Raises:
        ConfigError: an unknown or repeated stage, or a time that is none.
    """
    found = dict[str, Constant]()
    for part in text.split(","):
        name, equals, value = part.strip().partition("=")
        if not equals or name not in STAGES or name in found:
            raise ConfigError("--stages", part, f"NAME=MS, each once: {', '.join(STAGES)}")
        try:
            number = Decimal(value)
        except InvalidOperation:
            raise ConfigError(f"--stages {name}", value, "a number of ms") from None
        found[name] = Constant(ns=time_ns(f"--stages {name}", number, UNITS_NS["ms"]))
    return found
