"""A session: unit after unit through encoders, Transformer, solver and decoders (WS-STREAMING).

One cache serves both roles, since the mask alone decides what is seen of it: with a lag of 1 the
observation and language of unit k do not see the response k - 1, whenever it was committed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import parts
from blocks import Array
from flow import Latents, solve
from model import L_TEXT, O_TEXT, P_TEXT, Model
from presets import PRESETS, SCHEDULES, Preset
from tokens import STATE, TEXT, Rows, Unit, prefill

DTYPES = ["float32", "float64"]


class Refused(Exception):  # noqa: N818 - a reply, not an error
    """The request does not fit; the message says why (WS-CONFORMANCE-4)."""

    def __init__(self, what: str, value: object, allowed: str) -> None:
        super().__init__(f"{what}: got {value!r}; allowed: {allowed}")


@cache
def model_of(preset: str, dtype: str) -> Model:
    """Models have no state, so all sessions share them."""
    return Model(PRESETS[preset], dtype)


def known(what: str, value: object, allowed: Sequence[str]) -> None:
    """Refuses a name that is not among ``allowed``."""
    if value not in allowed:
        raise Refused(what, value, ", ".join(allowed))


def ids_of(what: str, ids: Sequence[int], vocab: int) -> None:
    """Refuses ids outside the vocabulary."""
    for token in ids:
        if not 0 <= token < vocab:
            raise Refused(what, token, f"ids 0 to {vocab - 1}")


class Session:
    """Opened by the members of ``open`` (WS-SESSION-1)."""

    def __init__(self, request: dict[str, Any]) -> None:
        known("preset", request["preset"], list(PRESETS))
        known("schedule", request["schedule"], list(SCHEDULES))
        known("dtype", request["dtype"], DTYPES)
        self.preset: Preset = PRESETS[request["preset"]]
        ids_of("prompt", request["prompt"], self.preset.vocab)
        self.has: dict[str, bool] = request["modalities"]
        self.dtype: str = request["dtype"]
        self.lag = SCHEDULES[request["schedule"]]
        self.prompt = [self.preset.bos, *request["prompt"]]
        self.model = model_of(request["preset"], self.dtype)
        self.reset()

    def reset(self) -> None:
        """As it was when opened: fresh codecs, and a cache of the prefill (WS-STREAMING-1)."""
        self.next = 0
        makers = {
            "user_audio": parts.hear,
            "user_video": parts.see,
            "agent_audio": parts.audio_decode,
            "agent_video": parts.video_decode,
        }
        self.parts = {
            name: make(self.preset, self.dtype) for name, make in makers.items() if self.has[name]
        }
        self.cache = self.model.backbone.nothing()
        prompt = self.model.text(self.prompt, P_TEXT)
        self.last = self._run(prompt, prefill(len(self.prompt)))[-1]

    def _run(self, x: Array, rows: Rows) -> Array:
        """Final hidden states of tokens that are history from now on."""
        hidden, entries = self.model.backbone(x, rows, self.cache, self.lag)
        self.cache = self.cache + entries
        return hidden

    def check(self, unit: dict[str, Any]) -> None:
        """Refuses a unit that does not fit, before anything of it is used (WS-CONFORMANCE-4)."""
        p, height, width = self.preset, *self.preset.frame
        if unit["unit"] != self.next:
            raise Refused("unit", unit["unit"], str(self.next))
        shapes: dict[str, tuple[str, tuple[int, ...]]] = {
            "audio": ("user_audio", (2560,)),
            "video": ("user_video", (4, 3, height, width)),
            "noise_audio": ("agent_audio", (4, p.audio_latents)),
            "noise_video": ("agent_video", (p.video_latents, *p.grid)),
        }
        for name, (modality, shape) in shapes.items():
            array = unit[name]
            if (array is not None) != self.has[modality]:
                raise Refused(name, "an array" if not self.has[modality] else None, "as opened")
            if array is not None and array.shape != shape:
                raise Refused(name, array.shape, str(shape))
            if array is not None and not np.isfinite(array).all():
                raise Refused(name, "NaN or infinity", "finite values")
        slots = p.user_text_slots if self.has["user_text"] else 0
        if len(unit["text"]) > slots:
            raise Refused("text", len(unit["text"]), f"at most {slots} tokens")
        forced = unit["agent_text"]
        slots = p.agent_text_slots if self.has["agent_text"] else 0
        if forced is not None and len(forced) != slots:
            raise Refused("agent_text", len(forced), f"{slots} tokens")
        ids_of("text", unit["text"], p.vocab)
        ids_of("agent_text", forced or (), p.vocab)

    def step(self, unit: dict[str, Any]) -> dict[str, Any]:
        """The answer to one unit, in *unit out* of the protocol."""
        self.check(unit)
        rows = Unit(self.preset, self.next, len(self.prompt))
        self._observe(unit, rows)
        text, logits = self._speak(unit["agent_text"], rows)
        z = self._respond(unit, rows)
        audio, video = z.get("audio"), z.get("video")
        answer = {
            "unit": self.next,
            "text": text,
            "logits": logits,
            "audio_latents": audio,
            "video_latents": video,
            "audio": None if audio is None else self.parts["agent_audio"](audio.T)[0],
            "video": None
            if video is None
            else np.moveaxis(self.parts["agent_video"](video[:, None]), 0, 1),
        }
        self.next += 1
        return answer

    def _observe(self, unit: dict[str, Any], rows: Unit) -> None:
        """O_k (WS-LAYOUT-3)."""
        x = [self.model.text(unit["text"], O_TEXT)]
        if self.has["user_audio"]:
            heard = self.parts["user_audio"](unit["audio"].astype(self.dtype)[None])
            x.insert(0, self.model.heard(heard.T))
        if self.has["user_video"]:
            seen = self.parts["user_video"](np.moveaxis(unit["video"].astype(self.dtype), 0, 1))
            x.insert(0, self.model.seen(seen.T))
        tokens = np.concatenate(x)
        if len(tokens):
            self._run(
                tokens,
                rows.observation(self.has["user_video"], self.has["user_audio"], len(unit["text"])),
            )

    def _speak(self, forced: Sequence[int] | None, rows: Unit) -> tuple[list[int], Array]:
        """L_k slot by slot: a token comes from the hidden state before it (WS-LAYOUT-4)."""
        p, said, logits = self.preset, list[int](), []
        if p.state_slots:
            self.last = self._run(self.model.state(), rows.language(STATE, 0, p.state_slots))[-1]
        for i in range(p.agent_text_slots if self.has["agent_text"] else 0):
            logits.append(self.model.logits(self.last))
            if forced is not None:
                said.append(forced[i])
            elif p.eos in said:  # WS-TEXT-6
                said.append(p.wait)
            else:
                said.append(int(np.argmax(logits[i])))  # the lowest id among equals
            token = self.model.text(said[i:], L_TEXT)
            self.last = self._run(token, rows.language(TEXT, p.state_slots + i, 1))[-1]
        return said, np.array(logits, self.dtype).reshape(-1, p.vocab)

    def _respond(self, unit: dict[str, Any], rows: Unit) -> Latents:
        """Z_k is solved over the cache and enters it once, clean (WS-STREAMING-3)."""
        z = {
            name: unit[f"noise_{name}"].astype(self.dtype)
            for name in ("audio", "video")
            if self.has[f"agent_{name}"]
        }
        if not z:
            return z
        response = rows.response("audio" in z, "video" in z)

        def velocity(z: Latents, tau: float) -> Latents:
            x = self.model.response(z, tau)
            hidden, _ = self.model.backbone(x, response, self.cache, self.lag)
            return self.model.velocity(hidden, z)

        z = solve(velocity, z, self.preset.solver_steps)
        self._run(self.model.response(z, 0.0), response)
        return z
