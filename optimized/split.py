"""The split engine: the thinker here, the performer in a second process.

Source: PAPER §2.4, Fig. 2 (thinker-performer pipeline); design §8, §14.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

import cattrs
import torch

from optimized.payloads import DTYPES
from optimized.performer_process import RESEND_S, SESSION, Order
from optimized.thinker_driver import ThinkerDriver
from optimized.transport import THINKER, PeerGoneError, Transport
from reference.prefill import NOBODY, IdentitySignals, check_identity
from reference.units import AgentUnit, Latents, UserUnit
from reference.weights import build_model
from spec.errors import ConfigError
from spec.exchange_effects import Timer
from spec.exchange_terms import terms_of
from spec.session import SessionConfig
from spec.trace import Tracer, write_trace
from spec.trace_reading import merge_traces, read_trace

EXIT_LIMIT_S = 10.0
"""How long a performer that was told to close may take to be gone."""


class SplitEngine:
    """One session over two processes (WS-STREAMING-11).

    It answers one unit late: the response to unit k comes back at boundary k + 1.

    Args:
        config: the session.
        dtype: "float32" or "float64".
        trace: where the merged trace of both processes goes.
        identity: picture and voice, if the session has them; the performer gets their entries with
            the rest of the prefill (WS-PREFILL-3).

    Raises:
        PeerGoneError: the performer died.
        TensorError: signals that are not those of the session's identity.
    """

    def __init__(
        self,
        config: SessionConfig,
        dtype: str,
        trace: TextIO | None = None,
        identity: IdentitySignals = NOBODY,
    ) -> None:
        # Before there is a process that would have to be ended.
        check_identity(config, identity)
        # One thread a process, so that sums keep their order (WS-STREAMING-5).
        torch.set_num_threads(1)
        self._config = config
        self._trace = trace
        with contextlib.ExitStack() as stack:
            self._folder = Path(tempfile.mkdtemp(prefix="wanstreamer-"))
            stack.callback(shutil.rmtree, self._folder, ignore_errors=True)
            self._performer = self._start(dtype, stack)
            self._transport = self._join()
            model = build_model(config.preset, DTYPES[dtype])
            terms = terms_of(config, SESSION, dtype)
            self._tracer = self._open_tracer(stack)
            self._driver = ThinkerDriver(model, config, terms, self._send, self._tracer, identity)
            self._resources = stack.pop_all()

    def _start(self, dtype: str, stack: contextlib.ExitStack) -> subprocess.Popen[str]:
        order = Order(
            config=self._config,
            dtype=dtype,
            rendezvous=str(self._folder / "rendezvous"),
            trace="" if self._trace is None else str(self._folder / "performer.jsonl"),
        )
        stderr = (self._folder / "performer.stderr").open("w+", encoding="utf-8", errors="replace")
        self._stderr = stack.enter_context(stderr)
        process = subprocess.Popen(
            # -P: nothing in the user's own folder may take the place of a module of ours.
            [sys.executable, "-P", "-m", "optimized.performer_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
        )
        stack.callback(end_process, process)
        self._performer = process
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            # It stays open: the performer leaves when it ends.
            process.stdin.write(json.dumps(cattrs.unstructure(order)) + "\n")
            process.stdin.flush()
        if process.stdout.readline() != "ready\n":
            raise self._lost()
        return process

    def _join(self) -> Transport:
        try:
            return Transport(THINKER, self._folder / "rendezvous")
        except PeerGoneError:
            raise self._lost() from None

    def _open_tracer(self, stack: contextlib.ExitStack) -> Tracer | None:
        if self._trace is None:
            return None
        spool = (self._folder / "thinker.jsonl").open("w", encoding="utf-8")
        self._spool = stack.enter_context(spool)
        return Tracer(self._spool, SESSION, "thinker")

    def _lost(self) -> PeerGoneError:
        """The error for a performer that is gone, with the last thing it said."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._performer.wait(EXIT_LIMIT_S)
        self._stderr.seek(0)
        lines = self._stderr.read().strip().splitlines()
        what = f"exit status {self._performer.returncode}" + (f" ({lines[-1]})" if lines else "")
        return PeerGoneError("performer process", what, "alive until the session is closed")

    def step(
        self,
        user: UserUnit,
        noise: Latents,
        agent_text: tuple[int, ...] | None = None,
        uniform: torch.Tensor | None = None,
    ) -> list[AgentUnit]:
        """Take u_k; the responses that came back meanwhile, in order (WS-STREAMING-2).

        Args:
            uniform: a number in [0, 1) for each text slot, if the session samples (WS-TEXT-3).
        """
        k = user.unit
        if self._config.schedule == "sequential":
            self._wait_for(k - 1)
        self._driver.think(user, noise, agent_text, uniform)
        # Boundary k: slice k has gone over, z_{k-1} comes back.
        self._wait_for(k - 1)
        return self._take_ready()

    def finish(self) -> list[AgentUnit]:
        """The responses still to come; then the session is closed (WS-EXCHANGE-12)."""
        self._driver.finish()
        while not self._driver.closed:
            self._receive()
        self._transport.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._performer.wait(EXIT_LIMIT_S)
        self._merge_traces()
        return self._take_ready()

    def digests(self, up_to_unit: int) -> dict[str, str]:
        """Digest of each role's cache up to a unit that both have committed (WS-STREAMING-6).

        Raises:
            ConfigError: the response to that unit is not here yet.
        """
        if up_to_unit > self._driver.decoded:
            raise ConfigError("digest up to unit", up_to_unit, f"up to {self._driver.decoded}")
        while self._driver.acknowledged < up_to_unit:
            self._receive()
        self._driver.ask_digest(up_to_unit)
        while self._driver.performer_digest is None:
            self._receive()
        return {
            "thinker": self._driver.digest(up_to_unit),
            "performer": self._driver.performer_digest,
        }

    def _wait_for(self, unit: int) -> None:
        while self._driver.decoded < unit:
            self._receive()

    def _send(self, frame: bytes) -> None:
        try:
            self._transport.send(frame)
        except PeerGoneError:
            raise self._lost() from None

    def _receive(self) -> None:
        try:
            data = self._transport.receive(RESEND_S)
        except PeerGoneError:
            raise self._lost() from None
        if data is None:
            self._driver.feed(Timer())
        else:
            self._driver.receive(data)

    def _take_ready(self) -> list[AgentUnit]:
        ready = list(self._driver.ready)
        self._driver.ready.clear()
        return ready

    def _merge_traces(self) -> None:
        if self._trace is None:
            return
        assert self._tracer is not None
        self._tracer.end(time.monotonic_ns())
        self._spool.close()
        with contextlib.ExitStack() as stack:
            parts = [
                read_trace(stack.enter_context((self._folder / name).open(encoding="utf-8")))
                for name in ("thinker.jsonl", "performer.jsonl")
            ]
            write_trace(self._trace, merge_traces(*parts))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        end_process(self._performer)
        self._transport.join()
        self._resources.close()


def end_process(process: subprocess.Popen[str]) -> None:
    """Kill the process unless it is gone already, and close our ends of its pipes."""
    with contextlib.suppress(BrokenPipeError), process:
        process.kill()
