"""Draws the Gantt picture of a trace: who does what when, and what waits for what.

A long picture is cut into strips below each other, so that 60 units are as legible as 6.
Source: PAPER Fig. 2; CHOICE for the looks.
"""

from __future__ import annotations

from typing import Final

import attrs
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, Patch, Rectangle

from simulator.drawing import BLUE, FAINT, INK, ORANGE, ink_on, style, unit_colour
from simulator.gantt_layout import LANES, Picture
from spec import clock

MS: Final = 1_000_000
STRIP_NS: Final = 12 * clock.UNIT_NS
"""Time in one strip."""

STRIP_WIDTH: Final = 13.0
LANE_HEIGHT: Final = 0.27
BAR: Final = 0.74
"""Part of a lane that a bar fills."""

LABEL_NS: Final = 16 * MS
"""In a strip of `STRIP_NS`, a shorter bar has no room for its number."""

DECODE: Final = LANES.index(("thinker", "decode"))

ARROW_COLOURS: Final = {"KV slice": BLUE, "latents": ORANGE, "network": "#999999"}

Strip = tuple[int, int]
"""From when to when a strip shows, ns."""


def gantt(
    shown: Picture,
    title: str = "",
    below: Picture | None = None,
    names: tuple[str, str] = ("above", "below"),
) -> Figure:
    """The figure of one trace, or of one over another: the first above in each lane, solid; the
    second below, hatched. Their first units arrive at one place; ``names`` tell them apart."""
    parts: tuple[Picture, ...] = (shown,)
    if below is not None:
        latest = max(shown.arrived, below.arrived)
        parts = (shown.later(latest - shown.arrived), below.later(latest - below.arrived))
    lanes = sorted({bar.lane for part in parts for bar in part.bars})
    length = max(part.length for part in parts)
    strips = max(1, -(-length // STRIP_NS))
    span = -(-length // strips)
    height = strips * (len(lanes) * LANE_HEIGHT + 0.55) + 1.0
    with style():
        figure = Figure(figsize=(STRIP_WIDTH, height), layout="constrained")
        axes = figure.subplots(strips, 1, squeeze=False)[:, 0]
        for number, ax in enumerate(axes):
            strip = number * span, (number + 1) * span
            _frame(ax, strip, lanes)
            for which, part in enumerate(parts):
                drawn = _Part(ax, part, strip, lanes, which, len(parts))
                drawn.marks()
                drawn.bars()
                drawn.arrows()
        axes[-1].set_xlabel("ms since the first unit shown began")
        figure.suptitle(title or f"session {shown.session}", fontsize=11)
        handles = _legend(parts, names)
        figure.legend(handles=handles, loc="outside lower center", ncols=8, frameon=False)
    return figure


def _frame(ax: Axes, strip: Strip, lanes: list[int]) -> None:
    """Lanes, their names, and a band behind every second process."""
    ax.set_xlim(strip[0] / MS, strip[1] / MS)
    ax.set_ylim(len(lanes) - 0.5, -0.5)
    names = [LANES[lane] for lane in lanes]
    ax.set_yticks(range(len(lanes)), [f"{process}: {what}" for process, what in names])
    ax.tick_params(axis="y", length=0)
    processes = list(dict.fromkeys(process for process, _ in LANES))
    for row, (process, _) in enumerate(names):
        if processes.index(process) % 2 == 0:
            ax.axhspan(row - 0.5, row + 0.5, color="#F3F3F3", linewidth=0, zorder=0)


@attrs.frozen
class _Part:
    """One of the traces of a figure, in one strip; ``which`` of ``parts`` it is."""

    ax: Axes
    shown: Picture
    strip: Strip
    lanes: list[int]
    which: int
    count: int

    def sees(self, start: int, end: int) -> bool:
        """Whether the strip shows some of a span."""
        return end >= self.strip[0] and start <= self.strip[1]

    def top(self, lane: int) -> float:
        """Upper edge of the part's bars in a lane; the axis counts downwards."""
        return self.lanes.index(lane) - BAR / 2 + self.which * self.height

    @property
    def height(self) -> float:
        """Of a bar."""
        return BAR / self.count

    def marks(self) -> None:
        """Boundaries, deadlines, units given up, faults."""
        bottom = len(self.lanes) - 0.5
        for mark in self.shown.marks:
            if not self.sees(mark.at, mark.at):
                continue
            x = mark.at / MS
            if mark.what == "boundary" and self.which == 0:
                self.ax.vlines(
                    x, -0.5, bottom, colors=FAINT, linestyles=(0, (1, 2)), linewidth=0.9, zorder=1
                )
            elif mark.what == "deadline" and DECODE in self.lanes:
                self.ax.plot(
                    x, self.top(DECODE) - 0.06, marker="v", markersize=5.5, markeredgewidth=0.7,
                    markerfacecolor=unit_colour(mark.unit), markeredgecolor=INK, zorder=6,
                )  # fmt: skip
            elif mark.what == "given up":
                self.ax.plot(x, 0, marker="x", markersize=8, color=INK, markeredgewidth=2, zorder=6)
            elif mark.what == "fault":
                self.ax.vlines(x, -0.5, bottom, colors=INK, linewidth=1.4, zorder=5)

    def bars(self) -> None:
        """Spans with the numbers of their units, where there is room."""
        for bar in self.shown.bars:
            if not self.sees(bar.start, bar.end):
                continue
            colour, solid = unit_colour(bar.unit), self.which == 0
            place, width = (bar.start / MS, self.top(bar.lane)), (bar.end - bar.start) / MS
            self.ax.add_patch(
                Rectangle(
                    place, width, self.height, facecolor=colour if solid else "white",
                    edgecolor=INK if bar.late else colour, linewidth=2.2 if bar.late else 0.6,
                    hatch=None if solid else "/////", zorder=3.5 if bar.late else 3,
                )
            )  # fmt: skip
            left, right = max(bar.start, self.strip[0]), min(bar.end, self.strip[1])
            if (right - left) * STRIP_NS >= LABEL_NS * (self.strip[1] - self.strip[0]):
                # Messages overlap, and only where they begin are they sure to be apart.
                on_way = LANES[bar.lane][0] == "link"
                at = left + LABEL_NS // 4 if on_way else (left + right) / 2
                self.ax.text(
                    at / MS, place[1] + self.height / 2, str(bar.unit),
                    ha="left" if on_way else "center", va="center_baseline",
                    fontsize=8 if self.count == 1 else 6,
                    color=ink_on(colour) if solid else INK, zorder=4,
                    bbox=None if solid else {"facecolor": "white", "linewidth": 0, "pad": 0.4},
                )  # fmt: skip

    def arrows(self) -> None:
        """What goes from one process to another."""
        for arrow in self.shown.arrows:
            ends = arrow.from_lane, arrow.to_lane
            if not self.sees(arrow.from_ns, arrow.to_ns) or not {*ends} <= {*self.lanes}:
                continue
            # From the side of a bar that faces the other one, to the side that faces back.
            down = arrow.to_lane > arrow.from_lane
            leaves = self.top(arrow.from_lane) + (self.height if down else 0)
            comes = self.top(arrow.to_lane) + (0 if down else self.height)
            self.ax.add_patch(
                FancyArrowPatch(
                    (arrow.from_ns / MS, leaves), (arrow.to_ns / MS, comes), arrowstyle="-|>",
                    mutation_scale=8, shrinkA=0, shrinkB=0, color=ARROW_COLOURS[arrow.what],
                    linewidth=0.7 if arrow.what == "network" else 1.1, zorder=5,
                    linestyle="-" if self.which == 0 else "--",
                )
            )  # fmt: skip


def _legend(parts: tuple[Picture, ...], names: tuple[str, str]) -> list[Patch | Line2D]:
    """Only what the figure shows."""
    arrows = {arrow.what for part in parts for arrow in part.arrows}
    handles: list[Patch | Line2D] = [
        Line2D([], [], color=colour, marker=">", label=what)
        for what, colour in ARROW_COLOURS.items() if what in arrows
    ]  # fmt: skip
    marks = {mark.what for part in parts for mark in part.marks}
    of_mark: dict[str, Patch | Line2D] = {
        "boundary": Line2D([], [], color=FAINT, linestyle=":", label="unit is whole"),
        "deadline": Line2D([], [], marker="v", linestyle="", markerfacecolor="white",
                           markeredgecolor=INK, label="decoded by then"),
        "given up": Line2D([], [], color=INK, marker="x", linestyle="", label="given up"),
        "fault": Line2D([], [], color=INK, label="fault"),
    }  # fmt: skip
    handles += [handle for what, handle in of_mark.items() if what in marks]
    if any(bar.late for part in parts for bar in part.bars):
        handles.append(Patch(facecolor="white", edgecolor=INK, linewidth=2.2, label="late"))
    if len(parts) == 2:
        handles.append(Patch(facecolor=BLUE, label=names[0]))
        handles.append(Patch(facecolor="white", edgecolor=BLUE, hatch="/////", label=names[1]))
    return handles
