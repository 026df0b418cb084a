"""Runs pytest again and again in one checkout, for `own_kill_table.py`.

Libraries are imported once and each run is a fork of that, which saves most of the time of a short
run; nothing of the checkout itself is imported before. Reads a JSON list of test files a line,
writes `{"status", "failed", "said"}`: pytest's exit status (-1 if it did not end by itself), the
first test that failed, and the end of what was printed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from typing import Any, Final

import hypothesis.strategies
import numpy as np
import pytest
import rich.console
import torch

LIMIT_S: Final = 600
SHOWN: Final = 600
LOADED: Final = (hypothesis.strategies, np, rich.console, torch)
"""What nearly every test wants."""


class First:
    """The first test that fails. That one does not end in time says nothing but that the machine is
    busy, so it counts as a run without an end."""

    failed = ""
    late = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid
            self.late = "Timeout" in report.longreprtext


def run(tests: Sequence[str], answer: int, printed: int) -> None:
    """In a process of its own; the first failure is written to ``answer``."""
    signal.alarm(LIMIT_S)
    os.dup2(printed, 1)
    os.dup2(printed, 2)
    first = First()
    status = pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests], plugins=[first])
    os.write(answer, f"{-1 if first.late else int(status)} {first.failed}".encode())
    sys.stdout.flush()
    # What tests have left behind is nobody's business.
    os._exit(0)


def answered(tests: Sequence[str]) -> dict[str, Any]:
    """One run, as a reply."""
    with tempfile.TemporaryFile() as printed:
        end, answer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(end)
            run(tests, answer, printed.fileno())
        os.close(answer)
        with os.fdopen(end, "rb") as pipe:
            said = pipe.read().decode()
        os.waitpid(child, 0)
        printed.seek(0)
        tail = printed.read().decode(errors="replace")[-SHOWN:]
    status, _, failed = said.partition(" ")
    return {"status": int(status or -1), "failed": failed, "said": tail}


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(answered(json.loads(line))), flush=True)
