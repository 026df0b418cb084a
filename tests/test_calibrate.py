"""Fits of split runs: of synthetic ones whose truth is known, and of a real one (WS-METRICS-12)."""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import attrs
import pytest

from simulator.calibrate import PERCENTILES, Calibration, Row, calibrate, replay, slope
from simulator.calibrate_samples import STAGES, samples
from simulator.stage_models import Constant
from spec.errors import ConfigError
from spec.trace import Kind, TraceEvent
from spec.trace_check import check_trace
from spec.trace_queues import QUEUES
from spec.trace_reading import read_trace, sorted_trace

REAL = Path(__file__).resolve().parents[1] / "examples/traces/split-tiny.jsonl"
MS = 1_000_000

Draw = Callable[[str], float]
"""ms of a stage."""


class Writer:
    """A split run as its two drivers would trace it, made event by event."""

    def __init__(self) -> None:
        self.events: list[TraceEvent] = []
        self.counts = {"thinker": 0, "performer": 0}

    def add(
        self, process: str, kind: Kind, unit: int, start: float, end: float, said: str = "",
        cause: str = "",
    ) -> str:  # fmt: skip
        name = f"{process}:{self.counts[process]}"
        self.counts[process] += 1
        detail: dict[str, int | str] = {"kind": said} if said else {}
        if kind is Kind.APPEND:
            detail = {"epoch": 0, "kv_len_before": 3 * unit, "kv_len_after": 3 * unit + 3}
        self.events.append(
            TraceEvent(
                id=name, session="s", process=process, kind=kind, unit=unit, t_ns=round(start * MS),
                dur_ns=round((end - start) * MS), cause=(cause,) if cause else (), detail=detail,
            )
        )  # fmt: skip
        return name


def split_run(units: int, draw: Draw) -> list[TraceEvent]:
    """An imitation of `optimized.split`, apart from the code under test: the thinker thinks, waits
    for the response before, decodes it and commits it; two queues connect it to the performer."""
    w = Writer()
    clock = performer = 0.0
    mailbox: dict[int, tuple[float, str]] = {}

    def think(k: int, now: float) -> tuple[float, float, str]:
        end = now + draw("encode")
        w.add("thinker", Kind.OBSERVE, k, now + 0.25, end)
        now, end = end, end + draw("update")
        w.add("thinker", Kind.UPDATE, k, now, end - 0.5)
        return end, end + draw("slice"), w.add("thinker", Kind.SEND, k, end, end, "Header")

    def perform(k: int, there: float, cause: str) -> None:
        nonlocal performer
        now = max(there, performer)
        heard = w.add("performer", Kind.RECEIVE, k, now, now, "", cause)
        w.add("performer", Kind.APPEND, k, now, now, "", heard)
        w.add("performer", Kind.SEND, k, now, now, "SliceAck")
        solved = now + draw("solve")
        w.add("performer", Kind.SOLVE, k, now + 0.5, solved - 0.5)
        sent = w.add("performer", Kind.SEND, k, solved, solved, "Latents")
        mailbox[k] = solved + draw("latents"), sent
        performer = solved + draw("performer commit")
        w.add("performer", Kind.COMMIT, k, solved + 0.25, performer)

    def answer(k: int, now: float) -> float:
        there, cause = mailbox.pop(k)
        now = max(now, there)
        w.add("thinker", Kind.RECEIVE, k, now, now, "", cause)
        end = now + draw("decode")
        w.add("thinker", Kind.DECODE, k, now + 0.25, end - 0.25)
        w.add("thinker", Kind.EMIT, k, end - 0.25, end - 0.25)
        last = end - 0.25 + draw("commit")
        w.add("thinker", Kind.COMMIT, k, end, last - 0.25)
        w.add("thinker", Kind.SEND, k, last, last, "LatentsAck")
        return last

    for k in range(units):
        clock, there, cause = think(k, clock)
        if k > 0:
            clock = answer(k - 1, clock)
        perform(k, there, cause)
    clock = answer(units - 1, clock)
    for process in ("thinker", "performer"):
        w.add(process, Kind.END, -1, clock + 99, clock + 99)
    return sorted_trace(w.events)


TRUTH = {
    "encode": 20, "update": 15, "slice": 4, "solve": 30, "performer commit": 6, "latents": 3,
    "decode": 12, "commit": 8,
}  # fmt: skip


