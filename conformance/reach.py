"""What a change of one input can move: reachability through the token table.

The expectation of every perturbation check is worked out here, from `spec.layout` and
`spec.visibility` alone. A pass of n layers carries a change from a key to every query that sees
it, one hop a layer; the entry of a token in layer l is made of what reached it in l hops. Encoders
and solver are the other ways: a latent carries what reached its velocity, a committed response
what reached its latents. Two bounds are kept: what *must* move (every hop certain) and what *may*
(also where an encoder's receptive field, which ends somewhere in earlier units, could have
reached). Source: WS-VISIBILITY-1 to 9, WS-LAYOUT-4, WS-FLOW-4.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Literal

import attrs
import numpy as np
import numpy.typing as npt

from conformance.protocol import Array
from spec import clock
from spec.layout import (
    Layout,
    Row,
    language_rows,
    observation_rows,
    prefill_rows,
    response_rows,
)
from spec.visibility import visible

Bits = npt.NDArray[np.bool_]
Site = Literal["audio", "video", "text", "agent_text", "noise_audio", "noise_video", "prompt"]
COLUMNS: Final = ("unit", "segment", "modality", "slot", "pad", "noisy", "step")


FRAMES_SEEN: Final = 34
"""How many frames, up to its own last one, the tokens of a unit see (WS-ENCODER-9)."""


def ticks_seen(layout: Layout) -> int:
    """Ticks after its own that a user audio sample may reach (WS-ENCODER-9)."""
    sizes = layout.preset.encoders
    frames = clock.USER_SAMPLES_PER_TICK // sizes.mel_hop
    samples = sizes.mel_window + (2 + 2 * frames - 1) * sizes.mel_hop
    return -(-(samples + 4 * clock.USER_SAMPLES_PER_TICK) // clock.USER_SAMPLES_PER_TICK)


@attrs.frozen(kw_only=True)
class Place:
    """One token's input: which kind, in which unit, at which place of it (tick, patch or slot)."""

    site: Site
    unit: int
    index: int


@attrs.frozen(eq=False)
class Columns:
    """Rows as arrays, for `spec.visibility.visible`."""

    unit: Array
    segment: Array
    modality: Array
    slot: Array
    pad: Array
    noisy: Array
    step: Array

    @classmethod
    def of(cls, rows: Sequence[Row], axis: Literal["query", "key"]) -> Columns:
        columns = [np.array([getattr(row, name) for row in rows], np.int64) for name in COLUMNS]
        return cls(*(c[:, None] if axis == "query" else c[None, :] for c in columns))


@attrs.frozen(kw_only=True, eq=False)
class Reach:
    """What a change reaches.

    ``entries[l]``, l = 0 ... layers − 1: the cache entries of layer l, one bit for each of
    ``rows``. ``logits[k]``: one bit a text slot. ``audio_latents[k]``, ``video_latents[k]``: one
    bit a token of the response.
    """

    rows: tuple[Row, ...]
    entries: Bits
    logits: tuple[Bits, ...]
    audio_latents: tuple[Bits, ...]
    video_latents: tuple[Bits, ...]


