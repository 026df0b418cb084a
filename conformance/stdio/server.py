"""Serves a Python port over standard input and output, and shows how a port in any language does
it (WS-STDIO-1 to WS-STDIO-7): ``python -m conformance.stdio.server PORT``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import BinaryIO

from conformance.protocol import Json, Port, Unsupported
from conformance.resolve import resolve
from conformance.stdio import messages, strict_json
from conformance.stdio.answering import ACTIONS
from conformance.stdio.limits import Limits
from conformance.stdio.message_schemas import problem
from conformance.stdio.messages import COMMANDS
from conformance.stdio.process import RUN_DIR
from conformance.stdio.strict_json import NotJson
from conformance.stdio.tensor_files import BadFile, Reader, write
from spec.errors import WanStreamerError


class Server:
    """Answers requests by a port; the run directory is that of its environment."""

    def __init__(self, port: Port, run_dir: Path) -> None:
        self._port = port
        flags = os.O_RDONLY | os.O_DIRECTORY
        self._in, self._out = (os.open(run_dir / name, flags) for name in ("in", "out"))

    def answer(self, line: bytes) -> tuple[Json, bool]:
        """The reply to one line, and whether it was the last."""
        number, command = 0, None
        try:
            request = strict_json.parse(line)
            number, command = request["id"], request["command"]
            return {"id": number, **self._outcome(number, command, request)}, command == "stop"
        except Unsupported as unsupported:
            return {"id": number, "unsupported": {"feature": unsupported.feature}}, False
        except (WanStreamerError, BadFile, NotJson) as error:
            return {"id": number, "error": {"kind": "refused", "message": str(error)}}, False
        except Exception as error:  # noqa: BLE001 - whatever happens, the next request is answered
            message = f"{type(error).__name__}: {error}"
            return {"id": number, "error": {"kind": "internal", "message": message}}, False

    def _outcome(self, number: int, command: str, request: Json) -> Json:
        if command not in COMMANDS:
            raise Unsupported(command)
        wrong = problem(command, "request", request)
        if wrong is not None:
            return {"error": {"kind": "refused", "message": wrong}}
        fields = {name: request[name] for name in request.keys() - {"id", "command"}}
        decode = messages.decoder(Reader("in", self._in, Limits()))
        results = ACTIONS[command](self._port, decode(fields, COMMANDS[command][0]))
        name = f"{number}.safetensors"
        return {
            "ok": messages.encode(results, lambda arrays: write("out", self._out, name, arrays))
        }


def serve(port: Port, run_dir: Path, requests: BinaryIO, replies: BinaryIO) -> None:
    """Until ``stop``, or until there are no more requests."""
    server = Server(port, run_dir)
    for line in requests:
        reply, last = server.answer(line)
        replies.write(strict_json.line(reply))
        replies.flush()
        if last:
            return


def taken_stdout() -> BinaryIO:
    """Standard output for us alone: what anybody prints from now on goes to standard error."""
    sys.stdout.flush()
    ours = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return ours


def main() -> None:
    """Serve the port that is named like those of ``wanstreamer check`` (WS-CONFORMANCE-12)."""
    replies = taken_stdout()
    try:
        port = resolve(sys.argv[1])
        run_dir = Path(os.fsdecode(os.environb[RUN_DIR]))
    except (IndexError, KeyError) as missing:
        usage = f"{RUN_DIR.decode()}=DIR python -m conformance.stdio.server PORT"
        sys.exit(f"usage: {usage} (no {missing})")
    except WanStreamerError as error:
        sys.exit(str(error))
    serve(port, run_dir, sys.stdin.buffer, replies)


if __name__ == "__main__":
    main()
