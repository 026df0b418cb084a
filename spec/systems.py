"""The published systems that the paper compares itself with, and the boundary of each number.

Source: PAPER §3, Tables 1 and 2, row for row; ``spec/systems.toml`` says what each field is.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import attrs

METRICS: Final = (
    "response-latency", "model-latency", "first-packet", "first-token", "time-to-first-byte",
    "real-time-factor", "frames-per-second", "next-frame-time", "time-between-chunks",
    "first-frame-delay", "first-chunk", "chunk-latency", "audio-to-visual-delay",
    "reaction-latency", "interruption-latency", "endpoint-latency", "speedup",
)  # fmt: skip
"""Every metric of both tables (WS-METRICS-2). ``speedup`` is no property of one system."""

BOUNDS: Final[Mapping[str, str]] = {"exact": "", "about": "~", "at most": "<= ", "below": "< "}
UNITS: Final[Mapping[str, str]] = {"ms": " ms", "fps": " fps", "ratio": ""}
GROUPS: Final = ("dialogue", "interactive", "component", "ours")


@attrs.frozen(kw_only=True)
class Measure:
    """One number of a row (WS-METRICS-1).

    ``low`` to ``high`` in ``unit``, or the two of them if it is a ``pair``; both None where the row
    names the metric without a number.
    ``reason`` is why our figure cannot stand beside it, None where it can.
    """

    metric: str = attrs.field(validator=attrs.validators.in_(METRICS))
    unit: str = attrs.field(validator=attrs.validators.in_(UNITS))
    bound: str = attrs.field(validator=attrs.validators.in_(BOUNDS))
    boundary: str
    low: Decimal | None = None
    high: Decimal | None = None
    pair: bool = False
    variant: str | None = None
    reason: str | None = None

    @property
    def text(self) -> str:
        """The number as the table gives it."""
        if self.low is None or self.high is None:
            return "no number"
        join = "/" if self.pair else "–"
        span = f"{self.low}" if self.low == self.high else f"{self.low}{join}{self.high}"
        return f"{BOUNDS[self.bound]}{span}{UNITS[self.unit]}"


@attrs.frozen(kw_only=True)
class System:
    """One row of one table (WS-METRICS-1).

    ``sources`` are numbers of the paper's references; none for the paper's own system. A row
    without ``measures`` gives no number.
    """

    name: str
    table: int
    group: str = attrs.field(validator=attrs.validators.in_(GROUPS))
    scope: str
    sources: tuple[int, ...]
    remark: str
    measures: tuple[Measure, ...]


@functools.cache
def systems() -> tuple[System, ...]:
    """Every row of both tables, in their order (WS-METRICS-1)."""
    with Path(__file__).with_suffix(".toml").open("rb") as file:
        rows = tomllib.load(file, parse_float=Decimal)["system"]
    return tuple(
        System(
            measures=tuple(map(_measure, row.get("measure", ()))),
            sources=tuple(row["sources"]),
            **{name: row[name] for name in ("name", "table", "group", "scope", "remark")},
        )
        for row in rows
    )


def _measure(row: dict[str, Any]) -> Measure:
    values = dict(row)
    values.update({name: Decimal(row[name]) for name in ("low", "high") if name in row})
    return Measure(**values)
