"""A second process that judges a plan from its end, while this one judges it from its beginning.

It has a port and an oracle of its own, and what it finds comes back as the lines of the log. It
is started while this one still loads, and makes its port when it is told what to judge. A port that
cannot be there twice costs nothing but time: whatever the second process does not judge, the
first does (WS-CONFORMANCE-23).
"""

from __future__ import annotations

import multiprocessing
import queue
import signal
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import attrs

from conformance.case import Check
from conformance.checks.registry import CHECKS
from conformance.files.kept import kept_in
from conformance.guard import PortFault
from conformance.judging import Plan, id_of, judge, plan
from conformance.oracle import Oracle
from conformance.protocol import Port, Refusal, Unsupported
from conformance.reporting.events import CaseJudged, CaseStarted, as_line, from_line
from conformance.reporting.reproduce import command
from conformance.resolve import resolve
from conformance.stdio.port import StdioPort
from conformance.verdicts import CaseResult, Verdict
from conformance.wire import digest

Step = CaseStarted | CaseJudged
NEXT: Final = b"next"
"""What the second process says when it wants a check to judge; everything else is an event."""
END_S: Final = 10.0
LOG: Final = "port.stderr.2.log"
"""What its port wrote on standard error."""


@attrs.frozen(kw_only=True)
class Task:
    """Everything that the second process is told.

    ``agreed``: the digest of `fingerprint`; a port that says something else there is not judged
    there. ``kept``: the folder of scripts found at random. ``report_dir``: where its port's
    standard error is kept, as `LOG`.
    """

    port: str
    checks: tuple[str, ...]
    profile: str | None
    clause: str | None
    only: str | None
    agreed: str
    kept: Path | None
    report_dir: Path | None


def fingerprint(planned: Plan) -> str:
    """What two processes must agree on before they share a plan: the port and its cases."""
    return digest((planned.context.hello, tuple(id_of(*pair) for pair in planned.todo)))


def shared(planned: Plan) -> tuple[Check, ...]:
    """The checks that may be judged while another is: all but those by the clock."""
    return tuple(check for check in planned.checks if check.profile != "latency")


