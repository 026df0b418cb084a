"""A streaming session in one process, which plays thinker and performer in turn.

The two roles keep their own caches and hand each other slices and latents exactly as two processes
do, only without a wire. Source: PAPER §2.4, Fig. 2; design §8.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import attrs
from jaxtyping import Float
from torch import Tensor

from reference import kv_cache, performer, thinker
from reference.kv_cache import KVEntries
from reference.model import WanStreamer
from reference.performer import PerformerState
from reference.prefill import NOBODY, IdentitySignals
from reference.thinker import Language, ThinkerState
from reference.units import AgentUnit, Latents, UserUnit
from spec.errors import TensorError
from spec.session import SessionConfig

Span = Callable[[str, int], AbstractContextManager[object]]
"""Called around every stage with its name and unit, so that a caller can time it."""


def untimed(_stage: str, _unit: int) -> AbstractContextManager[object]:
    """The span that does nothing."""
    return nullcontext()


@attrs.frozen(eq=False)
class SessionState:
    """Both roles' states, the next unit, and the response the thinker has not committed yet."""

    thinker: ThinkerState
    performer: PerformerState
    unit: int
    uncommitted: Latents | None


def open_session(
    model: WanStreamer,
    config: SessionConfig,
    identity: IdentitySignals = NOBODY,
    chunks: Sequence[int] | None = None,
) -> SessionState:
    """Prefill both roles; the session stands before unit 0 (WS-STREAMING-1).

    All that a session is, is in the state returned; sessions share nothing else (WS-SESSION-3).

    Args:
        identity: picture and voice, if the session has them (WS-PREFILL-3).
        chunks: tokens of the prefill to run at a time (WS-PREFILL-5).
    """
    entries, state = thinker.prefill(model, config, identity, chunks)
    return SessionState(state, performer.receive(entries, None), 0, None)


def step(
    model: WanStreamer,
    config: SessionConfig,
    state: SessionState,
    user: UserUnit,
    noise: Latents,
    agent_text: tuple[int, ...] | None = None,
    span: Span = untimed,
    uniform: Float[Tensor, "..."] | None = None,
) -> tuple[AgentUnit, SessionState]:
    """One unit: u_k in, y_k out (WS-STREAMING-2).

    Args:
        user: u_k; its number must be the session's next one.
        noise: ε of this unit's solve.
        agent_text: ids to say instead of the model's own.
        span: entered around each stage.
        uniform: a number in [0, 1) for each text slot, if the session samples (WS-TEXT-3).

    Raises:
        TensorError: a unit out of order, or a tensor that does not fit the session.
    """
    if user.unit != state.unit:
        raise TensorError("user unit", user.unit, f"unit {state.unit}, the next one")
    run_unit = sequential_unit if config.schedule == "sequential" else overlapped_unit
    given = Given(user, noise, agent_text, uniform)
    language, z, thinks, performs = run_unit(model, config, state, given, span)
    with span("decode", user.unit):
        audio, video, thinks = thinker.decode(model, z, thinks)
    agent = AgentUnit(
        unit=user.unit,
        text=language.text,
        logits=language.logits,
        latents=z,
        audio=audio,
        video=video,
    )
    return agent, SessionState(thinks, performs, user.unit + 1, z)


@attrs.frozen(eq=False)
class Given:
    """What a caller hands in for one unit; see `step`."""

    user: UserUnit
    noise: Latents
    agent_text: tuple[int, ...] | None
    uniform: Float[Tensor, "..."] | None


Unit = tuple[Language, Latents, ThinkerState, PerformerState]


def sequential_unit(
    model: WanStreamer,
    config: SessionConfig,
    state: SessionState,
    given: Given,
    span: Span,
) -> Unit:
    """λ = 0: the thinker commits z_{k-1} before unit k; slice k is [Z_{k-1}, O_k, L_k]
    (WS-STREAMING-8)."""
    thinks, user, k = state.thinker, given.user, given.user.unit
    parts: list[KVEntries] = []
    if state.uncommitted is not None:
        with span("commit", k - 1):
            entries, thinks = thinker.commit(model, config, k - 1, state.uncommitted, thinks)
        parts.append(entries)
    with span("observe", k):
        observation, thinks = thinker.observe(model, config, user, thinks)
    with span("update", k):
        language, entries, thinks = thinker.update(
            model, config, user, observation, thinks, given.agent_text, given.uniform
        )
    parts.append(entries)
    performs = performer.receive(kv_cache.concat(parts), state.performer)
    with span("solve", k):
        z = performer.solve(model, config, k, given.noise, performs)
    return language, z, thinks, performs


def overlapped_unit(
    model: WanStreamer,
    config: SessionConfig,
    state: SessionState,
    given: Given,
    span: Span,
) -> Unit:
    """λ = 1: unit k runs before z_{k-1} is there; slice k is [O_k, L_k]; the performer commits its
    own z_k, the thinker commits z_{k-1} after boundary k (WS-STREAMING-9)."""
    thinks, user, k = state.thinker, given.user, given.user.unit
    with span("observe", k):
        observation, thinks = thinker.observe(model, config, user, thinks)
    with span("update", k):
        language, entries, thinks = thinker.update(
            model, config, user, observation, thinks, given.agent_text, given.uniform
        )
    # Boundary k: slice k goes over, z_{k-1} comes back.
    performs = performer.receive(entries, state.performer)
    if state.uncommitted is not None:
        with span("commit", k - 1):
            _, thinks = thinker.commit(model, config, k - 1, state.uncommitted, thinks)
    with span("solve", k):
        z = performer.solve(model, config, k, given.noise, performs)
    with span("commit", k):
        performs = performer.commit(model, config, k, z, performs)
    return language, z, thinks, performs
