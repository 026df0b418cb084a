"""Ops of the clock, the token table and positions, in exact integers (WS-CONFORMANCE-16)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from random import Random
from typing import Any, Final

import numpy as np

from conformance.formulas.case import Arguments, Op, Outcome, Question, Tensors, exact
from conformance.protocol import Array, DType

UNIT: Final = 160_000_000
TICKS: Final = 4
P, O, L, Z = range(4)  # noqa: E741 - the segments' names
TEXT, STATE, AUDIO, VIDEO = range(4)
MODALITIES: Final = (
    "user_text", "user_audio", "user_video", "agent_text", "agent_audio", "agent_video",
)  # fmt: skip


def times(_: Arguments, t: Tensors) -> Mapping[str, Outcome]:
    """WS-CLOCK-1, WS-CLOCK-5."""
    k = t["units"]
    return exact(start_ns=k * UNIT, available_ns=(k + 1) * UNIT)


def covering(_: Arguments, t: Tensors) -> Mapping[str, Outcome]:
    """WS-CLOCK-6."""
    units = [n // UNIT + (n % UNIT > 0) for n in t["durations_ns"].tolist()]
    return exact(units=np.array(units, dtype=np.int64))


def table(a: Arguments) -> tuple[Array, Array]:
    """Every row of a session, int64 [n, 10], and τ [n]: the prefill, then for each unit O, L,
    Z clean and its noisy copies (WS-LAYOUT-1 to 6, WS-POSITIONS-1 to 3, WS-PREFILL-1,
    WS-PREFILL-2)."""
    has, rows, tau = a["modalities"], [], []
    grid = [(r, c) for r in range(a["patch_rows"]) for c in range(a["patch_cols"])]

    def add(kind: tuple[int, int, int, int], at: tuple[int, int, int], pad: int = 0) -> None:
        rows.append((*kind, *at, pad, 0, -1))
        tau.append(0.0)

    n = a["prompt_tokens"]
    for i in range(n):
        add((-1, P, TEXT, i), (i, i, i))
    after, slot = n, n
    if a["identity_image"]:
        for r, c in grid:
            add((-1, P, VIDEO, slot), (n, n + r, n + c))
            slot += 1
        after = n + TICKS
    for i in range(a["voice_ticks"]):
        add((-1, P, AUDIO, slot + i), (after + i,) * 3)
    base = after + a["voice_ticks"]
    for k, typed in enumerate(a["user_tokens"]):
        t = base + TICKS * k
        segments: dict[int, list[tuple[int, tuple[int, int, int], int]]] = {O: [], L: [], Z: []}
        shown = [(VIDEO, (t, t + r, t + c), 0) for r, c in grid]
        heard = [(AUDIO, (t + i,) * 3, 0) for i in range(TICKS)]
        segments[O] += shown if has["user_video"] else []
        segments[O] += heard if has["user_audio"] else []
        if has["user_text"]:
            slots = range(a["user_text_slots"])
            segments[O] += [(TEXT, (t + i,) * 3, int(i >= typed)) for i in slots]
        words = [STATE] * a["state_slots"] + [TEXT] * a["agent_text_slots"] * has["agent_text"]
        segments[L] = [(m, (t + i,) * 3, 0) for i, m in enumerate(words)]
        segments[Z] += heard if has["agent_audio"] else []
        segments[Z] += shown if has["agent_video"] else []
        for segment, slots_of in segments.items():
            for i, (m, at, pad) in enumerate(slots_of):
                add((k, segment, m, i), at, pad)
        for step, when in enumerate(a["noisy_tau"]):
            for i, (m, at, _) in enumerate(segments[Z]):
                rows.append((k, Z, m, i, *at, 0, 1, step))
                tau.append(when)
    return np.array(rows, dtype=np.int64).reshape(-1, 10), np.array(tau, dtype=np.float64)


def rows(a: Arguments, _: Tensors) -> Mapping[str, Outcome]:
    cells, tau = table(a)
    return exact(
        kind=np.ascontiguousarray(cells[:, :4]),
        position=np.ascontiguousarray(cells[:, 4:7]),
        state=np.ascontiguousarray(cells[:, 7:]),
        tau=tau,
    )


def session(without: tuple[str, ...] = (), **changes: Any) -> dict[str, Any]:
    """Arguments of `layout.rows`: a small session of odd sizes, without some modalities."""
    return {
        "patch_rows": 2,
        "patch_cols": 3,
        "state_slots": 1,
        "agent_text_slots": 2,
        "user_text_slots": 3,
        "modalities": {name: name not in without for name in MODALITIES},
        "prompt_tokens": 2,
        "identity_image": False,
        "voice_ticks": 0,
        "user_tokens": [0, 3, 1],
        "noisy_tau": [1.0, 0.4],
        **changes,
    }


def _drawn(n: int) -> dict[str, Any]:
    """Arguments in which everything is chosen at once."""
    draw = Random(f"layout/{n}")
    modalities = {name: draw.random() < 0.6 for name in MODALITIES}
    slots, state = draw.randint(1, 4), draw.randint(0, 2)
    return {
        "patch_rows": draw.randint(1, 4),
        "patch_cols": draw.randint(1, 4),
        "state_slots": state,
        "agent_text_slots": draw.randint(1, 4 - state),
        "user_text_slots": slots,
        "modalities": modalities,
        "prompt_tokens": draw.randint(1, 5),
        "identity_image": draw.random() < 0.5,
        "voice_ticks": draw.choice((0, 1, 3)),
        "user_tokens": [draw.randint(0, slots) * modalities["user_text"] for _ in range(3)],
        "noisy_tau": [draw.random() for _ in range(draw.randint(0, 3))],
    }


KIND: Final = ("kind", "state", "tau")
PLACE: Final = ("position",)
FAMILIES: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...], dict[str, Any]]]] = {
    "order": (("WS-LAYOUT-1", "WS-LAYOUT-2"), KIND, session()),
    "padding": (("WS-LAYOUT-3",), KIND, session(user_tokens=[0, 1, 2, 3], noisy_tau=[])),
    "state-slots": (("WS-LAYOUT-4",), KIND, session(state_slots=3, agent_text_slots=1)),
    "no-state-slot": (("WS-LAYOUT-4",), KIND, session(state_slots=0, agent_text_slots=4)),
    "many-slots": (("WS-LAYOUT-2",), KIND, session(patch_rows=17, patch_cols=16, user_tokens=[1])),
    "noisy": (("WS-LAYOUT-6",), KIND, session(noisy_tau=[1.0, 2 / 3, 1 / 3], user_tokens=[1, 1])),
    # Training may draw one τ twice; the step tells the copies apart.
    "noisy-alike": (("WS-LAYOUT-6",), KIND, session(noisy_tau=[0.5, 0.5], user_tokens=[1])),
    "training": (("WS-TRAINING-2",), (*KIND, *PLACE), session(noisy_tau=[0.9, 0.2, 0.55])),
    "identity": (("WS-PREFILL-1",), KIND, session(identity_image=True, voice_ticks=3)),
    "ticks": (("WS-POSITIONS-1",), PLACE, session(user_tokens=[2] * 7, prompt_tokens=5)),
    # Places that 16 bits do not hold.
    "long-prompt": (("WS-POSITIONS-1",), PLACE, session(prompt_tokens=33_000, user_tokens=[1])),
    "text": (("WS-POSITIONS-2",), PLACE, session(without=("user_video", "agent_video"))),
    "video": (("WS-POSITIONS-3",), PLACE, session(patch_rows=3, patch_cols=5, noisy_tau=[0.5])),
    "wide-video": (("WS-POSITIONS-3",), PLACE, session(patch_rows=2, patch_cols=130)),
    "tall-video": (("WS-POSITIONS-3",), PLACE, session(patch_rows=4, patch_cols=1)),
    "picture": (("WS-PREFILL-2",), PLACE, session(identity_image=True)),
    "voice": (("WS-PREFILL-2",), PLACE, session(voice_ticks=5)),
    "picture-and-voice": (("WS-PREFILL-2",), PLACE, session(identity_image=True, voice_ticks=2)),
    **{
        f"without-{name}": (
            ("WS-LAYOUT-5",), (*KIND, *PLACE),
            session(without=(name,), user_tokens=[0, 0] if name == "user_text" else [2, 0]),
        )
        for name in MODALITIES
    },
    "text-only": (
        ("WS-LAYOUT-5",), (*KIND, *PLACE),
        session(without=("user_audio", "user_video", "agent_audio", "agent_video")),
    ),
    **{f"drawn-{n}": (("WS-LAYOUT-5",), (*KIND, *PLACE), _drawn(n)) for n in range(12)},
}  # fmt: skip
"""Clauses, compared results and arguments of each family."""


def _rows(_: DType) -> Iterator[Question]:
    for family, (clauses, results, arguments) in FAMILIES.items():
        yield Question(family=family, clauses=clauses, arguments=arguments, results=results)


def _times(_: DType) -> Iterator[Question]:
    far = [0, 1, 2, 17, 13_422, 100_000_000, 10_000_000_007]
    for clause, result in (("WS-CLOCK-1", "start_ns"), ("WS-CLOCK-5", "available_ns")):
        yield Question(
            family=result,
            clauses=(clause,),
            tensors={"units": np.array(far, dtype=np.int64)},
            results=(result,),
        )


def _covering(_: DType) -> Iterator[Question]:
    ends = [1, UNIT - 1, UNIT, UNIT + 1, 7 * UNIT, 7 * UNIT + 40_000_000, 10**9 * UNIT + 1]
    yield Question(
        family="borders",
        clauses=("WS-CLOCK-6",),
        tensors={"durations_ns": np.array(ends, dtype=np.int64)},
    )


OPS: Final = (
    Op(name="clock.times", signature="units int64 [n] -> start_ns, available_ns int64 [n]",
       formula=times, questions=_times, tolerance="A", oracle="analytic", per_dtype=False),
    Op(name="clock.units_covering", signature="durations_ns int64 [n] -> units int64 [n]",
       formula=covering, questions=_covering, tolerance="A", oracle="analytic", per_dtype=False),
    Op(name="layout.rows", signature="patch_rows, patch_cols, state_slots, agent_text_slots,"
       " user_text_slots, modalities {six booleans}, prompt_tokens, identity_image, voice_ticks,"
       " user_tokens [units], noisy_tau [copies] -> kind int64 [n, 4] (unit, segment, modality,"
       " slot), position int64 [n, 3], state int64 [n, 3] (pad, noisy, step), tau float64 [n]: P,"
       " then O, L, Z clean and Z noisy of each unit", formula=rows, questions=_rows,
       tolerance="A", oracle="analytic", per_dtype=False),
)  # fmt: skip
