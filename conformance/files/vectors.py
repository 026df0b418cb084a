"""A whole folder of cases: written from the oracle, answered by any port, judged without one
(WS-VECTORS-1 to WS-VECTORS-5).

``cases/`` holds what a port is asked, ``oracle/`` what the judge asks the oracle; both are runs in
the same form. `judge` runs the very checks of ``wanstreamer check`` over the two.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from math import isclose
from pathlib import Path
from typing import Any, Final, cast

import attrs

from conformance import runner
from conformance.case import Case, Check, Context
from conformance.files.answers import answer_case
from conformance.files.folder import CaseFolder, Pool, write_run
from conformance.files.manifest import (
    CASES,
    ORACLE,
    Manifest,
    Selection,
    StoredBudget,
    check_files,
    hashed,
    read_manifest,
    write_manifest,
)
from conformance.files.replay import Replay
from conformance.files.tape import Said, Tape
from conformance.formulas.ops import OPS
from conformance.guard import Guard
from conformance.oracle import Oracle
from conformance.protocol import DTYPES, Hello, Port
from conformance.verdicts import CaseResult, Verdict
from spec.errors import VectorError

UNKNOWN: Final = "feature-of-the-vectors"
"""The feature that no port has heard of; a live run draws another one each time."""

Judged = tuple[Check, Case]


class Shelf:
    """Case folders of one kind, written as their runs end."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._pool = Pool()
        self._stored: dict[str, int] = {}
        self._in_case: dict[str, int] = {}
        self.case = ""

    def begin_case(self, case: str) -> None:
        """What is kept from now on belongs to ``case``."""
        self.case, self._in_case = case, {}

    def keep(self, key: str, said: tuple[Said, ...]) -> None:
        """Write a run, unless it has been; a repeat within one case is another run."""
        repeat = self._in_case.get(key, 0)
        self._in_case[key] = repeat + 1
        if self._stored.get(key, 0) > repeat:
            return
        number = sum(self._stored.values())
        self._stored[key] = repeat + 1
        name = f"{number:04d}-{kind_of(said)}"
        facts = {"first_case": self.case, "oracle": label_of(said), "repeat": repeat}
        write_run(self._root / name, said, self._pool, facts)


def kind_of(said: Sequence[Said]) -> str:
    """What a run is about, for its folder's name."""
    question = said[0].question
    if question.command == "open":
        return "session"
    if question.command == "math":
        return f"math-{question.data['op'].replace('/', '-')}"
    return question.command


def label_of(said: Sequence[Said]) -> str:
    """Where the truth of a run comes from: a formula, tables or integers ("analytic"), the suite's
    own numpy in float64 ("independent-float64"), or the reference in float64 (WS-VECTORS-4)."""
    command = said[0].question.command
    if command == "math":
        op = OPS[said[0].question.data["op"]]
        return "analytic" if op.oracle == "analytic" else "independent-float64"
    if command in ("exchange", "hello", "supports"):
        return "analytic"
    return "reference-derived"


def budgets_of(result: CaseResult) -> tuple[StoredBudget, ...]:
    """The class C budgets that a case was judged by, in the order of its tensors; a tensor that was
    held to several has no one budget."""
    return tuple(
        StoredBudget(tensor=m.tensor, dtype=m.dtype, rms=m.rms_budget, max=m.max_budget)
        for m in sorted(result.measurements.closeness, key=lambda m: (m.tensor, m.dtype))
        if m.budgets == 1
    )


def moved(result: CaseResult, stored: Sequence[StoredBudget]) -> str | None:
    """The first budget that is not the stored one, to a part in a million: a suite that became
    more generous by accident must not judge. A tensor that was held to several has none
    stored, and a case that fails early may hold it to the first alone."""
    kept = {(b.tensor, b.dtype): b for b in stored}
    for now in budgets_of(result):
        then = kept.get((now.tensor, now.dtype))
        if then is not None and not (
            isclose(now.rms, then.rms, rel_tol=1e-6) and isclose(now.max, then.max, rel_tol=1e-6)
        ):
            return f"{now.tensor} in {now.dtype}: {now} is not the budget of the manifest"
    return None


def selected(context: Context, selection: Selection) -> Iterator[Judged]:
    """The checks and cases that a selection is about, in the order of the suite."""
    for check in runner.select(None, None):
        if check.profile in (None, *selection.profiles):
            for case in check.cases(context):
                name = f"{check.id}:{case.name}"
                if any(fnmatch.fnmatchcase(name, pattern) for pattern in selection.cases):
                    yield check, case


class Claiming:
    """A port that claims fewer dtypes, and is the same in everything else."""

    def __init__(self, port: Port, hello: Hello, dropped: frozenset[str]) -> None:
        self._port, self._hello, self._dropped = port, hello, dropped

    def hello(self) -> Hello:
        return self._hello

    def supports(self, feature: str) -> bool:
        return feature not in self._dropped and self._port.supports(feature)

    def __getattr__(self, command: str) -> Any:
        return getattr(self._port, command)


def claiming(port: Port, selection: Selection) -> Port:
    """``port`` with those of its dtypes that a folder is about."""
    hello = Guard(port).hello()
    dtypes = tuple(d for d in selection.dtypes if d in hello.dtypes)
    if not dtypes:
        raise VectorError("dtypes of the port", hello.dtypes, ", ".join(selection.dtypes))
    dropped = frozenset(DTYPES) - frozenset(dtypes)
    return cast("Port", Claiming(port, attrs.evolve(hello, dtypes=dtypes), dropped))


