"""Two ways to look for a violation: every order of a small session, and random faults in a larger.

Both take the machines to judge, so that seeded defects go the same way as the true tables.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator

import exchange_world as net
from exchange_world import Machines, Shards, Violated, World

from spec.exchange_terms import Terms

MESSAGE_FAULTS = ("drop", "duplicate", "corrupt")
PERFORMER_FAULTS = ("crash", "suspect")


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


def run_of(machines: Machines, start: World) -> list[World]:
    """The worlds of one faultless run."""
    worlds = [start]
    while not worlds[-1].done:
        worlds.append(next(net.fair_moves(machines, worlds[-1])))
    return worlds


def at_work_at_once(machines: Machines, w: World) -> World:
    """Drivers that finish their work at once: fewer orders to look at."""
    while w.work:
        w = net.work(machines, w, 0)
    return w


def every_order(
    machines: Machines, starts: list[World], kinds: tuple[str, ...] = (), faults: int = 0
) -> int:
    """Every order of every message from each start, with up to ``faults`` faults anywhere.

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
        number_of((at_work_at_once(machines, start), faults))
    while todo:
        w, left = todo.pop()
        here = index[w, left]
        for after in net.fair_moves(machines, w):
            before[number_of((at_work_at_once(machines, after), left))].append(here)
        if left and not w.done:
            for after in faulty_moves(machines, w, kinds):
                number_of((at_work_at_once(machines, after), left - 1))

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


def random_session(
    machines: Machines, terms: Terms, shards: Shards, rng: random.Random, *, units: int, moves: int
) -> Counter[str]:
    """A session under random faults, then, once they stop, to its end. Returns what happened."""
    w = net.world(machines, terms, units, shards)
    seen = Counter[str]()
    for _ in range(moves):
        if w.done:
            break
        kind = rng.choices(
            ("deliver", "offer", "work", "timers", *MESSAGE_FAULTS, *PERFORMER_FAULTS),
            (40, 10, 20, 6, 8, 8, 8, 1, 1),
        )[0]
        moved = _random_move(machines, w, kind, rng)
        if moved is not None:
            seen[kind] += 1
            w = moved
    w = net.settle(machines, w)
    seen.update(w.performer.dropped)
    seen.update(w.thinker.dropped)
    return seen


def _random_move(machines: Machines, w: World, kind: str, rng: random.Random) -> World | None:
    if kind in ("deliver", *MESSAGE_FAULTS):
        if not w.flight:
            return None
        index = rng.randrange(len(w.flight))
        if kind == "drop":
            return net.drop(w, index)
        move = {"deliver": net.deliver, "duplicate": net.duplicate, "corrupt": net.corrupt}[kind]
        return move(machines, w, index)
    if kind == "work":
        ready = net.first_of_each_side(w)
        return net.work(machines, w, rng.choice(ready)) if ready else None
    if kind == "offer":
        if w.can_offer:
            return net.offer(machines, w)
        return net.finish(machines, w) if w.can_finish else None
    return {"timers": net.timers, "crash": net.crash, "suspect": net.suspect}[kind](machines, w)
