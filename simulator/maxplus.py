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
    """A thinker that works in sequence and takes latents up at boundaries (WS-SIMULATION-5)."""
    overlapped = scenario.lag == 1
    encode, update, solve, decode, commit = (empty(times) for _ in range(5))
    free = np.zeros(times.sessions, np.int64)
    returned = np.zeros(times.sessions, np.int64)
    last = times.units - 1
    for k in range(times.units):
        np.maximum(times.arrive[k], free, out=encode[k])
        np.add(encode[k], times.encode[k], out=update[k])
        if not overlapped:
            np.maximum(update[k], returned, out=update[k])
        sent = update[k] + times.update[k]
        sent += times.comm[k]
        if k > 0:
            np.maximum(sent, returned, out=decode[k - 1])
            np.add(decode[k - 1], times.decode[k - 1], out=commit[k - 1])
            free = commit[k - 1] + times.commit[k - 1]
        else:
            free = sent
        np.maximum(sent, returned, out=solve[k])
        returned = solve[k] + times.solve[k]
        returned += times.back[k]
    decode[last] = np.maximum(np.maximum(free, returned), times.arrive[-1])
    commit[last] = decode[last] + times.decode[last]
    if not overlapped:
        commit = solve + times.solve + times.back
    return Timeline(
        durations=times, encode=encode, update=update, solve=solve, decode=decode, commit=commit
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
