"""Ops of bytes and counts that cross between the roles: digests, payloads, headers, lines.

Expected bytes by struct, hashlib and json (WS-CONFORMANCE-16).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np

from conformance import arrays
from conformance.formulas.case import Arguments, Op, Outcome, Question, Tensors, drawn, exact
from conformance.formulas.layout import session, table
from conformance.formulas.recipe import bytes_of
from conformance.protocol import Array, DType


def _le(array: Array, a: Arguments | None = None) -> bytes:
    """Row-major, little-endian, floats in the dtype that the arguments name."""
    kind = array.dtype
    if a is not None and a["dtype"] == "bfloat16":
        # Its 16 bits are the upper half of a float32.
        array = (np.ascontiguousarray(array).view(np.uint32) >> 16).astype(np.uint16)
        kind = array.dtype
    elif a is not None:
        kind = np.dtype(a["dtype"])
    return np.ascontiguousarray(array).astype(kind.newbyteorder("<")).tobytes()


def _octets(data: bytes) -> Array:
    return np.frombuffer(data, dtype=np.uint8)


def kv_digest(a: Arguments, t: Tensors) -> Mapping[str, Outcome]:
    """Rows of units ≤ k by (unit, segment, slot), then keys, then values (WS-STREAMING-6)."""
    rows = t["rows"].tolist()
    order = sorted(
        (i for i, row in enumerate(rows) if row[0] <= a["up_to_unit"]),
        key=lambda i: (rows[i][0], rows[i][1], rows[i][3]),
    )
    sha = hashlib.sha256(_le(t["rows"][order]))
    sha.update(_le(t["keys"][:, :, order], a))
    sha.update(_le(t["values"][:, :, order], a))
    return exact(sha256=bytes_of(sha))


def output_digest(a: Arguments, t: Tensors) -> Mapping[str, Outcome]:
    """Unit after unit: text as int64, audio, video (WS-STREAMING-12)."""
    sha = hashlib.sha256()
    for k, text in enumerate(a["text"]):
        sha.update(_le(np.array(text, dtype=np.int64)))
        for name in ("audio", "video"):
            if name in t:
                sha.update(_le(t[name][k], a))
    return exact(sha256=bytes_of(sha))


def slice_payload(a: Arguments, t: Tensors) -> Mapping[str, Outcome]:
    """Rows, K, V of a layer range and a head range (WS-EXCHANGE-4)."""
    part = slice(*a["layers"]), slice(*a["heads"])
    floats = _le(t["keys"][part], a) + _le(t["values"][part], a)
    return exact(payload=_octets(_le(t["rows"]) + floats))


def latents_payload(a: Arguments, t: Tensors) -> Mapping[str, Outcome]:
    """Audio, then video; what is absent has no bytes (WS-EXCHANGE-4)."""
    return exact(payload=_octets(b"".join(_le(t[n], a) for n in ("audio", "video") if n in t)))


def slice_digest(a: Arguments, _: Tensors) -> Mapping[str, Outcome]:
    """One line a part in ascending order (WS-EXCHANGE-5)."""
    lines = sorted((*p["layers"], *p["heads"], p["digest"]) for p in a["parts"])
    text = "".join(" ".join(map(str, part)) + "\n" for part in lines)
    return exact(sha256=bytes_of(hashlib.sha256(text.encode())))


def header(a: Arguments, _: Tensors) -> Mapping[str, Outcome]:
    """Segments and lengths of a slice (WS-EXCHANGE-3), its bytes (WS-EXCHANGE-4)."""
    k, sequential = a["unit"], a["schedule"] == "sequential"
    prefill, *unit = (a["tokens"][name] for name in "POLZ")
    observed, said, response = unit
    responses = response * (k if sequential else k + 1)
    if k == -1:
        segments = [(0, prefill)]
    elif a["snapshot"]:
        both = [(1, observed * (k + 1)), (2, said * (k + 1))]
        segments = [(0, prefill), *both, (3, responses)]
    elif sequential and k > 0:
        segments = [(3, response), (1, observed), (2, said)]
    else:
        segments = [(1, observed), (2, said)]
    counted = sum(n for segment, n in segments if segment != 3 or sequential)
    after = prefill + (k + 1) * (observed + said) + (response * max(k, 0) if sequential else 0)
    tokens = sum(n for _, n in segments)
    layers, heads = (b - a_ for a_, b in (a["layers"], a["heads"]))
    size = {"float64": 8, "float32": 4}.get(a["dtype"], 2)
    in_bytes = tokens * 8 * 8 + 2 * layers * heads * tokens * a["head_dim"] * size
    return exact(
        segments=np.array(segments, dtype=np.int64),
        lengths=np.array([tokens, after - counted, after], dtype=np.int64),
        byte_count=np.array(in_bytes, dtype=np.int64),
    )


def line(a: Arguments, _: Tensors) -> Mapping[str, Outcome]:
    """SHA-256 in hex, a space, JSON of sorted keys without spaces, a line feed (WS-EXCHANGE-14)."""
    text = json.dumps(a["message"], sort_keys=True, separators=(",", ":")).encode()
    return exact(line=_octets(hashlib.sha256(text).hexdigest().encode() + b" " + text + b"\n"))


EDGES: Final[Mapping[DType, tuple[float, float]]] = {
    "float16": (2.0**-24, -65504.0),
    "float64": (2.0**-1022, -(2.0**1023)),
}
"""The least number of float16 is subnormal there, but not on the wire."""


CELLS: Final = table(session(user_tokens=[2, 0, 1], noisy_tau=[]))[0][:, :8]


def _cache(name: str, dtype: DType, rows: Array) -> dict[str, Array]:
    """Entries in an order of arrival that is nobody's canonical order."""
    shuffled = np.argsort(arrays.words(f"math/{name}", 0, len(rows)))
    shape = (2, 3, len(rows), 4)
    kv = {n: np.array(drawn(f"{name}/{n}", shape, dtype, 2.0)) for n in ("keys", "values")}
    for values in kv.values():
        # A zero keeps its sign.
        values[0, 0, :, :2] = (-0.0, 0.0)
    return {"rows": np.ascontiguousarray(rows[shuffled]), **kv}


