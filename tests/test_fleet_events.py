"""The vectorised fleet equals the event-driven one, session by session and to the nanosecond."""

from __future__ import annotations

from fractions import Fraction

import fleet_world
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.fleet.events import EventFleet
from simulator.fleet.run import FleetRun
from simulator.fleet.scenario import Admission, Arrivals, Fleet
from spec.sizes import Schedule

SECOND = fleet_world.SECOND


Rows = list[tuple[int, ...]]


def vectorised(fleet: Fleet) -> tuple[list[list[int]], Rows, Rows]:
    """Who was let in, the counts of every round, and the response of every pair and round."""
    run, admitted = FleetRun(fleet), list[list[int]]()
    counts, responses = Rows(), Rows()
    rounds = fleet.warmup_rounds + fleet.rounds
    for number in range(rounds + 1):
        batch = run.pipelines.before
        if number < rounds:
            done = run.step(number)
            admitted.append(done.admitted.tolist())
            counts.append((done.ended, done.rejected, done.cut, done.waiting))
            latency = run.serve(done)
        else:
            latency = run.drain(number)
        rows = zip(latency.tolist(), batch.tolist(), strict=True)
        responses += [(i, number - 1, ns, units) for i, (ns, units) in enumerate(rows) if units]
    return admitted, counts, sorted(responses)


def agree(fleet: Fleet) -> EventFleet:
    """Run both and compare all they did."""
    events = EventFleet(fleet)
    events.run()
    admitted, counts, responses = vectorised(fleet)
    assert admitted == events.admitted
    assert counts == events.counts
    assert responses == [row for row in events.responses if row[3]]
    return events


ADMISSIONS = st.builds(
    Admission,
    memory=st.sampled_from(["longest", "present"]),
    placement=st.sampled_from(["least-loaded", "random"]),
    most_sessions=st.none() | st.integers(1, 4),
    patience_ns=st.sampled_from([0, SECOND, 5 * SECOND]),
    headroom_ns=st.sampled_from([160_000_000, SECOND]),
)
ARRIVALS = st.one_of(
    st.builds(Arrivals, kind=st.just("poisson"), sessions=st.integers(1, 30)),
    st.builds(Arrivals, kind=st.just("users"), sessions=st.integers(1, 20), users=st.just(30)),
    st.builds(
        Arrivals,
        kind=st.just("bursty"),
        sessions=st.integers(1, 20),
        burst_factor=st.just(Fraction(5)),
        burst_ns=st.just(2 * SECOND),
        calm_ns=st.just(5 * SECOND),
    ),
)


@settings(max_examples=10, deadline=None)
@given(
    st.sampled_from(["overlapped", "sequential"]),
    ADMISSIONS,
    ARRIVALS,
    st.integers(1, 6),
    st.sampled_from([Fraction(0), Fraction(1, 4)]),
    st.integers(0, 10**6),
)
def test_both_tell_the_same_story(
    schedule: Schedule,
    admission: Admission,
    arrivals: Arrivals,
    pairs: int,
    jitter: Fraction,
    seed: int,
) -> None:
    """WS-FLEET-2, WS-FLEET-4, WS-FLEET-6: admissions, ends, cuts and every latency."""
    agree(
        fleet_world.fleet(
            pairs=pairs,
            mean_s=6,
            longest_s=30,
            duration_s=20,
            jitter=jitter,
            seed=seed,
            admission=admission,
            arrivals=arrivals,
            on=fleet_world.plan(schedule=schedule),
        )
    )


@pytest.mark.parametrize("schedule", ["overlapped", "sequential"])
@pytest.mark.parametrize("time_share", [Fraction(1), Fraction(30)])
def test_both_agree_where_pairs_fall_behind_and_memory_runs_out(
    time_share: Fraction, schedule: Schedule
) -> None:
    """WS-FLEET-4, WS-FLEET-5: long sessions, let in by what is cached now, outgrow a pair."""
    fleet = fleet_world.fleet(
        on=fleet_world.plan("qwen3-1.7b", "h100-sxm", schedule, efficiency=Fraction(1)),
        sessions=16, pairs=2, mean_s=400, longest_s=900, duration_s=90, jitter=Fraction(1, 5),
        admission=Admission(memory="present", time_share=time_share, patience_ns=SECOND),
    )  # fmt: skip
    events = agree(fleet)
    assert sum(row[2] for row in events.counts) > 0
    if time_share > 1:
        assert max(row[2] for row in events.responses) > 320_000_000
