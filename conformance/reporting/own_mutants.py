"""Defects of our own code: the mutants of the clauses that no port can be asked about.

What the simulator, traces, files or the suite itself must do shows in no port. There the check of a
clause is the tests that its `verified-by` names, and a mutant is one text of one file of ours put
in the place of another, which these tests alone must notice. The defects stand in
`tests/own_mutants/`, a page of clauses a file; `scripts/own_kill_table.py` runs them.
Source: CHOICE (WS-CONFORMANCE-22).
"""

from __future__ import annotations

import functools
import hashlib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs
import cattrs

from spec.clauses import registry
from spec.errors import ConfigError

ROOT: Final = Path(__file__).parents[2]
DEFECTS: Final = ROOT / "tests/own_mutants"
OWN_KILL_TABLE: Final = ROOT / "conformance/data/own_kill_table.json"


@attrs.frozen(kw_only=True)
class OwnMutant:
    """One defect: ``old``, which stands once in ``file``, becomes ``new``.

    ``breaks`` says what is wrong then, of the clause ``clause``; ``file`` is relative to the
    checkout.
    """

    name: str
    clause: str
    breaks: str
    file: str
    old: str
    new: str

    @property
    def sha256(self) -> str:
        """Digest of what is done and of the clause's text, so that a row is of what there is: where
        either is another one, the tests are read and run again (WS-CLAUSES-2)."""
        clause = registry()[self.clause]
        said = json.dumps([clause.id, clause.text_sha256, self.file, self.old, self.new])
        return hashlib.sha256(said.encode()).hexdigest()

    def applied(self, text: str) -> str:
        """``text`` with the defect in it.

        Raises:
            ConfigError: the old text is not there exactly once.
        """
        times = text.count(self.old)
        if times != 1:
            what = f"own mutant {self.name}: how often `old` stands in {self.file}"
            raise ConfigError(what, times, "once")
        return text.replace(self.old, self.new)


@attrs.frozen(kw_only=True)
class OwnKill:
    """A row of the table: the clause, what is wrong, the digest of the defect that was run, and
    the test that failed."""

    clause: str
    breaks: str
    sha256: str
    killed_by: str


def own_mutants(folder: Path = DEFECTS) -> dict[str, OwnMutant]:
    """Every defect by its name.

    Raises:
        ConfigError: a name stands twice, or a file does not fit the form.
    """
    found: dict[str, OwnMutant] = {}
    for path in sorted(folder.glob("*.toml")):
        try:
            entries = tomllib.loads(path.read_text("utf-8"))["mutant"]
            here = cattrs.structure(entries, list[OwnMutant])
        except (tomllib.TOMLDecodeError, KeyError, cattrs.BaseValidationError) as e:
            raise ConfigError(f"own mutants of {path.name}", e, "tables [[mutant]]") from e
        for mutant in here:
            if mutant.name in found:
                raise ConfigError(f"own mutant of {path.name}", mutant.name, "a name of its own")
            found[mutant.name] = mutant
    return found


@functools.cache
def own_kills() -> Mapping[str, OwnKill]:
    """The rows of `own_kill_table.json` by mutant."""
    return cattrs.structure(json.loads(OWN_KILL_TABLE.read_text("utf-8")), dict[str, OwnKill])


def verifiers_of(clause: str) -> tuple[str, ...]:
    """The test files that verify ``clause``, relative to the checkout (WS-CLAUSES-1)."""
    named = (entry.partition(":") for entry in registry()[clause].verified_by)
    return tuple(path for kind, _, path in named if kind == "test")
