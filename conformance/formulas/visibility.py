"""The visibility predicate as a mask over any two token tables, key by key (WS-CONFORMANCE-16)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np

from conformance.formulas.case import Arguments, Op, Outcome, Question, Tensors, exact
from conformance.formulas.layout import TEXT, VIDEO, L, O, P, Z, session, table
from conformance.protocol import Array, DType

Row = tuple[int, ...]
"""unit, segment, modality, slot, t, h, w, pad, noisy, step."""


def visible(q: Row, k: Row, lag: int) -> bool:
    """May query q attend to key k? (WS-VISIBILITY-1 to 9)"""
    q_unit, q_segment, q_modality, q_slot = q[:4]
    unit, segment, modality, slot = k[:4]
    if k[7]:
        return False
    if segment == P:
        if q_segment != P:
            return True
        return slot <= q_slot or (modality == VIDEO and q_modality == VIDEO)
    if q_segment == P or unit > q_unit:
        return False
    if segment == Z:
        own = q_segment == Z and unit == q_unit
        if own:
            return k[8:] == q[8:]
        behind = 1 if q_segment == Z else 1 + lag
        return k[8] == 0 and unit <= q_unit - behind
    if unit < q_unit:
        return True
    if segment == O:
        if q_segment != O:
            return True
        return modality != TEXT or (q_modality == TEXT and slot <= q_slot)
    return q_segment == Z or (q_segment == L and slot <= q_slot)


def mask(a: Arguments, t: Tensors) -> Mapping[str, Outcome]:
    queries, keys = (list(map(tuple, t[name].tolist())) for name in ("queries", "keys"))
    seen = [[visible(q, k, a["lag"]) for k in keys] for q in queries]
    value = np.array(seen, dtype=np.int64).reshape(len(queries), len(keys))
    return exact(mask=value)


CELLS: Final = table(session(identity_image=True, voice_ticks=2, user_tokens=[3, 1, 2, 3]))[0]
"""Four units, so that both lags have something to show and something to hide."""

PAIRS: Final = {
    "WS-VISIBILITY-3": ((P, O, L, Z), (P,)),
    "WS-VISIBILITY-4": ((O,), (O,)),
    "WS-VISIBILITY-5": ((L, Z), (O,)),
    "WS-VISIBILITY-6": ((O, L, Z), (L,)),
}
"""Query segments and key segments that a clause speaks of; responses are told apart below."""


def _rows(segments: tuple[int, ...], noisy: int | None = None) -> Array:
    chosen = np.isin(CELLS[:, 1], segments)
    if noisy is not None:
        chosen &= CELLS[:, 8] == noisy
    return CELLS[chosen]


def _masks(_: DType) -> Iterator[Question]:
    for lag in (0, 1):
        for clause, (q_segments, k_segments) in PAIRS.items():
            yield _ask(clause, f"lag{lag}", _rows(q_segments), _rows(k_segments, 0), lag)
        clean, noisy = _rows((Z,), 0), _rows((Z,), 1)
        others = _rows((P, O, L))
        # All queries at clean responses but their own; then a response at itself.
        for k in range(4):
            for name, queries in (("thinker", others), ("response", _rows((Z,)))):
                rest = queries[queries[:, 0] != k] if name == "response" else queries
                yield _ask(
                    "WS-VISIBILITY-7",
                    f"{name}-unit{k}-lag{lag}",
                    rest,
                    clean[clean[:, 0] == k],
                    lag,
                )
        for k in (0, 3):
            own = _rows((Z,))
            own = own[own[:, 0] == k]
            yield _ask("WS-VISIBILITY-8", f"unit{k}-lag{lag}", own, own, lag)
        yield _ask("WS-VISIBILITY-9", f"others-lag{lag}", others, noisy, lag)
        yield _ask("WS-VISIBILITY-9", f"clean-lag{lag}", clean, noisy, lag)
        yield _ask("WS-VISIBILITY-1", f"whole-lag{lag}", CELLS, CELLS, lag)
        # What a pass of training runs over: no copy sees another, of its unit or of any other.
        yield _ask("WS-TRAINING-2", f"copies-lag{lag}", noisy, CELLS, lag)
        text = table(session(without=("user_audio", "user_video"), user_tokens=[0, 3, 1]))[0]
        yield _ask("WS-VISIBILITY-1", f"padding-lag{lag}", text, text, lag)
        # Slots that eight bits do not hold.
        wide = table(session(patch_rows=16, patch_cols=16, user_tokens=[3, 2], noisy_tau=[1.0]))[0]
        last = np.ascontiguousarray(wide[wide[:, 3] > 250])
        yield _ask("WS-VISIBILITY-4", f"many-slots-lag{lag}", last, last, lag)
        prompt = table(session(prompt_tokens=520, identity_image=True, user_tokens=[]))[0]
        far_slots = np.ascontiguousarray(prompt[np.isin(prompt[:, 3] % 256, (0, 7, 255))])
        yield _ask("WS-VISIBILITY-3", f"many-slots-lag{lag}", far_slots, far_slots, lag)
        # Units on either side of what 15, 16 and 24 bits hold: an hour and a half, three, a month.
        for bits in (15, 16, 24):
            late = CELLS[CELLS[:, 1] != P].copy()
            late[:, 0] += (1 << bits) - 2
            yield _ask("WS-VISIBILITY-1", f"around-{bits}-bits-lag{lag}", late, late, lag)
    # λ is all that tells the schedules apart.
    far = CELLS[CELLS[:, 0] == 1].copy()
    far[:, 0] = 100_000
    for lag in (0, 1):
        for name, behind in (("seen", 1 + lag), ("late", lag)):
            near = far[far[:, 1] == Z].copy()
            near[:, 0] -= behind
            yield _ask("WS-VISIBILITY-2", f"far-{name}-lag{lag}", far, near, lag)


def _ask(clause: str, family: str, queries: Array, keys: Array, lag: int) -> Question:
    return Question(
        family=f"{clause.removeprefix('WS-').lower()}-{family}",
        clauses=(clause,),
        arguments={"lag": lag},
        tensors={"queries": np.ascontiguousarray(queries), "keys": np.ascontiguousarray(keys)},
    )


OPS: Final = (
    Op(name="visibility.mask", signature="lag; queries, keys int64 [n, 10] and [m, 10], the columns"
       " of WS-LAYOUT-2 but tau -> mask int64 [n, m], 1 where visible", formula=mask,
       questions=_masks, tolerance="A", oracle="analytic", per_dtype=False),
)  # fmt: skip
