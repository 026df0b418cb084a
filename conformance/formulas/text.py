"""Ops of text: greedy and sampled tokens, the rest of a unit, the queue, bytes (WS-CONFORMANCE-16).

Ids are compared to the bit; every number in [0, 1) that is asked about stands far from a step.
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
    rounded,
)
from conformance.protocol import Array, DType
from conformance.tolerance import EPS

BOS, EOS, WAIT, VOCABULARY = 256, 257, 258, 263
BUDGET: Final = 4096


def greedy(_: Arguments, t: Tensors) -> Mapping[str, Outcome]:
    """The largest logit, the lowest id among equals (WS-STREAMING-7)."""
    ids = [row.index(max(row)) for row in t["logits"].tolist()]
    return exact(ids=np.array(ids, dtype=np.int64))


def chosen(a: Arguments, logits: Array) -> tuple[Array, Array]:
    """Ids that may be drawn and their probabilities, float64 (WS-TEXT-2)."""
    wide = logits.astype(np.float64)
    ids = np.array(sorted(range(len(wide)), key=lambda i: (-wide[i], i)), dtype=np.int64)
    ids = ids[: a["top_k"] or None]
    weights = np.exp((wide[ids] - wide[ids[0]]) / a["temperature"])
    p = weights / weights.sum()
    if a["top_p"] < 1:
        kept = int(np.argmax(np.cumsum(p) >= a["top_p"])) + 1
        ids, p = ids[:kept], p[:kept]
    return ids, p / p.sum()


def candidates(a: Arguments, t: Tensors) -> Mapping[str, Outcome]:
    ids, p = chosen(a, t["logits"])
    # Division by the temperature is off by half an ulp of the exponent, as 1 / T times is by more.
    size = p * (1 - np.log(p.clip(min=1e-300)))
    near = Near(value=p, ulp=16.0 + len(t["logits"]), scale=size, dtype="float64")
    return {**exact(ids=ids), "p": near}


def draw(a: Arguments, t: Tensors) -> Mapping[str, Outcome]:
    """The first whose cumulative probability exceeds u (WS-TEXT-3)."""
    ids, p = chosen(a, t["logits"])
    total = np.cumsum(p)
    drawn_ids = [ids[int(np.argmax(total > u * total[-1]))] for u in t["u"].tolist()]
    return exact(ids=np.array(drawn_ids, dtype=np.int64))


def next_token(a: Arguments, t: Tensors) -> Mapping[str, Outcome]:
    """Greedy at temperature 0, drawn above; `<wait>` after `<eos>` (WS-TEXT-1, WS-TEXT-6)."""
    if EOS in a["said"]:
        return exact(ids=np.array([WAIT], dtype=np.int64))
    if a["temperature"] == 0:
        return greedy(a, {"logits": t["logits"][None]})
    return draw(a, {"logits": t["logits"], "u": t["u"][len(a["said"]) :][:1]})


def queue(a: Arguments, _: Tensors) -> Mapping[str, Outcome]:
    """Tokens of each unit, -1 where a slot stays empty, and what waits (WS-TEXT-4, WS-TEXT-5)."""
    waiting: list[int] = []
    units = []
    for bursts in a["bursts"]:
        for burst in bursts:
            waiting += burst
        units.append((waiting[: a["slots"]] + [-1] * a["slots"])[: a["slots"]])
        waiting = waiting[a["slots"] :]
    return exact(
        units=np.array(units, dtype=np.int64).reshape(-1, a["slots"]),
        waiting=np.array(waiting, dtype=np.int64),
    )


def encode(a: Arguments, _: Tensors) -> Mapping[str, Outcome]:
    """One id a UTF-8 byte (WS-PRESETS-4)."""
    return exact(ids=np.array(list(a["text"].encode()), dtype=np.int64))


def decode(a: Arguments, _: Tensors) -> Mapping[str, Outcome]:
    """Bytes of the text, without special and unused ids (WS-PRESETS-4)."""
    text = bytes(i for i in a["ids"] if i < BOS).decode("utf-8", errors="replace")
    return exact(utf8=np.frombuffer(text.encode(), dtype=np.uint8))


def _greedy(dtype: DType) -> Iterator[Question]:
    ties = np.array([[0.5, 2.0, -1.0, 2.0, 2.0], [-3.0] * 5, [-9.0, -9.5, -8.0, -8.5, -8.0]])
    logits = drawn("greedy", (6, 41), dtype, 5.0)
    for family, values in (("ordinary", logits), ("ties", rounded(ties, dtype))):
        yield Question(family=family, clauses=("WS-STREAMING-7",), tensors={"logits": values})
    # The largest by one unit in the last place, and not the first.
    eps = EPS[dtype]
    close = np.array(
        [
            [1.0, 1.0 + eps, 1.0],
            [-4.0, -4.0, -4.0 + 4 * eps],
            [0.0, -0.0, 2.0**-20],
            [-1.0, -0.0, 0.0],
        ]
    )
    tensors = {"logits": rounded(close, dtype)}
    yield Question(family="by-a-hair", clauses=("WS-STREAMING-7",), tensors=tensors)


RULES: Final[Mapping[str, dict[str, Any]]] = {
    "plain": {"temperature": 1.0, "top_k": 0, "top_p": 1.0},
    "hot": {"temperature": 2.5, "top_k": 0, "top_p": 1.0},
    "cold": {"temperature": 0.3, "top_k": 0, "top_p": 1.0},
    "top-k": {"temperature": 0.8, "top_k": 3, "top_p": 1.0},
    "top-k-1": {"temperature": 0.8, "top_k": 1, "top_p": 1.0},
    "top-k-all": {"temperature": 1.0, "top_k": 500, "top_p": 1.0},
    "top-p": {"temperature": 1.0, "top_k": 0, "top_p": 0.7},
    "top-p-first": {"temperature": 0.5, "top_k": 0, "top_p": 0.05},
    "hot-top-p": {"temperature": 2.5, "top_k": 0, "top_p": 0.6},
    "cold-top-p": {"temperature": 0.4, "top_k": 0, "top_p": 0.9},
    "both": {"temperature": 1.2, "top_k": 5, "top_p": 0.8},
}


def _logits(name: str, dtype: DType) -> Array:
    """Twenty-three logits, two of them equal, at the limit of top-k 3."""
    logits = np.array(drawn(f"text/{name}", (23,), dtype, 2.5))
    order = np.argsort(-logits)
    logits[order[3]] = logits[order[2]]
    return logits


def _edges(dtype: DType) -> Iterator[tuple[str, dict[str, Any], Array]]:
    """Family, rule and logits where an exponential over- or underflows, or an order is undone."""
    plain = RULES["plain"]
    near = np.array([0.5, -0.25, 0.5, 0.25])
    yield "nearly-greedy", {**plain, "temperature": 1e-6}, rounded(near, dtype)
    # Without the largest taken away first, none of these has an exponential.
    for family, center in (("far-above", 2048.0), ("far-below", -2048.0)):
        yield family, plain, rounded(center + np.array([0.0, 16.0, -16.0, 16.0]), dtype)
    yield "two-zeros", plain, rounded(np.array([-0.0, 0.0, 1.0, -1.0, 0.0]), dtype)
    yield "by-a-hair", plain, rounded(np.array([1.0, 1.0 + EPS[dtype], 1.0]), dtype)


def _far_from_steps(rule: dict[str, Any], logits: Array) -> Array:
    """The middle of every candidate's own interval of u that is wide enough."""
    total = np.cumsum(chosen(rule, logits)[1])
    edges = np.concatenate(([0.0], total / total[-1]))
    wide = np.diff(edges) > 1e-4
    return np.asarray(((edges[:-1] + edges[1:]) / 2)[wide])


