"""Naive runs of the reference, each made when it is first wanted (WS-CONFORMANCE-9).

The class C budget of a port is the worst of what they allow, so each of them can only widen it: a
port that keeps within the floor, or within what the first run allows, needs no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import attrs

from conformance.recording import Recording


@attrs.frozen(kw_only=True, eq=False)
class Naive:
    """Runs of one script in the port's dtype, the stream first.

    ``thorough``: whoever judges by them wants all of them at once.
    """

    runs: tuple[Callable[[], Recording], ...]
    thorough: bool = False

    def __iter__(self) -> Iterator[Recording]:
        return (run() for run in self.runs)

    def growing(self) -> Iterator[tuple[Recording, ...]]:
        """None of them, the first, the first two ... up to all; at once all if thorough."""
        known: tuple[Recording, ...] = tuple(self) if self.thorough else ()
        yield known
        for run in self.runs[len(known) :]:
            known = (*known, run())
            yield known

    def beginning(self, units: int) -> Naive:
        """The first units of each."""
        return attrs.evolve(self, runs=tuple(partial(_first, run, units) for run in self.runs))


def _first(run: Callable[[], Recording], units: int) -> Recording:
    return run()[:units]
