"""The port over standard input and output, one JSON line a message (WS-STDIO-2).

wanstreamer check --port cmd:"python examples/ports/numpy_port/serve.py" --profile session
"""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from pathlib import Path

from port import Port
from tensors import read, written


def main() -> None:
    folder = Path(os.environ["WANSTREAMER_RUN_DIR"])
    port = Port(partial(read, folder))
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply = written(folder, f"out/{request['id']}.safetensors", port.reply(request))
        except Exception as error:  # noqa: BLE001 - our own failure; the next request is answered
            message = f"{type(error).__name__}: {error}"
            reply = {"id": request["id"], "error": {"kind": "internal", "message": message}}
        print(json.dumps(reply, separators=(",", ":")), flush=True)
        if request["command"] == "stop":
            return


if __name__ == "__main__":
    main()
