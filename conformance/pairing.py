"""Bit-for-bit comparisons that accuse no good port (class A, WS-CONFORMANCE-9).

Two runs are compared that have the same commands in the same order and the same shapes, so only
values can make a difference. Two things may still: a port that compiles, tunes or captures on its
first calls rounds otherwise from then on, and a port may say of itself that the same commands do
not give the same bits. So what differs is asked again, and a port that does not repeat itself, and
said so, is not judged.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

from conformance.case import Context, Inconclusive
from conformance.protocol import Array, KvExport
from conformance.recording import Form, Recording, Script
from conformance.relations import same
from conformance.tolerance import same_bits

T = TypeVar("T")

REPEATS: Final = 24
"""Runs in which a port that says it does not repeat itself may show that it does not."""


def settled(
    context: Context,
    before: Callable[[], T],
    after: Callable[[], T],
    judge: Callable[[T, T], str | None],
    repeats: Callable[[T, T], str | None],
) -> str | None:
    """``judge`` on two runs; what it finds must be there when both are run once more.

    Args:
        before: runs the port; so does ``after``, with other values.
        repeats: what differs between two runs of ``before``, None if nothing does.

    Raises:
        Inconclusive: the port does not repeat itself, and does not claim to.
    """
    reason = judge(before(), after())
    if reason is None:
        return None
    warm = before()
    reason = judge(warm, after())
    if reason is None or context.hello.deterministic:
        return reason
    for _ in range(REPEATS):
        unsteady = repeats(warm, before())
        if unsteady is not None:
            raise Inconclusive(f"the port is not deterministic: {unsteady}")
    return reason


def compared(
    context: Context,
    script: Script,
    changed: Script,
    judge: Callable[[Recording, Recording], str | None],
    form: Form = "stream",
) -> str | None:
    """`settled` on the recordings of two scripts; those already made are used first."""
    reason = judge(context.run(script, form), context.run(changed, form))
    if reason is None:
        return None
    anew = partial(context.run.anew, form=form)
    return settled(context, lambda: anew(script), lambda: anew(changed), judge, all_same)


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
