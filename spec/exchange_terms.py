"""The terms of one KV exchange: the sizes both sides agree on, and the arithmetic on them.

The machines know nothing of layouts or tensors; everything they need to judge a header is here.
Source: design §8, §9 (CHOICE); the two schedules are PAPER Eq. (1) and §2.4.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Final

import attrs

from spec import clock
from spec.errors import ExchangeError
from spec.layout import PREFILL_UNIT
from spec.session import SessionConfig
from spec.sizes import LAG_OF_SCHEDULE, Schedule

PROTOCOL_VERSION: Final = 1

DTYPE_BYTES: Final[Mapping[str, int]] = {"bfloat16": 2, "float16": 2, "float32": 4, "float64": 8}

ROW_COLUMNS: Final = ("unit", "segment", "modality", "slot", "t", "h", "w", "pad")
"""Columns of the row table at the head of a slice payload, int64 each (WS-EXCHANGE-4)."""

Range = tuple[int, int]
"""Half-open [a, b)."""

Segments = tuple[tuple[str, int], ...]
"""(segment name, tokens), in payload order."""

SESSION_NAME: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}")
SHA256_HEX: Final = re.compile(r"[0-9a-f]{64}")


def require(ok: bool, what: str, value: object, allowed: str) -> None:
    """Raise `ExchangeError` unless ``ok``."""
    if not ok:
        raise ExchangeError(what, value, allowed)


@attrs.frozen(kw_only=True, cache_hash=True)
class Terms:
    """What thinker and performer must agree on before the first slice (WS-EXCHANGE-1).

    ``window`` is how many slices may be ahead of the last accepted latents: exactly 1 in
    ``sequential``, where slice k+1 holds Z_k, and at least 2 in ``overlapped``. Token counts are
    slots, so they are the same in every unit; ``latent_values`` counts the numbers of one z_k.

    Raises:
        ExchangeError: a value outside its domain.
    """

    session: str
    schedule: Schedule
    window: int
    layers: int
    kv_heads: int
    head_dim: int
    dtype: str
    prefill_tokens: int
    observation_tokens: int
    language_tokens: int
    response_tokens: int
    latent_values: int

    def __attrs_post_init__(self) -> None:
        require(
            SESSION_NAME.fullmatch(self.session) is not None,
            "session",
            self.session,
            "1 to 64 of A-Z a-z 0-9 . _ : -",
        )
        require(
            self.schedule in LAG_OF_SCHEDULE,
            "schedule",
            self.schedule,
            ", ".join(sorted(LAG_OF_SCHEDULE)),
        )
        require(self.dtype in DTYPE_BYTES, "dtype", self.dtype, ", ".join(sorted(DTYPE_BYTES)))
        for name in ("layers", "kv_heads", "head_dim", "prefill_tokens"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("observation_tokens", "language_tokens", "response_tokens", "latent_values"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "at least 0")
        require(
            self.window == 1 if self.schedule == "sequential" else self.window >= 2,
            f"window of a {self.schedule} session",
            self.window,
            "1 when sequential, at least 2 when overlapped",
        )


def terms_of(config: SessionConfig, session: str, dtype: str) -> Terms:
    """The terms of a session of this project's model, with the smallest window: 1 + λ."""
    layout, preset = config.layout, config.preset
    audio = clock.TICKS_PER_UNIT * preset.audio_codec.latent_channels
    video = preset.video_codec.latent_channels * preset.latent_height * preset.latent_width
    return Terms(
        session=session,
        schedule=config.schedule,
        window=1 + config.lag,
        layers=preset.backbone.n_layers,
        kv_heads=preset.backbone.n_kv_heads,
        head_dim=preset.backbone.head_dim,
        dtype=dtype,
        prefill_tokens=layout.prefill_tokens,
        observation_tokens=layout.observation_slots,
        language_tokens=layout.language_slots,
        response_tokens=layout.response_slots,
        latent_values=audio * config.modalities.agent_audio + video * config.modalities.agent_video,
    )


def slice_segments(terms: Terms, unit: int, snapshot: bool) -> Segments:
    """Segment list of slice ``unit`` (WS-EXCHANGE-3).

    A snapshot, the first slice of an epoch, holds everything up to slice ``unit`` and, when
    overlapped, the committed responses up to z_unit; for unit -1 that is the prefill alone.
    """
    return _snapshot_segments(terms, unit) if snapshot else _unit_segments(terms, unit > 0)


def _snapshot_segments(terms: Terms, unit: int) -> Segments:
    if unit == PREFILL_UNIT:
        return (("P", terms.prefill_tokens),)
    # Sequential slice k holds Z_{k-1}, so the stream up to slice k has no Z_k yet.
    responses = unit if terms.schedule == "sequential" else unit + 1
    return (
        ("P", terms.prefill_tokens),
        ("O", (unit + 1) * terms.observation_tokens),
        ("L", (unit + 1) * terms.language_tokens),
        ("Z", responses * terms.response_tokens),
    )