class SecondJudge:
    """The process, its questions answered by a thread, its events in the order of arrival.

    It loads ``oracle`` and waits for `begin`.
    """

    def __init__(self, oracle: str) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawn.Pipe()
        self._free: deque[str] = deque()
        self._arrived: queue.SimpleQueue[Step | None] = queue.SimpleQueue()
        self._taken = False
        self._process = spawn.Process(target=work, args=(oracle, theirs))
        # An interrupt at the keyboard is for this process; it ends the other one itself.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()

    def begin(self, task: Task, checks: tuple[Check, ...]) -> None:
        """Have ``checks`` judged, from the last on."""
        self._free.extend(check.id for check in checks)
        with suppress(OSError):
            self._pipe.send(task)
        threading.Thread(target=self._serve, daemon=True).start()

    def next(self) -> str | None:
        """The first check that nobody has taken; None if all are."""
        with suppress(IndexError):
            return self._free.popleft()
        return None

    def arrived(self) -> Iterator[Step]:
        """What has come in by now."""
        while not self._arrived.empty():
            step = self._arrived.get()
            if step is None:
                self._arrived.put(None)
                return
            yield step

    def rest(self) -> Iterator[Step]:
        """What is still to come; nothing if the process has taken no check."""
        while self._taken and (step := self._arrived.get()) is not None:
            yield step

    def end(self) -> str:
        """How the process ended, in words."""
        self._process.join(END_S)
        code = self._process.exitcode or 0
        return f"signal {-code}" if code < 0 else f"exit {code}"

    def _serve(self) -> None:
        """Hand out checks from the end until the process is gone."""
        with suppress(EOFError, OSError):
            while True:
                line = self._pipe.recv_bytes()
                if line == NEXT:
                    try:
                        check = self._free.pop()
                    except IndexError:
                        check = ""
                    self._taken = self._taken or bool(check)
                    self._pipe.send_bytes(check.encode())
                    continue
                event = from_line(line.decode())
                assert isinstance(event, CaseStarted | CaseJudged)
                self._arrived.put(event)
        self._arrived.put(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None or not self._taken:
            self._process.terminate()
        self._process.join(END_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._pipe.close()


def side_by_side(planned: Plan, task: Task, second: SecondJudge) -> Iterator[Step]:
    """Every case of the plan to its verdict, by two processes; a check is judged by one of them.

    Args:
        second: a process that has not begun; it is gone afterwards.

    Yields:
        What happens, as it happens; the cases of a check in order, the checks in no order.
    """
    left = {id_of(owner, case): (owner, case) for owner, case in planned.todo}
    started = ""
    with second:
        second.begin(task, shared(planned))

        def noted(steps: Iterator[Step]) -> Iterator[Step]:
            nonlocal started
            for step in steps:
                if isinstance(step, CaseStarted):
                    started = step.id
                else:
                    left.pop(step.result.id)
                    started = ""
                yield step

        while (check := second.next()) is not None:
            for case_id, (owner, case) in list(left.items()):
                if owner.id == check:
                    yield CaseStarted(id=case_id)
                    yield CaseJudged(
                        result=judge(owner, case, task.clause, task.port, task.profile)
                    )
                    del left[case_id]
                    yield from noted(second.arrived())
        yield from noted(second.rest())
        how = second.end() if started else ""
    if started:
        owner, case = left.pop(started)
        yield CaseJudged(result=died(owner, started, how, task))
    for case_id, (owner, case) in left.items():
        yield CaseStarted(id=case_id)
        yield CaseJudged(result=judge(owner, case, task.clause, task.port, task.profile))


def died(owner: Check, case_id: str, how: str, task: Task) -> CaseResult:
    """The verdict on a case in which the second process came to its end: only a port can do
    that."""
    clause = task.clause or owner.clauses[0]
    again = command(task.port, clause, task.profile, case_id)
    return CaseResult(
        id=case_id,
        clause=clause,
        verdict=Verdict.ERROR,
        detail=f"the process that the port was judged in ended: {how}; reproduce: {again}",
        blame="port",
    )


def work(oracle: str, pipe: Connection) -> None:
    """The second process: load, wait for the task; then ask for a check, judge it, tell, until
    there is none."""
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGTERM, _leave)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    try:
        truth = Oracle(resolve(oracle))
        task = pipe.recv()
    except (EOFError, OSError, KeyboardInterrupt):
        # The first process has ended, or has nothing to judge.
        return
    try:
        port = resolve(task.port)
    except Exception:  # noqa: BLE001 - the first process has one, and goes on alone
        return
    try:
        with suppress(KeyboardInterrupt):
            _judge_all(task, pipe, port, truth)
    finally:
        if isinstance(port, StdioPort):
            port.stop(task.report_dir, LOG)


def _leave(*_: object) -> None:
    # Not `SystemExit`, which in the middle of a case would be the port's.
    raise KeyboardInterrupt


def _judge_all(task: Task, pipe: Connection, port: Port, oracle: Oracle) -> None:
    checks = tuple(CHECKS[check] for check in task.checks)
    try:
        planned = plan(port, oracle, checks, task.profile, task.clause, task.only)
    except (PortFault, Unsupported, Refusal):
        return
    # The other end may be gone: then nobody wants to know.
    with suppress(OSError, EOFError), kept_in(task.kept):
        while fingerprint(planned) == task.agreed:
            pipe.send_bytes(NEXT)
            check = pipe.recv_bytes().decode()
            if not check:
                return
            for owner, case in planned.todo:
                if owner.id == check:
                    pipe.send_bytes(as_line(CaseStarted(id=id_of(owner, case))).encode())
                    result = judge(owner, case, task.clause, task.port, task.profile)
                    pipe.send_bytes(as_line(CaseJudged(result=result)).encode())
