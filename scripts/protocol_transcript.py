"""Writes ``docs/protocol_transcript.md``: a conversation that really took place (WS-STDIO-2).

The suite's own half talks to the example server, ``conformance/stdio/server.py``, which serves the
toy port of ``examples/ports``; numbers that are made up are the same on every machine.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from conformance.guard import PortFault
from conformance.protocol import (
    CodecRequest,
    LoadRequest,
    MathRequest,
    OpenRequest,
    Refusal,
    UnitInput,
    Unsupported,
)
from conformance.stdio.limits import Limits
from conformance.stdio.port import StdioPort
from conformance.stdio.talk import Talk
from spec.layout import Modalities

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "docs" / "protocol_transcript.md"
ARGV = (
    "env",
    f"PYTHONPATH={ROOT / 'examples' / 'ports'}",
    *(sys.executable, "-m", "conformance.stdio.server", "toy:Port"),
)
HEADER = """\
# A conversation over stdio, word by word

Made by `scripts/protocol_transcript.py`; do not edit. `>` is what the suite writes to the port,
`<` what the port writes back, each of them one line. The port is `examples/ports/toy.py`, served by
`conformance/stdio/server.py`: the forms are right, the numbers are made up. The rules are in
`docs/protocol.md`.
"""
TEXT_ONLY = Modalities(user_audio=False, user_video=False, agent_audio=False, agent_video=False)


class Overheard(Talk):
    """Notes every line, and the file of a request while it is there."""

    lines: list[str]
    files: list[bytes]

    def line(self, line: bytes, seconds: float) -> bytes:
        self.files += [path.read_bytes() for path in self._directory.path.glob("in/*")]
        reply = super().line(line, seconds)
        self.lines += [f"> {line.decode().rstrip()}", f"< {reply.decode()}"]
        return reply


def hexdump(data: bytes) -> str:
    """Sixteen bytes a line, as numbers and as characters."""
    rows = []
    for at in range(0, len(data), 16):
        row = data[at : at + 16]
        text = "".join(chr(b) if 32 <= b < 127 else "." for b in row)
        rows.append(f"{at:04x}  {row.hex(' '):<47}  {text}")
    return "\n".join(rows)


def conversation() -> str:
    """The page."""
    lines: list[str] = []
    files: list[bytes] = []
    listener = type("Listener", (Overheard,), {"lines": lines, "files": files})
    port = StdioPort(ARGV, Limits(), listener)
    page = [HEADER]

    def part(title: str, *acts: Callable[[], object]) -> None:
        for act in acts:
            with suppress(Refusal, Unsupported, PortFault):
                act()
        page.append(f"## {title}\n\n```\n" + "\n".join(lines) + "\n```\n")
        lines.clear()

    def formula(op: str) -> Callable[[], object]:
        x = np.array([1.0, -2.5, 3.0], np.float32)
        request = MathRequest(op=op, dtype="float32", arguments={}, tensors={"x": x})
        return lambda: port.math(request)

    opened = OpenRequest(
        preset="tiny",
        schedule="overlapped",
        dtype="float32",
        modalities=TEXT_ONLY,
        prompt=(72, 105),
    )
    codec = CodecRequest(preset="tiny", dtype="float32", part="audio_codec.encode", plan=(1,))
    first, second = (UnitInput(unit=k, text=(97 + k,)) for k in range(2))

    part("Who are you?", port.hello, lambda: port.supports("reset"), lambda: port.supports("magic"))
    part(
        "Weights, a formula, a codec",
        lambda: port.load(LoadRequest(preset="tiny", dtype="float32")),
        formula("double"),
        formula("flow.velocity"),
        lambda: port.codec(codec, np.zeros(3840, np.float32)),
    )
    page.append(f"The file of the first formula, whole:\n\n```\n{hexdump(files[0])}\n```\n")
    part(
        "A session",
        lambda: port.open(opened),
        lambda: port.step("toy-0", first),
        lambda: port.probe("toy-0", second, ("L.0.hidden",)),
        lambda: port.finish("toy-0"),
    )
    part(
        "What cannot be done, and what goes wrong",
        lambda: port.step("toy-0", first),
        lambda: port.step("toy-7", first),
        lambda: port.step("toy-0", UnitInput(unit=1, text=(13,))),
        lambda: port.offline(opened, (first,)),
        lambda: port.kv_digest("toy-0", 0),
    )
    state = port.export_kv("toy-0")
    part(
        "Moving a session",
        lambda: port.open(opened),
        lambda: port.import_kv("toy-1", state),
        lambda: port.reset("toy-0"),
        lambda: port.close("toy-0"),
    )
    part("The exchange", lambda: port.exchange([{"timer": {}}, {"peer_lost": {}}]))
    part("The end", port.stop)
    return "\n".join(page)


if __name__ == "__main__":
    TARGET.write_text(conversation(), encoding="utf-8")
