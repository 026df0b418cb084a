"""A failing script that the suite found by itself, kept as a case folder beside the reports
(WS-VECTORS-1): what a run asks at random is asked again, alone, from a file."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from conformance.files.folder import Pool, write_run
from conformance.files.tape import Said, Tape
from conformance.guard import Guard
from conformance.protocol import Port

_PLACE: ContextVar[Path | None] = ContextVar("place", default=None)


@contextmanager
def kept_in(place: Path | None) -> Iterator[None]:
    """Inside, what is worth keeping goes into ``place``; nowhere if it is None."""
    token = _PLACE.set(place)
    try:
        yield
    finally:
        _PLACE.reset(token)


def keep(case: str, oracle: Port, play: Callable[[Guard], object]) -> Path | None:
    """One run as a case folder of the name of ``case``, with the oracle's replies as the expected
    ones; None if nothing is kept. An older one of the same name is replaced.

    Args:
        play: asks a port everything that the run is made of.
    """
    place = _PLACE.get()
    if place is None:
        return None
    folder = place / case.replace("/", "-").replace(":", "-")
    shutil.rmtree(folder, ignore_errors=True)
    runs: list[tuple[Said, ...]] = []
    tape = Tape(oracle, lambda _, said: runs.append(said), "never")
    play(Guard(tape))
    tape.end_run()
    facts = {"first_case": case, "oracle": "reference-derived", "repeat": 0}
    write_run(folder, runs[0], Pool(), facts)
    return folder
