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
from reference import recipe
from reference.model import WanStreamer
from reference.units import AgentUnit, Latents, UserUnit
from spec.exchange_events import Timer
from spec.exchange_terms import terms_of
from spec.session import SessionConfig
from spec.trace import Tracer, merge_traces, read_trace, write_trace

EXIT_LIMIT_S = 10.0
"""How long a performer that was told to close may take to be gone."""


class SplitEngine:
    """One session over two processes (WS-STREAMING-11).

    It answers one unit late: the response to unit k comes back at boundary k + 1.

    Args:
        config: the session.
        dtype: "float32" or "float64".
        trace: where the merged trace of both processes goes.

    Raises:
        PeerGoneError: the performer died.
    """

    def __init__(
        self,
        config: SessionConfig,
        dtype: str,
        trace: TextIO | None = None,
    ) -> None:
        # One thread a process, so that sums keep their order (WS-STREAMING-5).
        torch.set_num_threads(1)
        self._config = config
        self._trace = trace
        self._folder = Path(tempfile.mkdtemp(prefix="wanstreamer-"))
        self._spools: list[TextIO] = []
        try:
            self._performer = self._start(dtype)
            model = WanStreamer(config.preset, DTYPES[dtype]).requires_grad_(False)
            recipe.fill(model)
            self._transport = Transport(THINKER, self._folder / "rendezvous")
            terms = terms_of(config, SESSION, dtype)
            self._tracer = self._open_tracer()
            self._driver = ThinkerDriver(model, config, terms, self._transport.send, self._tracer)
        except BaseException:
            self._clean_up()
            raise

    def _start(self, dtype: str) -> subprocess.Popen[str]:
        order = Order(
            config=self._config,
            dtype=dtype,
            rendezvous=str(self._folder / "rendezvous"),
            trace="" if self._trace is None else str(self._folder / "performer.jsonl"),
        )
        self._stderr = (self._folder / "performer.stderr").open("w+", encoding="utf-8")
        process = subprocess.Popen(
            [sys.executable, "-m", "optimized.performer_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
        )
        self._performer = process
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            json.dump(cattrs.unstructure(order), process.stdin)
            process.stdin.close()
        if process.stdout.readline() != "ready\n":
            process.wait()
            raise self._lost()
        return process

    def _open_tracer(self) -> Tracer | None:
        if self._trace is None:
            return None
        spool = (self._folder / "thinker.jsonl").open("w", encoding="utf-8")
        self._spools.append(spool)
        return Tracer(spool, SESSION, "thinker")

    def _lost(self) -> PeerGoneError:
        """The error for a performer that is gone, with the last thing it said."""
        self._stderr.seek(0)
        lines = self._stderr.read().strip().splitlines()
        status = self._performer.poll()
        what = f"exit status {status}" + (f" ({lines[-1]})" if lines else "")
        return PeerGoneError("performer process", what, "alive until the session is closed")

    def step(
        self, user: UserUnit, noise: Latents, agent_text: tuple[int, ...] | None = None
    ) -> list[AgentUnit]:
        """Take u_k; the responses that came back meanwhile, in order (WS-STREAMING-2)."""
        k = user.unit
        if self._config.schedule == "sequential":
            self._wait_for(k - 1)
        self._driver.think(user, noise, agent_text)
        # Boundary k: slice k has gone over, z_{k-1} comes back.
        self._wait_for(k - 1)
        return self._take_ready()

    def finish(self) -> list[AgentUnit]:
        """The responses still to come; then the session is closed (WS-EXCHANGE-12)."""
        self._driver.finish()
        while not self._driver.closed:
            self._receive()
        self._transport.close()
        self._performer.wait(EXIT_LIMIT_S)
        self._merge_traces()
        return self._take_ready()

    def digests(self, up_to_unit: int) -> dict[str, str]:
        """Digest of each role's cache up to a unit that both have committed (WS-STREAMING-6)."""
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

    def _receive(self) -> None:
        try:
            data = self._transport.receive(RESEND_S)
        except PeerGoneError:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._performer.wait(EXIT_LIMIT_S)
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
        for spool in self._spools:
            spool.close()
        with contextlib.ExitStack() as stack:
            parts = [
                read_trace(stack.enter_context((self._folder / name).open(encoding="utf-8")))
                for name in ("thinker.jsonl", "performer.jsonl")
            ]
            write_trace(self._trace, merge_traces(*parts))

    def _clean_up(self) -> None:
        process = getattr(self, "_performer", None)
        if process is not None and process.poll() is None:
            process.kill()
            process.wait()
        for spool in self._spools:
            spool.close()
        self._stderr.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._clean_up()
