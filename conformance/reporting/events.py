"""The log of a run: one JSON object a line, written as it happens (WS-CONFORMANCE-19).

Every report is worked out from these events and from nothing else, so a run that is killed still
has one, and the same log gives the same report again.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Self, TextIO

import attrs
import numpy as np

from conformance.protocol import Hello
from conformance.reporting.measure import CONVERTER
from conformance.verdicts import CaseResult, Verdict
from conformance.wire import encode
from spec.errors import PortError

LOG: Final = "log.ndjson"


@attrs.frozen(kw_only=True)
class RunStarted:
    """What is asked of which port, by which suite, on what machine; ``started`` is UTC, ISO 8601.

    ``case``: the id or pattern of the only cases that are judged.

    ``machine`` holds nothing that a run's speed could be worked out from, but the processor count.
    """

    port: str
    profile: str
    clause: str | None
    suite: str
    started: str
    machine: Mapping[str, str]
    case: str | None = None


@attrs.frozen(kw_only=True)
class PortIntroduced:
    """What the port says of itself, and what it will be asked: check ids, and cases in all."""

    hello: Mapping[str, Any]
    checks: tuple[str, ...]
    cases: int


@attrs.frozen(kw_only=True)
class CaseStarted:
    """The case that a hanging run hangs in."""

    id: str


@attrs.frozen(kw_only=True)
class CaseJudged:
    """One verdict with everything that is known about it."""

    result: CaseResult


@attrs.frozen(kw_only=True)
class RunEnded:
    """The sum. ``reasons``: why it is not a pass although no case failed, a line each."""

    verdict: Verdict
    counts: Mapping[str, int]
    exit: int
    reasons: tuple[str, ...] = ()


Event = RunStarted | PortIntroduced | CaseStarted | CaseJudged | RunEnded
Listener = Callable[[Event], None]

NAMES: Final[Mapping[str, type[Event]]] = {
    "run-started": RunStarted,
    "port-introduced": PortIntroduced,
    "case-started": CaseStarted,
    "case-judged": CaseJudged,
    "run-ended": RunEnded,
}
_NAME_OF: Final = {record: name for name, record in NAMES.items()}


def run_started(
    port: str, profile: str | None, clause: str | None, case: str | None = None
) -> RunStarted:
    """The first event, of now and here."""
    return RunStarted(
        port=port,
        profile=profile or "all",
        clause=clause,
        case=case,
        suite=version("wanstreamer"),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        machine={
            "system": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
            "numpy": np.__version__,
            "processors": str(os.cpu_count()),
        },
    )


def port_introduced(hello: Hello, checks: tuple[str, ...], cases: int) -> PortIntroduced:
    """What the port says of itself, as plain JSON values whatever it has put there."""
    text = json.dumps(encode(hello)[0], default=repr)
    plain = json.loads(text, parse_constant=str)
    return PortIntroduced(hello=plain, checks=checks, cases=cases)


def as_line(event: Event) -> str:
    """One line of the log, ASCII, without its line feed."""
    plain = CONVERTER.unstructure(event)
    body = plain["result"] if isinstance(event, CaseJudged) else plain
    return json.dumps({"event": _NAME_OF[type(event)], **body}, allow_nan=False)


def from_line(line: str) -> Event:
    """The inverse of `as_line`.

    Raises:
        ValueError, KeyError, TypeError, or cattrs' own errors: the line is no event.
    """
    body: dict[str, Any] = json.loads(line)
    record = NAMES[body.pop("event")]
    plain = {"result": body} if record is CaseJudged else body
    return CONVERTER.structure(plain, record)


class LogFile:
    """A log that is being written; every event is on disk before the next thing happens."""

    def __init__(self, path: Path) -> None:
        """Raises PortError: the file cannot be made."""
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: TextIO = path.open("w", encoding="ascii", newline="\n")
        except OSError as error:
            raise unwritable(path.parent, error) from error

    def __call__(self, event: Event) -> None:
        try:
            self._file.write(as_line(event) + "\n")
            self._file.flush()
        except OSError as error:
            raise unwritable(self.path.parent, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def unwritable(folder: Path, error: OSError) -> PortError:
    """What is said of a report folder that does not take its files."""
    return PortError("--report", str(folder), f"a writable folder ({error.strerror})")


def read(path: Path) -> tuple[Event, ...]:
    """The events of a log; a last line that was cut off is left out.

    Raises:
        PortError: no such file, or a line that is no event; the message names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    except OSError as error:
        raise PortError("log", str(path), f"a log of a run ({error.strerror})") from error
    whole = [line for line in lines if line.endswith("\n")]
    events = tuple(_read(path, whole))
    if not events or not isinstance(events[0], RunStarted):
        raise PortError("log", str(path), "a log that begins with run-started")
    return events


def _read(path: Path, lines: Iterable[str]) -> Iterator[Event]:
    for number, line in enumerate(lines, start=1):
        try:
            yield from_line(line)
        except Exception as error:
            raise PortError(f"{path}:{number}", line.strip()[:80], "an event of a run") from error