class Session:
    """The token table of a session of some units, and how changes spread in it.

    Args:
        user_tokens: how many user text slots are filled, unit by unit.
        see: the visibility predicate; another one says what a wrong port would do.
    """

    def __init__(
        self,
        layout: Layout,
        lag: int,
        user_tokens: Sequence[int],
        see: Callable[[Columns, Columns, int], Array] = visible,
    ) -> None:
        self.layout, self.lag, self.see = layout, lag, see
        self.layers = layout.preset.backbone.n_layers
        self.user_tokens = tuple(user_tokens)
        self.units = len(self.user_tokens)

    def reach(self, place: Place, far: bool) -> Reach:
        """What a change at ``place`` may reach (``far``), or must."""
        layout = self.layout
        rows: list[Row] = []
        hidden = np.zeros((self.layers + 1, 0), bool)
        logits, sound, picture = [], [], []

        def run(block: Sequence[Row], embedded: Bits, keep: bool = True) -> Bits:
            nonlocal hidden
            mine = _spread(self._sees(block, rows), self._sees(block, block), hidden, embedded)
            if keep:
                rows.extend(block)
                hidden = np.concatenate((hidden, mine), axis=1)
            return np.asarray(mine[-1])

        prefill = prefill_rows(layout)
        said = run(prefill, _at(place, "prompt", -1, len(prefill), 1))[-1]
        for k in range(self.units):
            run(observation_rows(layout, k, self.user_tokens[k]), self._observed(place, k, far))
            states = layout.state_slots
            words = _at(place, "agent_text", k, layout.agent_text_slots, 0)
            language = language_rows(layout, k)
            if states:
                said = run(language[:states], np.zeros(states, bool))[-1]
            heads = []
            for i, row in enumerate(language[states:]):
                heads.append(said)
                said = run((row,), words[i : i + 1])[-1]
            logits.append(np.array(heads, bool))
            z = self._solved(place, k, run)
            run(response_rows(layout, k), z)
            sound.append(z[: layout.agent_audio_slots])
            picture.append(z[layout.agent_audio_slots :])
        return Reach(
            rows=tuple(rows),
            entries=hidden[:-1],
            logits=tuple(logits),
            audio_latents=tuple(sound),
            video_latents=tuple(picture),
        )

    def _solved(
        self, place: Place, k: int, run: Callable[[Sequence[Row], Bits, bool], Bits]
    ) -> Bits:
        """Which latents of unit k the change reaches, step by step of the solver."""
        layout = self.layout
        sound = _at(place, "noise_audio", k, layout.agent_audio_slots, 0)
        picture = _at(place, "noise_video", k, layout.agent_video_slots, 0)
        z = np.concatenate((sound, picture))
        for step in range(layout.preset.solver_steps):
            noisy = response_rows(layout, k, noisy=True, step=step, tau=1.0)
            z = z | run(noisy, z, False)
        return z

    def _observed(self, place: Place, k: int, far: bool) -> Bits:
        """Which embeddings of O_k the change reaches through the encoders."""
        layout = self.layout
        video = np.zeros(layout.user_video_slots, bool)
        audio = np.zeros(layout.user_audio_slots, bool)
        later = k - place.unit
        if place.site == "video" and len(video) and later >= 0:
            video[:] = far and 4 * later <= FRAMES_SEEN
            video[place.index] |= later == 0
        if place.site == "audio" and len(audio):
            ticks = np.arange(len(audio)) + 4 * later - place.index
            audio = (ticks >= 0) & (ticks <= ticks_seen(layout)) if far else ticks == 0
        words = _at(place, "text", k, layout.user_text_slots, 0)
        return np.concatenate((video, audio, words))

    def _sees(self, queries: Sequence[Row], keys: Sequence[Row]) -> Bits:
        if not keys:
            return np.zeros((len(queries), 0), bool)
        seen = self.see(Columns.of(queries, "query"), Columns.of(keys, "key"), self.lag)
        return np.asarray(seen, bool)


def _at(place: Place, site: Site, unit: int, size: int, offset: int) -> Bits:
    """One bit, where ``place`` is in this unit's slots; ``offset`` slots stand before them."""
    bits = np.zeros(size, bool)
    if place.site == site and place.unit == unit:
        bits[place.index + offset] = True
    return bits


def _spread(past: Bits, own: Bits, hidden: Bits, embedded: Bits) -> Bits:
    """The states of a block after 0, 1, … layers: each takes in what it sees in the one before."""
    states = [embedded]
    for layer in range(len(hidden) - 1):
        before = states[-1]
        from_past = (past & hidden[layer]).any(axis=1)
        states.append(before | from_past | (own & before).any(axis=1))
    return np.stack(states)
