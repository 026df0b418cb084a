"""Pictures for the page: error against budget for each tensor, and how errors grow over a session.

SVG to stand inside HTML: lines and letters take the colour of the text around them, so one picture
serves a light and a dark page; no two pictures share an id.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from math import ceil, floor, isfinite, log10
from typing import Any, Final

import attrs
import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from conformance.reporting.measure import Closeness, Drift
from conformance.reporting.report import Report
from conformance.stdio.untrusted import one_line
from conformance.verdicts import Verdict

ROWS: Final = 24
CURVES: Final = 6
LEAST, MOST = 1e-3, 1e3
"""Ends of the axis of error over budget; what lies beyond stands at the end."""

TINIEST, LARGEST = 1e-100, 1e100
"""Of the errors in a curve; what lies beyond stands at the end."""

INK: Final = "#010203"
"""Stands for the colour of the text around the picture."""
GOOD: Final = "#3b82c4"
BAD: Final = "#d1442f"
STYLE: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "wanstreamer",
    "text.parse_math": False,
    "font.size": 9.0,
    "font.family": "sans-serif",
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
WIDTH_INCHES: Final = 4.2
PLAIN: Final = FuncFormatter(lambda value, _: f"{value:g}")
"""Numbers without TeX, which a page does not set."""


@attrs.frozen(kw_only=True)
class Picture:
    """An SVG element and what it shows, in words."""

    svg: Markup
    caption: str


def closeness(report: Report) -> Picture | None:
    """Error over budget of every tensor that was compared, worst first, on a log scale."""
    found: dict[str, Closeness] = {}
    for case in report.cases:
        for one in case.measurements.closeness:
            name = one.tensor or case.id.partition(":")[2]
            row = f"{case.check}  {name} {one.dtype}"
            if row not in found or found[row].ratio < one.ratio:
                found[row] = one
    if not found:
        return None
    rows = sorted(found.items(), key=lambda item: -item[1].ratio)
    caption = (
        f"Largest error over budget of {len(rows)} compared tensors; right of 1 fails. No budget is"
        " wider than its verdict needed (WS-CONFORMANCE-9)."
    )
    if len(rows) > ROWS:
        caption += f" The {ROWS} worst are shown."
    rows = rows[:ROWS]

    def draw(axes: Axes) -> None:
        for at, (name, one) in enumerate(rows):
            ratio = one.ratio
            colour = BAD if ratio > 1 else GOOD
            x = min(max(ratio, LEAST), MOST) if isfinite(ratio) else MOST
            axes.plot([LEAST, x], [at, at], color=colour, linewidth=1.2, alpha=0.5)
            axes.plot([x], [at], marker="o" if isfinite(ratio) else ">", color=colour, markersize=4)
            # Above its line and not beside it: beside, a phone has no room for both.
            axes.text(LEAST, at - 0.2, f" {one_line(name, 60)}", fontsize=7.5)
        axes.axvline(1.0, color=INK, linewidth=0.8, linestyle="--")
        axes.set_xscale("log")
        axes.set_xlim(LEAST, MOST)
        axes.xaxis.set_major_formatter(PLAIN)
        axes.set_yticks([])
        axes.set_ylim(len(rows) - 0.5, -0.9)
        axes.set_xlabel("error / budget")

    return Picture(svg=_svg("closeness", 0.9 + 0.29 * len(rows), draw), caption=caption)


def curves(report: Report) -> tuple[Picture, ...]:
    """The series that come closest to their budget, or exceed it, worst first."""
    found = [
        (case.id, series, case.verdict)
        for case in report.cases
        for series in case.measurements.drift
    ]
    found.sort(key=lambda item: -item[1].ratio)
    return tuple(
        _curve(n, case_id, series, verdict)
        for n, (case_id, series, verdict) in enumerate(found[:CURVES])
    )


def _curve(number: int, case_id: str, series: Drift, verdict: Verdict) -> Picture:
    units = [p.unit for p in series.points]

    def draw(axes: Axes) -> None:
        colour = BAD if series.ratio > 1 else GOOD
        errors = _positive([p.error for p in series.points])
        budgets = _positive([p.budget for p in series.points])
        axes.plot(units, errors, color=colour, label="error")
        axes.plot(units, budgets, color=INK, linewidth=0.9, linestyle="--", label="budget")
        axes.set_yscale("log")
        axes.set_ylim(*decades(errors + budgets))
        axes.yaxis.set_major_formatter(PLAIN)
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("unit")
        axes.set_ylabel(f"error of {one_line(series.tensor, 40)}")
        axes.legend(frameon=False, loc="best")

    caption = f"{case_id}, {series.tensor}: {verdict.value}, at most {series.ratio:.3g} × budget"
    return Picture(svg=_svg(f"drift{number}", 2.5, draw), caption=caption)


def decades(values: Sequence[float]) -> tuple[float, float]:
    """The powers of ten below the least and above the largest: both ends have a label."""
    low, high = floor(log10(min(values))), ceil(log10(max(values)))
    return 10.0**low, 10.0 ** max(high, low + 1)


def _positive(values: Sequence[float]) -> list[float]:
    """For a log scale: no zero, no infinity; the floor is far below every budget."""
    finite = [min(max(v, TINIEST), LARGEST) for v in values if isfinite(v) and v > 0]
    least, most = min(finite, default=1e-12), max(finite, default=1.0)
    return [min(max(v, least), most) if isfinite(v) else most * 10 for v in values]


def _svg(name: str, height_inches: float, draw: Callable[[Axes], None]) -> Markup:
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_INCHES, height_inches))
        axes = figure.subplots()
        draw(axes)
        stream = io.StringIO()
        figure.savefig(
            stream,
            format="svg",
            transparent=True,
            bbox_inches="tight",
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
        )
    # Matplotlib has escaped every label.
    return Markup(embedded(stream.getvalue(), name))  # noqa: S704


def embedded(svg: str, name: str) -> str:
    """Only the ``svg`` element, its ids made its own, its ink the colour of the text around it."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(href="|url\()#', rf"\1#{name}-", svg)
    svg = re.sub(r'^<svg([^>]*?) height="[^"]*"', r"<svg\1", svg)
    svg = re.sub(r'^<svg([^>]*?) width="[^"]*"', r"<svg\1", svg)
    svg = svg.replace(' xmlns:xlink="http://www.w3.org/1999/xlink"', "")
    svg = svg.replace("xlink:href", "href").replace(' xmlns="http://www.w3.org/2000/svg"', "")
    return svg.replace(INK, "currentColor")