def by_name(result: Calibration) -> dict[tuple[str, str], tuple[float, float]]:
    return {(row.quantity, row.statistic): (row.measured, row.predicted) for row in result.rows}


def test_constant_stages_are_recovered_exactly() -> None:
    """WS-METRICS-12: each stage to the nanosecond, and with them latency and cycle. The emission
    comes a quarter of a millisecond before what the imitation calls the end of decoding."""
    trace = split_run(20, TRUTH.__getitem__)
    assert check_trace(trace).clean
    result = calibrate(trace)
    shown = {"decode": 11.75}
    for stage in STAGES:
        expected = shown.get(stage, float(TRUTH[stage]))
        model = result.models[stage]
        if stage not in result.bounds:
            assert model.typical_ns == expected * MS, stage
            assert by_name(result)[stage, "p50"] == (expected, expected)
    for quantity in ("latency", "cycle"):
        for statistic in ("mean", "p99"):
            measured, predicted = by_name(result)[quantity, statistic]
            assert predicted == pytest.approx(measured, rel=1e-9)
    assert (result.fitted, result.predicted) == (8, 9)


def test_drawn_stages_are_recovered_within_chance() -> None:
    """WS-METRICS-12: 800 units of uniform times; medians, tails and what follows from them."""
    rng = random.Random(7)
    trace = split_run(800, lambda stage: TRUTH[stage] + 8 * rng.random())
    result = by_name(calibrate(trace))
    for quantity in (*STAGES[:4], "decode", "latency", "cycle"):
        for statistic in ("mean", "p50", "p90", "p95", "p99"):
            measured, predicted = result[quantity, statistic]
            assert predicted == pytest.approx(measured, rel=0.08), (quantity, statistic)


def test_a_stage_that_grows_with_history_is_followed() -> None:
    """WS-METRICS-12: an update that takes 0.5 ms more in each unit, and what follows from it."""
    count = iter(range(1000))

    def grows(stage: str) -> float:
        return 15 + next(count) / 2 if stage == "update" else TRUTH[stage]

    result = calibrate(split_run(60, grows))
    assert result.growth["update"] == pytest.approx(0.5 * MS, rel=1e-6)
    assert {stage for stage, ns in result.growth.items() if ns} == {"update"}
    found = by_name(result)
    for quantity in ("update", "latency", "cycle"):
        for statistic in ("mean", "p50", "p99"):
            measured, predicted = found[quantity, statistic]
            assert predicted == pytest.approx(measured, rel=0.02), (quantity, statistic)


@pytest.mark.parametrize("stage", ["solve", "performer commit", "commit"])
def test_each_stage_that_attends_to_history_grows(stage: str) -> None:
    """WS-METRICS-12: as the update does, and no other with it."""
    count = iter(range(1000))
    result = calibrate(
        split_run(30, lambda name: TRUTH[name] + (next(count) / 2 if name == stage else 0))
    )
    assert {name for name, ns in result.growth.items() if ns} == {stage}
    assert result.growth[stage] == pytest.approx(0.5 * MS, rel=1e-6)


def test_the_part_that_is_stated_is_fitted() -> None:
    """WS-METRICS-12: of 17 units between the warm-up and the last."""
    for part, fitted in ((Fraction(1, 4), 4), (Fraction(3, 4), 12)):
        result = calibrate(split_run(20, TRUTH.__getitem__), part)
        assert (result.fitted, result.predicted) == (fitted, 17 - fitted)


def test_an_error_is_of_the_prediction() -> None:
    """WS-METRICS-12: predicted/measured - 1; as many units as are needed are enough."""
    row = Row(quantity="solve", statistic="p90", measured=2.0, predicted=3.0, units=29, needed=29)
    assert (row.error, row.enough) == (0.5, True)
    assert attrs.evolve(row, predicted=1.0).error == -0.5
    assert not attrs.evolve(row, units=28).enough


def test_chance_is_not_taken_for_growth() -> None:
    """WS-METRICS-12: of 200 runs of noise, hardly one seems to grow; of 4 units, none."""
    rng = random.Random(3)
    seeming = [slope(range(20), [rng.randrange(1000) for _ in range(20)]) for _ in range(200)]
    assert sum(found != 0 for found in seeming) <= 4
    assert slope(range(4), [1, 2, 3, 4]) == 0
    assert slope(range(5), [1, 2, 3, 4, 5]) == pytest.approx(1)
    assert slope(range(5), [7] * 5) == 0


