"""Writes `conformance/data/own_kill_table.json`: each defect of our own code, and what notices it.

    python scripts/own_kill_table.py             defects that are new, changed or not yet noticed
    python scripts/own_kill_table.py --all       all of them, half an hour on two cores
    python scripts/own_kill_table.py NAME ...    some of them; the table stays as it is

Each defect of `tests/own_mutants/` is put into a copy of the checkout, and the tests that verify
its clause are run there until one fails. The table is written after every defect, so a run that is
cut off goes on where it was.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from queue import Queue
from typing import Final

import cattrs

from conformance.reporting.own_mutants import (
    OWN_KILL_TABLE,
    ROOT,
    OwnKill,
    OwnMutant,
    own_kills,
    own_mutants,
    verifiers_of,
)
from conformance.reporting.rendering.files import put

COPIES: Final = 2


def copy_into(folder: Path) -> Path:
    """A copy of the checkout beside what is shared with it, as it stands, committed or not."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    checkout = folder / "checkout"
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, checkout / name)
    (checkout / ".venv").symlink_to(ROOT / ".venv")
    if (ROOT.parent / "shared").is_dir():
        (folder / "shared").symlink_to(ROOT.parent / "shared")
    return checkout


def provisional(mutant: OwnMutant) -> OwnKill:
    """A row as it will be: the tests of the table itself must have nothing to say of a defect that
    is new."""
    tests = verifiers_of(mutant.clause)[0]
    first = re.search(r"^def (test_\w+)", (ROOT / tests).read_text("utf-8"), re.MULTILINE)
    assert first is not None, f"{tests} has no test"
    return row_of(mutant, f"{tests}::{first[1]}")


def row_of(mutant: OwnMutant, killed_by: str) -> OwnKill:
    return OwnKill(
        clause=mutant.clause, breaks=mutant.breaks, sha256=mutant.sha256, killed_by=killed_by
    )


class Checkout:
    """A copy of the checkout, with a process in it that runs tests."""

    def __init__(self, folder: Path) -> None:
        self._root = copy_into(folder)
        mutants = own_mutants()
        rows = {n: provisional(m) for n, m in mutants.items()} | still_true(mutants)
        write(rows, self._root / OWN_KILL_TABLE.relative_to(ROOT))
        # A compiled file is known by size and time, which a defect may leave as they are.
        ours = {
            "PYTHONPATH": str(self._root),
            "OMP_NUM_THREADS": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self._runner = subprocess.Popen(
            [sys.executable, ROOT / "scripts/own_kill_runner.py"],
            cwd=self._root,
            env=os.environ | ours,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def noticed_by(self, mutant: OwnMutant) -> str:
        """The test of the mutant's clause that fails with the defect in place; empty if none does.

        Raises:
            ConfigError: the defect does not fit its file.
            SyntaxError: the file cannot be read as Python afterwards.
            RuntimeError: pytest ran no test, or did not come to an end in time; or the test fails
                without the defect, too.
        """
        file = self._root / mutant.file
        whole = file.read_text("utf-8")
        broken = mutant.applied(whole)
        if file.suffix == ".py":
            ast.parse(broken, mutant.file)
        file.write_text(broken, "utf-8")
        try:
            failed = self._first_failure(verifiers_of(mutant.clause))
        finally:
            file.write_text(whole, "utf-8")
        if failed and self._first_failure([failed]):
            raise RuntimeError(f"{failed} fails without it, too")
        return failed

    def _first_failure(self, tests: Sequence[str]) -> str:
        assert self._runner.stdin is not None
        assert self._runner.stdout is not None
        print(json.dumps(tests), file=self._runner.stdin, flush=True)
        found = json.loads(self._runner.stdout.readline())
        if found["status"] not in (0, 1) or bool(found["failed"]) != bool(found["status"]):
            raise RuntimeError(f"pytest ends with {found['status']}: {found['said']}")
        return str(found["failed"])

    def leave(self) -> None:
        """End the process; the copy goes with its folder."""
        self._runner.kill()
        self._runner.wait()


def still_true(mutants: dict[str, OwnMutant]) -> dict[str, OwnKill]:
    """The rows of the table that are of these mutants as they are."""
    rows = own_kills() if OWN_KILL_TABLE.exists() else {}
    return {n: r for n, r in rows.items() if n in mutants and r.sha256 == mutants[n].sha256}


def write(table: dict[str, OwnKill], path: Path = OWN_KILL_TABLE) -> None:
    rows = cattrs.unstructure(dict(sorted(table.items())))
    put(path, json.dumps(rows, indent=1, ensure_ascii=False) + "\n")


def main(arguments: Sequence[str]) -> int:
    mutants = own_mutants()
    names = [a for a in arguments if a != "--all"]
    if unknown := [n for n in names if n not in mutants]:
        print(f"no such own mutant: {', '.join(unknown)}", file=sys.stderr)
        return 2
    table = {} if "--all" in arguments else still_true(mutants)
    todo = names or [n for n in mutants if n not in table]
    alive = []
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(COPIES) as pool:
        copies: Queue[Checkout] = Queue()
        checkouts = [Checkout(Path(folder) / str(n)) for n in range(min(COPIES, len(todo)))]
        for checkout in checkouts:
            copies.put(checkout)

        def tried(name: str) -> str:
            checkout = copies.get()
            try:
                return checkout.noticed_by(mutants[name])
            finally:
                copies.put(checkout)

        running = {pool.submit(tried, name): name for name in todo}
        for done, future in enumerate(as_completed(running), start=1):
            mutant = mutants[running[future]]
            try:
                killed_by, why = future.result(), "NOT NOTICED"
            except Exception as e:  # noqa: BLE001 - one defect must not stop the others
                killed_by, why = "", f"{type(e).__name__}: {e}"
            print(f"{done}/{len(todo)} {mutant.name}: {killed_by or why}", flush=True)
            if not killed_by:
                alive.append(mutant.name)
            elif not names:
                table[mutant.name] = row_of(mutant, killed_by)
                write(table)
        for checkout in checkouts:
            checkout.leave()
    if not names:
        write(table)
    return int(bool(alive))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
