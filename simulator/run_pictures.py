"""The curves of one run as pictures: where latency goes, and how it spreads over the units.

Source: CHOICE (WS-SIMULATION-8, WS-SIMULATION-10).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from matplotlib.figure import Figure

from simulator.drawing import save
from simulator.plots import percentile_curves, waterfall_bars
from simulator.run import Run
from simulator.waterfall import PARTS, waterfall

BARS: Final = (50, 90, 99)
"""Percentiles of the total latency whose units have a bar."""


def waterfall_figure(result: Run) -> Figure | None:
    """The parts of the mean latency, and of the units at some percentiles of it (WS-SIMULATION-8);
    None where no timing model can say."""
    if result.timeline is None:
        return None
    parts = waterfall(result.scenario, result.timeline)
    columns = {name: getattr(parts, name).ravel() for name in PARTS if name != "capture_wait"}
    rows = {"mean": {name: float(times.mean()) for name, times in columns.items()}}
    ranked = parts.total.ravel().argsort(kind="stable")
    for percent in BARS:
        at = ranked[-(-len(ranked) * percent // 100) - 1]
        rows[f"p{percent}"] = {name: float(times[at]) for name, times in columns.items()}
    return waterfall_bars(rows, f"{result.scenario.name}: total latency of a unit")


def percentile_figure(result: Run) -> Figure:
    """Model-side and total latency of all units, the scenario's deadline marked
    (WS-SIMULATION-10)."""
    series = {"model side": result.model_side.ravel().tolist(),
              "total": result.total.ravel().tolist()}  # fmt: skip
    deadline = float(result.scenario.slo.deadline_ns)
    return percentile_curves(series, result.scenario.name, deadline)


def save_pictures(result: Run, folder: Path) -> Sequence[Path]:
    """Write what can be drawn into ``folder``; the files."""
    figures = {
        "waterfall.svg": waterfall_figure(result),
        "percentiles.svg": percentile_figure(result),
    }
    paths = []
    for name, figure in figures.items():
        if figure is not None:
            paths.append(folder / name)
            save(figure, paths[-1])
    return paths