@pytest.mark.parametrize(("stage", "step"), [("decode", 0.5), ("encode", 0.5), ("solve", -0.2)])
def test_what_history_cannot_explain_is_no_growth(stage: str, step: float) -> None:
    """WS-METRICS-12: decoders and encoders see no history, and none makes a stage faster."""
    count = iter(range(1000))
    result = calibrate(
        split_run(30, lambda name: TRUTH[name] + (step * next(count) if name == stage else 0))
    )
    assert result.growth[stage] == 0


@pytest.mark.parametrize("stage", STAGES)
def test_a_change_after_the_fit_is_seen_as_an_error(stage: str) -> None:
    """WS-METRICS-12: the rest of the run is judged, not the part that was fitted."""
    counts = dict.fromkeys(STAGES, 0)

    def slower_later(name: str) -> int:
        counts[name] += 1
        return TRUTH[name] * (2 if name == stage and counts[name] > 15 else 1)

    result = calibrate(split_run(30, slower_later))
    found = by_name(result)
    if stage not in result.bounds:
        measured, predicted = found[stage, "p50"]
        assert predicted < 0.6 * measured
    else:
        assert stage == "latents"


def test_a_way_is_known_only_where_the_receiver_waits() -> None:
    """WS-METRICS-12: latents that lie in the mailbox bound their way, and no more."""
    patient = calibrate(split_run(20, {**TRUTH, "solve": 90}.__getitem__))
    assert "latents" not in patient.bounds
    assert patient.models["latents"].typical_ns == TRUTH["latents"] * MS
    busy = calibrate(split_run(20, {**TRUTH, "solve": 1, "encode": 90}.__getitem__))
    assert busy.bounds == ("latents",)
    model = busy.models["latents"]
    assert isinstance(model, Constant)
    assert model.ns >= TRUTH["latents"] * MS


def test_small_samples_are_marked() -> None:
    """WS-METRICS-12: n with 1 - (q/100)^n of at least 95 %, and the n before that is too small."""
    for q, needed in PERCENTILES.items():
        miss = Fraction(q, 100)
        assert 1 - miss**needed >= Fraction(95, 100) > 1 - miss ** (needed - 1)
    rows = calibrate(split_run(63, TRUTH.__getitem__)).rows
    assert {row.statistic for row in rows if row.enough} == {"mean", "p50", "p90"}


def test_too_short_a_run_is_refused() -> None:
    """WS-METRICS-12, WS-ERRORS-1: and a trace that has no split run in it."""
    with pytest.raises(ConfigError, match="enough for"):
        calibrate(split_run(5, TRUTH.__getitem__))
    with pytest.raises(ConfigError, match="no whole unit"):
        calibrate(e for e in split_run(9, TRUTH.__getitem__) if e.kind is not Kind.SOLVE)
    with pytest.raises(ConfigError, match="between 0 and 1"):
        calibrate(split_run(9, TRUTH.__getitem__), Fraction(1))


def real_trace() -> list[TraceEvent]:
    with REAL.open(encoding="utf-8") as stream:
        return list(read_trace(stream))


def test_a_real_run_is_clean_and_fits() -> None:
    """WS-METRICS-12: a run of the split engine on a busy machine; every number is there, and it
    states every queue (WS-TRACE-11)."""
    trace = real_trace()
    report = check_trace(trace)
    assert report.clean
    assert report.queues.keys() == set(QUEUES.values())
    assert report.unstated == ()
    result = calibrate(trace)
    assert (result.fitted, result.predicted) == (15, 15)
    assert {row.quantity for row in result.rows} >= {"encode", "solve", "latency", "cycle"}
    assert all(row.measured > 0 and row.predicted > 0 for row in result.rows)


def test_the_order_of_work_is_that_of_the_real_engine() -> None:
    """WS-METRICS-12: with the times that the run really took, most latencies come out exactly; the
    rest differ by what a bound leaves open."""
    units = samples(real_trace())[2:]
    began, decoded = replay({stage: [unit.ns[stage] for unit in units] for stage in STAGES})
    errors = sorted(
        abs((end - start) - (unit.decoded - unit.began)) / (unit.decoded - unit.began)
        for start, end, unit in zip(began, decoded, units, strict=True)
    )
    assert errors[len(errors) // 2] < 0.001
    assert errors[int(0.9 * len(errors))] < 0.05
