"""The closed forms, answered by `spec.latency` and `spec.cost` (WS-CONFORMANCE-16)."""

from __future__ import annotations

from typing import Final

import attrs
import torch
from torch import Tensor

from conformance.ports.math_layout import layout_of
from conformance.ports.math_numbers import Answer, Arguments, Results, Tensors
from spec import cost, latency
from spec.session import SessionConfig

STAGES: Final = tuple(field.name for field in attrs.fields(latency.StageTimes))


def _int(value: int) -> Tensor:
    return torch.tensor(value, dtype=torch.int64)


def figures(a: Arguments, _: Tensors) -> Results:
    stages = latency.StageTimes(**{name: a[name] for name in STAGES})
    path = latency.critical_path_ns(stages)
    return {
        "critical_path": _int(path),
        "cycle": _int(latency.cycle_ns(stages, a["schedule"])),
        "boundary": _int(latency.as_scheduled_ns(stages, "boundary")),
        "eager": _int(latency.as_scheduled_ns(stages, "eager")),
        "total": _int(latency.total_ns(path, a["network"])),
    }


def capture_wait(_: Arguments, t: Tensors) -> Results:
    waits = [latency.capture_wait_ns(offset) for offset in t["offsets_ns"].tolist()]
    return {"wait_ns": torch.tensor(waits, dtype=torch.int64)}


def session_bytes(a: Arguments, _: Tensors) -> Results:
    plan = layout_of(a)
    backbone = attrs.evolve(
        plan.preset.backbone,
        n_layers=a["n_layers"],
        n_heads=a["n_kv_heads"],
        n_kv_heads=a["n_kv_heads"],
        head_dim=a["head_dim"],
        mrope_sections=(a["head_dim"] // 2, 0, 0),
    )
    codecs = {
        name: attrs.evolve(getattr(plan.preset, name), latent_channels=a[channels])
        for name, channels in (("audio_codec", "audio_channels"), ("video_codec", "video_channels"))
    }
    config = SessionConfig(
        preset=attrs.evolve(plan.preset, backbone=backbone, **codecs),
        schedule=a["schedule"],
        modalities=plan.modalities,
        prompt=(0,) * (a["prompt_tokens"] - 1),
        identity=plan.identity,
    )
    return {
        "cache": _int(cost.kv_bytes(config, a["units"], a["element"])),
        "slice": _int(cost.slice_bytes(config, a["element"])),
        "latents": _int(cost.latents_bytes(config, a["element"])),
    }


ANSWERS: Final[dict[str, Answer]] = {
    "latency.figures": figures,
    "latency.capture_wait": capture_wait,
    "cost.session_bytes": session_bytes,
}
