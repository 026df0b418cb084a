"""Teacher forcing is streaming: one pass gives, token by token, what the session computes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import attrs
import pytest
import samples
import torch
import training_world as world
from torch import Tensor

from reference import flow, session, solvers
from reference.kv_cache import KVEntries
from reference.model import Embeddings, WanStreamer
from reference.token_table import TokenTable
from reference.training.forward import Forced, forced_pass, history_of
from reference.training.layout import NoisyCopy
from reference.training.record import Record
from reference.units import AgentUnit, Latents
from spec.layout import Modalities
from spec.prefill import Identity
from spec.sizes import Preset

UNITS = 3
Key = tuple[int, ...]


class Recorder(WanStreamer):
    """A model that writes down every hidden state and every solver state it is asked about."""

    def __init__(self, preset: Preset, dtype: torch.dtype) -> None:
        super().__init__(preset, dtype)
        self.hidden: dict[Key, Tensor] = {}
        self.evaluations: list[tuple[Latents, Latents]] = []

    def run(
        self, x: Embeddings, table: TokenTable, cache: KVEntries, lag: int
    ) -> tuple[Embeddings, KVEntries]:
        hidden, entries = super().run(x, table, cache, lag)
        self.hidden |= by_token(table, hidden)
        return hidden, entries

    def velocity(self, hidden: Embeddings, z: Latents) -> Latents:
        v = super().velocity(hidden, z)
        self.evaluations.append((z, v))
        return v


def by_token(table: TokenTable, hidden: Tensor) -> dict[Key, Tensor]:
    """Hidden states by everything that tells two tokens apart."""
    keys = zip(table.cells.tolist(), table.tau.tolist(), strict=True)
    return {(*cells, tau): h for (cells, tau), h in zip(keys, hidden, strict=True)}


def streamed_and_forced(
    schedule: str,
    preset: Preset,
    modalities: Modalities | None = None,
    identity: Identity | None = None,
) -> tuple[Recorder, list[AgentUnit], Record, Forced]:
    """A session with everything it computed, and the training pass over its history."""
    config = world.session_config(schedule, preset, modalities, identity)
    record = world.record_of(config, UNITS)
    model = Recorder(preset, samples.F64)
    model.load_state_dict(samples.model_of(preset).state_dict())
    model.requires_grad_(requires_grad=False)
    state, agents = session.open_session(model, config, record.identity), []
    for k, user in enumerate(record.users):
        noise = samples.noise_of(config, k)
        agent, state = session.step(model, config, state, user, noise, record.text[k])
        agents.append(agent)
    steps = preset.solver_steps
    grid = flow.tau_grid(steps)
    states = [z for z, _ in model.evaluations]
    copies = [
        [NoisyCopy(z=z, tau=tau) for z, tau in zip(states[k * steps :], grid[:-1], strict=False)]
        for k in range(len(states) // steps)
    ] or [[]] * UNITS
    plain = samples.model_of(preset)
    history = history_of(plain, record, [agent.latents for agent in agents])
    return model, agents, record, forced_pass(plain, config, history, copies)


BODY = Identity(image=True, voice_ticks=3)

CASES: list[tuple[str, Preset, Modalities | None, Identity | None]] = [
    ("overlapped", samples.SMALL, None, BODY),
    ("sequential", samples.SMALL, None, None),
    ("overlapped", samples.OTHER, None, None),
    ("sequential", samples.STATELESS, None, BODY),
    ("overlapped", samples.STATELESS, samples.TEXT_ONLY, None),
    ("sequential", samples.SMALL, samples.WORDLESS, None),
]


@pytest.mark.parametrize(("schedule", "preset", "modalities", "identity"), CASES)
def test_the_pass_equals_the_session(
    schedule: str, preset: Preset, modalities: Modalities | None, identity: Identity | None
) -> None:
    """WS-TRAINING-5: the same tokens; hidden state of every one of them, logits of every text slot
    and velocity of every solver step within 1e-11, for λ = 1 and λ = 0."""
    model, agents, _, forced = streamed_and_forced(schedule, preset, modalities, identity)
    ours = by_token(forced.table, forced.hidden)
    # The last unit's clean tokens are committed after its boundary only: λ = 0 has not, yet.
    assert model.hidden.keys() <= ours.keys()
    left = {key[:2] for key in ours.keys() - model.hidden.keys()}
    assert left <= {(UNITS - 1, 3)}
    scale = max(float(h.abs().max()) for h in model.hidden.values())
    for key, hidden in model.hidden.items():
        assert float((ours[key] - hidden).abs().max()) <= 1e-11 * scale, key
    expected = torch.cat([agent.logits for agent in agents])
    torch.testing.assert_close(forced.logits, expected, rtol=0, atol=1e-11)
    velocities = [v for unit in forced.velocities for v in unit]
    recorded = [v for _, v in model.evaluations]
    assert len(velocities) == len(recorded)
    assert world.largest_error(velocities, recorded) <= 1e-11


def test_walking_the_forced_velocities_is_the_solve() -> None:
    """WS-TRAINING-5: Euler over the pass's own velocities ends at the latents of the session."""
    _, agents, record, forced = streamed_and_forced("overlapped", samples.SMALL)
    grid = flow.tau_grid(samples.SMALL.solver_steps)
    for k, vs in enumerate(forced.velocities):
        z = samples.noise_of(record.config, k)
        for v, (tau, tau_next) in zip(vs, pairwise(grid), strict=True):
            z = solvers.euler(z, v, tau, tau_next)
        assert world.largest_error([z], [agents[k].latents]) <= 1e-11


@pytest.mark.parametrize("wrong", ["schedule", "response", "step"])
def test_another_history_gives_other_numbers(wrong: str) -> None:
    """WS-TRAINING-5: trained under the other λ, on responses one unit late, or at another flow
    time, the velocities are not those of the session: the equality above is not empty."""
    model, agents, record, _ = streamed_and_forced("overlapped", samples.SMALL)
    z = [agent.latents for agent in agents]
    steps = samples.SMALL.solver_steps
    grid = flow.tau_grid(steps)
    config = record.config
    if wrong == "schedule":
        config = attrs.evolve(config, schedule="sequential")
    if wrong == "response":
        z = [z[0], *z[:-1]]
    shift: Callable[[float], float] = (lambda t: t / 2) if wrong == "step" else (lambda t: t)
    copies = [
        [
            NoisyCopy(z=model.evaluations[k * steps + i][0], tau=shift(tau))
            for i, tau in enumerate(grid[:-1])
        ]
        for k in range(UNITS)
    ]
    plain = samples.model_of(samples.SMALL)
    forced = forced_pass(plain, config, history_of(plain, record, z), copies)
    last = forced.velocities[-1][0]
    recorded = model.evaluations[(UNITS - 1) * steps][1]
    assert world.largest_error([last], [recorded]) > 1e-3