def _candidates(dtype: DType) -> Iterator[Question]:
    for family, rule in RULES.items():
        tensors = {"logits": _logits(family, dtype)}
        yield Question(family=family, clauses=("WS-TEXT-2",), arguments=rule, tensors=tensors)
    near = rounded(0.002 * arrays.uniform("math/text/near", (9,)), dtype)
    yield Question(
        family="nearly-frozen",
        clauses=("WS-TEXT-2",),
        arguments={"temperature": 0.001, "top_k": 0, "top_p": 1.0},
        tensors={"logits": near},
    )
    # All are as likely, to any dtype; which are kept is told by the logits all the same.
    yield Question(
        family="nearly-uniform",
        clauses=("WS-TEXT-2",),
        arguments={"temperature": 1e18, "top_k": 5, "top_p": 1.0},
        tensors={"logits": _logits("warm", dtype)},
    )
    for family, rule, logits in _edges(dtype):
        tensors = {"logits": logits}
        yield Question(family=family, clauses=("WS-TEXT-2",), arguments=rule, tensors=tensors)
    large = rounded(1000.0 * arrays.uniform("math/text/large", (9,)), dtype)
    yield Question(
        family="large-logits",
        clauses=("WS-TEXT-2",),
        arguments=RULES["hot"],
        tensors={"logits": large},
    )


def _draws(dtype: DType) -> Iterator[Question]:
    ordinary = ((family, rule, _logits(family, dtype)) for family, rule in RULES.items())
    for family, rule, logits in (*ordinary, *_edges(dtype)):
        yield Question(
            family=family,
            clauses=("WS-TEXT-3",),
            arguments=rule,
            tensors={"logits": logits, "u": _far_from_steps(rule, logits)},
        )