@functools.lru_cache(maxsize=1024)
def _unit_segments(terms: Terms, follows: bool) -> Segments:
    own = (("O", terms.observation_tokens), ("L", terms.language_tokens))
    if terms.schedule == "sequential" and follows:
        return (("Z", terms.response_tokens), *own)
    return own


def stream_tokens(terms: Terms, segments: Segments) -> int:
    """Tokens of ``segments`` that ``kv_len`` counts: a response that is not part of the slice
    stream, as in an overlapped snapshot, is tracked by its unit instead (WS-EXCHANGE-3)."""
    in_stream = "POLZ" if terms.schedule == "sequential" else "POL"
    return sum(tokens for name, tokens in segments if name in in_stream)


def kv_len_after(terms: Terms, unit: int) -> int:
    """Length of the slice stream once slice ``unit`` is appended (WS-EXCHANGE-3)."""
    units = unit + 1
    length = terms.prefill_tokens + units * (terms.observation_tokens + terms.language_tokens)
    if terms.schedule == "sequential":
        length += max(unit, 0) * terms.response_tokens
    return length


def slice_bytes(terms: Terms, tokens: int, layers: int, heads: int) -> int:
    """Bytes of a slice payload: the row table, then K, then V (WS-EXCHANGE-4)."""
    rows = tokens * len(ROW_COLUMNS) * 8
    return rows + 2 * layers * heads * tokens * terms.head_dim * DTYPE_BYTES[terms.dtype]


def latents_bytes(terms: Terms) -> int:
    """Bytes of a latents payload (WS-EXCHANGE-4)."""
    return terms.latent_values * DTYPE_BYTES[terms.dtype]


@attrs.frozen(slots=False)
class Part:
    """One shard of a slice: its layers, its KV heads, the SHA-256 of its payload in hex
    (WS-EXCHANGE-5)."""

    layers: Range
    heads: Range
    digest: str


def whole(terms: Terms, digest: str) -> tuple[Part, ...]:
    """The unsharded slice: one part with every layer and head."""
    return (Part((0, terms.layers), (0, terms.kv_heads), digest),)


def overlap(a: Part, b: Part) -> bool:
    """True where two parts share a layer of a head (WS-EXCHANGE-5)."""
    return (
        max(a.layers[0], b.layers[0]) < min(a.layers[1], b.layers[1])
        and max(a.heads[0], b.heads[0]) < min(a.heads[1], b.heads[1])
    )  # fmt: skip


def sealed(terms: Terms, parts: Iterable[Part]) -> bool:
    """True when parts that do not overlap hold every layer of every head (WS-EXCHANGE-5)."""
    area = sum((p.layers[1] - p.layers[0]) * (p.heads[1] - p.heads[0]) for p in parts)
    return area == terms.layers * terms.kv_heads


def check_parts(terms: Terms, parts: tuple[Part, ...]) -> None:
    """Refuse shards that do not tile the slice (WS-EXCHANGE-5).

    Raises:
        ExchangeError: a part out of range, two that overlap, a missing layer or head.
    """
    for part in parts:
        inside = (
            0 <= part.layers[0] < part.layers[1] <= terms.layers
            and 0 <= part.heads[0] < part.heads[1] <= terms.kv_heads
        )
        require(inside, "part", part, f"inside {terms.layers} layers x {terms.kv_heads} heads")
    if len(parts) == 1 and sealed(terms, parts):
        return
    in_order = sorted(parts, key=lambda part: (part.layers, part.heads))
    disjoint = not any(overlap(a, b) for i, a in enumerate(in_order) for b in in_order[i + 1 :])
    require(
        disjoint and sealed(terms, parts),
        "parts of a slice",
        [(p.layers, p.heads) for p in parts],
        f"every one of {terms.layers} layers x {terms.kv_heads} heads exactly once",
    )


def slice_digest(parts: Iterable[Part]) -> str:
    """Digest of a whole slice, whatever order its parts came in (WS-EXCHANGE-5).

    SHA-256, in hex, of one line ``layer_a layer_b head_a head_b digest`` a part, in ascending
    order, each ended by a line feed.
    """
    return _slice_digest(tuple(parts))


@functools.lru_cache(maxsize=32)
def _slice_digest(parts: tuple[Part, ...]) -> str:
    # Remembered for the newest slices: in a simulation both sides ask for the same.
    keys = sorted((*part.layers, *part.heads, part.digest) for part in parts)
    lines = "".join(f"{a} {b} {c} {d} {digest}\n" for a, b, c, d, digest in keys)
    return hashlib.sha256(lines.encode()).hexdigest()
