"""The engines that ``run`` can use, behind one interface.

An engine takes user units in order and gives agent units in order, at once or later (a pipelined
engine answers a unit behind). Source: design §8, §15.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Protocol, Self, TextIO

import torch

from optimized.payloads import DTYPES
from optimized.split import SplitEngine
from reference import session
from reference.units import AgentUnit, Latents, UserUnit
from reference.weights import build_model
from spec.errors import ConfigError
from spec.session import SessionConfig
from spec.trace import Kind, Tracer


class Engine(Protocol):
    """One session, from prefill to close."""

    def step(self, user: UserUnit, noise: Latents) -> list[AgentUnit]:
        """Take u_k; the agent units that are ready, in order."""
        ...

    def finish(self) -> list[AgentUnit]:
        """The agent units that are still to come; the session is over then."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class ReferenceEngine:
    """The reference session in this process."""

    def __init__(self, config: SessionConfig, dtype: str, trace: TextIO | None) -> None:
        # One thread, so that sums keep their order whatever the machine (WS-STREAMING-5).
        torch.set_num_threads(1)
        self._config = config
        self._tracer = None if trace is None else Tracer(trace, "reference", "thinker")
        self._cause: tuple[str, ...] = ()
        self._model = build_model(config.preset, DTYPES[dtype])
        self._state = session.open_session(self._model, config)

    def step(self, user: UserUnit, noise: Latents) -> list[AgentUnit]:
        """Take u_k and give y_k (WS-STREAMING-2)."""
        agent, self._state = session.step(
            self._model, self._config, self._state, user, noise, span=self._span
        )
        if self._tracer is not None:
            self._tracer.record(Kind.EMIT, agent.unit, time.monotonic_ns(), cause=self._cause)
        return [agent]

    def finish(self) -> list[AgentUnit]:
        """Nothing is outstanding: every unit was answered at once."""
        if self._tracer is not None:
            self._tracer.end(time.monotonic_ns())
        return []

    @contextlib.contextmanager
    def _span(self, stage: str, unit: int) -> Iterator[None]:
        start = time.monotonic_ns()
        yield
        if self._tracer is not None:
            length = time.monotonic_ns() - start
            event = self._tracer.record(Kind(stage), unit, start, length, cause=self._cause)
            self._cause = (event,)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None


ENGINES: Mapping[str, Callable[[SessionConfig, str, TextIO | None], Engine]] = {
    "reference": ReferenceEngine,
    "split": SplitEngine,
}


def open_engine(name: str, config: SessionConfig, dtype: str, trace: TextIO | None) -> Engine:
    """The engine called ``name``.

    Raises:
        ConfigError: there is none.
    """
    if name not in ENGINES:
        raise ConfigError("--engine", name, ", ".join(ENGINES))
    return ENGINES[name](config, dtype, trace)
