"""Reports to render: one with every verdict and measurement, and one whose port is hostile."""

from __future__ import annotations

import string
from math import inf, nan

import attrs

from conformance.reporting.measure import Closeness, Drift, Measurements, Point
from conformance.reporting.report import Report
from conformance.verdicts import CaseResult, Verdict

FAR = Closeness(
    tensor="logits",
    dtype="float32",
    rms=0.5,
    rms_budget=0.1,
    max=2.0,
    max_budget=0.25,
    worst=(3, 1, 7),
    actual=2.125,
    expected=0.125,
    compared=4,
)
NEAR = attrs.evolve(FAR, tensor="audio", rms=1e-7, max=1e-6, rms_budget=1e-6, max_budget=1e-5)
BROKEN = attrs.evolve(FAR, tensor="video", rms=nan, max=inf, actual=nan)
GROWTH = Drift(
    tensor="audio_latents",
    points=tuple(Point(unit=k, error=1e-6 * 1.1**k, budget=1e-4) for k in range(40)),
)
MEASURED = Measurements(closeness=(FAR, BROKEN, NEAR), drift=(GROWTH,))

EVERY = Report(
    port="python -m port",
    profile="session",
    verdict=Verdict.FAIL,
    exit_status=1,
    cases=(
        CaseResult(id="codec/chunking:a", clause="WS-CODEC-5", verdict=Verdict.PASS, seconds=1.5),
        CaseResult(
            id="streaming/equals-offline:b",
            clause="WS-STREAMING-10",
            verdict=Verdict.FAIL,
            detail="logits [unit, ...] at [3, 1, 7]: 2.125 against 0.125; reproduce: "
            "wanstreamer check --port 'python -m port' --clause WS-STREAMING-10",
            seconds=0.25,
            measurements=MEASURED,
        ),
        CaseResult(
            id="session/presets:c",
            clause="WS-SESSION-1",
            verdict=Verdict.ERROR,
            detail="open: RuntimeError: gone; reproduce: wanstreamer check --clause WS-SESSION-1",
            blame="port",
        ),
        CaseResult(
            id="session/prompt:d",
            clause="WS-SESSION-2",
            verdict=Verdict.UNSUPPORTED,
            detail="no offline",
        ),
        CaseResult(
            id="session/prompt:e",
            clause="WS-SESSION-2",
            verdict=Verdict.WAIVED,
            detail="waived until 2099-01-01",
        ),
        CaseResult(
            id="port/honest:f",
            clause="WS-CONFORMANCE-2",
            verdict=Verdict.INCONCLUSIVE,
            detail="too short",
        ),
    ),
    reasons=("codec/chunking: 1 cases executed, at least 30 are needed",),
    hello={"name": "port", "version": "2", "profiles": ["codec", "session"]},
    suite="0.1.0",
    started="2030-01-02T03:04:05+00:00",
    machine={"system": "Linux x86_64"},
)

EVIL = (
    "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&amp;]]>`|*_\n# head\n"
    "\x00\x1b[31m\x1b]0;t\x07\x08\r\ud800\ufffe\u202e{{ 7*7 }}{% raw %} http://evil.example/x.js "
    + string.printable
)
"""What a port may call itself, or say."""

HOSTILE = attrs.evolve(
    EVERY,
    port=EVIL,
    reasons=(EVIL,),
    hello={EVIL: EVIL, "name": [EVIL, {"deep": EVIL}]},
    cases=tuple(
        CaseResult(
            id=f"streaming/equals-offline:{verdict.value}{EVIL}",
            clause=clause,
            verdict=verdict,
            detail=f"{EVIL}; reproduce: {EVIL}",
            blame="port",
            measurements=Measurements(
                closeness=(attrs.evolve(FAR, tensor=EVIL, dtype=EVIL),),
                drift=(attrs.evolve(GROWTH, tensor=EVIL),),
            ),
        )
        for verdict in Verdict
        for clause in ("WS-STREAMING-10", "WS-NOWHERE-1")
    ),
)
EMPTY = Report(port="p", profile="all", verdict=Verdict.INCONCLUSIVE, exit_status=3, cases=())
HUGE = attrs.evolve(
    EVERY,
    cases=(attrs.evolve(EVERY.cases[1], detail="x" * 300_000),) * 3,
)
ALL = {"every": EVERY, "hostile": HOSTILE, "empty": EMPTY, "huge": HUGE}
