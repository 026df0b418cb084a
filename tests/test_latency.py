"""Closed forms of the pipeline's latency, against a direct walk through the schedule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spec import clock, latency
from spec.errors import ConfigError
from spec.latency import StageTimes

MS = 1_000_000

times = st.integers(0, 300 * MS)
stage_times = st.builds(
    StageTimes, encode=times, update=times, comm=times, solve=times, decode=times, commit=times
)


def paper_example() -> StageTimes:
    return StageTimes(encode=60 * MS, update=60 * MS, comm=5 * MS, solve=100 * MS, decode=60 * MS)


def walk(stages: StageTimes, units: int) -> list[int]:
    """When each response is decoded, overlapped with eager return: the recurrence, step by step.

    The thinker takes what is ready in the order encode+update+send k, decode k-1, commit k-1.
    """
    thinker = performer = 0
    solved, decoded = [], []
    for k in range(units):
        thinker = max(thinker, clock.unit_available_ns(k))
        thinker += stages.encode + stages.update + stages.comm
        performer = max(performer, thinker) + stages.solve + stages.comm
        solved.append(performer)
        if k > 0:
            thinker = max(thinker, solved[k - 1]) + stages.decode
            decoded.append(thinker)
            thinker += stages.commit
    return decoded


def test_paper_condition_is_not_sufficient() -> None:
    """WS-LATENCY-3: p + c fits into a unit, and yet the pipeline runs at 185 ms."""
    stages = paper_example()
    assert latency.meets_paper_condition(stages)
    assert latency.cycle_ns(stages, "overlapped") == 185 * MS
    assert latency.binding(stages, "overlapped") == "thinker"


@given(stage_times)
def test_cycle_is_what_the_schedule_settles_at(stages: StageTimes) -> None:
    """WS-LATENCY-1, WS-LATENCY-3: the walk's steps end up at the largest term."""
    decoded = walk(stages, 400)
    long_run = (decoded[-1] - decoded[199]) / (len(decoded) - 200)
    assert long_run == pytest.approx(latency.cycle_ns(stages, "overlapped"), rel=0.02)


def test_sequential_loop_binds() -> None:
    """WS-LATENCY-3: sequential, update and solve of neighbouring units cannot overlap."""
    stages = StageTimes(encode=0, update=40 * MS, comm=5 * MS, solve=130 * MS, decode=0)
    assert latency.cycle_ns(stages, "overlapped") == clock.UNIT_NS
    assert latency.cycle_ns(stages, "sequential") == 180 * MS
    assert latency.binding(stages, "sequential") == "loop"


def test_papers_operating_point() -> None:
    """WS-LATENCY-2, WS-LATENCY-5: about 200 ms model-side and about 550 ms in total."""
    stages = StageTimes(encode=20 * MS, update=20 * MS, comm=5 * MS, solve=130 * MS, decode=30 * MS)
    assert latency.critical_path_ns(stages) == 200 * MS
    assert latency.total_ns(latency.critical_path_ns(stages)) == 550 * MS


@given(stage_times)
def test_eager_return_never_waits_for_a_boundary(stages: StageTimes) -> None:
    """WS-LATENCY-4: both forms share e + u + c + d; they differ by the boundary against p + c."""
    eager = latency.as_scheduled_ns(stages, "eager")
    boundary = latency.as_scheduled_ns(stages, "boundary")
    assert boundary - eager == clock.UNIT_NS - stages.solve - stages.comm
    assert eager == latency.critical_path_ns(stages) + 2 * stages.comm
    first = StageTimes(
        encode=stages.encode, update=stages.update, comm=stages.comm, solve=stages.solve, decode=0
    )
    # A first unit meets no other: sent, solved and returned without waiting.
    assert walk(first, 2)[0] - clock.unit_available_ns(0) >= latency.as_scheduled_ns(first, "eager")


@given(st.integers(0, 10 * clock.UNIT_NS))
def test_capture_wait_reaches_the_end_of_the_unit(offset: int) -> None:
    """WS-LATENCY-6: the signal's time plus its wait is the next unit border."""
    wait = latency.capture_wait_ns(offset)
    assert 0 < wait <= clock.UNIT_NS
    assert (offset + wait) % clock.UNIT_NS == 0


def test_negative_stage_is_refused() -> None:
    """WS-LATENCY-1: a stage cannot take less than nothing."""
    with pytest.raises(ConfigError, match="stage comm: got -1"):
        StageTimes(encode=0, update=0, comm=-1, solve=0, decode=0)
