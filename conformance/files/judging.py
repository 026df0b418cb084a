"""The report on a folder that a port has answered: the same as for a port that was called."""

from __future__ import annotations

from pathlib import Path

from conformance.files import vectors
from conformance.guard import PortFault
from conformance.protocol import Inconclusive, Refusal, Unsupported
from conformance.reporting.events import (
    CaseJudged,
    Event,
    Listener,
    RunEnded,
    port_introduced,
    run_started,
)
from conformance.reporting.report import Report, counted
from conformance.verdicts import CaseResult, Verdict, exit_status, overall, too_few


def report_of(folder: Path, listener: Listener | None = None) -> Report:
    """What ``vectors judge`` says of ``folder`` (WS-VECTORS-5).

    Args:
        listener: told every event, for the log (WS-CONFORMANCE-19).

    Raises:
        VectorError: the folder is not as it was written.
    """
    events: list[Event] = [run_started(f"files:{folder}", None, None)]
    try:
        hello, results = vectors.judge(folder)
    except (PortFault, Refusal, Unsupported) as fault:
        results = (_no_hello(Verdict.ERROR, fault),)
    except Inconclusive as nothing:
        results = (_no_hello(Verdict.INCONCLUSIVE, nothing),)
    else:
        checks = tuple(dict.fromkeys(result.check for result in results))
        events.append(port_introduced(hello, checks, len(results)))
    events += [CaseJudged(result=result) for result in results]
    required = tuple(
        dict.fromkeys(r.check for r in results if r.verdict is not Verdict.UNSUPPORTED)
    )
    verdict = overall(results, required)
    reasons = too_few(results, required) if verdict is Verdict.INCONCLUSIVE else ()
    events.append(
        RunEnded(
            verdict=verdict,
            counts=counted(results),
            exit=exit_status(verdict, results),
            reasons=reasons,
        )
    )
    if listener is not None:
        for event in events:
            listener(event)
    return Report.of(events)


def _no_hello(verdict: Verdict, why: Exception) -> CaseResult:
    return CaseResult(
        id="port/honest:hello",
        clause="WS-CONFORMANCE-2",
        verdict=verdict,
        detail=str(why),
        blame="port" if verdict is Verdict.ERROR else "",
    )
