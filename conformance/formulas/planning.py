"""Ops of the closed forms: latency and cycle by stage times, bytes by sizes (WS-CONFORMANCE-16).

The feature `planning` of a port; all in exact integers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np

from conformance.formulas.case import Arguments, Op, Outcome, Question, Tensors, exact
from conformance.formulas.layout import UNIT, L, O, P, Z, session, table
from conformance.protocol import Array, DType

MS: Final = 1_000_000
STAGES: Final = ("encode", "update", "comm", "solve", "decode", "commit")
ROW_BYTES: Final = 8 * 8
"""A row of a slice payload: eight int64 (WS-EXCHANGE-4)."""


def _int(value: int) -> Array:
    return np.array(value, dtype=np.int64)


def figures(a: Arguments, _: Tensors) -> Mapping[str, Outcome]:
    """Critical path, cycle, as-scheduled latencies and total (WS-LATENCY-2 to 5)."""
    e, u, c, p, d, m = (a[stage] for stage in STAGES)
    path = e + u + p + d
    terms = [UNIT, p + c, e + u + c + d + m]
    if a["schedule"] == "sequential":
        terms.append(p + u + 2 * c)
    return exact(
        critical_path=_int(path),
        cycle=_int(max(terms)),
        boundary=_int(UNIT + e + u + c + d),
        eager=_int(e + u + c + p + c + d),
        total=_int(path + a["network"]),
    )


def capture_wait(_: Arguments, t: Tensors) -> Mapping[str, Outcome]:
    """T - o (WS-LATENCY-6)."""
    return exact(wait_ns=UNIT - t["offsets_ns"])


def session_bytes(a: Arguments, _: Tensors) -> Mapping[str, Outcome]:
    """Keys and values of the whole history, and what a unit puts on the link (WS-COST-5,
    WS-COST-6)."""
    cells, _tau = table({**a, "user_tokens": [0], "noisy_tau": []})
    count = {s: int((cells[:, 1] == s).sum()) for s in (P, O, L, Z)}
    token = 2 * a["n_layers"] * a["n_kv_heads"] * a["head_dim"] * a["element"]
    sent = count[O] + count[L] + (count[Z] if a["schedule"] == "sequential" else 0)
    has, pixels = a["modalities"], 9 * a["patch_rows"] * a["patch_cols"]
    latents = 4 * a["audio_channels"] * has["agent_audio"]
    latents += pixels * a["video_channels"] * has["agent_video"]
    return exact(
        cache=_int(token * (count[P] + a["units"] * (count[O] + count[L] + count[Z]))),
        slice=_int(sent * (ROW_BYTES + token)),
        latents=_int(latents * a["element"]),
    )


def stages(schedule: str, *ms: int, network: int = 350) -> dict[str, Any]:
    """Arguments of `latency.figures` from milliseconds, a few ns beside whole ones."""
    times = {name: n * MS + i for i, (name, n) in enumerate(zip(STAGES, ms, strict=True)) if n}
    return {"schedule": schedule, **dict.fromkeys(STAGES, 0), **times, "network": network * MS}


BOUND_BY: Final = {
    "unit": stages("overlapped", 20, 20, 5, 110, 30, 0),
    "performer": stages("overlapped", 10, 10, 9, 158, 10, 0),
    "thinker": stages("overlapped", 60, 60, 5, 100, 60, 0),
    "thinker-commit": stages("overlapped", 40, 40, 5, 100, 40, 45),
    "not-by-the-loop": stages("overlapped", 1, 70, 20, 120, 1, 0),
    "loop": stages("sequential", 1, 70, 20, 120, 1, 0),
    "loop-comm-twice": stages("sequential", 1, 41, 20, 90, 1, 0),
    "sequential-thinker": stages("sequential", 80, 50, 5, 60, 70, 0),
}
"""Stage times, by what sets the cycle."""

LATENCY: Final = {
    "WS-LATENCY-2": ("critical_path", {
        "paper": stages("overlapped", 20, 20, 5, 130, 30, 0),
        "comm-and-commit-left-out": stages("overlapped", 1, 2, 300, 4, 8, 700),
    }),
    "WS-LATENCY-3": ("cycle", BOUND_BY),
    "WS-LATENCY-4": ("", {
        "keeps-up": stages("overlapped", 20, 20, 5, 110, 30, 10),
        "solves-for-long": stages("sequential", 20, 20, 5, 150, 30, 0),
    }),
    "WS-LATENCY-5": ("total", {
        "paper": stages("overlapped", 20, 20, 5, 130, 30, 0),
        "near": stages("overlapped", 20, 20, 5, 130, 30, 0, network=70),
    }),
}  # fmt: skip
"""For each clause the result it states, and families of stage times."""


def _figures(_: DType) -> Iterator[Question]:
    for clause, (result, families) in LATENCY.items():
        results = (result,) if result else ("boundary", "eager")
        for family, arguments in families.items():
            yield Question(
                family=f"{clause.removeprefix('WS-').lower()}-{family}",
                clauses=(clause,),
                arguments=arguments,
                results=results,
            )
    for stage in STAGES:
        yield Question(
            family=f"negative-{stage}",
            clauses=("WS-LATENCY-1",),
            arguments={**stages("overlapped", 20, 20, 5, 110, 30, 10), stage: -1},
            refused=True,
        )


def _waits(_: DType) -> Iterator[Question]:
    offsets = np.array([0, 1, 40 * MS, UNIT // 2, UNIT - 1], dtype=np.int64)
    yield Question(family="inside", clauses=("WS-LATENCY-6",), tensors={"offsets_ns": offsets})


def _bytes(_: DType) -> Iterator[Question]:
    sizes = {"n_layers": 3, "n_kv_heads": 2, "head_dim": 10, "element": 4}
    channels = {"audio_channels": 5, "video_channels": 7}
    speaks = ("user_video", "agent_video")
    families = {
        "overlapped": session(),
        "half-precision": session(element=2),
        "sequential": session(schedule="sequential"),
        "voice-only": session(without=speaks, schedule="sequential"),
        "hears-only": session(without=("agent_audio", "agent_video")),
        "no-state-slot": session(state_slots=0, prompt_tokens=9),
        "picture-and-voice": session(identity_image=True, voice_ticks=3),
        "a-minute": session(units=375),
        # Bytes that 32 bits do not hold.
        "two-days": session(units=1_000_000),
        "before-unit-0": session(units=0),
    }
    for family, described in families.items():
        arguments = {"schedule": "overlapped", "units": 2, **sizes, **channels, **described}
        del arguments["user_tokens"], arguments["noisy_tau"]
        for clause, results in (("WS-COST-5", ("cache",)), ("WS-COST-6", ("slice", "latents"))):
            yield Question(
                family=f"{clause.removeprefix('WS-').lower()}-{family}",
                clauses=(clause,),
                arguments=arguments,
                results=results,
            )


def _op(name: str, signature: str, **rest: Any) -> Op:
    return Op(name=name, signature=signature, feature="planning", tolerance="A",
              oracle="analytic", per_dtype=False, **rest)  # fmt: skip


OPS: Final = (
    _op("latency.figures", "schedule, encode, update, comm, solve, decode, commit, network (ns) ->"
        " critical_path, cycle, boundary, eager (hand-over), total (of the critical path) int64 [],"
        " or a refusal", formula=figures, questions=_figures),
    _op("latency.capture_wait", "offsets_ns int64 [n] -> wait_ns int64 [n]", formula=capture_wait,
        questions=_waits),
    _op("cost.session_bytes", "schedule, units, element (bytes of a number), n_layers, n_kv_heads,"
        " head_dim, audio_channels, video_channels (of latents; patches are 3 x 3), and of"
        " layout.rows all but user_tokens and noisy_tau -> cache (after that many units), slice,"
        " latents (payloads of a unit) int64 []", formula=session_bytes, questions=_bytes),
)  # fmt: skip
