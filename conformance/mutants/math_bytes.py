"""Ports that choose, order, count or round wrongly: text, digests, payloads, media."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any, Final

import attrs
import numpy as np
import torch
from torch import Tensor

from conformance.mutants.math_port import wrong
from optimized import slice_payload, wire
from reference import byte_text, digest, kv_cache, sampling, text_queue, thinker
from reference.media import frames, resample, writer
from reference.text_queue import TextQueue
from spec import exchange_headers, exchange_terms
from spec.exchange_json import to_json

CANDIDATES = sampling.candidates
NEXT = thinker.next_token
PACK = slice_payload.pack_slice
PACK_LATENTS = slice_payload.pack_latents
RESAMPLE = resample.resample
HOLD = frames.hold
DECODE = byte_text.decode
DELAY = resample.delay


def highest_id(logits: Tensor) -> int:
    """The last of equals."""
    return len(logits) - 1 - int(torch.argmax(logits.flip(0)))


def nucleus_without_last(logits: Tensor, rule: Any) -> tuple[Tensor, Tensor]:
    """The token that reaches top_p is left out."""
    ids, p = CANDIDATES(logits, attrs.evolve(rule, top_p=1.0))
    kept = max(1, int((torch.cumsum(p, dim=0) < rule.top_p).sum())) if rule.top_p < 1 else len(p)
    return ids[:kept], p[:kept] / p[:kept].sum()


def nucleus_before_top_k(logits: Tensor, rule: Any) -> tuple[Tensor, Tensor]:
    ids, p = CANDIDATES(logits, attrs.evolve(rule, top_k=0))
    kept = rule.top_k or len(p)
    return ids[:kept], p[:kept] / p[:kept].sum()


def cool_after_nucleus(logits: Tensor, rule: Any) -> tuple[Tensor, Tensor]:
    """The nucleus is cut at temperature 1."""
    ids, _ = CANDIDATES(logits, attrs.evolve(rule, temperature=1.0))
    p = torch.softmax(logits.double()[ids] / rule.temperature, dim=0)
    return ids, p


def not_divided(logits: Tensor, rule: Any, u: float) -> int:
    """u is not scaled to what the cut left."""
    ids, p = CANDIDATES(logits, attrs.evolve(rule, top_k=0, top_p=1.0))
    kept = len(CANDIDATES(logits, rule)[0])
    passed = int((torch.cumsum(p, dim=0) <= u).sum())
    return int(ids[min(passed, kept - 1)])


def by_id(logits: Tensor, rule: Any, u: float) -> int:
    """The cumulative sum runs over ids, not over candidates."""
    ids, p = CANDIDATES(logits, rule)
    order = torch.argsort(ids)
    return int(ids[order][int((torch.cumsum(p[order], dim=0) <= u).sum().clamp(max=len(p) - 1))])


def one_number_a_unit(config: Any, said: Sequence[int], logits: Tensor, uniform: Any) -> int:
    return NEXT(config, said, logits, None if uniform is None else uniform[:1].expand(9))


def held_for_one_slot(config: Any, said: Sequence[int], logits: Tensor, uniform: Any) -> int:
    """Only the slot right after `<eos>` is held."""
    return NEXT(config, said[-1:] if len(said) > 1 else said, logits, uniform)


def newest_first(config: Any, queue: TextQueue) -> tuple[tuple[int, ...], TextQueue]:
    slots = config.layout.user_text_slots
    return queue.waiting[-slots:], TextQueue(queue.waiting[:-slots])


def oldest_dropped(_: Any, queue: TextQueue, ids: Sequence[int]) -> TextQueue:
    """What is too much pushes out what has waited longest."""
    return TextQueue((*queue.waiting, *ids)[-4096:])


def piece_by_piece(ids: Sequence[int]) -> str:
    """Bytes on either side of a special id are decoded apart."""
    pieces: list[list[int]] = [[]]
    for i in ids:
        if i < byte_text.BYTES:
            pieces[-1].append(i)
        else:
            pieces.append([])
    return "".join(bytes(piece).decode("utf-8", errors="replace") for piece in pieces)


def slot_before_segment(table: Any) -> Tensor:
    return torch.argsort((table.unit << 22) + (table.slot << 2) + table.segment)


def values_first(cache: Any, up_to_unit: int) -> str:
    swapped = attrs.evolve(cache, k=cache.v, v=cache.k)
    return DIGEST(swapped, up_to_unit)


DIGEST = kv_cache.digest


def ids_of_32_bits(self: Any, agent: Any) -> None:
    self._sha.update(np.asarray(agent.text, dtype="<i4").tobytes())
    for tensor in (agent.audio, agent.video):
        if tensor is not None:
            self._sha.update(tensor.contiguous().view(torch.uint8).numpy().tobytes())


def by_layer(rows: Any, k: Any, v: Any, dtype: str) -> bytes:
    """Keys and values alternate, a layer at a time."""
    pairs = np.stack((k, v), axis=1).reshape(-1, *k.shape[1:])
    half = len(pairs) // 2
    return PACK(rows, pairs[:half], pairs[half:], dtype)


def big_endian(rows: Any, k: Any, v: Any, dtype: str) -> bytes:
    numbers = (x.astype(x.dtype.newbyteorder(">")).tobytes() for x in (rows, k, v))
    return b"".join(numbers) + PACK(rows[:0], k[:, :, :0], v[:, :, :0], dtype)


def as_they_came(parts: Any) -> str:
    lines = "".join(
        f"{p.layers[0]} {p.layers[1]} {p.heads[0]} {p.heads[1]} {p.digest}\n" for p in parts
    )
    return hashlib.sha256(lines.encode()).hexdigest()


def responses_counted(_: Any, segments: Any) -> int:
    """Committed responses of a snapshot are counted as stream."""
    return sum(tokens for _, tokens in segments)


def rows_forgotten(terms: Any, tokens: int, layers: int, heads: int) -> int:
    return SLICE_BYTES(terms, tokens, layers, heads) - tokens * 64


SLICE_BYTES = exchange_terms.slice_bytes


def spaced(message: Any, payload: bytes = b"") -> bytes:
    text = json.dumps(to_json(message), sort_keys=True).encode()
    return hashlib.sha256(text).hexdigest().encode() + b" " + text + b"\n" + payload


def by_128(pictures: Any) -> Tensor:
    return torch.as_tensor(SIGNAL(pictures) * 127.5 + 127.5) / 128 - 1


SIGNAL = frames.to_signal


def in_float32(video: Tensor) -> Any:
    scaled = torch.round((video.float().clamp(-1, 1) + 1) * 127.5)
    return scaled.permute(0, 2, 3, 1).to(torch.uint8).contiguous().numpy()


def cut_off(video: Tensor) -> Any:
    """The fraction is dropped."""
    scaled = (video.double().clamp(-1, 1) + 1) * 127.5
    return scaled.permute(0, 2, 3, 1).to(torch.uint8).contiguous().numpy()


def not_clipped(audio: Tensor) -> Any:
    return audio.float().numpy()[None]


def at_its_start(tick: int) -> int:
    return tick * 40_000_000


def halves_down(value: Fraction) -> int:
    return -(-(2 * value.numerator - value.denominator) // (2 * value.denominator))


def without_roll_off(rate: int) -> Any:
    """The cutoff is the Nyquist rate itself."""
    reach = resample.half_taps(rate)
    phases = resample.TARGET_HZ // np.gcd(rate, resample.TARGET_HZ)
    offset = np.arange(1 - reach, reach + 1)[:, None] - np.arange(phases) / phases
    t = offset * min(rate, resample.TARGET_HZ) / rate
    window = np.where(np.abs(t) < 6, np.cos(np.pi * t / 12) ** 2, 0)
    return min(1.0, resample.TARGET_HZ / rate) * np.sinc(t) * window


def blocks_of_the_future(frames_in: Iterator[Any]) -> Iterator[Any]:
    """A frame that goes back in time is shown."""
    last = 0
    for frame in frames_in:
        last = max(last, frame.start_ns)
        yield attrs.evolve(frame, start_ns=last)


def by_the_one_before(source: Iterator[Any]) -> Iterator[Any]:
    """A frame is compared with the one read before it, which may have been left out."""
    before = newest = 0
    for frame in source:
        late, before = frame.start_ns < before, frame.start_ns
        newest = newest if late else max(newest, frame.start_ns)
        yield frame if late else attrs.evolve(frame, start_ns=newest)


def one_of_equals(source: Iterator[Any]) -> Iterator[Any]:
    """Of frames of one time the first is kept."""
    newest = None
    for frame in source:
        again = frame.start_ns == newest
        newest = frame.start_ns if newest is None else max(newest, frame.start_ns)
        yield attrs.evolve(frame, start_ns=newest - 1) if again else frame


def without_mark(ids: Sequence[int]) -> str:
    """A byte order mark at the beginning is no text."""
    return DECODE(ids).removeprefix("\ufeff")


def unsigned_zeros(audio: Any, video: Any, dtype: str) -> bytes:
    """Zeros lose their sign."""
    return PACK_LATENTS(
        None if audio is None else audio + 0.0, None if video is None else video + 0.0, dtype
    )


def unless_nothing_is_due(samples: Any, state: Any) -> Any:
    """Silence stands in the place of a piece that makes no output yet."""
    y, after = RESAMPLE(samples, state)
    if len(y) or state.rate == resample.TARGET_HZ:
        return y, after
    return RESAMPLE(np.zeros_like(samples), state)


def in_utf8(message: Any, payload: bytes = b"") -> bytes:
    """Letters that are not ASCII stand as they are."""
    text = json.dumps(
        to_json(message), sort_keys=True, separators=(",", ":"), ensure_ascii=False
    ).encode()
    return hashlib.sha256(text).hexdigest().encode() + b" " + text + b"\n" + payload


def slots_in_a_byte(table: Any) -> Tensor:
    """The sorting key has eight bits for the slot."""
    return torch.argsort((table.unit << 10) + (table.segment << 8) + (table.slot & 255))


def held_to_last_start(source: Iterator[Any]) -> Iterator[Any]:
    """The clip ends where its last frame begins."""
    yield from HOLD(attrs.evolve(frame, end_ns=frame.start_ns) for frame in source)


MUTANTS: Final = (
    wrong("clip-without-last-frame", "WS-MEDIA-2", "a clip ends where its last frame begins",
          (frames, "hold", held_to_last_start)),
    wrong("greedy-in-float32", "WS-STREAMING-7", "float64 logits are compared in float32",
          (thinker, "greedy", lambda logits: int(torch.argmax(logits.float())))),
    wrong("greedy-highest-id", "WS-STREAMING-7", "the last of equal logits is taken",
          (thinker, "greedy", highest_id)),
    wrong("nucleus-short", "WS-TEXT-2", "the token that reaches top_p is left out",
          (sampling, "candidates", nucleus_without_last)),
    wrong("nucleus-first", "WS-TEXT-2", "top_p is cut before top_k",
          (sampling, "candidates", nucleus_before_top_k)),
    wrong("temperature-late", "WS-TEXT-2", "the nucleus is cut at temperature 1",
          (sampling, "candidates", cool_after_nucleus)),
    wrong("draw-unscaled", "WS-TEXT-3", "u is not scaled to what is left",
          (sampling, "draw", not_divided)),
    wrong("draw-by-id", "WS-TEXT-3", "the sum runs over ids", (sampling, "draw", by_id)),
    wrong("one-number-a-unit", "WS-TEXT-1", "all slots of a unit share a number",
          (thinker, "next_token", one_number_a_unit)),
    wrong("held-for-one-slot", "WS-TEXT-6", "only the slot after <eos> is held",
          (thinker, "next_token", held_for_one_slot)),
    wrong("text-newest-first", "WS-TEXT-4", "the newest text is said first",
          (text_queue, "next_unit", newest_first)),
    wrong("text-pushed-out", "WS-TEXT-5", "too much text pushes out the oldest",
          (text_queue, "typed", oldest_dropped)),
    wrong("text-in-pieces", "WS-PRESETS-4", "a special id cuts a character in two",
          (byte_text, "decode", piece_by_piece)),
    wrong("kv-digest-slots-in-a-byte", "WS-STREAMING-6", "slots from 256 on are put among others",
          (kv_cache, "canonical_order", slots_in_a_byte)),
    wrong("kv-digest-by-slot", "WS-STREAMING-6", "entries are ordered by slot before segment",
          (kv_cache, "canonical_order", slot_before_segment)),
    wrong("kv-digest-values-first", "WS-STREAMING-6", "values are hashed before keys",
          (kv_cache, "digest", values_first)),
    wrong("output-ids-short", "WS-STREAMING-12", "ids are hashed with 32 bits",
          (digest.OutputDigest, "update", ids_of_32_bits)),
    wrong("payload-by-layer", "WS-EXCHANGE-4", "keys and values alternate by layer",
          (slice_payload, "pack_slice", by_layer)),
    wrong("payload-big-endian", "WS-EXCHANGE-4", "numbers are big-endian",
          (slice_payload, "pack_slice", big_endian)),
    wrong("video-before-audio", "WS-EXCHANGE-4", "video latents are sent first",
          (slice_payload, "pack_latents", lambda a, v, dtype: PACK_LATENTS(v, a, dtype))),
    wrong("bytes-without-rows", "WS-EXCHANGE-4", "the row table is not counted",
          (exchange_headers, "slice_bytes", rows_forgotten)),
    wrong("parts-as-they-came", "WS-EXCHANGE-5", "parts are digested in their order of arrival",
          (exchange_terms, "slice_digest", as_they_came)),
    wrong("snapshot-responses-counted", "WS-EXCHANGE-3", "responses are counted as stream",
          (exchange_headers, "stream_tokens", responses_counted)),
    wrong("temperature-floor", "WS-TEXT-2", "temperatures below 0.01 are 0.01",
          (sampling, "candidates", lambda logits, rule: CANDIDATES(
              logits, attrs.evolve(rule, temperature=max(rule.temperature, 0.01))))),
    wrong("line-in-utf8", "WS-EXCHANGE-14", "JSON is not escaped", (wire, "encode", in_utf8)),
    wrong("line-with-spaces", "WS-EXCHANGE-14", "JSON has spaces", (wire, "encode", spaced)),
    wrong("signal-by-128", "WS-MEDIA-5", "pixels are divided by 128",
          (frames, "to_signal", by_128)),
    wrong("pixels-in-float32", "WS-MEDIA-14", "pixels are rounded after float32 arithmetic",
          (writer, "to_pixels", in_float32)),
    wrong("pixels-cut-off", "WS-MEDIA-14", "pixels are rounded down",
          (writer, "to_pixels", cut_off)),
    wrong("samples-not-clipped", "WS-MEDIA-14", "samples are not clipped",
          (writer, "to_samples", not_clipped)),
    wrong("tick-shows-its-start", "WS-MEDIA-3", "a tick shows what there was when it began",
          (frames, "midpoint_ns", at_its_start)),
    wrong("back-in-time", "WS-MEDIA-3", "a frame that goes back in time is shown",
          (frames, "hold", lambda source: HOLD(blocks_of_the_future(source)))),
    wrong("late-frame-admits-next", "WS-MEDIA-3", "the frame after one that is left out is shown",
          (frames, "hold", lambda source: HOLD(by_the_one_before(source)))),
    wrong("one-of-equals-shown", "WS-MEDIA-3", "of frames of one time the first is shown",
          (frames, "hold", lambda source: HOLD(one_of_equals(source)))),
    wrong("decode-drops-mark", "WS-PRESETS-4", str(without_mark.__doc__),
          (byte_text, "decode", without_mark)),
    wrong("latents-unsigned-zeros", "WS-EXCHANGE-4", str(unsigned_zeros.__doc__),
          (slice_payload, "pack_latents", unsigned_zeros)),
    wrong("silent-piece-lost", "WS-MEDIA-6", "a piece that makes no output yet is lost",
          (resample, "resample", unless_nothing_is_due)),
    wrong("fit-rounds-down", "WS-MEDIA-4", "halves are rounded down",
          (frames, "_nearest", halves_down)),
    wrong("resample-full-band", "WS-MEDIA-6", "the roll-off is missing",
          (resample, "taps", without_roll_off)),
    wrong("resample-late", "WS-MEDIA-7", "the delay is a sample too long",
          (resample, "delay", lambda rate: DELAY(rate) + (rate != resample.TARGET_HZ))),
)  # fmt: skip
