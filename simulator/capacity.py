"""How many pairs a promise takes, how many sessions a pair can serve, and the curves behind both.

A promise is kept if the bound on its share, at its confidence, is on the right side; missed if the
other bound is on the wrong one; open otherwise: the run was too short to tell. A search goes by the
shares themselves and says at its answer which parts are kept, missed or open. Its runs share their
random words, so more pairs meet the same sessions.
Source: CHOICE (WS-FLEET-10).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Final, Literal

import attrs

from simulator import erlang
from simulator.fleet.figures import Share
from simulator.fleet.limits import limits_of
from simulator.fleet.run import pairs_of, simulate
from simulator.fleet.scenario import Arrivals, Fleet, Slo
from simulator.fleet.tally import FleetResult
from spec.errors import ConfigError

Verdict = Literal["kept", "missed", "open"]

NO_LIMIT: Final = Fraction(1_000_000)
"""Of T: more than any batch takes."""


@attrs.frozen(kw_only=True)
class Promise:
    """One part of the promise: a share, the bound on it that counts, and what is said of it.

    ``meets``: the share itself is on the right side of ``allowed``.
    """

    name: str
    value: float
    bound: float
    allowed: float
    meets: bool
    verdict: Verdict


def promises(result: FleetResult, slo: Slo) -> tuple[Promise, ...]:
    """Each part of ``slo`` (WS-FLEET-10): on_time, blocking and p99.

    The percentile is judged as a share, that of the units within its time, so that it has a
    confidence like the others: at least 99 %.
    """
    confidence = float(slo.confidence)
    return (
        at_least("on_time", result.on_time, float(slo.on_time), confidence),
        at_most("blocking", result.blocking, float(slo.blocking), confidence),
        at_least("p99", result.within_p99, 0.99, confidence),
    )


def at_least(name: str, share: Share, allowed: float, confidence: float) -> Promise:
    """The promise that a share is ``allowed`` or more."""
    lower, upper = share.lower(confidence), share.upper(confidence)
    said: Verdict = "kept" if lower >= allowed else "missed" if upper < allowed else "open"
    return Promise(
        name=name,
        value=share.value,
        bound=lower,
        allowed=allowed,
        meets=share.value >= allowed,
        verdict=said,
    )


def at_most(name: str, share: Share, allowed: float, confidence: float) -> Promise:
    """The promise that a share is ``allowed`` or less."""
    lower, upper = share.lower(confidence), share.upper(confidence)
    said: Verdict = "kept" if upper <= allowed else "missed" if lower > allowed else "open"
    return Promise(
        name=name,
        value=share.value,
        bound=upper,
        allowed=allowed,
        meets=share.value <= allowed,
        verdict=said,
    )


@attrs.frozen(kw_only=True)
class Found:
    """Where a search ended (WS-FLEET-10).

    ``monotone``: the numbers that were tried agree on one side of ``value`` and on the other.
    ``tried``: each number and whether it meets the promise, ascending. ``at_value``: what is said
    of each part of the promise there.
    """

    value: int
    monotone: bool
    tried: tuple[tuple[int, bool], ...]
    at_value: tuple[Promise, ...] = ()


def least(holds: Callable[[int], bool], guess: int, most: int) -> Found:
    """The least number from 1 to ``most`` that holds, by bisection from ``guess``; ``most`` + 1
    where none does (WS-FLEET-10).

    Bisection believes that what holds once holds for all numbers above. So a tenth below and a
    tenth above the answer are tried too, and the answer says whether all agree.
    """
    known = {0: False, most + 1: True}

    def tried(number: int) -> bool:
        if number not in known:
            known[number] = holds(number)
        return known[number]

    low, high, step = 0, most + 1, 1
    number = min(max(guess, 1), most)
    while high - low > 1:
        # Away from the guess in doubling steps until it is enclosed, then halves.
        if tried(number):
            high, number = number, number - step
        else:
            low, number = number, number + step
        step *= 2
        if not low < number < high:
            number, step = (low + high) // 2, most
    for probe in (high - max(high // 10, 1), high + max(high // 10, 1)):
        if 1 <= probe <= most:
            tried(probe)
    ordered = tuple((n, ok) for n, ok in sorted(known.items()) if 1 <= n <= most)
    return Found(value=high, monotone=all(ok == (n >= high) for n, ok in ordered), tried=ordered)


def pairs_needed(fleet: Fleet) -> Found:
    """The fewest pairs with which ``fleet`` keeps all it promises (WS-FLEET-10).

    Raises:
        ConfigError: eight times what Erlang B asks for is not enough.
    """
    each = max(limits_of(fleet).places, 1)
    places = erlang.places_for(fleet.arrivals.sessions, float(fleet.slo.blocking))
    guess = -(-places // each)

    said = dict[int, tuple[Promise, ...]]()

    def meets(pairs: int) -> bool:
        said[pairs] = promises(simulate(attrs.evolve(fleet, pairs=pairs)), fleet.slo)
        return all(promise.meets for promise in said[pairs])

    found = least(meets, guess, 8 * guess)
    if found.value > 8 * guess:
        missed = ", ".join(promise.name for promise in said[8 * guess] if not promise.meets)
        allowed = f"a promise that {8 * guess} pairs keep, eight times what Erlang B asks for"
        raise ConfigError("slo", missed, allowed)
    return attrs.evolve(found, at_value=said[found.value])


def sessions_per_pair(fleet: Fleet, pairs: int = 64) -> Found:
    """The most sessions of a pair, kept full, with which units are on time (WS-FLEET-10): 0 where
    one is too many. Memory limits the search; time does not, it is what is measured."""
    most = limits_of(unhurried(fleet, None)).places

    said = dict[int, Promise]()

    def too_many(sessions: int) -> bool:
        said[sessions] = promises(simulate(full(fleet, sessions, pairs)), fleet.slo)[0]
        return not said[sessions].meets

    found = least(too_many, limits_of(fleet).places + 1, most)
    answer = found.value - 1
    return Found(
        value=answer,
        monotone=found.monotone,
        tried=tuple((n, not bad) for n, bad in found.tried),
        at_value=(said[answer],) if answer else (),
    )


def unhurried(fleet: Fleet, sessions: int | None) -> Fleet:
    """``fleet`` with places for ``sessions`` on a pair, as far as memory goes, however long their
    units take."""
    admission = attrs.evolve(
        fleet.admission, memory="longest", time_share=NO_LIMIT, most_sessions=sessions
    )
    return attrs.evolve(fleet, admission=admission)


def full(fleet: Fleet, sessions: int, pairs: int) -> Fleet:
    """``pairs`` pairs with ``sessions`` places each, to which four times as many sessions come."""
    arrivals = Arrivals(kind="poisson", sessions=4 * sessions * pairs)
    return attrs.evolve(unhurried(fleet, sessions), arrivals=arrivals, pairs=pairs)


@attrs.frozen(kw_only=True)
class Point:
    """One point of a curve: ``simulated`` at ``at``, with its bounds, and the closed form if there
    is one."""

    at: int
    simulated: float
    lower: float
    upper: float
    closed_form: float | None


def blocking_curve(fleet: Fleet, loads: Iterable[int]) -> tuple[Point, ...]:
    """Blocking by offered sessions on the same pairs, beside Erlang B (WS-FLEET-11)."""
    limits, points = limits_of(fleet), []
    pairs = pairs_of(fleet, limits)
    for load in loads:
        arrivals = attrs.evolve(fleet.arrivals, sessions=load)
        result = simulate(attrs.evolve(fleet, arrivals=arrivals, pairs=pairs))
        closed = erlang.erlang_b(load, limits.places * pairs)
        points.append(point(load, result.blocking, fleet.slo, closed))
    return tuple(points)


def on_time_curve(fleet: Fleet, sessions: Iterable[int], pairs: int = 64) -> tuple[Point, ...]:
    """Share of units on time by sessions on each of ``pairs`` full pairs (WS-FLEET-10)."""
    return tuple(
        point(n, simulate(full(fleet, n, pairs)).on_time, fleet.slo, None) for n in sessions
    )


def point(at: int, share: Share, slo: Slo, closed_form: float | None) -> Point:
    """A share as a point of a curve."""
    confidence = float(slo.confidence)
    return Point(
        at=at,
        simulated=share.value,
        lower=share.lower(confidence),
        upper=share.upper(confidence),
        closed_form=closed_form,
    )
