"""The kill table: which invariant shows which seeded defect, and in which run (WS-FAULTS-8).

    python -m simulator.campaign_kills      writes simulator/kill_table.json anew

Source: CHOICE (design §12, §13).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs
import cattrs
from rich.console import Console
from rich.progress import track

from simulator.campaign_runs import run_one
from simulator.faults import RATES
from simulator.seeded_drivers import ALL_DEFECTS

FILE: Final = Path(__file__).with_name("kill_table.json")

SEED: Final = 0
RUNS: Final = 40
"""Runs that every defect goes through; one that they do not show goes through more."""

MOST_RUNS: Final = 4000


@attrs.frozen(kw_only=True)
class Kill:
    """How a defect shows: the first run of campaign `SEED` that violates, and sessions by violated
    invariant over the first `RUNS` runs, or up to that one."""

    first_run: int
    by_invariant: Mapping[str, int]


def kill_of(defect: str) -> Kill:
    """Run the campaign with one defect; ``first_run`` is -1 if `MOST_RUNS` do not show it."""
    machines = ALL_DEFECTS[defect]
    first, found = -1, Counter[str]()
    for index in range(MOST_RUNS):
        violations = run_one(SEED, index, RATES, machines).violations
        found += violations
        if violations and first < 0:
            first = index
        if first >= 0 and index >= RUNS - 1:
            break
    return Kill(first_run=first, by_invariant=dict(sorted(found.items())))


def kill_table() -> dict[str, Kill]:
    """The table as it was last written."""
    return cattrs.structure(json.loads(FILE.read_text("utf-8")), dict[str, Kill])


def write_kill_table(table: Mapping[str, Kill]) -> None:
    """Write the table, one defect a line."""
    lines = (
        f"{json.dumps(name)}: {json.dumps(attrs.asdict(kill))}" for name, kill in table.items()
    )
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    progress = track(ALL_DEFECTS, "seeded defects", console=Console(stderr=True))
    write_kill_table({defect: kill_of(defect) for defect in progress})
