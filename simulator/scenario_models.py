"""Stage models as a scenario file writes them: ``NAME_ms = 20``, or ``NAME = {...}``.

Source: CHOICE (design §13).
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Final

import attrs

from simulator.link import Link
from simulator.scenario import STAGES
from simulator.scenario_values import Table, ratio, times_ns
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
from spec.presets import preset_named
from spec.roofline import Plan
from spec.session import SessionConfig
from spec.sizes import Schedule

MODELS: Final = "a table with uniform_ms, quantiles_ms, recorded_ms, median_ms or device"


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
    roofline = read_roofline(model, preset, schedule) if name in STAGES else None
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
