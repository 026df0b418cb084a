"""Comparisons of two runs that accuse no good port (class A, WS-CONFORMANCE-9,
WS-CONFORMANCE-25).

Two runs are compared that have the same commands in the same order and the same shapes, so only
values can make a difference. Two things may still: a port that compiles, tunes or captures on its
first calls rounds otherwise from then on, and a port may say of itself that the same commands do
not give the same bits. So what differs is asked again; and a port that does not repeat itself, and
said so, is judged by what rounding and its noise explain instead of by bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Final, Generic, TypeVar

import attrs
import numpy as np

from conformance.case import Context, Inconclusive
from conformance.programs import Life, Step, play
from conformance.protocol import Array, KvExport
from conformance.recording import Form, Recording, Script
from conformance.relations import same
from conformance.spread import Mergeable, SessionSpread, Sides, Spread
from conformance.tolerance import same_bits

T = TypeVar("T")
U = TypeVar("U")

REPEATS: Final = 24
"""Runs in which a port that says it does not repeat itself may show that it does not. Noise that
tosses a coin for each of two runs looks like a difference between them once in 16 million cases;
rarer or finer noise never does."""


def nothing(before: object, after: object) -> None:
    """Nothing must move between two runs."""


def settled(
    context: Context,
    before: Callable[[], T],
    after: Callable[[], T],
    judge: Callable[[T, T], str | None],
    repeats: Callable[[T, T], str | None],
    spread: Spread[T],
    used: Callable[[T, T], str | None] = nothing,
    only_values: Mergeable[T] | None = None,
) -> str | None:
    """``judge`` and ``used`` on two runs; what they find must be there when both are run once more.

    Args:
        before: runs the port; so does ``after``, with other values.
        judge: what must be the same bits in both, and is not.
        repeats: what differs between two runs of ``before``, or of ``after``; None if nothing does.
        spread: what rounding explains, for a port that does not claim to repeat itself.
        used: what must not be the same bits in both, and is. By bits for every port: rounding may
            hide a move that is too small, so it accuses nobody of it.
        only_values: the ``spread`` again, where commands and shapes before and in both runs are the
            same, so that noise is too.

    Raises:
        Inconclusive: a word that the port chooses is not the same in two runs, at a rounding error.
    """

    def found(a: T, b: T) -> str | None:
        return judge(a, b) or used(a, b)

    reason = found(before(), after())
    if reason is None:
        return None
    one, other = before(), after()
    reason = found(one, other)
    if reason is None or context.hello.deterministic:
        return reason
    too_far = judge(one, spread.near(one, other)) or used(one, other)
    # In no order that a port may have of its own: buffers in turn, say.
    for which in np.random.default_rng(REPEATS).integers(2, size=REPEATS):
        known, again = (one, before()) if which == 0 else (other, after())
        if repeats(known, again) is not None:
            wrong = _unsteady(too_far, repeats, spread, (one, other), (known, again))
            if wrong is not None or only_values is None:
                return wrong
            return _one_sided(before, after, judge, only_values)
    return reason


@attrs.frozen
class Kept(Generic[T]):
    """Runs of a port: ``first`` is made when it is first wanted and kept, ``anew`` makes more."""

    first: Callable[[], T]
    anew: Callable[[], T]

    @classmethod
    def of(cls, run: Callable[[], T]) -> Kept[T]:
        return cls(cache(run), run)

    def picked(self, pick: Callable[[T], U]) -> Kept[U]:
        """The same runs, and of each what ``pick`` takes."""
        return Kept(lambda: pick(self.first()), lambda: pick(self.anew()))


def played(context: Context, program: Sequence[Step]) -> Kept[list[Life]]:
    """All lives of ``program``, played on the port."""
    return Kept.of(partial(play, context.port, program))


def settled_after(
    context: Context,
    before: Kept[T],
    after: Kept[T],
    judge: Callable[[T, T], str | None],
    repeats: Callable[[T, T], str | None],
    spread: Spread[T],
) -> str | None:
    """`settled`, beginning with runs that are kept: other cases need them too."""
    if judge(before.first(), after.first()) is None:
        return None
    return settled(context, before.anew, after.anew, judge, repeats, spread)


def _one_sided(
    before: Callable[[], T],
    after: Callable[[], T],
    judge: Callable[[T, T], str | None],
    spread: Mergeable[T],
) -> str | None:
    """What every one of `REPEATS` runs of ``after`` has on the same side of every one of
    ``before``; runs end when noise explains all there is."""
    sides: Sides[T] | None = None
    reason: str | None = None
    for turned in np.random.default_rng(REPEATS + 1).integers(2, size=REPEATS):
        early = after() if turned else None
        a = before()
        b = after() if early is None else early
        sides = Sides(spread, a, b) if sides is None else sides.more(a, b)
        reason = judge(*sides.apart())
        if reason is None:
            return None
    return reason and f"more than noise in {REPEATS} runs of each: {reason}"


def _unsteady(
    too_far: str | None,
    repeats: Callable[[T, T], str | None],
    spread: Spread[T],
    *pairs: tuple[T, T],
) -> str | None:
    """What is wrong with a port that does not repeat itself (WS-CONFORMANCE-25).

    Args:
        too_far: what is between the two runs and is more than rounding.
        pairs: the two runs; two of the same commands.
    """
    known, again = pairs[-1]
    gross = repeats(known, spread.near(known, again))
    if gross is None and too_far is None:
        return None
    flips = [flip for pair in pairs if (flip := spread.flipped(*pair)) is not None]
    if flips:
        raise Inconclusive(f"not deterministic, and rounding changes a word: {flips[0]}")
    if gross is not None:
        return f"the same commands again, further apart than rounding explains: {gross}"
    return too_far


def compared(
    context: Context,
    script: Script,
    changed: Script,
    judge: Callable[[Recording, Recording], str | None],
    form: Form = "stream",
    used: Callable[[Recording, Recording], str | None] = nothing,
) -> str | None:
    """`settled` on the recordings of two scripts; those already made are used first."""
    a, b = context.run(script, form), context.run(changed, form)
    if judge(a, b) is None and used(a, b) is None:
        return None
    anew = partial(context.run.anew, form=form)
    spread = SessionSpread(context=context, script=script)
    return settled(
        context,
        lambda: anew(script),
        lambda: anew(changed),
        judge,
        all_same,
        spread,
        used,
        spread,
    )


def as_undisturbed(
    context: Context,
    script: Script,
    alone: Callable[[], Recording],
    disturbed: Callable[[], Recording],
    when: str,
) -> str | None:
    """`settled` on two ways to record ``script``, the second with commands ``when`` that must
    not matter: the same units, bit for bit."""

    def judge(a: Recording, b: Recording) -> str | None:
        if len(a) != len(b):
            return f"{when} {len(b)} units were answered, not {len(a)}"
        reason = all_same(a, b)
        return reason and f"{when}: {reason}"

    spread = SessionSpread(context=context, script=script)
    return settled(context, alone, disturbed, judge, all_same, spread)


def all_same(a: Recording, b: Recording) -> str | None:
    """Two whole recordings, bit for bit."""
    return same(a, b, range(len(a)))


def arrays_of(state: KvExport) -> dict[str, Array]:
    """Everything in an export by its name."""
    found: dict[str, Array] = {
        f"{role}'s {name}": getattr(entries, name)
        for role, entries in state.roles.items()
        for name in ("rows", "keys", "values")
    }
    return found | {f"extra {name}": array for name, array in state.extra.items()}


def first_change(a: KvExport, b: KvExport) -> str | None:
    """The first array of one export that is another in the other (class A)."""
    x, y = arrays_of(a), arrays_of(b)
    return next((name for name in x if name not in y or not same_bits(x[name], y[name])), None)
