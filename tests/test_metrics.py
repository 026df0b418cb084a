"""Metrics against closed forms over a trace of constant stages (WS-METRICS-4 to WS-METRICS-11)."""

from __future__ import annotations

from fractions import Fraction

import attrs
import pytest
from trace_world import MS, STAGES, T, session_trace

from simulator import metrics
from simulator.moments import Moments, moments
from spec import clock
from spec.trace_check import check_trace

UNITS = 5
S = STAGES
MODEL = S["encode"] + S["update"] + S["comm"] + S["solve"] + S["back"] + S["decode"]
TOTAL = S["up"] + MODEL + S["down"]


def ms(*values: float | Fraction) -> tuple[Fraction, ...]:
    return tuple(Fraction(value) * MS for value in values)


def ns(*values: int) -> tuple[Fraction, ...]:
    return tuple(map(Fraction, values))


EXPECTED = {
    "response-latency": ms(*[TOTAL] * UNITS),
    "model-latency": ms(*[MODEL] * UNITS),
    "first-packet": ms(MODEL),
    "first-token": ms(S["encode"] + S["update"]),
    "time-to-first-byte": ms(TOTAL),
    "real-time-factor": (Fraction(S["encode"] + S["update"] + S["decode"] + S["commit"], T),),
    "frames-per-second": (Fraction(25),),
    "time-between-chunks": ms(*[T] * (UNITS - 1)),
    "next-frame-time": ms(*[40] * (UNITS - 1)),
    "first-frame-delay": ms(S["solve"] + S["back"] + S["decode"]),
    "first-chunk": ms(S["solve"] + S["back"] + S["decode"]),
    "chunk-latency": ms(*[S["solve"] + S["back"] + S["decode"]] * UNITS),
    "audio-to-visual-delay": ms(*[0] * UNITS),
    "reaction-latency": ms(*[TOTAL + T // 2] * UNITS),
    "interruption-latency": ms(*[TOTAL + T // 2] * UNITS),
    "endpoint-latency": ms(*[T // 2 + S["up"] + S["encode"] + S["update"]] * UNITS),
}


def test_the_trace_is_clean() -> None:
    """Otherwise the closed forms would be those of nothing real."""
    assert check_trace(session_trace(UNITS)).clean


@pytest.mark.parametrize("name", metrics.METRICS)
def test_each_metric_is_its_closed_form(name: str) -> None:
    """WS-METRICS-4 to WS-METRICS-11: WS-METRICS-4, WS-METRICS-5, WS-METRICS-6, WS-METRICS-7,
    WS-METRICS-8, WS-METRICS-9, WS-METRICS-10, WS-METRICS-11."""
    assert metrics.METRICS[name](moments(session_trace(UNITS))) == EXPECTED[name]


@pytest.mark.parametrize("stage", STAGES)
def test_each_metric_has_the_stages_that_it_says(stage: str) -> None:
    """WS-METRICS-4 to WS-METRICS-9: a stage 3 ms longer is in some metrics and not in others."""
    inside = {
        "response-latency": set(STAGES) - {"commit"},
        "model-latency": {"encode", "update", "comm", "solve", "back", "decode"},
        "first-packet": {"encode", "update", "comm", "solve", "back", "decode"},
        "first-token": {"encode", "update"},
        "real-time-factor": {"encode", "update", "decode", "commit"},
        "chunk-latency": {"solve", "back", "decode"},
        "endpoint-latency": {"up", "encode", "update"},
    }
    units = moments(session_trace(2, {**STAGES, stage: STAGES[stage] + 3}))
    for name, stages in inside.items():
        moved = metrics.METRICS[name](units)[0] != EXPECTED[name][0]
        assert moved is (stage in stages), name


def test_the_busier_process_sets_the_real_time_factor() -> None:
    """WS-METRICS-7: a solver of 100 ms is more than the thinker's 67."""
    units = moments(session_trace(3, {**STAGES, "solve": 100}))
    assert metrics.real_time_factor(units) == (Fraction(100, T),)


def test_waiting_is_part_of_a_latency() -> None:
    """WS-METRICS-5, WS-METRICS-9: before the encoding, the solving and the decoding; but not what
    comes after the decoding."""
    unit = Moments(session="s", unit=0, arrived=10, encode=(14, 20), update=(20, 30), appended=31,
                   solve=(35, 50), decode=(60, 70), emitted=75)  # fmt: skip
    assert metrics.model_latency([unit]) == ns(60)
    assert metrics.chunk_latency([unit]) == ns(39)


def test_a_response_that_nobody_hears_has_no_latency() -> None:
    """WS-METRICS-4: what left is not heard yet."""
    assert metrics.response_latency([Moments(session="s", unit=0, captured=0, emitted=5)]) == ()


# The first unit is given up before its language pass, the third after it.
GAPS = (
    Moments(session="s", unit=0, captured=0, arrived=10, encode=(10, 20), given_up=True),
    Moments(session="s", unit=1, captured=100, arrived=110, encode=(110, 120), update=(120, 130),
            appended=131, solve=(131, 150), performer_commit=(150, 350), decode=(160, 170),
            emitted=170, heard=180),
    Moments(session="s", unit=2, captured=200, arrived=210, encode=(210, 220), update=(220, 230),
            given_up=True),
    Moments(session="s", unit=3, captured=300, arrived=310, encode=(310, 320), update=(320, 330),
            appended=331, solve=(350, 370), decode=(370, 380), emitted=381, heard=390),
)  # fmt: skip


def test_units_without_a_response_leave_gaps() -> None:
    """WS-METRICS-6, WS-METRICS-7, WS-METRICS-8, WS-METRICS-9: what is first, what is next, and
    what there is of it, is by what was emitted."""
    assert metrics.first_packet(GAPS) == ns(160)
    assert metrics.first_token(GAPS) == ()
    assert metrics.time_to_first_byte(GAPS) == ns(180)
    assert metrics.real_time_factor(GAPS) == (Fraction(19 + 200 + 20, 2 * clock.UNIT_NS),)
    assert metrics.time_between_chunks(GAPS) == ns(211)
    assert metrics.next_frame_time(GAPS) == (Fraction(211, 4),)
    assert metrics.frames_per_second(GAPS) == (Fraction(4 * metrics.SECOND_NS, 211),)
    assert metrics.first_frame_delay(GAPS) == ns(39)
    assert metrics.chunk_latency(GAPS) == ns(39, 49)


def test_a_trace_without_a_client_has_no_response_latency() -> None:
    """WS-METRICS-3, WS-METRICS-4: no value rather than a guess; arrival is the encoding's start."""
    trace = [e for e in session_trace(3) if e.process != "client"]
    units = moments(trace)
    for name in ("response-latency", "time-to-first-byte", "reaction-latency"):
        assert metrics.METRICS[name](units) == ()
    assert metrics.model_latency(units) == ms(*[MODEL] * 3)
    endpoint = ms(*[T // 2 + S["encode"] + S["update"]] * 3)
    assert metrics.endpoint_latency(units) == endpoint


def test_nothing_gives_no_value() -> None:
    """WS-METRICS-3: an empty trace is not a fast one."""
    assert all(metric(()) == () for metric in metrics.METRICS.values())


def test_a_response_that_is_late_keeps_the_old_one_playing() -> None:
    """WS-METRICS-11: responses that came in a burst are played one after the other."""
    trace = [
        # All three are heard when the last one is.
        attrs.evolve(e, t_ns=(3 * T + TOTAL) * MS)
        if (e.process, e.kind) == ("client", "receive") else e
        for e in session_trace(3)
    ]  # fmt: skip
    waits = [(3 * T + TOTAL) - (k + 1) * T + k * T + T // 2 for k in range(3)]
    assert metrics.interruption_latency(moments(trace)) == ms(*waits)


def test_every_response_before_is_played_out() -> None:
    """WS-METRICS-11: also one that answers a unit of which nobody says when it was captured."""
    units = [
        Moments(session="s", unit=0, heard=1000 * MS),
        Moments(session="s", unit=1, captured=900 * MS, heard=1010 * MS),
    ]
    assert metrics.interruption_latency(units) == ms(1000 + T - (900 - T // 2))


def test_sound_before_picture_is_a_delay() -> None:
    """WS-METRICS-10: media time, not wall time."""
    out = {"audio_end_ns": 160 * MS, "video_end_ns": 120 * MS}
    assert metrics.audio_to_visual_delay(moments(session_trace(1, emission=out))) == ms(40)
    ahead = {"audio_end_ns": 120 * MS, "video_end_ns": 160 * MS}
    assert metrics.audio_to_visual_delay(moments(session_trace(1, emission=ahead))) == ms(-40)
    for name in out:
        half = moments(session_trace(2, emission={name: 160 * MS}))
        assert metrics.audio_to_visual_delay(half) == ms(0, 0)


@pytest.mark.parametrize(("percent", "expected"), [(0, 1), (1, 1), (50, 5), (51, 6), (100, 10)])
def test_a_percentile_is_a_value_that_occurred(percent: int, expected: int) -> None:
    """WS-SIMULATION-10: nearest rank."""
    values = [Fraction(n) for n in (7, 1, 10, 2, 9, 3, 8, 4, 6, 5)]
    assert metrics.percentile(values, percent) == expected
