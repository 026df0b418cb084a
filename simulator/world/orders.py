"""Every order of a small session: all that up to N messages and M faults can do (WS-FAULTS-9).

Source: CHOICE (design §13): what a campaign meets by luck, this meets for certain, in small.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from simulator.world import small as net
from simulator.world.machines import Machines
from simulator.world.small import Shards, Violated, World
from spec.sizes import Schedule

MESSAGE_FAULTS = ("drop", "duplicate", "corrupt")
PERFORMER_FAULTS = ("crash", "suspect")
THINKER_FAULTS = ("thinker-crash",)


@attrs.frozen(kw_only=True)
class Scope:
    """How much is tried (WS-FAULTS-9): sessions of ``units`` units with up to ``faults`` faults of
    ``kinds``, anywhere; slices are cut as ``shards`` says."""

    schedule: Schedule
    units: int
    faults: int
    kinds: tuple[str, ...] = (*MESSAGE_FAULTS, *PERFORMER_FAULTS, *THINKER_FAULTS)
    shards: Shards = net.UNSHARDED


def enumerate_scope(machines: Machines, scope: Scope) -> int:
    """Every order of every message of a scope; the number of worlds reached (WS-FAULTS-9).

    Raises:
        Violated: a world that breaks the exchange, or one that can never finish.
    """
    start = net.world(machines, net.terms(scope.schedule), scope.units, scope.shards)
    return every_order(machines, [start], scope.kinds, scope.faults)


def faulty_moves(machines: Machines, w: World, kinds: tuple[str, ...]) -> Iterator[World]:
    """Every single fault that can strike now."""
    for index in range(len(w.flight)):
        if "drop" in kinds:
            yield net.drop(w, index)
        if "duplicate" in kinds:
            yield net.duplicate(machines, w, index)
        if "corrupt" in kinds:
            yield net.corrupt(machines, w, index)
    if "crash" in kinds:
        yield net.crash(machines, w)
    if "suspect" in kinds:
        yield net.suspect(machines, w)
    if "thinker-crash" in kinds and w.lost is None and "thinker" not in w.closed:
        yield net.thinker_crash(machines, w)


def run_of(machines: Machines, start: World) -> list[World]:
    """The worlds of one faultless run."""
    worlds = [start]
    while not worlds[-1].done:
        worlds.append(next(net.fair_moves(machines, worlds[-1])))
    return worlds


def every_order(
    machines: Machines, starts: list[World], kinds: tuple[str, ...] = (), faults: int = 0
) -> int:
    """Every order of every message, and of what drivers are busy with, from each start, with up to
    ``faults`` faults anywhere (WS-FAULTS-9).

    From each world that can be reached, the end of the session must be reachable without a fault.
    Returns the number of worlds.
    """
    index: dict[tuple[World, int], int] = {}
    before: list[list[int]] = []
    ends: list[int] = []
    todo: list[tuple[World, int]] = []

    def number_of(node: tuple[World, int]) -> int:
        known = index.setdefault(node, len(index))
        if known == len(before):
            before.append([])
            todo.append(node)
            if node[0].done:
                require_complete(node[0])
                ends.append(known)
        return known

    for start in starts:
        number_of((start, faults))
    while todo:
        w, left = todo.pop()
        here = index[w, left]
        for after in net.fair_moves(machines, w):
            before[number_of((after, left))].append(here)
        if left and not w.done:
            for after in faulty_moves(machines, w, kinds):
                number_of((after, left - 1))

    # Backwards from the ends, along moves without a fault.
    live = set(ends)
    while ends:
        ends.extend(fresh := [n for n in before[ends.pop()] if n not in live])
        live.update(fresh)
    if len(live) != len(index):
        raise Violated(f"{len(index) - len(live)} of {len(index)} worlds can never finish")
    return len(index)


def require_complete(w: World) -> None:
    net.require(w.decoded == w.units == w.committed, f"closed after {w.decoded} units")