def write(root: Path, selection: Selection, port: Port, oracle: Port) -> int:
    """Cases of ``selection`` as a folder; returns how many.

    Args:
        port: gives the expected replies.
        oracle: gives the truth and the naive errors by which replies are judged.

    Raises:
        VectorError: the folder is not empty, nothing is selected, or the port fails a case.
    """
    if root.exists() and any(root.iterdir()):
        raise VectorError("folder", str(root), "a new or an empty one")
    shelves = Shelf(root / CASES), Shelf(root / ORACLE)
    asked, truth = Tape(port, shelves[0].keep, "unexported"), Tape(oracle, shelves[1].keep)
    context = Context(
        Guard(claiming(asked, selection)), Oracle(truth, thorough=True), selection.preset, UNKNOWN
    )
    names = []
    budgets = {}
    for check, case in selected(context, selection):
        names.append(f"{check.id}:{case.name}")
        for shelf, tape in zip(shelves, (asked, truth), strict=True):
            tape.end_run()
            shelf.begin_case(names[-1])
        context.run.forget()
        result = runner.judge(check, case, None, "reference")
        if result.verdict not in (Verdict.PASS, Verdict.UNSUPPORTED):
            raise VectorError(names[-1], result.detail, "a case that the reference passes")
        if budgets_of(result):
            budgets[names[-1]] = budgets_of(result)
    for tape in (asked, truth):
        tape.end_run()
    if not names:
        raise VectorError("cases", ", ".join(selection.cases), "a pattern that some case matches")
    manifest = Manifest(
        selection=selection, cases=tuple(names), budgets=budgets, files=hashed(root)
    )
    write_manifest(root, manifest)
    return len(names)


def judge(root: Path) -> tuple[Hello, tuple[CaseResult, ...]]:
    """The answers in a folder, judged by the checks that it was written from; no port is run.

    Raises:
        VectorError: the folder is not as it was written.
        PortFault, Inconclusive: its ``hello`` was not answered, or not well.
    """
    manifest = read_manifest(root)
    check_files(root, manifest)
    name = f"files:{root}"
    return judged(manifest, replay(root / CASES, actual=True), replay(root / ORACLE), name)


def replay(place: Path, actual: bool = False) -> Replay:
    """The case folders of one place as a port: as it was answered if ``actual``, or as expected."""
    runs = [folder.recorded(actual) for folder in case_folders(place)]
    # The judge never takes back what its oracle exported.
    return Replay(runs, "closed" if place.name == ORACLE else "unexported")


def judged(
    manifest: Manifest, answered: Replay, truth: Replay, name: str
) -> tuple[Hello, tuple[CaseResult, ...]]:
    """The cases of a manifest, with recorded answers and a recorded oracle."""
    port = claiming(answered, manifest.selection)
    answered.begin_case()
    context = Context(Guard(port), Oracle(truth, thorough=True), manifest.selection.preset, UNKNOWN)
    results = []
    wanted = set(manifest.cases)
    for check in runner.select(None, None):
        if check.profile not in (None, *context.hello.profiles):
            continue
        for case in check.cases(context):
            if f"{check.id}:{case.name}" in wanted:
                answered.begin_case()
                truth.begin_case()
                context.run.forget()
                result = runner.judge(check, case, None, name)
                problem = moved(result, manifest.budgets.get(result.id, ()))
                if problem is not None:
                    result = attrs.evolve(
                        result, verdict=Verdict.ERROR, detail=problem, blame="suite"
                    )
                results.append(result)
    return context.hello, tuple(results)


def verify(root: Path, scratch: Path, port: Port, oracle: Port) -> tuple[CaseResult, ...]:
    """Write the same selection again, and hold the two folders against each other: the same cases,
    the same requests, and each folder's expected replies pass by the other's truth.

    Args:
        scratch: a new folder for the second one.

    Raises:
        VectorError: the first thing that is not so.
    """
    manifest = read_manifest(root)
    check_files(root, manifest)
    write(scratch, manifest.selection, port, oracle)
    again = read_manifest(scratch)
    for what, old, new in (
        ("cases", set(manifest.cases), set(again.cases)),
        *((f"requests in {k}", asked(root / k), asked(scratch / k)) for k in (CASES, ORACLE)),
    ):
        if old != new:
            change = f"{len(old - new)} gone, {len(new - old)} new, e.g. {min(old ^ new)}"
            raise VectorError(what, change, "those that today's suite gives")
    results: list[CaseResult] = []
    for answers, truth, budgets in ((root, scratch, again), (scratch, root, manifest)):
        recorded = replay(answers / CASES), replay(truth / ORACLE)
        _, some = judged(budgets, *recorded, f"files:{answers}")
        results += some
    for result in results:
        if result.verdict not in (Verdict.PASS, Verdict.UNSUPPORTED):
            raise VectorError(result.id, result.detail, "equal within the budget of the case")
    return tuple(results)


def asked(place: Path) -> set[str]:
    """The last key of every case folder: what was asked in it, in one digest."""
    return {folder.keys[-1] for folder in case_folders(place)}


def answer(root: Path, port: Port) -> int:
    """Let a Python port, or one over stdio, answer every case; returns how many runs.

    Raises:
        VectorError: the folder is not as it was written.
    """
    check_files(root, read_manifest(root))
    folders = case_folders(root / CASES)
    for folder in folders:
        answer_case(folder, port)
    return len(folders)


def case_folders(place: Path) -> tuple[CaseFolder, ...]:
    """All case folders of one place, in the order in which they were written."""
    found = sorted(place.iterdir()) if place.is_dir() else []
    return tuple(CaseFolder.read(path) for path in found)
