"""The same pipeline as recurrences of maxima and sums, for many sessions at once.

With A, E, U, S, R, D, M for unit k's arrival, starts of encode and update, end of sending, return
of its latents, starts of decode and commit, and lower-case letters for durations:

    U_k = max(E_k + e_k, stream free, [sequential: R_{k-1}])      S_k = U_k + u_k + c_k
    R_k = max(S_k, R_{k-1}) + p_k + b_k                           solve k begins at that maximum
    one stream, boundary:   E_k = max(A_k, M_{k-2} + m_{k-2})
                            D_{k-1} = max(S_k, R_{k-1})           M_{k-1} = D_{k-1} + d_{k-1}
    separate streams:       E_k = max(A_k, E_{k-1} + e_{k-1}, D_{k-3})
                            D_{k-1} = max(R_{k-1}, D_{k-2} + d_{k-2}, [boundary: S_k])
                            M_{k-1} = max(S_k, R_{k-1})

After the last unit K-1 the boundary A_K stands for S_K. One stream with eager return has to choose
and is in `simulator.maxplus_eager`. Source: DERIVED from design §8, §10 (WS-SIMULATION-5).
"""

from __future__ import annotations

import numpy as np

from simulator.durations import Durations, draw
from simulator.maxplus_eager import run_eager
from simulator.random_streams import Times
from simulator.scenario import Scenario
from simulator.timeline import Timeline
from simulator.timing import IN_WORK


def run_maxplus(scenario: Scenario, durations: Durations | None = None) -> Timeline:
    """The timeline of every session of a scenario, all at once (WS-SIMULATION-5).

    ``durations``: drawn from the scenario if left out.
    """
    times = draw(scenario) if durations is None else durations
    if scenario.thinker == "separate-streams":
        return separate_streams(scenario, times)
    if scenario.handover == "boundary":
        return one_stream(scenario, times)
    return run_eager(scenario, times)


def empty(times: Durations) -> Times:
    """Starts to be filled in, [units, sessions]."""
    return np.empty((times.units, times.sessions), np.int64)


def one_stream(scenario: Scenario, times: Durations) -> Timeline:
    """A thinker that works in sequence and takes latents up at boundaries (WS-SIMULATION-5).

    Here both sides of boundary k go on at one instant X_k = max(S_k, R_{k-1}): solving k, and
    decoding k-1. So the whole pipeline is one recurrence of the first order,

        X_k = max(A_k + e_k + u_k + c_k, X_{k-1} + g_k)

    with g_k the longer of what thinker and performer do between two boundaries, and a running
    maximum solves it for all units at once: X = G + max over j ≤ k of (A + e + u + c - G)_j, G
    being the running sum of g.
    """
    language = times.update + times.comm
    front = times.encode + language
    solved = times.solve + times.back
    taken_up = times.decode + times.commit
    thinker, performer = front.copy(), np.zeros_like(front)
    thinker[2:] += taken_up[:-2]
    performer[1:] = solved[:-1]
    if scenario.lag == 0:
        # Update k waits for z_{k-1} too, so what follows it comes after the performer.
        performer[1:] += language[1:]
    gaps = np.cumsum(np.maximum(thinker, performer), axis=0)
    boundary: Times = np.maximum.accumulate(times.arrive[:-1] + front - gaps, axis=0) + gaps
    free, returned = np.zeros_like(front), np.zeros_like(front)
    free[1:] = boundary[:-1]
    free[2:] += taken_up[:-2]
    returned[1:] = boundary[:-1] + solved[:-1]
    encode = np.maximum(times.arrive[:-1], free)
    update = encode + times.encode
    if scenario.lag == 0:
        update = np.maximum(update, returned)
    decode = np.empty_like(front)
    decode[:-1] = boundary[1:]
    before_last = boundary[-1] + (taken_up[-2] if times.units > 1 else 0)
    decode[-1] = np.maximum(np.maximum(before_last, boundary[-1] + solved[-1]), times.arrive[-1])
    return Timeline(
        durations=times,
        encode=encode,
        update=update,
        solve=boundary,
        decode=decode,
        commit=decode + times.decode if scenario.lag == 1 else boundary + solved,
    )


def separate_streams(scenario: Scenario, times: Durations) -> Timeline:
    """Encoders, language pass and decoders each on a stream of their own (WS-SIMULATION-5)."""
    overlapped, boundary = scenario.lag == 1, scenario.handover == "boundary"
    encode, update, solve, decode, commit = (empty(times) for _ in range(5))
    zero = np.zeros(times.sessions, np.int64)
    encoded, free, returned, decoded = zero, zero, zero, zero
    last = times.units - 1
    for k in range(times.units):
        np.maximum(times.arrive[k], encoded, out=encode[k])
        if k >= IN_WORK:
            np.maximum(encode[k], decode[k - IN_WORK], out=encode[k])
        encoded = encode[k] + times.encode[k]
        np.maximum(encoded, free, out=update[k])
        if not overlapped:
            np.maximum(update[k], returned, out=update[k])
        free = sent = update[k] + times.update[k] + times.comm[k]
        if k > 0:
            np.maximum(returned, decoded, out=decode[k - 1])
            if boundary:
                np.maximum(decode[k - 1], sent, out=decode[k - 1])
            decoded = decode[k - 1] + times.decode[k - 1]
            np.maximum(sent, returned, out=commit[k - 1])
            if overlapped:
                free = commit[k - 1] + times.commit[k - 1]
        np.maximum(sent, returned, out=solve[k])
        returned = solve[k] + times.solve[k]
        returned += times.back[k]
    decode[last] = np.maximum(returned, decoded)
    if boundary:
        decode[last] = np.maximum(decode[last], times.arrive[-1])
    commit[last] = np.maximum(np.maximum(free, returned), times.arrive[-1])
    if not overlapped:
        commit = solve + times.solve + times.back
    return Timeline(
        durations=times, encode=encode, update=update, solve=solve, decode=decode, commit=commit
    )