def _kv_digests(dtype: DType) -> Iterator[Question]:
    for up_to in (-1, 0, 1, 2):
        yield Question(
            family=f"up-to-{up_to}",
            clauses=("WS-STREAMING-6",),
            arguments={"up_to_unit": up_to, "dtype": dtype},
            tensors=_cache("kv-digest", dtype, CELLS),
        )
    rows = CELLS.copy()
    # Units and slots of several digits: a text order would not be theirs.
    rows[:, 0] = np.where(rows[:, 0] > 0, rows[:, 0] + 8, rows[:, 0])
    rows[rows[:, 1] == 1, 3] += 7
    yield Question(
        family="digits",
        clauses=("WS-STREAMING-6",),
        arguments={"up_to_unit": 10, "dtype": dtype},
        tensors=_cache("kv-digest-2", dtype, rows),
    )
    # Slots and units that a byte, or two, do not hold, among those that are the same in one.
    wide = np.concatenate([CELLS[:8]] * 2)
    wide[:, 0] = np.resize((2, 258, 65_538), len(wide))
    wide[:, 1] = np.arange(len(wide)) % 2
    wide[:, 3] = np.arange(len(wide)) * 320
    yield Question(
        family="wide",
        clauses=("WS-STREAMING-6",),
        arguments={"up_to_unit": 70_000, "dtype": dtype},
        tensors=_cache("kv-digest-3", dtype, wide),
    )


def _output_digests(dtype: DType) -> Iterator[Question]:
    audio = np.array(drawn("output/audio", (3, 12), dtype))
    # A zero keeps its sign.
    audio[1, :2] = (-0.0, 0.0)
    video = drawn("output/video", (3, 4, 3, 2, 2), dtype)
    for family, tensors in {
        "all": {"audio": audio, "video": video},
        "audio": {"audio": audio},
        "text": {},
    }.items():
        yield Question(
            family=family,
            clauses=("WS-STREAMING-12",),
            arguments={"text": [[72, 258, 258], [105, 46, 257], [258, 258, 258]], "dtype": dtype},
            tensors=tensors,
        )


def _slice_payloads(dtype: DType) -> Iterator[Question]:
    for family, layers, heads in (
        ("whole", [0, 2], [0, 3]),
        ("last-layer", [1, 2], [0, 3]),
        ("middle-head", [0, 2], [1, 2]),
        ("one", [1, 2], [2, 3]),
    ):
        yield Question(
            family=family,
            clauses=("WS-EXCHANGE-4",),
            arguments={"layers": layers, "heads": heads, "dtype": dtype},
            tensors=_cache("payload", dtype, CELLS[3:9]),
        )


def _latents_payloads(dtype: DType) -> Iterator[Question]:
    audio, video = drawn("z/audio", (4, 7), dtype), drawn("z/video", (5, 2, 3), dtype)
    # Neither the sign of a zero gets lost nor what is least and largest in the dtype.
    edges = audio.copy()
    edges.reshape(-1)[:4] = (-0.0, 0.0, *EDGES.get(dtype, (2.0**-126, -(2.0**127))))
    for family, tensors in {
        "both": {"audio": audio, "video": video},
        "audio": {"audio": audio},
        "video": {"video": video},
        "edges": {"audio": edges},
    }.items():
        arguments = {"dtype": dtype}
        clauses = ("WS-EXCHANGE-4",)
        yield Question(family=family, clauses=clauses, arguments=arguments, tensors=tensors)


def _slice_digests(_: DType) -> Iterator[Question]:
    def part(layers: list[int], heads: list[int], name: str) -> dict[str, Any]:
        digest = hashlib.sha256(name.encode()).hexdigest()
        return {"layers": layers, "heads": heads, "digest": digest}

    for family, parts in {
        "one": [part([0, 3], [0, 2], "a")],
        "out-of-order": [
            part([10, 12], [0, 1], "a"), part([2, 10], [1, 2], "b"),
            part([2, 10], [0, 1], "c"), part([0, 2], [0, 2], "d"), part([10, 12], [1, 2], "e"),
        ],
    }.items():  # fmt: skip
        arguments = {"parts": parts}
        yield Question(family=family, clauses=("WS-EXCHANGE-5",), arguments=arguments)


