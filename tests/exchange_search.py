"""Random faults in a session larger than all its orders could be tried in.

It takes the machines to judge, so that seeded defects go the same way as the true tables.
"""

from __future__ import annotations

import random
from collections import Counter

from simulator.world import small as net
from simulator.world.machines import Machines
from simulator.world.orders import MESSAGE_FAULTS, PERFORMER_FAULTS
from simulator.world.small import Shards, World
from spec.exchange_terms import Terms


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
