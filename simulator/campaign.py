"""A campaign: many runs of the full protocol under faults, until enough units came out.

Its result is a function of seed, rates, units and machines, whatever the number of workers: runs
are numbered, and count in that order. Source: design §13.
"""

from __future__ import annotations

import functools
import hashlib
import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

import attrs

from simulator.campaign_runs import UNITS_MEAN, RunResult, run_one
from simulator.faults import FaultKind
from simulator.seeded_drivers import ALL_DEFECTS
from simulator.world.machines import Machines
from spec import clock
from spec.errors import ConfigError
from spec.exchange_events import Event

SOMETIMES: Final = (
    *(kind.value for kind in FaultKind),
    "resync", "performer-suspected", "window-full", "offer-refused", "client-stalled",
    "client-full", "sends SliceNack", "sends LatentsNack",
    *(event.value for event in (
        Event.OTHER_SESSION, Event.STALE_EPOCH, Event.FUTURE_EPOCH,
        Event.OPEN_AGAIN, Event.OPEN_OTHER, Event.SOLVED_STALE, Event.EXPORTED_STALE,
        Event.PART_AGAIN, Event.SLICE_AGAIN, Event.SLICE_GAP, Event.SLICE_CONFLICT,
        Event.SLICE_MISFIT, Event.ACK_LATE, Event.ACK_WRONG, Event.NACK_LATE, Event.NACK_EARLY,
        Event.LATENTS_AGAIN, Event.LATENTS_GAP, Event.LATENTS_FOREIGN, Event.LATENTS_CONFLICT,
        Event.LATENTS_ACK_LATE, Event.LATENTS_NACK_VOID,
    )),
)  # fmt: skip
"""States that a campaign with all faults must reach at least once (WS-FAULTS-8)."""

SOMETIMES_UNITS: Final = 100_000
"""A campaign of fewer units is not expected to reach all of `SOMETIMES`."""


@attrs.frozen(kw_only=True)
class CampaignReport:
    """What a campaign came to (WS-FAULTS-8).

    ``violations``: by invariant; ``first``: the first one in words, with its run. ``missing``: what
    of `SOMETIMES` was never reached, where all of it is expected. ``recovery_units``: the longest
    time from a last fault to the end of a session. ``sha256``: digest of all results in order.
    """

    units: int
    runs: int
    outcomes: Counter[str]
    violations: Counter[str]
    first: str
    marks: Counter[str]
    missing: tuple[str, ...]
    recovery_units: float
    sha256: str

    @property
    def clean(self) -> bool:
        """No violation, and nothing that was never reached."""
        return not self.violations and not self.missing


def machines_named(defect: str | None) -> Machines:
    """The true machines, or those with the named defect.

    Raises:
        ConfigError: no such defect.
    """
    if defect is None:
        return Machines()
    if defect not in ALL_DEFECTS:
        raise ConfigError("defect", defect, ", ".join(ALL_DEFECTS))
    return ALL_DEFECTS[defect]


def run_campaign(
    units: int,
    rates: Mapping[FaultKind, float],
    *,
    seed: int = 0,
    workers: int = 1,
    defect: str | None = None,
    stop_at_violation: bool = False,
    progress: Callable[[int], object] = lambda _units: None,
) -> CampaignReport:
    """Run until ``units`` responses came out (WS-FAULTS-8).

    Args:
        units: responses, of all runs together; the last run may bring more.
        rates: faults a unit, by kind.
        workers: processes to run in.
        defect: name of a seeded defect, None for the true protocol.
        stop_at_violation: no further run after one that violates.
        progress: called with the units done so far.
    """
    machines_named(defect)
    work = functools.partial(_run, seed, dict(rates), defect)
    results = list(_enough(_ordered(work, units, workers), units, stop_at_violation, progress))
    marks: Counter[str] = sum((result.marks for result in results), Counter())
    done = sum(result.units for result in results)
    expected = SOMETIMES if done >= SOMETIMES_UNITS and set(rates) == set(FaultKind) else ()
    digest = hashlib.sha256("".join(result.line for result in results).encode())
    return CampaignReport(
        units=done,
        runs=len(results),
        outcomes=sum((result.outcomes for result in results), Counter()),
        violations=sum((result.violations for result in results), Counter()),
        first=next((f"run {r.index}: {r.first}" for r in results if r.first), ""),
        marks=marks,
        missing=tuple(name for name in expected if not marks[name]),
        recovery_units=max(result.recovery_ns for result in results) / clock.UNIT_NS,
        sha256=digest.hexdigest(),
    )


def _run(seed: int, rates: Mapping[FaultKind, float], defect: str | None, index: int) -> RunResult:
    return run_one(seed, index, rates, machines_named(defect))


def _ordered(work: Callable[[int], RunResult], units: int, workers: int) -> Iterator[RunResult]:
    """Results of runs 0, 1, 2, ... for as long as they are asked for."""
    if workers == 1:
        index = 0
        while True:
            yield work(index)
            index += 1
    first, batch = 0, max(units // UNITS_MEAN, 1)
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        while True:
            yield from pool.imap(work, range(first, first + batch), chunksize=4)
            first, batch = first + batch, workers * 4


def _enough(
    results: Iterable[RunResult],
    units: int,
    stop_at_violation: bool,
    progress: Callable[[int], object],
) -> Iterator[RunResult]:
    done = 0
    for result in results:
        yield result
        done += result.units
        progress(done)
        if done >= units or (stop_at_violation and result.violations):
            return
