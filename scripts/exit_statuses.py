"""Judges our own bad and good ports to the end, and looks at the exit status that they get.

    python scripts/exit_statuses.py mutants        each by the clause it names: 1, and that clause
    python scripts/exit_statuses.py benign         each whole: 0; 83 minutes on two busy cores
    python scripts/exit_statuses.py NAME ...       some of either

`kill_table.py` stops at the first case that fails; here a mutant goes through the command that a
porter runs, and a benign variant through all profiles. Prints every port that does not get the
status it must get; exits with 1 if there is one.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache

from conformance import runner
from conformance.mutants import BENIGN, MUTANTS
from conformance.oracle import Oracle
from conformance.resolve import resolve
from wanstreamer import cli

PROCESSES = 2
Found = tuple[int, Sequence[tuple[str, str, str, str]]]
"""An exit status; clause, verdict, id and detail of what did not pass."""


@cache
def oracle() -> Oracle:
    """One for all benign variants of a process: it is asked the same again and again."""
    return Oracle(resolve(runner.ORACLE))


def of_mutant(name: str) -> Found:
    """``wanstreamer check --port mutant:NAME --clause ID``.

    Raises:
        ValueError: the command gave no report.
    """
    clause = MUTANTS[name].clause
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        arguments = ["check", "--port", f"mutant:{name}", "--clause", clause, "--json"]
        status = cli.status_of(arguments)
    try:
        cases = json.loads(said.getvalue())["cases"]
    except json.JSONDecodeError:
        raise ValueError(f"exit {status}: {said.getvalue().strip()}") from None
    return status, [(c["clause"], c["verdict"], c["id"], c["detail"]) for c in cases]


def of_variant(name: str) -> Found:
    """All profiles that the variant claims."""
    port = BENIGN[name].factory()
    report = runner.run(port, oracle(), f"benign:{name}", runner.select(None, None))
    cases = [(c.clause, c.verdict.value, c.id, c.detail) for c in report.cases]
    return report.exit_status, cases


def wrong(name: str) -> tuple[str, float]:
    """What is wrong with the status that a port gets, "" if nothing; and how long it took."""
    start = time.perf_counter()
    status, cases = of_mutant(name) if name in MUTANTS else of_variant(name)
    seconds = time.perf_counter() - start
    bad = [case for case in cases if case[1] not in ("pass", "unsupported")]
    if name in MUTANTS:
        right = status == 1 and any(c[:2] == (MUTANTS[name].clause, "fail") for c in bad)
    else:
        right = status == 0
    if right:
        return "", seconds
    first = " ".join(bad[0]) if bad else "nothing failed"
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
    count, slowest = 0, 0.0
    with ProcessPoolExecutor(PROCESSES) as pool:
        running = {pool.submit(wrong, name): name for name in names}
        for done, future in enumerate(as_completed(running), start=1):
            reason, seconds = future.result()
            count, slowest = count + bool(reason), max(slowest, seconds)
            print(f"\r{done}/{len(names)}", end="", file=sys.stderr, flush=True)
            if reason:
                print(f"\r{running[future]}: {reason}", flush=True)
    print(f"\r{len(names) - count} of {len(names)} as they must be; the longest {slowest:.1f} s")
    return int(bool(count))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
