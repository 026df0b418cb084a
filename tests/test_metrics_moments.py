"""Moments are found in any trace (WS-METRICS-3)."""

from __future__ import annotations

import attrs
from trace_world import MS, STAGES, T, session_trace

from simulator.moments import by_session, moments
from spec.trace import Kind, TraceEvent
from spec.trace_reading import sorted_trace


def test_every_moment_of_a_unit() -> None:
    """WS-METRICS-3: spelled out for unit 1."""
    now = 2 * T
    steps = ("up", "encode", "update", "comm", "solve", "back", "decode")
    ends = {}
    for name in steps:
        now += STAGES[name]
        ends[name] = now * MS
    unit = moments(session_trace(3))[1]
    assert (unit.session, unit.unit, unit.captured) == ("s", 1, 2 * T * MS)
    assert (unit.arrived, unit.encode) == (ends["up"], (ends["up"], ends["encode"]))
    assert (unit.update, unit.sent) == (
        (ends["encode"], ends["update"]), (ends["update"], ends["comm"])
    )  # fmt: skip
    assert (unit.appended, unit.solve) == (ends["comm"], (ends["comm"], ends["solve"]))
    assert (unit.returning, unit.returned) == ((ends["solve"], ends["back"]), ends["back"])
    assert (unit.decode, unit.emitted) == ((ends["back"], ends["decode"]), ends["decode"])
    assert unit.heard == ends["decode"] + STAGES["down"] * MS
    assert unit.thinker_commit == (ends["decode"], ends["decode"] + STAGES["commit"] * MS)
    assert unit.performer_commit is None
    assert not unit.given_up


def test_acknowledgements_are_not_mistaken_for_the_message() -> None:
    """WS-METRICS-3: they carry the unit's number, as in a real run's trace."""
    trace = session_trace(1)
    solved = next(e for e in trace if e.kind is Kind.SOLVE)
    back = next(e for e in trace if (e.process, e.kind) == ("performer", Kind.SEND))
    ack = attrs.evolve(back, id="performer:90", t_ns=back.t_ns - 1, dur_ns=0, cause=(solved.id,),
                       detail={"kind": "SliceAck"})  # fmt: skip
    heard = attrs.evolve(back, id="thinker:90", process="thinker", kind=Kind.RECEIVE, dur_ns=0,
                         t_ns=back.t_ns + 1, cause=(ack.id,))  # fmt: skip
    sent = attrs.evolve(heard, id="thinker:91", kind=Kind.SEND, detail={"kind": "LatentsAck"})
    assert moments(sorted_trace([*trace, ack, heard, sent])) == moments(trace)


def test_a_message_sent_again_counts_at_its_first_sending() -> None:
    """WS-METRICS-3: slices and latents."""
    trace = session_trace(2)
    again = [
        attrs.evolve(e, id=f"{e.process}:{90 + n}", t_ns=e.t_ns + 70 * MS)
        for n, e in enumerate(trace)
        if e.kind is Kind.SEND and e.process != "client"
    ]
    assert len(again) == 4
    assert moments(sorted_trace([*trace, *again])) == moments(trace)


def test_a_unit_that_waits_has_arrived() -> None:
    """WS-METRICS-3: when the thinker has received it, however late it begins to encode."""
    trace = session_trace(1)
    late = [attrs.evolve(e, t_ns=e.t_ns + MS) if e.kind is Kind.OBSERVE else e for e in trace]
    before, after = moments(trace)[0], moments(sorted_trace(late))[0]
    assert after.arrived == before.arrived
    assert after.encode is not None
    assert after.encode[0] == (before.arrived or 0) + MS


def test_a_client_that_emits_hears_at_once() -> None:
    """WS-METRICS-3: also where nothing says what it captured."""
    emit = next(e for e in session_trace(1) if e.kind is Kind.EMIT)
    (unit,) = moments([attrs.evolve(emit, id="client:0", process="client", dur_ns=2)])
    assert (unit.captured, unit.emitted, unit.heard) == (None, emit.t_ns + 2, emit.t_ns + 2)


def test_each_process_has_its_own_commit() -> None:
    """WS-METRICS-3: whichever of the two comes first."""
    trace = session_trace(1)
    commit = next(e for e in trace if e.kind is Kind.COMMIT)
    for shift in (-20 * MS, 20 * MS):
        other = attrs.evolve(
            commit, id="performer:90", process="performer", t_ns=commit.t_ns + shift
        )
        (unit,) = moments(sorted_trace([*trace, other]))
        assert unit.performer_commit == (other.t_ns, other.end_ns)
        assert unit.thinker_commit == (commit.t_ns, commit.end_ns)


def test_sessions_are_kept_apart() -> None:
    """WS-METRICS-3: by session, then by unit."""
    other = [attrs.evolve(e, session="t") for e in session_trace(1)]
    found = by_session(moments([*session_trace(2), *other]))
    assert {name: [u.unit for u in units] for name, units in found.items()} == {
        "s": [0, 1], "t": [0]
    }  # fmt: skip


def test_a_unit_given_up_and_one_without_client() -> None:
    """WS-METRICS-3: a drop with a policy; arrival where nothing says when."""
    drop = TraceEvent(
        id="client:9", session="s", process="client", kind=Kind.DROP, unit=0, t_ns=0, dur_ns=0,
        cause=(), detail={"policy": "skip"},
    )  # fmt: skip
    encode = attrs.evolve(
        drop, id="thinker:0", process="thinker", kind=Kind.OBSERVE, unit=1, t_ns=5
    )
    first, second = moments([drop, encode])
    assert (first.given_up, first.arrived, second.given_up, second.arrived) == (
        True,
        None,
        False,
        5,
    )


def test_user_units_that_were_left_out_do_not_shift_the_others() -> None:
    """WS-METRICS-3: unit 1 of the session is what the user did in unit 2."""
    trace = [
        attrs.evolve(e, unit=e.unit - (e.unit >= 2))
        for e in session_trace(3)
        if e.unit != 1 and not (e.process == "client" and e.kind is Kind.SEND)
        and not (e.process == "thinker" and e.kind is Kind.RECEIVE and e.cause[0][0] == "c")
    ]  # fmt: skip
    users = [e for e in session_trace(3) if e not in trace and e.unit >= 0
             and (e.process == "client" or "client" in "".join(e.cause))
             and e.kind in (Kind.SEND, Kind.RECEIVE)]  # fmt: skip
    found = moments(sorted_trace([*{e.id: e for e in [*trace, *users]}.values()]))
    assert [unit.unit for unit in found if unit.encode is not None] == [0, 1]
    assert found[1].captured == 3 * T * MS
