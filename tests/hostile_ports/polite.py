"""What every hostile port shares: a minimal port that is polite until it is asked for the formula
``nasty``. Standard library only, so that it starts at once."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import sys
from collections.abc import Callable, Mapping
from typing import Any

HELLO: dict[str, Any] = {
    "name": "hostile",
    "version": "1",
    "protocol": 1,
    "profiles": ["math"],
    "dtypes": ["float32"],
    "deterministic": True,
    "features": ["math"],
    "exact_split": False,
}
OUT = os.path.join(os.environ["WANSTREAMER_RUN_DIR"], "out")
ONE = struct.pack("<f", 1.0)


def say(text: str | bytes) -> None:
    """Exactly this on standard output."""
    os.write(1, text.encode() if isinstance(text, str) else text)


def reply(number: object, **outcome: Any) -> None:
    """One well-formed line."""
    say(json.dumps({"id": number, **outcome}) + "\n")


def safetensors(
    data: bytes = ONE, header: bytes | None = None, size: int | None = None, **entry: Any
) -> bytes:
    """A file with one tensor ``x``, float32 [1], or whatever it is changed to."""
    given = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4], **entry}
    text = json.dumps({"x": given}).encode() if header is None else header
    return struct.pack("<Q", len(text) if size is None else size) + text + data


def put(data: bytes, name: str = "x.safetensors") -> str:
    """``data`` as a file of ``out/``; its SHA-256."""
    with open(os.path.join(OUT, name), "wb") as file:
        file.write(data)
    return hashlib.sha256(data).hexdigest()


def refer(number: int, sha256: str, path: str = "out/x.safetensors", name: str = "x") -> None:
    """A reply with one tensor."""
    tensor = {"path": path, "name": name, "sha256": sha256}
    reply(number, ok={"tensors": {"x": {"tensor": tensor}}})


def serve(tricks: Mapping[str, Callable[[int], None]]) -> None:
    """Answer politely; the trick named on the command line is played for the formula ``nasty``."""
    trick = tricks[sys.argv[1]]
    while line := sys.stdin.readline():
        request = json.loads(line)
        number, command = request["id"], request["command"]
        if command == "math" and request["op"] == "nasty":
            trick(number)
        elif command == "hello":
            reply(number, ok=HELLO)
        elif command == "supports":
            reply(number, ok={"supported": False})
        elif command == "math":
            refer(number, put(safetensors()))
        elif command == "open":
            reply(number, ok={"session": "s"})
        elif command in ("reset", "close"):
            reply(number, ok={})
        elif command == "stop":
            reply(number, ok={})
            return
        else:
            reply(number, unsupported={"feature": command})
