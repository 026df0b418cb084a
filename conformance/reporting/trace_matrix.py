"""From each clause to its code, its checks, the mutants that they kill, and what they compare with.

The tables of it are data: `suite_facts.json` and `kill_table.json` are written by scripts that run
the suite, `own_kill_table.json` by one that runs our tests, `not_judged.toml` is reviewed by hand.
Nothing is run here, and no port is imported.
Source: design §12 (WS-CONFORMANCE-22).
"""

from __future__ import annotations

import functools
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs
import cattrs

from conformance.checks.registry import CHECKS
from conformance.reporting.floors import facts
from conformance.reporting.own_mutants import own_kills
from spec.citations import Citation, code_of_clauses
from spec.clauses import Clause, registry

FOLDER: Final = Path(__file__).parents[1] / "data"
KILL_TABLE: Final = FOLDER / "kill_table.json"
NOT_JUDGED: Final = FOLDER / "not_judged.toml"
APPROVED: Final = FOLDER / "approved.toml"
CODE: Final = ("reference", "spec", "optimized", "simulator", "conformance", "wanstreamer")
JUDGES: Final = ("conformance/checks", "conformance/mutants")
"""These show that a clause holds or break it on purpose: citing it there implements nothing."""


@attrs.frozen(kw_only=True)
class Killed:
    """One mutant's row of the kill table: the clause it names, and, for each clause that found it,
    the first case that did."""

    clause: str
    description: str
    killed_by: Mapping[str, str]


@attrs.frozen(kw_only=True)
class Exempt:
    """What no port can be asked about, and why: whole topics, whose clauses may yet be judged, and
    single clauses. Our tests verify it, and defects of ours break it (`own_mutants`)."""

    reason: str
    topics: tuple[str, ...] = ()
    clauses: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Row:
    """One clause with everything that stands behind it.

    ``mutants`` are bad ports; ``own`` are defects of our own code that the tests of the clause have
    noticed, where no port can be asked about it.
    """

    clause: Clause
    code: tuple[Citation, ...]
    checks: tuple[str, ...]
    mutants: tuple[str, ...]
    oracles: tuple[str, ...]
    own: tuple[str, ...]
    exempt: str

    @property
    def excuse(self) -> str:
        """Why it lacks a check or a mutant; empty where it lacks neither."""
        return "" if self.checks and self.mutants else self.exempt


@functools.cache
def kill_table() -> Mapping[str, Killed]:
    """The rows of `kill_table.json` by mutant (WS-CONFORMANCE-14)."""
    return cattrs.structure(json.loads(KILL_TABLE.read_text("utf-8")), dict[str, Killed])


@functools.cache
def exempt() -> tuple[Exempt, ...]:
    """The groups of `not_judged.toml`."""
    data = tomllib.loads(NOT_JUDGED.read_text("utf-8"))
    return cattrs.structure(data["group"], tuple[Exempt, ...])


@functools.cache
def approved() -> Mapping[str, str]:
    """The text digest for which the checks of each clause were approved (WS-CLAUSES-2)."""
    digests: dict[str, str] = tomllib.loads(APPROVED.read_text("utf-8"))["approved"]
    return digests


@functools.cache
def rows() -> tuple[Row, ...]:
    """Every clause, in the order of the pages."""
    code = code_of_clauses(CODE, JUDGES)
    return tuple(
        Row(
            clause=clause,
            code=tuple(code.get(clause_id, ())),
            checks=(checks := checks_of(clause_id)),
            mutants=tuple(n for n, row in kill_table().items() if clause_id in row.killed_by),
            oracles=tuple(sorted({facts()[c].oracle for c in checks if c in facts()} - {""})),
            own=tuple(n for n, row in own_kills().items() if row.clause == clause_id),
            exempt=exempt_reason(clause_id),
        )
        for clause_id, clause in registry().items()
    )


def exempt_reason(clause: str) -> str:
    """Why ``clause`` need not be judged; empty if it must be."""
    topic = clause.split("-")[1]
    named = (g.reason for g in exempt() if clause in g.clauses or topic in g.topics)
    return next(named, "")


def checks_of(clause: str) -> tuple[str, ...]:
    """The checks that judge ``clause``, those most about it first."""
    found = [check for check in CHECKS.values() if clause in check.clauses]
    return tuple(c.id for c in sorted(found, key=lambda c: c.clauses.index(clause)))


def gaps(matrix: Sequence[Row]) -> tuple[str, ...]:
    """What a clause lacks, a line each; what no port can be asked about has tests of ours that
    notice a defect of ours, and what is exempt must need it (WS-CONFORMANCE-22)."""
    singly = {clause for group in exempt() for clause in group.clauses}
    found = [f"{c}: exempt, but not written" for c in sorted(singly - registry().keys())]
    topics = {topic for group in exempt() for topic in group.topics}
    topics -= {r.clause.topic for r in matrix if not (r.checks and r.mutants)}
    found += [
        f"{t}: each of its clauses is judged and killed; take it off {NOT_JUDGED.name}"
        for t in sorted(topics)
    ]
    for row in matrix:
        lacks = [
            what
            for what, there in (("check", row.checks), ("killing mutant", row.mutants))
            if not there
        ]
        if not row.code:
            found.append(f"{row.clause.id}: no docstring of the code cites it")
        if row.clause.id in singly and not lacks:
            found.append(f"{row.clause.id}: is judged and killed; take it off {NOT_JUDGED.name}")
        if row.clause.level == "MUST" and not row.exempt:
            found.extend(f"{row.clause.id}: no {what}" for what in lacks)
        elif row.clause.level == "MUST" and lacks and not row.own:
            found.append(f"{row.clause.id}: exempt, and no defect of ours that its tests notice")
    return tuple(found)


def changed() -> tuple[str, ...]:
    """Clauses whose text is not the one for which their checks were approved, a line each
    (WS-CLAUSES-2)."""
    found = []
    for clause_id in dict.fromkeys(c for check in CHECKS.values() for c in check.clauses):
        clause = registry().get(clause_id)
        if clause is not None and approved().get(clause_id) != clause.text_sha256:
            what = "has changed" if clause_id in approved() else "was never approved"
            found.append(
                f"{clause_id} {what}: read again {', '.join(checks_of(clause_id))}, then run"
                f" scripts/approve_clauses.py {clause_id}"
            )
    unknown = approved().keys() - registry().keys()
    return (*found, *(f"{clause_id} is approved but not written" for clause_id in sorted(unknown)))
