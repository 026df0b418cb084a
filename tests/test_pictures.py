"""What the pictures hold, and that they are drawn."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import attrs
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle
from trace_world import MS, STAGES, T, session_trace

from simulator.drawing import UNIT_COLOURS, ink_on, save, unit_colour
from simulator.gantt import gantt
from simulator.gantt_layout import LANES, Bar, Picture, picture
from simulator.plots import fleet_curves, percentile_curves, waterfall_bars
from spec.errors import ConfigError
from spec.trace import Kind, TraceEvent

S = STAGES


def lane(process: str, what: str) -> int:
    return LANES.index((process, what))


def spans(shown: Picture, unit: int) -> dict[int, tuple[int, int]]:
    return {bar.lane: (bar.start, bar.end) for bar in shown.bars if bar.unit == unit}


def ms(*values: int) -> tuple[int, ...]:
    return tuple(value * MS for value in values)


def test_every_stage_is_a_bar_in_its_lane() -> None:
    """Closed forms for unit 1, from the start of unit 0's capture."""
    at = {"up": 2 * T}
    names = ("up", "encode", "update", "comm", "solve", "back", "decode", "commit")
    for name, following in zip(names, (*names[1:], "end"), strict=True):
        at[following] = at[name] + S[name]
    shown = spans(picture(session_trace(4)), 1)
    heard = at["commit"] + S["down"]
    assert shown == {
        lane("client", "user's unit"): ms(T, 2 * T),
        lane("client", "response"): ms(heard, heard + T),
        lane("thinker", "encode"): ms(at["encode"], at["update"]),
        lane("thinker", "update"): ms(at["update"], at["comm"]),
        lane("thinker", "decode"): ms(at["decode"], at["commit"]),
        lane("thinker", "commit"): ms(at["commit"], at["end"]),
        lane("link", "KV slice"): ms(at["comm"], at["solve"]),
        lane("link", "latents"): ms(at["back"], at["decode"]),
        lane("performer", "solve"): ms(at["solve"], at["back"]),
    }


def test_arrows_lead_from_what_sends_to_what_waits() -> None:
    """The slice goes down, the latents come up, the network is at both ends."""
    arrows = [a for a in picture(session_trace(2)).arrows if a.unit == 0]
    assert [(a.what, LANES[a.from_lane][1], LANES[a.to_lane][1]) for a in arrows] == [
        ("network", "user's unit", "encode"),
        ("KV slice", "update", "solve"),
        ("latents", "solve", "decode"),
        ("network", "decode", "response"),
    ]
    assert [(a.to_ns - a.from_ns) // MS for a in arrows] == [
        S["up"],
        S["comm"],
        S["back"],
        S["down"],
    ]


def test_boundaries_and_deadlines_are_marked() -> None:
    """A unit is whole every T; its response is due two units after it arrived."""
    marks = {(mark.what, mark.unit): mark.at for mark in picture(session_trace(2)).marks}
    assert marks == {
        ("boundary", 0): T * MS, ("boundary", 1): 2 * T * MS,
        ("deadline", 0): (3 * T + S["up"]) * MS, ("deadline", 1): (4 * T + S["up"]) * MS,
    }  # fmt: skip


def test_a_late_response_is_seen() -> None:
    """And only the one that is late."""
    shown = picture(session_trace(2), deadline_ns=100 * MS)
    assert {bar.unit for bar in shown.bars if bar.late} == {0, 1}
    assert not any(bar.late for bar in picture(session_trace(2)).bars)


def test_any_units_of_any_session_can_be_shown() -> None:
    """Times begin with the first one shown."""
    other = [attrs.evolve(e, session="t", t_ns=e.t_ns + 7) for e in session_trace(5)]
    shown = picture([*session_trace(2), *other], first=3, count=2, session="t")
    assert (shown.session, shown.units) == ("t", (3, 4))
    assert spans(shown, 3)[lane("client", "user's unit")] == (0, T * MS)
    for wrong in ({"session": "u"}, {"first": 9}):
        with pytest.raises(ConfigError):
            picture(session_trace(2), **wrong)


def test_a_trace_without_client_and_with_faults() -> None:
    """As a real run writes it; what went wrong is marked."""
    trace = [e for e in session_trace(2) if e.process != "client"]
    fault = attrs.evolve(trace[3], id="link:0", process="link", kind=Kind.FAULT, cause=())
    drop = attrs.evolve(fault, id="link:1", kind=Kind.DROP, unit=1, detail={"policy": "skip"})
    shown = picture([*trace, fault, drop])
    assert {mark.what for mark in shown.marks} == {"boundary", "deadline", "fault", "given up"}
    assert min(bar.start for bar in shown.bars) == 0
    starts = sorted(b.start for b in shown.bars if b.lane == lane("client", "response"))
    assert starts[1] - starts[0] == T * MS


