"""What all pictures share: colours, type, and files that are the same for the same data.

The palette is that of Okabe and Ito: its colours differ for every common kind of colour vision.
Source: CHOICE.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from spec.errors import ConfigError

BLUE: Final = "#0072B2"
ORANGE: Final = "#E69F00"
GREEN: Final = "#009E73"
PURPLE: Final = "#CC79A7"
SKY: Final = "#56B4E9"
RED: Final = "#D55E00"
UNIT_COLOURS: Final = (BLUE, ORANGE, GREEN, PURPLE, SKY, RED)
"""A unit has the colour of its number modulo 6, so that neighbours in a pipeline differ."""

INK: Final = "#222222"
FAINT: Final = "#BBBBBB"
SUFFIXES: Final = (".svg", ".png")
DPI: Final = 150

STYLE: Final = {
    "font.size": 9.0,
    "axes.titlesize": 11.0,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "svg.fonttype": "none",
    # Without a salt, ids in an SVG differ from run to run.
    "svg.hashsalt": "wanstreamer",
}


@contextmanager
def style() -> Iterator[None]:
    """The look of every picture, inside a ``with``."""
    with mpl.rc_context():
        mpl.rcParams.update(STYLE)  # type: ignore[arg-type]
        yield


def unit_colour(unit: int) -> str:
    """Colour of a unit."""
    return UNIT_COLOURS[unit % len(UNIT_COLOURS)]


def ink_on(colour: str) -> str:
    """Black or white, whichever is easier to read on ``colour``."""
    red, green, blue = to_rgb(colour)
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.5 else "black"


def check_path(path: Path) -> None:
    """Refuse a name that is no picture's, before any work.

    Raises:
        ConfigError: neither .svg nor .png.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError("picture", str(path), " or ".join(f"a name in {s}" for s in SUFFIXES))


def save(figure: Figure, path: Path) -> None:
    """Write a figure as the SVG or PNG that the name asks for; the same data gives the same file.

    Raises:
        ConfigError: the name is no picture's.
    """
    check_path(path)
    FigureCanvasAgg(figure)
    with style():
        if path.suffix.lower() == ".svg":
            figure.savefig(path, format="svg", metadata={"Date": None})
        else:
            figure.savefig(path, format="png", dpi=DPI, metadata={"Software": None})
