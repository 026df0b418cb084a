"""Failures that are known and accepted for a while: the waiver file (WS-CONFORMANCE-20).

A file holds tables ``[[waiver]]`` with ``clause``, ``reason``, ``issue`` (a link), ``expires`` (a
TOML date) and, if only some cases are meant, ``case`` (a pattern with ``*`` over case ids). A
waiver is a debt: one that has expired, matches nothing or is not needed any more fails the run.
"""

from __future__ import annotations

import datetime as dt
import tomllib
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import attrs

from conformance.verdicts import CaseResult, Verdict
from spec.clauses import registry
from spec.errors import ConfigError

KEYS: Final = ("clause", "case", "reason", "issue", "expires")
CHECK_ID: Final = "waivers"
"""Stands in for the check in the ids of cases that judge a waiver."""


@attrs.frozen(kw_only=True)
class Waiver:
    """One accepted failure. It holds up to and including the day ``expires`` (UTC)."""

    clause: str
    case: str
    reason: str
    issue: str
    expires: dt.date

    def covers(self, case_id: str, clauses: Sequence[str]) -> bool:
        """Is a case with this id, about these clauses, meant?"""
        return self.clause in clauses and fnmatchcase(case_id, self.case)

    def expired(self, today: dt.date) -> bool:
        return today > self.expires

    @property
    def id(self) -> str:
        """The id of the case that judges the waiver itself."""
        return f"{CHECK_ID}:{self.clause}:{self.case}"


def read(path: Path) -> tuple[Waiver, ...]:
    """The waivers of a file (WS-CONFORMANCE-20).

    Raises:
        ConfigError: the file cannot be read or a table of it is not a waiver.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError("--waivers", str(path), f"a TOML file ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError("--waivers", str(path), f"a TOML file ({error})") from error
    tables = data.get("waiver")
    if set(data) != {"waiver"} or not isinstance(tables, list):
        raise ConfigError(f"{path}: tables", ", ".join(data) or "none", "[[waiver]] and no other")
    waivers = tuple(_waiver(f"{path}: waiver {n}", table) for n, table in enumerate(tables, 1))
    for n, waiver in enumerate(waivers):
        if any((w.clause, w.case) == (waiver.clause, waiver.case) for w in waivers[:n]):
            raise ConfigError(f"{path}: waiver {n + 1}", waiver.id, "each clause and case once")
    return waivers


def _waiver(where: str, table: Any) -> Waiver:
    if not isinstance(table, dict) or set(table) - set(KEYS):
        raise ConfigError(where, table, f"a table of {', '.join(KEYS)}")
    given = {"case": "*", **table}
    for key in ("clause", "case", "reason", "issue"):
        value = given.get(key)
        if not isinstance(value, str) or not value.strip():
            raise ConfigError(f"{where}: {key}", value, "a text")
    if given["clause"] not in registry():
        raise ConfigError(f"{where}: clause", given["clause"], "a clause of spec/*.md")
    if urlsplit(given["issue"]).scheme not in ("http", "https"):
        raise ConfigError(f"{where}: issue", given["issue"], "a link, http:// or https://")
    expires = given.get("expires")
    # A date-time is a date to Python; here it would only look more exact than it is.
    if not isinstance(expires, dt.date) or isinstance(expires, dt.datetime):
        raise ConfigError(f"{where}: expires", expires, "a date such as 2030-01-31, unquoted")
    return Waiver(expires=expires, **{key: given[key] for key in KEYS if key != "expires"})


def waived(
    result: CaseResult, clauses: Sequence[str], waivers: Sequence[Waiver], today: dt.date
) -> CaseResult:
    """``result``, or the same as waived: only a failure is, never an error (WS-CONFORMANCE-20)."""
    if result.verdict is not Verdict.FAIL:
        return result
    for waiver in waivers:
        if waiver.covers(result.id, clauses) and not waiver.expired(today):
            detail = f"waived until {waiver.expires}: {waiver.reason} ({waiver.issue})"
            return attrs.evolve(result, verdict=Verdict.WAIVED, detail=f"{detail}; {result.detail}")
    return result


def judged(waiver: Waiver, covered: Sequence[CaseResult], today: dt.date) -> CaseResult:
    """The case that judges a waiver itself, by the results of the cases it covers."""
    failing = (Verdict.FAIL, Verdict.WAIVED)
    if waiver.expired(today):
        reason = f"expired on {waiver.expires}"
    elif not covered:
        reason = "matches no case of this run"
    elif not any(case.verdict in failing for case in covered):
        reason = f"is not needed: none of its {len(covered)} cases fails"
    else:
        return CaseResult(id=waiver.id, clause=waiver.clause, verdict=Verdict.PASS)
    return CaseResult(
        id=waiver.id,
        clause=waiver.clause,
        verdict=Verdict.FAIL,
        detail=f"the waiver of {waiver.clause} for {waiver.case!r} {reason}; "
        f"see {waiver.issue}, then renew or remove it",
    )
