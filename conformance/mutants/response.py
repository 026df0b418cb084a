"""Ports that solve, commit or hand over a response wrongly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor

from conformance.mutants.patching import by_class, patched
from conformance.ports.reference import ReferencePort
from conformance.protocol import Array, UnitInput, UnitOutput
from reference import commit, flow, kv_cache, performer, thinker
from reference.kv_cache import KVEntries
from reference.model import WanStreamer
from reference.performer import PerformerState
from reference.thinker import ThinkerState
from reference.token_table import TokenTable
from reference.units import Latents
from spec.layout import response_rows
from spec.session import SessionConfig

EULER_STEP = flow.euler_step
TAU_GRID = flow.tau_grid
SOLVE = flow.solve
COMMIT = commit.commit_response
RECEIVE = performer.receive
THINKER_COMMIT = thinker.commit


def sign_flipped(z: Tensor, velocity: Tensor, tau: float, tau_next: float) -> Tensor:
    return EULER_STEP(z, -velocity, tau, tau_next)


def tau_upwards(steps: int) -> tuple[float, ...]:
    return tuple(reversed(TAU_GRID(steps)))


def shifted_twice(steps: int) -> tuple[float, ...]:
    grid = TAU_GRID(steps)
    for _ in range(2):
        grid = tuple(3 * tau / (1 + 2 * tau) for tau in grid)
    return grid


def one_step_less(steps: int) -> tuple[float, ...]:
    return TAU_GRID(max(1, steps - 1))


def noised_again(field: Any, noise: Latents, grid: tuple[float, ...]) -> Latents:
    """The last value snaps to a grid sigma of 0.005."""
    z = SOLVE(field, noise, grid)

    def mix(clean: Tensor | None, eps: Tensor | None) -> Tensor | None:
        if clean is None or eps is None:
            return None
        return flow.interpolate(clean, eps, 0.005)

    return Latents(audio=mix(z.audio, noise.audio), video=mix(z.video, noise.video))


def commit_of_last_noisy_step(
    model: WanStreamer, config: SessionConfig, unit: int, z: Latents, cache: KVEntries
) -> KVEntries:
    """Keys and values as of the last solver evaluation, τ = 1 / N, not of a clean pass."""
    table = TokenTable.of(response_rows(config.layout, unit))
    tau = torch.full_like(table.tau, 1 / config.preset.solver_steps)
    _, entries = model.run(model.embed_response(z, tau), table, cache, config.lag)
    return entries


def commit_with_context_noise(
    model: WanStreamer, config: SessionConfig, unit: int, z: Latents, cache: KVEntries
) -> KVEntries:
    """History carries half a per cent of noise that training never saw."""

    def spoil(x: Tensor | None) -> Tensor | None:
        if x is None:
            return None
        wave = torch.sin(1.7 * torch.arange(x.numel(), dtype=x.dtype)).reshape(x.shape)
        return 0.995 * x + 0.005 * wave

    return COMMIT(model, config, unit, Latents(audio=spoil(z.audio), video=spoil(z.video)), cache)


def captured_once(entries: KVEntries, state: PerformerState | None) -> PerformerState:
    """The first slice after the prefill stays; later ones are lost."""
    if state is not None and int(state.cache.table.unit.max()) >= 0:
        return state
    return RECEIVE(entries, state)


def without_response(
    model: WanStreamer, config: SessionConfig, unit: int, z: Latents, state: ThinkerState
) -> tuple[KVEntries, ThinkerState]:
    """The thinker commits for itself and sends no entries of Z."""
    _, state = THINKER_COMMIT(model, config, unit, z, state)
    return kv_cache.empty(model.preset.backbone, model.dtype), state


def never_committed(
    model: WanStreamer, config: SessionConfig, unit: int, z: Latents, state: ThinkerState
) -> tuple[KVEntries, ThinkerState]:
    """The thinker never learns what was shown."""
    entries, _ = THINKER_COMMIT(model, config, unit, z, state)
    return entries, state


def slice_in_half_precision(entries: KVEntries, state: PerformerState | None) -> PerformerState:
    """Slices lose bits on the way."""
    k, v = (x.to(torch.bfloat16).to(x.dtype) for x in (entries.k, entries.v))
    return RECEIVE(attrs.evolve(entries, k=k, v=v), state)


def slice_in_single_precision(entries: KVEntries, state: PerformerState | None) -> PerformerState:
    """Slices of a float64 session travel as float32."""
    k, v = (x.to(torch.float32).to(x.dtype) for x in (entries.k, entries.v))
    return RECEIVE(attrs.evolve(entries, k=k, v=v), state)


class OneUnitLate(ReferencePort):
    """Every response is that of the unit before; unit 0 answers with its own."""

    name = "response-one-unit-late"

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, UnitOutput] = {}

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        (output,) = super().step(session_id, unit)
        last = self._last.get(session_id, output)
        self._last[session_id] = output
        return [
            attrs.evolve(
                output,
                audio_latents=last.audio_latents,
                video_latents=last.video_latents,
                audio=last.audio,
                video=last.video,
            )
        ]


class NoiseAfterFirst(ReferencePort):
    """Unit 0 is right; from unit 1 on the streaming path gives out the noise it was fed."""

    name = "noise-from-unit-1"

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        (output,) = super().step(session_id, unit)
        if unit.unit == 0:
            return [output]
        return [
            attrs.evolve(output, audio_latents=unit.noise_audio, video_latents=unit.noise_video)
        ]


class OwnNoise(ReferencePort):
    """Draws its own noise and adds a little of it to what it is given."""

    name = "draws-own-noise"

    def __init__(self) -> None:
        super().__init__()
        self._generator = np.random.default_rng(1)

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        return super().step(
            session_id,
            attrs.evolve(
                unit,
                noise_audio=self._jittered(unit.noise_audio),
                noise_video=self._jittered(unit.noise_video),
            ),
        )

    def _jittered(self, noise: Array | None) -> Array | None:
        if noise is None:
            return None
        # Small on purpose: no tolerance would see it.
        drawn = 1e-6 * self._generator.standard_normal(noise.shape)
        return np.asarray((noise + drawn).astype(noise.dtype))


MUTANTS = (
    patched(
        "velocity-sign-flipped", "WS-FLOW-4", "the solver walks against the velocity",
        (flow, "euler_step", sign_flipped),
    ),
    patched(
        "tau-upwards", "WS-FLOW-4", "the solver runs from tau 0 to 1",
        (flow, "tau_grid", tau_upwards),
    ),
    patched(
        "tau-shifted-twice", "WS-FLOW-4", "the timestep shift is applied, and twice",
        (flow, "tau_grid", shifted_twice),
    ),
    patched(
        "one-solver-step-less", "WS-FLOW-4", "N - 1 solver steps",
        (flow, "tau_grid", one_step_less),
    ),
    patched(
        "response-noised-again", "WS-FLOW-6", "the solved latents get 0.5 % of noise back",
        (flow, "solve", noised_again),
    ),
    patched(
        "keys-of-last-noisy-step", "WS-STREAMING-3",
        "a response is committed as of the last solver step instead of a clean pass",
        (thinker, "commit_response", commit_of_last_noisy_step),
        (performer, "commit_response", commit_of_last_noisy_step),
    ),
    patched(
        "context-noise", "WS-VISIBILITY-9", "committed responses carry 0.5 % of noise",
        (thinker, "commit_response", commit_with_context_noise),
        (performer, "commit_response", commit_with_context_noise),
    ),
    patched(
        "kv-captured-once", "WS-STREAMING-2", "the performer keeps the first slice it ever got",
        (performer, "receive", captured_once),
    ),
    patched(
        "slice-without-response", "WS-STREAMING-8",
        "sequential slices lack the entries of the last response",
        (thinker, "commit", without_response),
    ),
    patched(
        "thinker-never-commits", "WS-STREAMING-9", "responses never enter the thinker's cache",
        (thinker, "commit", never_committed),
    ),
    patched(
        "slices-in-bfloat16", "WS-STREAMING-6", "the performer's cache has lost bits",
        (performer, "receive", slice_in_half_precision),
    ),
    patched(
        "slices-in-float32", "WS-STREAMING-11", "float64 slices are rounded on the way",
        (performer, "receive", slice_in_single_precision),
    ),
    by_class("WS-STREAMING-10", OneUnitLate),
    by_class("WS-STREAMING-10", NoiseAfterFirst),
    by_class("WS-FLOW-7", OwnNoise),
)  # fmt: skip
