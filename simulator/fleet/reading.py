"""Fleet files (TOML): strict, with one clear line for a mistake.

A file with a ``[fleet]`` table is a fleet. Times carry their unit in the key, seconds for what
lasts (``mean_s``) and milliseconds for deadlines (``deadline_ms``); a value in the wrong one falls
outside what the key allows. Source: CHOICE (WS-FLEET-1).
"""

from __future__ import annotations

import tomllib
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path
from typing import get_args

from simulator.fleet.scenario import (
    SECOND_NS,
    Admission,
    ArrivalKind,
    Arrivals,
    Fleet,
    LengthKind,
    Lengths,
    Memory,
    Placement,
    Site,
    Slo,
)
from simulator.scenario_values import Table, ratio
from spec import clock
from spec.devices import Dtype, device_named
from spec.errors import ConfigError
from spec.presets import preset_named
from spec.roofline import Plan
from spec.session import SessionConfig
from spec.sizes import LAG_OF_SCHEDULE

HOUR_S, DAY_S = 3_600, 86_400
DTYPES: tuple[Dtype, ...] = ("bfloat16", "float32")


def is_fleet(text: str) -> bool:
    """True if a TOML text has a ``[fleet]`` table; False for a text that is no TOML."""
    try:
        return "fleet" in tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return False


