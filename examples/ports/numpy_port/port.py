"""The commands of the protocol, whatever entrance they come through (WS-CONFORMANCE-1).

``read`` gives the array of a tensor reference. Arrays in an outcome stand where their references
belong; the entrance writes them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import parts
import recipe
from blocks import Array
from model import Model
from presets import PRESETS
from session import DTYPES, Refused, Session, known

Json = dict[str, Any]
Read = Callable[[Json], Array]

FEATURES = ["codec", "session", "load", "reset"]
HELLO = {
    "name": "numpy-port",
    "version": "2",
    "protocol": 1,
    "profiles": ["codec", "session"],
    "dtypes": DTYPES,
    "deterministic": True,
    "features": FEATURES,
    "exact_split": False,
}


class Port:
    """Sessions by name, ``s0`` first (WS-VECTORS-2)."""

    def __init__(self, read: Read) -> None:
        self.read = read
        self.sessions: dict[str, Session] = {}
        self.opened = 0
        self.commands: dict[str, Callable[[Json], Json]] = {
            "hello": lambda _: HELLO,
            "supports": lambda r: {"supported": r["feature"] in (*FEATURES, *DTYPES)},
            "load": self._load,
            "codec": lambda r: {"data": self._codec(r)},
            "open": self._open,
            "step": self._step,
            "finish": self._finish,
            "reset": self._reset,
            "close": self._close,
            "stop": lambda _: {},
        }

    def reply(self, request: Json) -> Json:
        """The reply to one request, arrays and all; what does not fit is refused."""
        command = request["command"]
        if command not in self.commands:
            outcome: Json = {"unsupported": {"feature": command}}
        else:
            try:
                known("weights", request.get("weights", "recipe"), ["recipe"])
                outcome = {"ok": self.commands[command](request)}
            except Refused as refused:
                outcome = {"error": {"kind": "refused", "message": str(refused)}}
        return {"id": request["id"], **outcome}

    def _named(self, request: Json) -> Session:
        known("session", request["session"], list(self.sessions))
        return self.sessions[request["session"]]

    def _open(self, request: Json) -> Json:
        session = Session(request)
        name = f"s{self.opened}"
        self.sessions[name] = session
        self.opened += 1
        return {"session": name}

    def _step(self, request: Json) -> Json:
        unit = dict(request["unit"])
        for name in ("audio", "video", "noise_audio", "noise_video"):
            unit[name] = None if unit[name] is None else self.read(unit[name])
        return {"outputs": [self._named(request).step(unit)]}

    def _finish(self, request: Json) -> Json:
        """Every unit is answered by its own step, so nothing is left."""
        self._named(request)
        return {"outputs": []}

    def _reset(self, request: Json) -> Json:
        self._named(request).reset()
        return {}

    def _close(self, request: Json) -> Json:
        self._named(request)
        del self.sessions[request["session"]]
        return {}

    def _load(self, request: Json) -> Json:
        """The digest of all weights that the parts and the model ask for (WS-RECIPE-7)."""
        known("preset", request["preset"], list(PRESETS))
        known("dtype", request["dtype"], DTYPES)
        preset = PRESETS[request["preset"]]
        recipe.asked.clear()
        for make, _, _ in parts.PARTS.values():
            make(preset, "float32")
        Model(preset, "float32")
        return {"digest": recipe.digest(recipe.asked)}

    def _codec(self, request: Json) -> Array:
        """The command of the profile codec (WS-CONFORMANCE-7)."""
        part, plan = request["part"], request["plan"]
        known("preset", request["preset"], list(PRESETS))
        known("part", part, list(parts.PARTS))
        known("dtype", request["dtype"], DTYPES)
        data, preset = self.read(request["data"]), PRESETS[request["preset"]]
        rest: tuple[int, ...] = {
            "video_codec.encode": (3, *preset.frame),
            "video_encoder": (3, *preset.frame),
            "video_codec.decode": (preset.video_latents, *preset.grid),
            "audio_codec.decode": (preset.audio_latents,),
        }.get(part, ())
        per_unit = parts.PARTS[part][2]
        steps = data.shape[0] if data.ndim else 0
        if data.shape[1:] != rest or steps == 0 or steps % per_unit:
            raise Refused(f"input of {part}", data.shape, f"units of {(per_unit, *rest)}")
        if plan and (min(plan) < 1 or sum(plan) * per_unit != steps):
            raise Refused("plan", plan, f"{steps // per_unit} units in all")
        if not np.isfinite(data).all():
            raise Refused(f"input of {part}", "NaN or infinity", "finite values")
        return parts.run(request["preset"], request["dtype"], part, plan, data)
