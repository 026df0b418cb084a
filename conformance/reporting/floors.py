"""What the suite knows of its own checks: how much each must have executed (WS-CONFORMANCE-21).

`suite_facts.json` is written by ``scripts/suite_facts.py`` out of a run of the port with the fewest
optional features: a conformant port can execute no less. For each check it holds ``floors``, the
cases executed in all ("*") and about each clause, ``made``, the cases there were then, and
``oracle``, what its expected numbers are.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import attrs
import cattrs

FILE: Final = Path(__file__).parents[1] / "data" / "suite_facts.json"
ALL_CLAUSES: Final = "*"


@attrs.frozen(kw_only=True)
class CheckFacts:
    """What is known of one check. ``floors`` by clause, ``"*"`` for a run without ``--clause``;
    they are those of a check that makes ``made`` cases, and of no other."""

    oracle: str
    made: int
    floors: Mapping[str, int]


@functools.cache
def facts() -> Mapping[str, CheckFacts]:
    """The facts of every check, by its id."""
    return cattrs.structure(json.loads(FILE.read_text(encoding="utf-8")), dict[str, CheckFacts])


def floors(check_ids: Iterable[str], clause: str | None) -> dict[str, int]:
    """How many cases of each check a run must execute (WS-CONFORMANCE-21).

    Args:
        clause: the one that the run is restricted to.
    """
    key = clause or ALL_CLAUSES
    return {c: facts()[c].floors.get(key, 0) for c in check_ids if c in facts()}
