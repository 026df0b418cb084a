"""Ops of training: who predicts a word, losses over a batch, what a student learns from
(WS-CONFORMANCE-16).

The feature `training` of a port; one that only serves has none of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np

from conformance import arrays
from conformance.formulas.case import (
    Arguments,
    Near,
    Op,
    Outcome,
    Question,
    Tensors,
    drawn,
    exact,
)
from conformance.formulas.layout import TEXT, L, O, P, session, table
from conformance.protocol import Array, DType

VOCAB: Final = 11


def _wide(t: Tensors, *names: str) -> Iterator[Array]:
    return (t[name].astype(np.float64) for name in names)


def unconditional(_: Arguments, t: Tensors) -> Mapping[str, Outcome]:
    """Observation and language are hidden from all (WS-TRAINING-7)."""
    rows = t["rows"]
    hidden = np.isin(rows[:, 1], (O, L))
    return exact(pad=np.where(hidden, 1, rows[:, 7]))


def predictors(_: Arguments, t: Tensors) -> Mapping[str, Outcome]:
    """The language token just before each agent text slot: of the prompt, or of L
    (WS-TRAINING-4)."""
    before, found = -1, []
    for i, row in enumerate(t["rows"].tolist()):
        if row[1] == L and row[2] == TEXT:
            found.append(before)
        if row[1] == L or (row[1] == P and row[2] == TEXT):
            before = i
    return exact(index=np.array(found, dtype=np.int64))


def _mean_square(value: Array, target: Array, units: Array) -> Near:
    """Over the elements of ``units``; 0 of none."""
    v, x = value[units], target[units]
    if not v.size:
        return Near(value=np.zeros(()), ulp=0.0)
    size = np.mean((np.abs(v) + np.abs(x)) ** 2)
    return Near(value=np.mean((v - x) ** 2), ulp=4.0 + v.size**0.5, scale=np.asarray(size))


def _mean_cross_entropy(logits: Array, target: Array, slots: Array) -> Near:
    """-log softmax(logits)[target] over ``slots``; 0 of none."""
    rows, ids = logits[slots], target[slots]
    if not len(ids):
        return Near(value=np.zeros(()), ulp=0.0)
    top = rows.max(axis=1)
    log_sum = top + np.log(np.exp(rows - top[:, None]).sum(axis=1))
    # Rounded differences to the largest logit, and a sum of as many terms as there are words.
    size = np.mean(2 * np.abs(rows).max(axis=1) + rows.shape[1])
    each = log_sum - rows[np.arange(len(ids)), ids]
    return Near(value=np.mean(each), ulp=4.0 + len(ids) ** 0.5, scale=np.asarray(size))


def loss(_: Arguments, t: Tensors) -> Mapping[str, Outcome]:
    """Three means over what the whole batch supervises, and their sum (WS-TRAINING-8,
    WS-TRAINING-9)."""
    (logits,) = _wide(t, "logits")
    audio, audio_target = _wide(t, "audio", "audio_target")
    video, video_target = _wide(t, "video", "video_target")
    units = t["response_mask"] == 1
    terms = {
        "text": _mean_cross_entropy(logits, t["ids"], t["text_mask"] == 1),
        "audio": _mean_square(audio, audio_target, units),
        "video": _mean_square(video, video_target, units),
    }
    total = sum(float(term.value) for term in terms.values())
    size = sum(float(term.value if term.scale is None else term.scale) for term in terms.values())
    ulp = 4.0 + max(term.ulp for term in terms.values())
    return {**terms, "loss": Near(value=np.array(total), ulp=ulp, scale=np.array(size))}


def chord(a: Arguments, t: Tensors) -> Mapping[str, Outcome]:
    """(z_teacher(τ') - z) / (τ' - τ) (WS-TRAINING-12)."""
    z, after = _wide(t, "z", "z_next")
    step = a["tau_next"] - a["tau"]
    scale = (np.abs(z) + np.abs(after)) / abs(step)
    return {"velocity": Near(value=(after - z) / step, ulp=3.0, scale=scale)}


def clean_estimate(a: Arguments, t: Tensors) -> Mapping[str, Outcome]:
    """x̂_0 = z_τ - τ f_θ (WS-TRAINING-13)."""
    z, v = _wide(t, "z_tau", "velocity")
    scale = np.abs(z) + abs(a["tau"]) * np.abs(v)
    return {"x": Near(value=z - a["tau"] * v, ulp=3.0, scale=scale)}


def matching_gradient(a: Arguments, t: Tensors) -> Mapping[str, Outcome]:
    """(x̂_0^fake - x̂_0^real) / mean|x - x̂_0^real| (WS-TRAINING-14)."""
    tau = a["tau"]
    x, z, real, fake = _wide(t, "x", "z_tau", "v_real", "v_fake")
    distance = np.mean(np.abs(x - (z - tau * real)))
    value = tau * (real - fake) / distance
    # By scores z_τ is added twice, divided by 1 - τ; and the mean has an error of its own.
    size = 2 * tau * (np.abs(z) / (1 - tau) + np.abs(real) + np.abs(fake)) / distance
    mean_size = np.mean(np.abs(x) + np.abs(z) + tau * np.abs(real)) / distance
    scale = size + np.abs(value) * mean_size
    return {"gradient": Near(value=value, ulp=8.0, scale=scale)}


SESSIONS: Final = {
    "state-slot": session(noisy_tau=[0.3, 0.8]),
    "state-slots": session(state_slots=3, agent_text_slots=1),
    "no-state-slot": session(state_slots=0, agent_text_slots=4),
    "identity": session(state_slots=0, agent_text_slots=2, identity_image=True, voice_ticks=3),
    "no-words": session(without=("agent_text",)),
    "padding": session(user_tokens=[0, 1, 3, 2], noisy_tau=[0.5]),
}
"""Token tables of records."""


def _tables(clause: str) -> Iterator[Question]:
    for family, arguments in SESSIONS.items():
        tensors = {"rows": table(arguments)[0]}
        yield Question(family=family, clauses=(clause,), tensors=tensors)


def _unconditional(_: DType) -> Iterator[Question]:
    return _tables("WS-TRAINING-7")


def _predictors(_: DType) -> Iterator[Question]:
    return _tables("WS-TRAINING-4")


def _batch(
    dtype: DType,
    family: str,
    slots: tuple[int, ...],
    units: tuple[int, ...],
    video: tuple[int, int, int] = (2, 3, 1),
) -> dict[str, Array]:
    """Masks of text slots and of units over a batch, and numbers for both."""
    name = f"train/{family}"
    shapes = {"audio": (len(units), 4, 2), "video": (len(units), *video)}
    ids = arrays.uniform(f"math/{name}/ids", (len(slots),))
    return {
        "logits": drawn(f"{name}/logits", (len(slots), VOCAB), dtype, 6.0),
        "ids": ((ids + 1) / 2 * VOCAB).astype(np.int64),
        "text_mask": np.array(slots, dtype=np.int64),
        "response_mask": np.array(units, dtype=np.int64),
        **{
            f"{kind}{what}": drawn(f"{name}/{kind}{what}", shape, dtype, 2.0)
            for kind, shape in shapes.items()
            for what in ("", "_target")
        },
    }


BATCHES: Final[Mapping[str, tuple[tuple[str, ...], dict[str, Any]]]] = {
    "all-learned": (
        ("WS-TRAINING-8",), {"slots": (1,) * 6, "units": (1,) * 3, "records": [[4, 2], [2, 1]]},
    ),
    "words-only": (("WS-TRAINING-8",), {"slots": (1,) * 4, "units": (), "records": [[4, 0]]}),
    "sound-only": (
        ("WS-TRAINING-8",),
        {"slots": (), "units": (1, 1), "video": (0, 0, 0), "records": [[0, 2]]},
    ),
    "history-only": (
        ("WS-TRAINING-8",), {"slots": (0, 0, 1), "units": (0, 1, 0), "records": [[3, 3]]},
    ),
    "nothing": (("WS-TRAINING-8",), {"slots": (0, 0), "units": (0,), "records": [[2, 1]]}),
    "uneven-records": (
        ("WS-TRAINING-9",),
        {
            "slots": (1, 0, 0, 0, 1, 1, 1, 1, 0),
            "units": (1, 1, 1, 1, 0, 0, 1),
            "records": [[4, 4], [5, 3]],
        },
    ),
    "a-record-of-nothing": (
        ("WS-TRAINING-9",),
        {"slots": (0, 0, 1, 1), "units": (0, 0, 1), "records": [[2, 2], [2, 1]]},
    ),
}  # fmt: skip
"""Clauses, masks, and for each record its text slots and units, of each family."""


def _losses(dtype: DType) -> Iterator[Question]:
    for family, (clauses, described) in BATCHES.items():
        rest = {name: value for name, value in described.items() if name != "records"}
        yield Question(
            family=family,
            clauses=clauses,
            arguments={"records": described["records"]},
            tensors=_batch(dtype, family, **rest),
        )


def _chords(dtype: DType) -> Iterator[Question]:
    for tau, after in ((1.0, 0.75), (0.5, 0.0), (1.0, 0.0), (0.3, 0.29)):
        yield Question(
            family=f"from-{tau}-to-{after}",
            clauses=("WS-TRAINING-12",),
            arguments={"tau": tau, "tau_next": after},
            tensors={name: drawn(f"chord/{name}", (3, 7), dtype, 2.0) for name in ("z", "z_next")},
        )


def _estimates(dtype: DType) -> Iterator[Question]:
    for tau in (1.0, 0.75, 0.1):
        names = ("z_tau", "velocity")
        yield Question(
            family=f"at-{tau}",
            clauses=("WS-TRAINING-13",),
            arguments={"tau": tau},
            tensors={name: drawn(f"clean/{name}", (4, 5), dtype, 2.0) for name in names},
        )


def _gradients(dtype: DType) -> Iterator[Question]:
    for tau in (0.02, 0.4, 0.9):
        names = ("x", "z_tau", "v_real", "v_fake")
        yield Question(
            family=f"at-{tau}",
            clauses=("WS-TRAINING-14",),
            arguments={"tau": tau},
            tensors={name: drawn(f"match/{name}", (3, 9), dtype, 1.5) for name in names},
        )


def _op(name: str, signature: str, **rest: Any) -> Op:
    return Op(name=f"training.{name}", signature=signature, feature="training", **rest)


OPS: Final = (
    _op("unconditional", "rows int64 [n, 10], the columns of WS-LAYOUT-2 but tau -> pad int64 [n]",
        formula=unconditional, questions=_unconditional, tolerance="A", oracle="analytic",
        per_dtype=False),
    _op("predictors", "rows int64 [n, 10] -> index int64 [agent text slots], the row that predicts"
        " each", formula=predictors, questions=_predictors, tolerance="A", oracle="analytic",
        per_dtype=False),
    _op("loss", "records [[text slots, units] of each]; logits [s, vocab], ids, text_mask int64"
        " [s], audio, audio_target [u, 4, C_a], video, video_target [u, C_v, rows, cols],"
        " response_mask int64 [u] -> text, audio, video, loss []", formula=loss,
        questions=_losses, tolerance="B", oracle="float64"),
    _op("chord", "tau, tau_next; z, z_next [...] -> velocity [...]", formula=chord,
        questions=_chords, tolerance="B", oracle="float64"),
    _op("clean_estimate", "tau; z_tau, velocity [...] -> x [...]", formula=clean_estimate,
        questions=_estimates, tolerance="B", oracle="float64"),
    _op("matching_gradient", "tau; x, z_tau, v_real, v_fake [...] -> gradient [...]",
        formula=matching_gradient, questions=_gradients, tolerance="B", oracle="float64"),
)  # fmt: skip
