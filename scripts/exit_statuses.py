"""Judges our own bad and good ports by the porter's command, and looks at its exit status.

    python scripts/exit_statuses.py mutants        each with the clause it names: 1, and that clause
    python scripts/exit_statuses.py benign         each whole: 0; an hour on two cores
    python scripts/exit_statuses.py NAME ...       some of either

`kill_table.py` stops at the first case that fails; here the command runs to its end. Prints every
port that does not get the status it must get; exits with 1 if there is one.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed

from conformance.mutants import BENIGN, MUTANTS
from conformance.verdicts import Verdict
from wanstreamer import cli

PROCESSES = 2


def command(name: str) -> list[str]:
    """The arguments of ``wanstreamer`` that judge one of our ports."""
    if name in MUTANTS:
        return ["check", "--port", f"mutant:{name}", "--clause", MUTANTS[name].clause, "--json"]
    return ["check", "--port", f"benign:{name}", "--jobs", "1", "--json"]


def said_of(name: str) -> tuple[str, float]:
    """What is wrong with the status that ``name`` gets, "" if nothing; and how long it took."""
    start = time.perf_counter()
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        status = cli.status_of(command(name))
    seconds = time.perf_counter() - start
    if status == 0 and name in BENIGN:
        return "", seconds
    try:
        found = json.loads(said.getvalue())
    except json.JSONDecodeError:
        return f"exit {status}: {said.getvalue().strip()}", seconds
    bad = [case for case in found["cases"] if case["verdict"] not in ("pass", "unsupported")]
    if status == 1 and name in MUTANTS:
        clause = MUTANTS[name].clause
        if any(c["verdict"] == Verdict.FAIL.value and c["clause"] == clause for c in bad):
            return "", seconds
    first = f"{bad[0]['verdict']} {bad[0]['id']}: {bad[0]['detail']}" if bad else found["verdict"]
    return f"exit {status}, {len(bad)} cases, {first}", seconds


def main(arguments: list[str]) -> int:
    names = [
        name
        for argument in arguments
        for name in {"mutants": MUTANTS, "benign": BENIGN}.get(argument, (argument,))
    ]
    unknown = [name for name in names if name not in MUTANTS and name not in BENIGN]
    if unknown or not names:
        print(f"{unknown or 'no port'}: mutants, benign, or the name of one", file=sys.stderr)
        return 2
    cli.register()
    wrong, slowest = 0, 0.0
    with ProcessPoolExecutor(PROCESSES) as pool:
        running = {pool.submit(said_of, name): name for name in names}
        for done, future in enumerate(as_completed(running), start=1):
            reason, seconds = future.result()
            wrong, slowest = wrong + bool(reason), max(slowest, seconds)
            print(f"\r{done}/{len(names)}", end="", file=sys.stderr, flush=True)
            if reason:
                print(f"\r{running[future]}: {reason}", flush=True)
    print(f"\r{len(names) - wrong} of {len(names)} as they must be; the longest {slowest:.1f} s")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