def read_fleet(path: Path) -> Fleet:
    """The fleet of a file (WS-FLEET-1).

    Raises:
        ConfigError: not a file, not TOML, an unknown key, a value outside its domain.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"fleet ({type(error).__name__})", str(path), "a TOML file") from None
    try:
        return fleet_of(text, path.stem)
    except ConfigError as error:
        raise ConfigError(f"{path.name}: {error.what}", error.value, error.allowed) from None


def fleet_of(text: str, name: str) -> Fleet:
    """The fleet that a TOML text describes (WS-FLEET-1).

    Raises:
        ConfigError: as `read_fleet`.
    """
    try:
        top = Table("", tomllib.loads(text, parse_float=Decimal))
    except (tomllib.TOMLDecodeError, InvalidOperation, RecursionError) as error:
        raise ConfigError("fleet", str(error) or type(error).__name__, "TOML") from None
    tables = {
        key: Table(key, top.take(key))
        for key in ("fleet", "arrivals", "session", "admission", "slo", "site")
    }
    top.done()
    fleet = tables["fleet"]
    plan = read_plan(fleet)
    pairs = fleet.take("pairs")
    if pairs is not None and type(pairs) is not int:
        raise ConfigError(fleet.at("pairs"), pairs, "a whole number")
    result = Fleet(
        name=fleet.of_type("name", str, name),
        plan=plan,
        arrivals=read_arrivals(tables["arrivals"]),
        lengths=read_lengths(tables["session"]),
        admission=read_admission(tables["admission"]),
        slo=read_slo(tables["slo"]),
        site=read_site(tables["site"]),
        pairs=pairs,
        jitter=share(fleet, "jitter", Fraction(0)),
        duration_ns=seconds(fleet, "duration_s", clock.UNIT_NS, 60 * SECOND_NS, 7 * DAY_S),
        warmup_ns=seconds(fleet, "warmup_s", 0, 0),
        seed=fleet.of_type("seed", int, 0),
    )
    fleet.done()
    return result


def read_plan(table: Table) -> Plan:
    """preset, device, dtype, schedule and efficiency of every pair."""
    preset = preset_named(table.of_type("preset", str, "qwen3-1.7b"))
    device = device_named(table.of_type("device", str, "h100-sxm"))
    dtype = table.choice("dtype", DTYPES, device.default_dtype)
    device.peak_flops(dtype)
    schedule = table.choice("schedule", tuple(LAG_OF_SCHEDULE), preset.schedule)
    # Eager return is not modelled (WS-FLEET-4).
    table.choice("handover", ("boundary",), "boundary")
    return Plan(
        config=SessionConfig(preset=preset, schedule=schedule),
        device=device,
        dtype=dtype,
        efficiency=number(table, "efficiency", Fraction(1), Fraction(1, 100), Fraction(1)),
    )


def read_arrivals(table: Table) -> Arrivals:
    """``[arrivals]``: kind and sessions, and what the kind asks for; no key of another kind."""
    kind = table.choice("kind", get_args(ArrivalKind), "poisson")
    sessions = table.of_type("sessions", int, 1)
    extra: dict[str, Fraction | int] = {}
    if kind == "bursty":
        extra["burst_factor"] = number(
            table, "burst_factor", Fraction(2), Fraction(1), Fraction(1000)
        )
        extra["burst_ns"] = seconds(table, "burst_s", clock.UNIT_NS, 60 * SECOND_NS)
        extra["calm_ns"] = seconds(table, "calm_s", clock.UNIT_NS, 600 * SECOND_NS)
    if kind == "diurnal":
        extra["swing"] = share(table, "swing", Fraction(1, 2))
        extra["period_ns"] = seconds(table, "period_s", clock.UNIT_NS, DAY_S * SECOND_NS)
    if kind == "users":
        extra["users"] = table.of_type("users", int, 0)
    table.done()
    return Arrivals(kind=kind, sessions=sessions, **extra)  # type: ignore[arg-type]


def read_lengths(table: Table) -> Lengths:
    """``[session]``: kind, mean_s, longest_s, and spread where the kind has one."""
    kind = table.choice("kind", get_args(LengthKind), "exponential")
    mean = seconds(table, "mean_s", clock.UNIT_NS, 120 * SECOND_NS)
    longest = seconds(table, "longest_s", clock.UNIT_NS, 600 * SECOND_NS)
    spread = Fraction(0)
    if kind == "uniform":
        spread = share(table, "spread", Fraction(1, 2))
    if kind == "lognormal":
        spread = number(table, "spread", Fraction(1), Fraction(0), Fraction(10))
    table.done()
    return Lengths(kind=kind, mean_ns=mean, longest_ns=longest, spread=spread)


def read_admission(table: Table) -> Admission:
    """``[admission]``: who is let in, and where."""
    memory = table.choice("memory", get_args(Memory), "longest")
    headroom = clock.UNIT_NS
    if memory == "present":
        headroom = seconds(table, "headroom_s", clock.UNIT_NS, clock.UNIT_NS)
    most = table.take("sessions_per_pair")
    if most is not None and (type(most) is not int or most < 1):
        raise ConfigError(table.at("sessions_per_pair"), most, "a whole number, 1 or more")
    result = Admission(
        memory=memory,
        headroom_ns=headroom,
        most_sessions=most,
        placement=table.choice("placement", get_args(Placement), "least-loaded"),
        time_share=number(table, "time_share", Fraction(1), Fraction(1, 100), Fraction(1)),
        memory_share=number(table, "memory_share", Fraction(1), Fraction(1, 100), Fraction(1)),
        patience_ns=seconds(table, "patience_s", 0, 0, HOUR_S),
    )
    table.done()
    return result


def read_slo(table: Table) -> Slo:
    """``[slo]``: what is promised."""
    usual = Slo()
    result = Slo(
        deadline_ns=milliseconds(table, "deadline_ms", usual.deadline_ns),
        p99_ns=milliseconds(table, "p99_ms", usual.p99_ns),
        on_time=share(table, "on_time", usual.on_time),
        blocking=number(table, "blocking", usual.blocking, Fraction(1, 10**9), Fraction(1)),
        confidence=number(
            table, "confidence", usual.confidence, Fraction(1, 2), Fraction(999_999, 10**6)
        ),
    )
    table.done()
    return result


def read_site(table: Table) -> Site | None:
    """``[site]``: all of its assumptions, or no such table."""
    if table.empty:
        return None
    keys = ("up_kbit_s", "down_kbit_s", "idle_share", "power_overhead", "kwh_price",
            "device_hour_price", "currency")  # fmt: skip
    given = {key: table.take(key) for key in keys}
    table.done()
    for key, value in given.items():
        if value is None:
            raise ConfigError(table.at(key), "left out", f"every one of {', '.join(keys)}")
    if type(given["currency"]) is not str:
        raise ConfigError(table.at("currency"), given["currency"], "a name")

    def within(key: str, low: int, high: int) -> Fraction:
        return ratio(table.at(key), given[key], Fraction(low), Fraction(high))

    return Site(
        up_kbit_s=int(within("up_kbit_s", 0, 10**6)),
        down_kbit_s=int(within("down_kbit_s", 0, 10**6)),
        idle_share=within("idle_share", 0, 1),
        power_overhead=within("power_overhead", 1, 10),
        kwh_price=within("kwh_price", 0, 10**6),
        device_hour_price=within("device_hour_price", 0, 10**6),
        currency=given["currency"],
    )


def number(table: Table, key: str, default: Fraction, low: Fraction, high: Fraction) -> Fraction:
    """A plain number from ``low`` to ``high``."""
    value = table.take(key)
    return default if value is None else ratio(table.at(key), value, low, high)


def share(table: Table, key: str, default: Fraction) -> Fraction:
    """A number from 0 to 1."""
    return number(table, key, default, Fraction(0), Fraction(1))


def seconds(table: Table, key: str, least_ns: int, default_ns: int, most_s: int = DAY_S) -> int:
    """A time in seconds, in whole ns."""
    low, most = Fraction(least_ns, SECOND_NS), Fraction(most_s)
    exact = number(table, key, Fraction(default_ns, SECOND_NS), low, most) * SECOND_NS
    return whole(table.at(key), exact)


def milliseconds(table: Table, key: str, default_ns: int) -> int:
    """A deadline in ms, in whole ns: from T, below which no response comes, to a minute."""
    low, most = Fraction(clock.UNIT_NS, 10**6), Fraction(60_000)
    exact = number(table, key, Fraction(default_ns, 10**6), low, most) * 10**6
    return whole(table.at(key), exact)


def whole(where: str, exact: Fraction) -> int:
    """``exact`` as an integer; a time finer than 1 ns is refused."""
    if exact.denominator != 1:
        raise ConfigError(where, f"{float(exact)} ns", "whole nanoseconds")
    return int(exact)
