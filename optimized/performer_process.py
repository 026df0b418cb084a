"""The performer as a process of its own: ``python -m optimized.performer_process``.

It is started by `optimized.split` with one line of JSON on standard input, says ``ready`` on
standard output, and leaves when the session is closed or standard input ends: the thinker is gone.
Source: PAPER §2.4; design §14.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import attrs
import cattrs
import torch

from optimized.payloads import DTYPES
from optimized.performer_driver import PerformerDriver
from optimized.transport import PERFORMER, PeerGoneError, Transport
from reference.weights import build_model
from spec.errors import WanStreamerError
from spec.exchange_effects import Timer
from spec.exchange_terms import terms_of
from spec.session import SessionConfig
from spec.trace import Tracer

SESSION = "split"
RESEND_S = 30.0
"""Silence after which the exchange asks again; over this transport nothing gets lost."""

GONE_STATUS = 3


@attrs.frozen(kw_only=True)
class Order:
    """What the thinker's process asks of the performer's.

    ``trace`` is a file for the performer's events, empty for none.
    """

    config: SessionConfig
    dtype: str
    rendezvous: str
    trace: str


def main() -> int:
    """Serve one session; the exit status."""
    # An interrupt at the terminal reaches both processes; the thinker decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    order = cattrs.structure(json.loads(sys.stdin.readline()), Order)
    threading.Thread(target=leave_with_thinker, args=[order], daemon=True).start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    try:
        serve(order)
    except PeerGoneError:
        return GONE_STATUS
    except WanStreamerError as error:
        sys.stderr.write(f"performer: {error}\n")
        return 1
    return 0


def leave_with_thinker(order: Order) -> None:
    """Wait until the thinker's process is gone; then clean up what it could not, and leave."""
    sys.stdin.read()
    shutil.rmtree(Path(order.rendezvous).parent, ignore_errors=True)
    os._exit(GONE_STATUS)


def serve(order: Order) -> None:
    """Run the session until it is closed (WS-EXCHANGE-12)."""
    transport = Transport(PERFORMER, Path(order.rendezvous))
    model = build_model(order.config.preset, DTYPES[order.dtype])
    terms = terms_of(order.config, SESSION, order.dtype)
    with contextlib.ExitStack() as stack:
        tracer = None
        if order.trace:
            spool = stack.enter_context(Path(order.trace).open("w", encoding="utf-8"))
            tracer = Tracer(spool, SESSION, "performer")
        driver = PerformerDriver(model, order.config, terms, 0, transport.send, tracer)
        driver.start()
        while not driver.closed:
            data = transport.receive(RESEND_S)
            if data is None:
                driver.feed(Timer())
            else:
                driver.receive(data)
        if tracer is not None:
            tracer.end(time.monotonic_ns())
    transport.close()


if __name__ == "__main__":
    # Straight out: no thread of the process group may hold up a process that is done.
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
