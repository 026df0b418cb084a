"""What ``wanstreamer simulate`` shows of a run's trace: pictures, a Perfetto file, the tables.

Source: design §13, §15.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TextIO, TypeVar

import attrs
import click

from simulator.run import Run
from spec.errors import ConfigError
from spec.trace_reading import read_trace

P = ParamSpec("P")
R = TypeVar("R")

GANTT_UNITS = 6
"""Units that a picture shows unless more are asked for, as many as the paper's Fig. 2 needs."""


@attrs.frozen(kw_only=True)
class Views:
    """What is to be shown; None and false: not.

    Raises:
        ConfigError: a picture's name that is neither .svg nor .png; an overlay of nothing.
    """

    gantt: Path | None = None
    gantt_units: int = GANTT_UNITS
    overlay: Path | None = None
    perfetto: Path | None = None
    tables: bool = False
    from_trace: Path | None = None

    def __attrs_post_init__(self) -> None:
        if self.gantt is not None:
            check_picture(self.gantt, self.gantt_units)
        elif self.overlay is not None:
            raise ConfigError("--overlay", str(self.overlay), "--gantt beside it")

    def show(self, trace: TextIO, name: str, *, as_json: bool) -> None:
        """Write the files, and print the tables, of a trace from its start.

        Args:
            trace: seekable.
            name: the scenario's.
        """
        if self.gantt is not None:
            trace.seek(0)
            draw(trace, self.gantt, name, self.gantt_units, overlay=self.overlay)
        if self.perfetto is not None:
            trace.seek(0)
            write_perfetto_file(trace, self.perfetto)
        if self.tables:
            from wanstreamer.simulate_tables import show_tables

            trace.seek(0)
            show_tables(read_trace(trace), name, as_json=as_json)


def view_options(command: Callable[P, R]) -> Callable[P, R]:
    """Options for the views of a run; the command gets them as one ``views``."""

    @click.option("--gantt", type=Path, help="Draw the first units, as SVG or PNG.")
    @click.option("--gantt-units", type=int, default=GANTT_UNITS, show_default=True,
                  help="How many.")  # fmt: skip
    @click.option("--overlay", type=Path, help="Draw the trace of a real run over them.")
    @click.option("--perfetto", type=Path, help="Write the trace for ui.perfetto.dev.")
    @click.option("--from-trace", type=Path, help="Fit a real split run and predict its rest.")
    @click.option("--tables", is_flag=True, help="Our figures beside those of published systems.")
    @functools.wraps(command)
    def with_views(*args: P.args, **kwargs: P.kwargs) -> R:
        named = {field.name: kwargs.pop(field.name) for field in attrs.fields(Views)}
        kwargs["views"] = Views(**named)  # type: ignore[arg-type]
        return command(*args, **kwargs)

    return with_views


def check_picture(path: Path, units: int) -> None:
    """Refuse a name or a number of units that cannot be drawn.

    Raises:
        ConfigError: as said.
    """
    from simulator.drawing import check_path

    check_path(path)
    if not 1 <= units <= 600:
        raise ConfigError("units drawn", units, "1 to 600")


def draw(
    trace: TextIO, path: Path, name: str, units: int, first: int = 0, overlay: Path | None = None
) -> None:
    """Draw units of the first session of a trace, and those of a second one under them.

    Raises:
        TraceError: one of the traces is none.
        ConfigError: it has no such units.
    """
    from simulator.drawing import save
    from simulator.gantt import gantt
    from simulator.gantt_layout import Picture, picture

    def picture_of(stream: TextIO) -> Picture:
        last = first + units
        return picture((e for e in read_trace(stream) if e.unit < last), first, units)

    shown, below = picture_of(trace), None
    if overlay is not None:
        with overlay.open(encoding="utf-8", errors="surrogateescape", newline="\n") as stream:
            below = picture_of(stream)
    title = f"{name}: units {shown.units[0]} to {shown.units[-1]} of session {shown.session}"
    names = (name, "" if overlay is None else overlay.name)
    save(gantt(shown, title, below, names), path)


def check_folder(folder: Path | None) -> None:
    """Refuse a folder that is not there, before any work.

    Raises:
        ConfigError: as said.
    """
    if folder is not None and not folder.is_dir():
        raise ConfigError("--curves", str(folder), "an existing folder")


def refuse_views(views: Views, curves: Path | None) -> None:
    """Refuse, before any work, what a run that holds no units cannot show (WS-SIMULATION-13).

    Raises:
        ConfigError: as said.
    """
    asked = {"--curves": curves, "--gantt": views.gantt, "--perfetto": views.perfetto,
             "--tables": views.tables or None}  # fmt: skip
    for name, value in asked.items():
        if value is not None:
            raise ConfigError(f"{name} with --stream", str(value), "one of the two")


def draw_curves(result: Run, folder: Path | None) -> None:
    """Draw where the latency of a run goes and how it spreads, if there is a folder for it."""
    if folder is not None:
        from simulator.run_pictures import save_pictures

        save_pictures(result, folder)


def write_perfetto_file(trace: TextIO, path: Path) -> None:
    """The whole trace as a Perfetto file.

    Raises:
        TraceError: it is none.
    """
    from simulator.perfetto import write_perfetto

    events = list(read_trace(trace))
    with path.open("wb") as stream:
        write_perfetto(stream, events)
