"""Scenario files (TOML) and the ``--stages`` option: strict, with one clear line for a mistake.

Source: CHOICE (design §13, §15).
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path
from typing import Final, get_args

import attrs

from simulator.link import Link, Network
from simulator.scenario import STAGES, Scenario, Slo, StageModels, ThinkerMode, no_time
from simulator.scenario_models import MODELS, link_models, of_stage, read_model, read_roofline
from simulator.scenario_values import UNITS_NS, Table, ratio, time_ns
from simulator.stage_models import Constant, Roofline, StageModel
from spec.errors import ConfigError
from spec.latency import Handover
from spec.presets import preset_named
from spec.sizes import LAG_OF_SCHEDULE, Schedule

LEAST_UNIT_NS: Final = 1_000_000
"""A unit whose stages take less altogether was given in seconds (WS-SIMULATION-3)."""

SHIPPED: Final = Path(__file__).parent / "scenarios"


def shipped() -> dict[str, Path]:
    """The scenarios that come with the simulator, by name."""
    return {path.stem: path for path in sorted(SHIPPED.glob("*.toml"))}


def read_scenario(path: str | Path, schedule: Schedule | None = None) -> Scenario:
    """The scenario of a file, or a shipped one by its name (WS-SIMULATION-3).

    Args:
        path: the file, or the name.
        schedule: instead of the file's; what a device or a link takes follows from it.

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
        return scenario_of(text, file.stem, schedule)
    except ConfigError as error:
        raise ConfigError(f"{file.name}: {error.what}", error.value, error.allowed) from None


def scenario_of(text: str, name: str, schedule: Schedule | None = None) -> Scenario:
    """The scenario that a TOML text describes (WS-SIMULATION-3).

    Args:
        text: the TOML text.
        name: of the scenario where the text gives none.
        schedule: instead of the text's.

    Raises:
        ConfigError: as `read_scenario`.
    """
    try:
        top = Table("", tomllib.loads(text, parse_float=Decimal))
    except (ValueError, InvalidOperation, RecursionError) as error:
        raise ConfigError("scenario", str(error) or type(error).__name__, "TOML") from None
    preset = top.of_type("preset", str, "tiny")
    stated = top.choice("schedule", tuple(LAG_OF_SCHEDULE), preset_named(preset).schedule)
    schedule = stated if schedule is None else schedule
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
        # A sequential thinker's commit is part of its update (WS-LATENCY-1).
        stages = [s for s in STAGES if s != "commit" or schedule == "overlapped"]
        found = {**{name: of_stage(device, name) for name in stages}, **found}
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
