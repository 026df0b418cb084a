"""What holds in every round of every fleet, and what a seed fixes."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import attrs
import fleet_world
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.benchmarks import BENCHMARKS
from simulator.fleet import benchmark as fleet_benchmark
from simulator.fleet.limits import limits_of
from simulator.fleet.occupancy import Occupancy
from simulator.fleet.reading import read_fleet
from simulator.fleet.run import FleetRun, simulate
from simulator.fleet.scenario import Admission, Arrivals, Fleet
from simulator.fleet.tally import Round
from simulator.random_streams import keys

SECOND = fleet_world.SECOND

ADMISSIONS = st.builds(
    Admission,
    memory=st.sampled_from(["longest", "present"]),
    placement=st.sampled_from(["least-loaded", "random"]),
    most_sessions=st.none() | st.integers(1, 6),
    patience_ns=st.integers(0, 8).map(lambda s: s * SECOND),
    headroom_ns=st.integers(1, 20).map(lambda s: s * SECOND),
)
FLEETS = st.builds(
    fleet_world.fleet,
    sessions=st.integers(1, 60),
    pairs=st.integers(1, 12),
    mean_s=st.integers(1, 30),
    kind=st.sampled_from(["exponential", "constant", "uniform", "lognormal"]),
    duration_s=st.just(8),
    warmup_s=st.integers(0, 2),
    seed=st.integers(0, 2**40),
    admission=ADMISSIONS,
)


def rounds(run: FleetRun, fleet: Fleet) -> Iterator[tuple[tuple[int, int], Round, tuple[int, int]]]:
    """Every round, with who was there and who waited before it and after it."""
    for number in range(fleet.warmup_rounds + fleet.rounds):
        before = run.present
        done = run.step(number)
        yield before, done, run.present
        run.serve(done)


@settings(max_examples=16, deadline=None)
@given(FLEETS)
def test_nobody_appears_or_disappears_and_memory_holds(fleet: Fleet) -> None:
    """WS-FLEET-8, WS-FLEET-5: in every round, on every pair, whoever was let in, however long."""
    run, memory = FleetRun(fleet), fleet.plan.device.memory_bytes
    for before, done, after in rounds(run, fleet):
        gone = done.ended + done.cut + done.rejected
        assert sum(before) + done.arrived == sum(after) + gone
        assert len(done.admitted) + done.rejected + done.waiting == before[1] + done.arrived
        assert after == (int(done.sessions.sum()), done.waiting)
        assert int(done.sessions.min()) >= 0
        assert int(done.history.min()) >= 0
        used = run.limits.bytes_used(done.sessions, done.history + done.sessions)
        assert int(used.max()) <= memory
        assert int(done.sessions.max()) <= run.limits.most
    result = simulate(fleet)
    assert (
        result.at_start + result.waiting_at_start + result.arrived
        == result.at_end + result.waiting_at_end + result.ended + result.cut + result.rejected
    )
    assert int(result.latencies.counts.sum()) == result.session_units == result.on_time.trials


def test_memory_would_be_exceeded_without_the_limit() -> None:
    """WS-FLEET-5: the test above can fail: a fleet that cuts nobody runs over; one that does never
    does."""
    fleet = fleet_world.fleet(
        on=fleet_world.plan("qwen3-1.7b", "h100-sxm"), sessions=16, pairs=2, mean_s=400,
        longest_s=900, duration_s=60, admission=Admission(memory="present", time_share=Fraction(9)),
    )  # fmt: skip
    most = dict[bool, int]()
    cut = 0
    for may_cut in (False, True):
        run = FleetRun(fleet)
        run._may_cut = may_cut
        for _, done, _ in rounds(run, fleet):
            used = run.limits.bytes_used(done.sessions, done.history + done.sessions)
            most[may_cut] = max(most.get(may_cut, 0), int(used.max()))
            cut += done.cut
    assert most[True] <= fleet.plan.device.memory_bytes < most[False]
    assert cut > 0


def test_all_who_are_cut_at_once_are_counted() -> None:
    """WS-FLEET-8, WS-FLEET-5: pairs of three and two, in time with room for one each."""
    fleet = fleet_world.fleet(pairs=2, admission=Admission(memory="present"))
    limits = limits_of(fleet)
    occupancy = Occupancy(fleet, limits, 2)
    assert occupancy.let_in(np.arange(5), np.full(5, 10**6), 0).all()
    assert occupancy.cut(int(limits.by_memory[1]) - 1) == 3
    assert occupancy.sessions.tolist() == [1, 1]


def admitted(fleet: Fleet) -> set[int]:
    """Numbers of all arrivals that were let in."""
    found = set[int]()
    simulate(fleet, lambda done: found.update(done.admitted.tolist()))
    return found


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 10), st.integers(2, 40), st.integers(0, 2**40), st.integers(1, 3))
def test_more_pairs_never_block_more(pairs: int, sessions: int, seed: int, more: int) -> None:
    """WS-FLEET-7, WS-FLEET-10: runs share their sessions, and nobody let in by fewer pairs is
    refused by more."""
    few = fleet_world.fleet(
        sessions=sessions, pairs=pairs, mean_s=3, longest_s=30, duration_s=12, seed=seed,
        admission=Admission(most_sessions=2),
    )  # fmt: skip
    assert admitted(few) <= admitted(attrs.evolve(few, pairs=pairs + more))


def test_a_queue_is_first_come_first_served() -> None:
    """WS-FLEET-6: with patience, arrivals are let in in their order, some of them later."""
    fleet = fleet_world.fleet(
        sessions=30, pairs=8, mean_s=5, duration_s=60,
        admission=Admission(most_sessions=3, patience_ns=4 * SECOND),
    )  # fmt: skip
    order = list[int]()
    result = simulate(fleet, lambda done: order.extend(done.admitted.tolist()))
    assert order == sorted(order)
    assert result.waited > 0
    assert result.rejected > 0
    assert 0 < result.wait_ns <= result.waited * 4 * SECOND


def test_the_pair_with_the_fewest_sessions_comes_first() -> None:
    """WS-FLEET-6: no two pairs differ by more than arrivals and ends of one round explain."""
    fleet = fleet_world.fleet(sessions=40, pairs=20, kind="constant", mean_s=20, duration_s=1)
    run = FleetRun(fleet)
    done = run.step(0)
    assert int(done.sessions.max()) - int(done.sessions.min()) <= 1


def test_a_lot_asks_one_pair_only() -> None:
    """WS-FLEET-6: with random placement sessions are refused while other pairs have room."""
    fleet = fleet_world.fleet(
        sessions=20, pairs=20, mean_s=10, duration_s=40,
        admission=Admission(most_sessions=1, placement="random"),
    )  # fmt: skip
    refused_with_room = list[int]()

    def watch(done: Round) -> None:
        if (done.sessions == 0).any():
            refused_with_room.append(done.rejected)

    simulate(fleet, watch)
    assert sum(refused_with_room) > 0


def test_a_lot_is_drawn_by_the_number_alone() -> None:
    """WS-FLEET-6: whoever waits beside a session, and however far their numbers are apart."""
    fleet = fleet_world.fleet(pairs=50, admission=Admission(placement="random"))
    limits = limits_of(fleet)

    def asked(*numbers: int) -> list[int]:
        occupancy = Occupancy(fleet, limits, 50)
        assert occupancy.let_in(np.array(numbers), np.full(len(numbers), 9), 0).all()
        return np.repeat(np.arange(50), occupancy.sessions).tolist()

    alone = [asked(number)[0] for number in (5, 17, 18, 40)]
    assert len(set(alone)) > 1
    assert asked(5, 17, 18, 40) == sorted(alone)


def test_a_seed_gives_one_run_in_every_process() -> None:
    """WS-FLEET-13: the digest is that of a fresh process; another seed gives another."""
    code = (
        "import sys; sys.path.insert(0, 'tests'); import fleet_world;"
        "from simulator.fleet.run import simulate;"
        "print(simulate(fleet_world.fleet(seed=7)).sha256)"
    )
    fresh = {
        subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=env
        ).stdout.strip()
        for env in ({"PYTHONHASHSEED": "1"}, {"PYTHONHASHSEED": "2", "OMP_NUM_THREADS": "1"})
    }
    here = simulate(fleet_world.fleet(seed=7)).sha256
    assert fresh == {here}
    assert simulate(fleet_world.fleet(seed=8)).sha256 != here


def test_the_digest_sees_one_nanosecond_on_one_pair() -> None:
    """WS-FLEET-13: the clocks of all pairs are in it."""
    digests = set[str]()
    for late in (0, 1):
        run = FleetRun(fleet_world.fleet())
        for number in range(3):
            done = run.step(number)
            if number == 2:
                run.pipelines.solved[4] += np.int64(late) * 10**9
                run.pipelines.solved[4] += late
            run.serve(done)
        digests.add(run.digest.hexdigest())
    assert len(digests) == 2


def test_the_digest_is_over_counts_and_clocks() -> None:
    """WS-FLEET-13: of every round, in the order in which they are counted; every count tells."""
    run = FleetRun(fleet_world.fleet())
    weights = keys(0, "fleet/digest", run.pairs) | np.uint64(1)
    expected = hashlib.sha256()
    for number in range(3):
        done = run.step(number)
        run.serve(done)
        counts = {name: getattr(done, name) for name in ("rejected", "ended", "cut")}
        counts = {"arrived": done.arrived, "admitted": len(done.admitted)} | counts
        clocks = int((run.pipelines.exchanged.astype(np.uint64) * weights).sum())
        expected.update(f"{number} {counts} {done.waiting} {clocks}\n".encode())
    assert run.digest.hexdigest() == expected.hexdigest()


def test_warm_up_is_simulated_and_not_counted() -> None:
    """WS-FLEET-8: the same rounds with and without warm-up, counted from its end; one unit for
    everybody there in each of them, the last one too."""
    long = fleet_world.fleet(duration_s=16, warmup_s=8)
    seen = list[Round]()
    here = list[int]()

    def watch(done: Round) -> None:
        seen.append(done)
        here.append(int(done.sessions.sum()))

    result = simulate(long, watch)
    assert len(seen) == 150
    assert result.session_units == sum(here[50:])
    assert result.rounds == 100
    assert result.arrived == sum(done.arrived for done in seen[50:])
    assert result.sha256 == simulate(fleet_world.fleet(duration_s=24)).sha256


def test_a_closed_crowd_never_grows() -> None:
    """WS-FLEET-7: those who are there do not come again."""
    crowd = Arrivals(kind="users", sessions=9, users=10)
    run = FleetRun(fleet := fleet_world.fleet(pairs=10, mean_s=20, arrivals=crowd))
    for before, done, after in rounds(run, fleet):
        assert sum(before) <= 10
        assert sum(after) <= 10
        assert done.arrived <= 10 - sum(before) + done.ended


def test_a_session_lasts_its_units_from_the_round_it_is_let_in() -> None:
    """WS-FLEET-2: with constant lengths, who is let in now leaves that many rounds later."""
    fleet = fleet_world.fleet(kind="constant", mean_s=4, longest_s=60, duration_s=24)
    seen = list[Round]()
    simulate(fleet, seen.append)
    assert sum(len(done.admitted) for done in seen) > 50
    for done in seen[25:]:
        assert done.ended == len(seen[done.number - 25].admitted)


def test_nobody_stays_for_ever_in_a_fleet_that_grows() -> None:
    """WS-FLEET-2: where there are more sessions than a table had rows at first, all end in time:
    those here are those let in within one length."""
    fleet = fleet_world.fleet(
        sessions=3000, pairs=700, kind="constant", mean_s=4, longest_s=60, duration_s=6
    )
    seen = list[tuple[int, int]]()
    simulate(fleet, lambda done: seen.append((len(done.admitted), int(done.sessions.sum()))))
    for number in range(25, len(seen)):
        here = seen[number][1]
        assert here == sum(count for count, _ in seen[number - 24 : number + 1]) > 2048


def test_who_is_over_leaves_before_others_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """WS-FLEET-2: who has left in a round is idle in it, and may come again."""
    crowd = Arrivals(kind="users", sessions=9, users=10)
    run = FleetRun(fleet := fleet_world.fleet(pairs=10, mean_s=1, arrivals=crowd))
    take, present = run._arrivals.take, list[int]()

    def asked(number: int, here: int) -> int:
        present.append(here)
        return take(number, here)

    monkeypatch.setattr(run._arrivals, "take", asked)
    ended = 0
    for before, done, _ in rounds(run, fleet):
        assert present[-1] == sum(before) - done.ended
        ended += done.ended
    assert ended > 0


def test_the_benchmark_has_the_target_of_the_clause() -> None:
    """WS-FLEET-14: of a fleet with a million sessions."""
    assert {b.name: b.target for b in BENCHMARKS}["fleet of a million sessions, units/s"] == 5e6
    assert read_fleet(fleet_benchmark.SCENARIO).arrivals.sessions == 1_000_000


def test_the_benchmark_runs_twenty_rounds_from_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """WS-FLEET-14, WS-BENCH-1: on one core, by its processor time, reading included."""
    now, ran = [1.0], list[Fleet]()

    def read(path: Path) -> Fleet:
        now[0] += 2.0
        return read_fleet(path)

    def run(fleet: Fleet) -> SimpleNamespace:
        now[0] += 3.0
        ran.append(fleet)
        return SimpleNamespace(session_units=50)

    clocks = SimpleNamespace(process_time=lambda: now[0], perf_counter=lambda: 2 * now[0])
    monkeypatch.setattr(fleet_benchmark, "time", clocks)
    monkeypatch.setattr(fleet_benchmark, "read_fleet", read)
    monkeypatch.setattr(fleet_benchmark, "simulate", run)
    assert fleet_benchmark.fleet_rate() == 10
    assert [(fleet.rounds, fleet.arrivals.sessions) for fleet in ran] == [(20, 1_000_000)]
