"""The KV exchange at sizes, counts and ages that a small session never reaches: both sides.

Expected answers are those of the tables in `spec.exchange`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import attrs

from conformance.case import Case, Check, Context
from conformance.checks.exchange import Story
from conformance.checks.exchange_sizes import (
    PLAIN,
    SIZES,
    Scripts,
    acked,
    alike,
    long_snapshot,
    nearly,
    parts,
    sizes,
)
from conformance.checks.exchange_thinker import ThinkerStory
from conformance.exchange.campaign import sha
from conformance.exchange.judging import answers_differently
from spec.exchange_message import LatentsNack, Open, SliceAck
from spec.exchange_terms import kv_len_after
from spec.layout import PREFILL_UNIT

LONG: Final = 300
"""Units and takeovers, and what may be on the way: more than a byte counts."""


def windows() -> Scripts:
    """As many units on the way as the terms allow, and one more (WS-EXCHANGE-11)."""
    for window in (5, 20, LONG):
        terms = attrs.evolve(PLAIN, window=window)
        lates = (0, window // 2, window - 1) if window < LONG else (0,)
        s = Story(terms=terms)
        s.slices(*range(-1, window))
        s.solved(0)
        s.slices(window)
        # Beyond what it may be sent: the peer's fault, and the end.
        s.slices(window + 1)
        yield f"{window} slices", s.script, True
        for late in lates:
            s = Story(terms=terms)
            s.slices(*range(-1, window))
            s.slices(late, salt="other")
            yield f"slice {late} of {window} with other bytes", s.script, True
        t = ThinkerStory(terms=terms)
        t.begun()
        # The last is one too many, and is offered again.
        t.offer(*range(window + 1))
        t.nack(0)
        t.latents(*range(window))
        t.offer(window, window + 1)
        yield f"{window} offers", t.script, False
        for late in lates:
            t = ThinkerStory(terms=terms)
            t.begun()
            t.offer(*range(window))
            t.latents(*range(window))
            t.latents(late, digest=sha("other"))
            yield f"latents {late} of {window} with other bytes", t.script, True
    # What is kept is asked for by its unit, not by how new it is.
    s = Story(terms=attrs.evolve(PLAIN, window=5))
    s.slices(*range(-1, 4))
    s.solved(0, 1, 2)
    acked(s, 0)
    for unit in (2, 1, 0):
        s.arrive(LatentsNack(session=s.terms.session, epoch=0, unit=unit))
    yield "latents asked for again", s.script, False


def ages() -> Scripts:
    """What comes late is dropped, however late (WS-EXCHANGE-7, WS-EXCHANGE-8, WS-EXCHANGE-9)."""
    s = Story()
    s.slices(-1)
    for k in range(LONG):
        s.slices(k)
        s.solved(k)
        acked(s, k)
    s.slices(*range(-1, LONG))
    acked(s, *range(LONG))
    s.slices(LONG)
    yield "old slices and thanks", s.script, False
    t = ThinkerStory()
    t.begun()
    for k in range(LONG):
        t.offer(k)
        t.ack(k)
        t.latents(k)
    for k in range(LONG):
        t.ack(k)
        t.latents(k)
    for k in range(LONG):
        t.nack(k)
    t.offer(LONG)
    yield "old latents, thanks and requests", t.script, False


EPOCHS: Final = (1, 2, 3, 4, 5, 20, 150, 300, 40_000, 70_000, 2**31 + 5, 2**32 + 7, 2**40)
"""Of one performer, around what 3, 7, 8, 15, 16, 31 and 32 bits hold."""


def epochs() -> Scripts:
    """One epoch after the other; of all that are over nothing counts (WS-EXCHANGE-10)."""
    s = Story()
    s.slices(-1, 0)
    for n, epoch in enumerate(EPOCHS):
        first = 3 * n
        s.open(epoch=epoch, first=first)
        s.slices(first)
        if epoch >= EPOCHS[3]:
            for old in (0, *EPOCHS[:n]):
                s.slices(first + 1, epoch=old)
                s.open(epoch=old, first=first)
            s.epoch = epoch
        s.slices(first + 1)
    yield "the performer", s.script, False
    t = ThinkerStory()
    t.begun()
    incarnation = 1
    for n in range(1, LONG):
        # Whoever is there now has been started many times.
        incarnation += {100: 2**16, 200: 2**31, 250: 2**32}.get(n, 1)
        t.hello(incarnation)
        t.epoch = n
        t.snapshot(PREFILL_UNIT, n)
    t.ack(PREFILL_UNIT, "snapshot")
    t.offer(0)
    thanks = SliceAck(
        session=t.terms.session,
        epoch=0,
        unit=0,
        digest=t.digest(0),
        kv_len=kv_len_after(t.terms, 0),
    )
    for old in range(LONG - 1):
        t.arrive(attrs.evolve(thanks, epoch=old))
        t.hello(old)
    t.latents(0)
    # Of an epoch that nobody has begun: the peer's fault, and the end.
    t.arrive(attrs.evolve(thanks, epoch=LONG))
    yield "the thinker", t.script, True


def strangers() -> Scripts:
    """Another session's beginning, and another performer's (WS-EXCHANGE-1, WS-EXCHANGE-2)."""
    for incarnation in (0, 1, 3):
        s = Story(incarnation=incarnation)
        other = attrs.evolve(s.terms, session="another")
        s.slices(-1)
        s.arrive(Open(session="another", epoch=7, incarnation=incarnation, unit=-1, terms=other))
        s.slices(0)
        for wrong in (incarnation + 1, incarnation + 2):
            s.arrive(
                Open(session=s.terms.session, epoch=8, incarnation=wrong, unit=0, terms=s.terms)
            )
        s.slices(1)
        s.open(epoch=9, first=0)
        s.slices(0)
        yield f"incarnation {incarnation}", s.script, False


OF_SIZES: Final = ("WS-EXCHANGE-1", "WS-EXCHANGE-2", "WS-EXCHANGE-3", "WS-EXCHANGE-9")
STORIES: Final[dict[str, tuple[tuple[str, ...], Callable[[], Scripts]]]] = {
    **{name: (OF_SIZES, partial(sizes, terms)) for name, terms in SIZES.items()},
    "parts": (("WS-EXCHANGE-5", "WS-EXCHANGE-1"), parts),
    "nearly": (("WS-EXCHANGE-2", "WS-EXCHANGE-3"), nearly),
    "alike": (("WS-EXCHANGE-7", "WS-EXCHANGE-9"), alike),
    "windows": (("WS-EXCHANGE-11", "WS-EXCHANGE-7", "WS-EXCHANGE-9"), windows),
    "ages": (("WS-EXCHANGE-7", "WS-EXCHANGE-8", "WS-EXCHANGE-9"), ages),
    "epochs": (("WS-EXCHANGE-10",), epochs),
    "strangers": (("WS-EXCHANGE-10", "WS-EXCHANGE-1", "WS-EXCHANGE-2"), strangers),
    "long-snapshot": (("WS-EXCHANGE-3",), long_snapshot),
}
"""By name: the clauses, and what is told."""


def scripts(name: str) -> Scripts:
    """The scripts of a story."""
    return STORIES[name][1]()


def far(context: Context) -> Iterator[Case]:
    """Every story (WS-CONFORMANCE-8)."""
    for name, (clauses, _) in STORIES.items():
        yield Case(
            name=name,
            clauses=(*clauses, "WS-CONFORMANCE-8"),
            judge=partial(_judge, context, name),
        )


def _judge(context: Context, name: str) -> str | None:
    for what, script, _ in scripts(name):
        reason = answers_differently(script, context.port.exchange(script))
        if reason is not None:
            return f"{what}: {reason}"
    return None


CHECKS = (
    Check(
        id="exchange/far",
        clauses=(
            *dict.fromkeys(c for clauses, _ in STORIES.values() for c in clauses),
            "WS-CONFORMANCE-8",
        ),
        profile="split",
        tolerance="A",
        cases=far,
    ),
)