def test_a_response_is_shown_until_the_next_one() -> None:
    """A run that is faster than the clock would paint them over each other."""
    trace = [attrs.evolve(e, t_ns=e.t_ns // 4) for e in session_trace(4)]
    bars = sorted(b.start for b in picture(trace).bars if b.lane == lane("client", "response"))
    ends = sorted(b.end for b in picture(trace).bars if b.lane == lane("client", "response"))
    assert ends[:-1] == bars[1:]
    assert ends[-1] - bars[-1] == T * MS


def text_of(figure: Figure) -> list[str]:
    return [text.get_text() for ax in figure.axes for text in ax.texts]


def test_a_figure_has_a_number_in_each_bar() -> None:
    """All bars here are long enough for one, except the shortest."""
    shown = picture(session_trace(3))
    long = [bar for bar in shown.bars if bar.end - bar.start >= 15 * MS]
    assert sorted(text_of(gantt(shown))) == sorted(str(bar.unit) for bar in long)
    arrows = [p for p in gantt(shown).axes[0].patches if isinstance(p, FancyArrowPatch)]
    assert len(arrows) == len(shown.arrows)


def test_a_long_picture_is_cut_into_strips() -> None:
    """60 units in strips that together show all of the time, none twice."""
    shown = picture(session_trace(60), count=60)
    axes = gantt(shown).axes
    limits = [ax.get_xlim() for ax in axes]
    assert len(axes) == 6
    assert all(a[1] == b[0] for a, b in itertools.pairwise(limits))
    assert limits[0][0] == 0
    assert limits[-1][1] >= shown.length / MS
    assert len(gantt(picture(session_trace(6))).axes) == 1


def test_one_trace_over_another() -> None:
    """Both in each lane, and their first units arrive at one place."""
    real: list[TraceEvent] = [e for e in session_trace(3) if e.process != "client"]
    figure = gantt(picture(session_trace(3)), below=picture(real), names=("simulated", "real"))
    places = [patch.get_xy() for patch in figure.axes[0].patches if isinstance(patch, Rectangle)]
    encode = sorted({round(float(x), 6) for x, y in places if abs(y - 1.63) < 0.01})
    below = sorted({round(float(x), 6) for x, y in places if abs(y - 2.0) < 0.01})
    assert encode == below
    labels = {text.get_text() for text in figure.legends[0].get_texts()}
    assert {"simulated", "real", "KV slice", "latents", "network"} <= labels


def test_colours_differ_and_can_be_read_on() -> None:
    """Neighbours never share a colour."""
    assert len(set(UNIT_COLOURS)) == 6
    assert all(unit_colour(k) != unit_colour(k + n) for k in range(7) for n in range(1, 6))
    assert (ink_on("#0072B2"), ink_on("#E69F00")) == ("white", "black")


def test_waterfall_bars_are_as_long_as_their_sums() -> None:
    """Stacked without a gap; parts that are nowhere have no colour."""
    rows = {"a": {"x": 1e6, "y_z": 2e6, "never": 0}, "b": {"x": 3e6, "y_z": 0, "never": 0}}
    figure = waterfall_bars(rows)
    ends = {
        (p.get_y(), round(p.get_x() + p.get_width(), 9))
        for p in figure.axes[0].patches if isinstance(p, Rectangle)
    }  # fmt: skip
    assert {end for y, end in ends if y < 0.5} == {1.0, 3.0}
    assert {end for y, end in ends if y > 0.5} == {3.0}
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["x", "y z"]
    assert {"3 ms", "1", "2"} <= set(text_of(figure))


def test_a_percentile_curve_is_the_empirical_one() -> None:
    """At each value, how many units are not within it yet; the last of n is at 1/n."""
    figure = percentile_curves({"a": [3e6, 1e6, 2e6, 4e6]}, limit_ns=2.5e6)
    line = figure.axes[0].lines[0]
    assert np.asarray(line.get_xdata()).tolist() == [1, 2, 3, 4]
    assert np.asarray(line.get_ydata()).tolist() == [1, 0.75, 0.5, 0.25]
    assert "2.5 ms" in text_of(figure)


def test_fleet_curves_are_the_numbers_given() -> None:
    """x and y as they are, each series named."""
    figure = fleet_curves([1, 2, 3], {"a": [1.0, 0.9, 0.5], "b": [1, 1, 1]}, "x", "y", limit=0.99)
    assert [line.get_label() for line in figure.axes[0].lines[:2]] == ["a", "b"]
    assert np.asarray(figure.axes[0].lines[0].get_ydata()).tolist() == [1.0, 0.9, 0.5]
    assert "0.99" in text_of(figure)


@pytest.mark.parametrize("name", ["a.svg", "a.png"])
def test_files_are_the_same_for_the_same_data(name: str, tmp_path: Path) -> None:
    """No date, no random ids; an SVG keeps its words as text."""
    first, second = tmp_path / name, tmp_path / f"again-{name}"
    for path in (first, second):
        save(gantt(picture(session_trace(2)), "a title"), path)
    assert first.read_bytes() == second.read_bytes()
    if name.endswith("svg"):
        words = re.sub(r"<[^>]+>", "", first.read_text(encoding="utf-8"))
        assert "performer: solve" in words
        assert "a title" in words


def test_other_names_are_refused() -> None:
    """WS-ERRORS-1: before any work."""
    with pytest.raises(ConfigError, match=r"\.svg"):
        save(Figure(), Path("a.gif"))


def test_a_bar_knows_its_place() -> None:
    """Moving a picture moves everything in it alike."""
    shown = picture(session_trace(2))
    moved = shown.later(5)
    assert moved.bars[0] == attrs.evolve(
        shown.bars[0], start=shown.bars[0].start + 5, end=shown.bars[0].end + 5
    )
    assert isinstance(moved.bars[0], Bar)
    assert (moved.length, moved.arrived) == (shown.length + 5, shown.arrived + 5)
    assert moved.later(-5) == shown