def _headers(_: DType) -> Iterator[Question]:
    tokens = {"P": 5, "O": 13, "L": 4, "Z": 10}
    for schedule in ("overlapped", "sequential"):
        for unit, snapshot in (
            (-1, True),
            (0, False),
            (1, False),
            (7, False),
            (4, True),
            (0, True),
        ):
            for clause, results in (
                ("WS-EXCHANGE-3", ("segments", "lengths")),
                ("WS-EXCHANGE-4", ("byte_count",)),
            ):
                kind = "snapshot" if snapshot else "slice"
                yield Question(
                    family=f"{schedule}-{kind}{unit}-{results[-1]}",
                    clauses=(clause,),
                    arguments={
                        "schedule": schedule,
                        "unit": unit,
                        "snapshot": snapshot,
                        "tokens": tokens,
                        "layers": [1, 3],
                        "heads": [0, 2],
                        "head_dim": 6,
                        "dtype": "bfloat16" if unit % 2 else "float32",
                    },
                    results=results,
                )
    # Bytes and tokens that 32 bits do not hold.
    for clause, results in (
        ("WS-EXCHANGE-3", ("segments", "lengths")),
        ("WS-EXCHANGE-4", ("byte_count",)),
    ):
        yield Question(
            family=f"large-{results[-1]}",
            clauses=(clause,),
            arguments={
                "schedule": "overlapped",
                "unit": 3,
                "snapshot": True,
                "tokens": {"P": 2**32 + 5, "O": 13, "L": 4, "Z": 10},
                "layers": [1, 3],
                "heads": [0, 2],
                "head_dim": 6,
                "dtype": "float32",
            },
            results=results,
        )


def _lines(_: DType) -> Iterator[Question]:
    ack = {"session": "s:1", "kind": "slice-ack", "version": 1, "unit": 12, "epoch": 0}
    ack |= {"kv_len": 345, "digest": "0f" * 32}
    close = {"kind": "close", "version": 1, "session": "a", "epoch": -1}
    for family, message in {
        "ack": ack,
        "close": {**close, "reason": ""},
        "quoted": {**close, "reason": 'slice 3: got "P", allowed: O \\ L'},
        "left-as-they-are": {**close, "reason": "a/b <c> & 'd' `e`"},
        "short-forms": {**close, "reason": "\b\f\r\n\x00\x1f"},
        "other-letters": {**close, "reason": "zu lang: λ ≥ 2, \u2028\t\x7f\U0001f600"},
    }.items():
        arguments = {"message": message}
        yield Question(family=family, clauses=("WS-EXCHANGE-14",), arguments=arguments)


KV: Final = "rows int64 [n, 8], keys, values [layers, kv_heads, n, head_dim]"
OPS: Final = (
    Op(name="streaming.kv_digest", signature=f"up_to_unit, dtype; {KV} -> sha256 uint8 [32]",
       formula=kv_digest, questions=_kv_digests, tolerance="A", oracle="analytic"),
    Op(name="streaming.output_digest", signature="text [units][ids], dtype; audio [units, samples],"
       " video [units, ...], each may be absent -> sha256 uint8 [32]", formula=output_digest,
       questions=_output_digests, tolerance="A", oracle="analytic"),
    Op(name="exchange.slice_payload", signature=f"layers [2], heads [2] (half-open), dtype; {KV}"
       " of all layers and heads -> payload uint8 [bytes]", formula=slice_payload,
       questions=_slice_payloads, tolerance="A", oracle="analytic"),
    Op(name="exchange.latents_payload", signature="dtype; audio [4, C_a], video [C_v, rows, cols],"
       " each may be absent -> payload uint8 [bytes]", formula=latents_payload,
       questions=_latents_payloads, tolerance="A", oracle="analytic"),
    Op(name="exchange.slice_digest", signature="parts [{layers [2], heads [2], digest}] ->"
       " sha256 uint8 [32]", formula=slice_digest, questions=_slice_digests, tolerance="A",
       oracle="analytic", per_dtype=False),
    Op(name="exchange.header", signature="schedule, unit, snapshot, tokens {P, O, L, Z of a unit},"
       " layers [2], heads [2], head_dim, dtype -> segments int64 [s, 2] (number of the segment,"
       " tokens), lengths int64 [3] (token_count, kv_len_before, kv_len_after), byte_count int64"
       " []", formula=header, questions=_headers, tolerance="A", oracle="analytic",
       per_dtype=False),
    Op(name="exchange.line", signature="message {...} -> line uint8 [bytes], the line feed"
       " included", formula=line, questions=_lines, tolerance="A", oracle="analytic",
       per_dtype=False),
)  # fmt: skip