def _next_tokens(dtype: DType) -> Iterator[Question]:
    for family, clause, said, temperature in (
        ("greedy", "WS-TEXT-1", [], 0.0),
        ("first", "WS-TEXT-1", [], 0.9),
        ("third", "WS-TEXT-1", [5, 7], 0.9),
        ("after-eos", "WS-TEXT-6", [5, EOS], 0.9),
        ("greedy-after-eos", "WS-TEXT-6", [EOS, WAIT], 0.0),
        ("after-wait", "WS-TEXT-6", [WAIT], 0.0),
        ("long-after-eos", "WS-TEXT-6", [EOS, WAIT, WAIT], 0.9),
    ):
        logits = np.array(drawn("next", (VOCABULARY,), dtype, 4.0))
        rule = {"temperature": temperature, "top_k": 0, "top_p": 1.0}
        u = np.array([0.05, 0.5, 0.95, 0.5])
        if temperature:
            # The third slot's own number draws another id than the first one's.
            middles = _far_from_steps(rule, logits)
            u = middles[[len(middles) // 4, len(middles) // 2, -1, 0]]
        yield Question(
            family=family,
            clauses=(clause,),
            arguments={**rule, "said": said},
            tensors={"logits": logits, "u": u},
        )


def _queues(_: DType) -> Iterator[Question]:
    families: dict[str, list[list[list[int]]]] = {
        "fits": [[[1, 2]], [], [[3]]],
        "waits": [[[1, 2, 3, 4, 5, 6, 7]], [], [[8]], [], []],
        "bursts": [[[1], [2, 3], [4]], [[5], []], [[6, 7, 8, 9]], []],
    }
    for slots in (1, 3):
        for family, bursts in families.items():
            yield Question(
                family=f"{family}-{slots}",
                clauses=("WS-TEXT-4",),
                arguments={"slots": slots, "bursts": bursts},
            )
    full = [i % 200 for i in range(BUDGET)]
    # The limit is of what waits, not of what ever came.
    for family, units in (("full", [[full]]), ("kept-full", [[full], *[[[7, 8, 9]]] * 4])):
        arguments = {"slots": 3, "bursts": units}
        yield Question(family=family, clauses=("WS-TEXT-5",), arguments=arguments)
    for family, bursts in (
        ("too-much", [[[*full, 1]]]),
        ("too-much-in-two", [[full], [[1, 2, 3, 4]]]),
        ("unknown-id", [[[1, VOCABULARY]]]),
        ("negative-id", [[[-1]]]),
    ):
        arguments = {"slots": 3, "bursts": bursts}
        yield Question(family=family, clauses=("WS-TEXT-5",), arguments=arguments, refused=True)


def _texts(_: DType) -> Iterator[Question]:
    # The last is text like any other, to the last blank.
    verbatim = "\ufeffa\r\nb\rc e\u0301 é <bos><eos><wait> \ufffe\n "
    for i, text in enumerate(("Hi.", "", "grüß τ €", "\U0001f600\n\t\x00", verbatim)):
        yield Question(family=f"{i}", clauses=("WS-PRESETS-4",), arguments={"text": text})


def _ids(_: DType) -> Iterator[Question]:
    for family, ids in (
        ("plain", list(b"Hi.")),
        ("special", [BOS, 72, WAIT, WAIT, 105, EOS, VOCABULARY - 1]),
        ("utf-8", list("grüß €\U0001f600".encode())),
        ("split-by-wait", [0xE2, WAIT, 0x82, 0xAC]),
        ("malformed", [72, 0xFF, 105, 0x80, 46]),
        # A byte order mark, line ends and letters in two parts are text like any other.
        ("verbatim", list("\ufeffa\r\nb\rc\x00 e\u0301\ufeff\n".encode())),
        # Well-formed, though no character will ever be there.
        ("noncharacters", list("\ufffe\ufdd0\U0010ffff ".encode())),
    ):
        yield Question(family=family, clauses=("WS-PRESETS-4",), arguments={"ids": ids})


SAMPLING: Final = "temperature, top_k, top_p"
OPS: Final = (
    Op(name="text.greedy", signature="logits [n, vocab] -> ids int64 [n]", formula=greedy,
       questions=_greedy, tolerance="A", oracle="analytic"),
    Op(name="text.candidates", signature=f"{SAMPLING}; logits [vocab] -> ids int64 [m],"
       " p float64 [m]", formula=candidates, questions=_candidates, tolerance="B",
       oracle="float64"),
    Op(name="text.draw", signature=f"{SAMPLING}; logits [vocab], u float64 [n] -> ids int64 [n]",
       formula=draw, questions=_draws, tolerance="A", oracle="float64"),
    Op(name="text.next", signature=f"{SAMPLING}, said [ids of the unit so far]; logits [263] of the"
       " bytes tokenizer, u float64 [slots] -> ids int64 [1]", formula=next_token,
       questions=_next_tokens, tolerance="A", oracle="float64"),
    Op(name="text.queue", signature="slots, bursts [units][bursts][ids] of the bytes tokenizer ->"
       " units int64 [units, slots], -1 for an empty slot, waiting int64 [m]; a burst that does not"
       " fit is refused", formula=queue, questions=_queues, tolerance="A", oracle="analytic",
       per_dtype=False),
    Op(name="text.encode", signature="text -> ids int64 [n] of the bytes tokenizer",
       formula=encode, questions=_texts, tolerance="A", oracle="analytic", per_dtype=False),
    Op(name="text.decode", signature="ids of the bytes tokenizer -> utf8 uint8 [n]",
       formula=decode, questions=_ids, tolerance="A", oracle="analytic", per_dtype=False),
)  # fmt: skip
