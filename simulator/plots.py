"""Figures over many units or sessions: where latency goes, how it spreads, what a fleet does.

Each takes plain numbers, so that a simulated and a measured run are drawn alike.
Source: CHOICE (design §13).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from simulator.drawing import (
    BLUE,
    FAINT,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    UNIT_COLOURS,
    ink_on,
    style,
)

MS: Final = 1_000_000

PART_COLOURS: Final = (
    "#999999", SKY, BLUE, ORANGE, RED, "#F0E442", GREEN, PURPLE, "#DDDDDD", "#555555", "#BBBBBB",
    "#777777",
)  # fmt: skip
MARKERS: Final = "osD^vP"
LINES: Final = ("-", "--", "-.", ":")
LEAST: Final = 0.04
"""A part of less than this of the longest bar has no room for its number."""


def waterfall_bars(rows: Mapping[str, Mapping[str, float]], title: str = "") -> Figure:
    """Stacked bars of latency: a bar for each of ``rows``, its parts from left to right.

    Args:
        rows: by the name of a bar, by the name of a part, ns. Parts have one colour in all bars;
            a part that is 0 everywhere is left out.
    """
    parts = [
        part
        for part in dict.fromkeys(part for row in rows.values() for part in row)
        if any(row.get(part, 0) > 0 for row in rows.values())
    ]
    longest = max((sum(row.values()) for row in rows.values()), default=0) / MS
    with style():
        figure = Figure(figsize=(10, 1.6 + 0.5 * len(rows)), layout="constrained")
        ax = figure.subplots()
        for place, row in enumerate(rows.values()):
            left = 0.0
            for part, colour in zip(parts, PART_COLOURS, strict=False):
                width = row.get(part, 0) / MS
                # A label a part is enough for the legend.
                label = part.replace("_", " ") if place == 0 else None
                ax.barh(place, width, left=left, color=colour, height=0.62, edgecolor="white",
                        label=label)  # fmt: skip
                if width > LEAST * longest:
                    ax.text(left + width / 2, place, _short(width), ha="center", va="center",
                            color=ink_on(colour), fontsize=8)  # fmt: skip
                left += width
            ax.text(left + 0.008 * longest, place, f"{_short(left)} ms", va="center", fontsize=9)
        ax.set_yticks(range(len(rows)), rows)
        ax.set_xlim(0, longest * 1.1 or 1)
        ax.invert_yaxis()
        ax.set_xlabel("ms")
        ax.set_title(title)
        figure.legend(loc="outside lower center", ncols=min(len(parts), 6) or 1, frameon=False)
    return figure


def percentile_curves(
    series: Mapping[str, Sequence[float]], title: str = "", limit_ns: float | None = None
) -> Figure:
    """What part of the units takes at most so long, a curve for each of ``series``, values in ns.

    The axis counts nines, since it is the last hundredth that a user remembers; ``limit_ns`` is
    marked.
    """
    with style():
        figure = Figure(figsize=(8, 4.5), layout="constrained")
        ax = figure.subplots()
        fewest = 1.0
        for index, (name, values) in enumerate(series.items()):
            ranked = sorted(values)
            count = len(ranked)
            above = [1 - rank / count for rank in range(count)]
            fewest = min(fewest, 1 / count if count else 1.0)
            ax.step(
                [value / MS for value in ranked], above, where="post", label=f"{name} ({count})",
                color=UNIT_COLOURS[index % 6], linestyle=LINES[index // 6 % 4],
            )  # fmt: skip
        ax.set_yscale("log")
        ax.set_ylim(1, fewest / 1.5)
        levels = [level for level in (0.5, 0.1, 0.05, 0.01, 0.001, 0.0001) if level >= fewest / 1.5]
        ax.set_yticks(levels, [f"p{100 * (1 - level):g}" for level in levels])
        ax.set_yticks([], minor=True)
        ax.grid(axis="y", color="#EEEEEE")
        if limit_ns is not None:
            ax.axvline(limit_ns / MS, color=INK, linestyle=":", linewidth=1)
            ax.annotate(f"{limit_ns / MS:g} ms", (limit_ns / MS, 1), fontsize=8,
                        xycoords=("data", "axes fraction"), textcoords="offset points",
                        xytext=(4, -8))  # fmt: skip
        ax.set_xlabel("ms")
        ax.set_ylabel("part of the units within")
        ax.set_title(title)
        ax.legend(frameon=False, loc="best")
    return figure


def fleet_curves(
    x: Sequence[float],
    series: Mapping[str, Sequence[float]],
    xlabel: str,
    ylabel: str,
    title: str = "",
    limit: float | None = None,
) -> Figure:
    """Curves over one x axis, such as the part of units on time over sessions a pair.

    Args:
        x: increasing counts, marked at whole numbers.
        series: by name, a value for each x; None-like gaps are NaN.
        limit: a level to mark, such as the SLO.
    """
    with style():
        figure = Figure(figsize=(8, 4.5), layout="constrained")
        ax = figure.subplots()
        for index, (name, values) in enumerate(series.items()):
            ax.plot(x, values, label=name, color=UNIT_COLOURS[index % 6], markersize=4,
                    marker=MARKERS[index % 6], linestyle=LINES[index // 6 % 4])  # fmt: skip
        if limit is not None:
            ax.axhline(limit, color=INK, linestyle=":", linewidth=1)
            ax.annotate(f"{limit:g}", (1, limit), xycoords=("axes fraction", "data"), fontsize=8,
                        textcoords="offset points", xytext=(-4, 4), ha="right")  # fmt: skip
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        _labels(ax, xlabel, ylabel, title)
        if len(series) > 1:
            ax.legend(frameon=False, loc="best")
    return figure


def _short(ms: float) -> str:
    """A number of ms with three digits, or all of its whole ones."""
    return f"{ms:,.0f}" if ms >= 100 else f"{ms:.3g}"


def _labels(ax: Axes, xlabel: str, ylabel: str, title: str) -> None:
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    ax.set_title(title)
    ax.grid(color="#EEEEEE")
    ax.tick_params(color=FAINT)
