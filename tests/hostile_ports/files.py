"""Ports that name a file which they must not name, or which is not what they say."""

from __future__ import annotations

import json
import os
import struct
import sys

from polite import ONE, OUT, put, refer, reply, safetensors, serve

RUN = os.path.dirname(OUT)
NAME = os.path.join(OUT, "x.safetensors")


def path(place: str) -> None:
    """A good file under a name that leads elsewhere."""
    sha256 = put(safetensors())
    TRICKS[sys.argv[1]] = lambda number: refer(number, sha256, place)


def linked(number: int) -> None:
    os.symlink("/dev/zero", NAME)
    refer(number, "0" * 64)


def two_names(number: int) -> None:
    sha256 = put(safetensors(), "y")
    os.link(os.path.join(OUT, "y"), NAME)
    refer(number, sha256)


def pipe(number: int) -> None:
    os.mkfifo(NAME)
    refer(number, "0" * 64)


def folder(number: int) -> None:
    os.mkdir(NAME)
    refer(number, "0" * 64)


def moved(number: int) -> None:
    """``out`` is a link to a folder elsewhere in which the file really is."""
    sha256 = put(safetensors())
    os.rename(OUT, os.path.join(RUN, "elsewhere"))
    os.mkdir(OUT)
    os.rename(os.path.join(RUN, "elsewhere", "x.safetensors"), NAME)
    refer(number, sha256)


def changed(number: int) -> None:
    sha256 = put(safetensors())
    put(safetensors(struct.pack("<f", 2.0)))
    refer(number, sha256)


def two_large(number: int) -> None:
    """Each is as large as a file may be; together they are more than a message may name."""
    tensors = {}
    for name in ("x", "y"):
        size = 3 << 19
        data = safetensors(bytes(size), dtype="U8", shape=[size], data_offsets=[0, size])
        reference = {"path": f"out/{name}", "name": "x", "sha256": put(data, name)}
        tensors[name] = {"tensor": reference}
    reply(number, ok={"tensors": tensors})


def many(number: int) -> None:
    for i in range(40):
        put(b"", f"left-{i}")
    refer(number, put(safetensors()))


def left_folder(number: int) -> None:
    os.mkdir(os.path.join(OUT, "deep"))
    refer(number, put(safetensors()))


def too_large(number: int) -> None:
    """More than a process of a port may write into one file."""
    put(bytes(3 << 20))
    refer(number, "0" * 64)


def file(data: bytes) -> None:
    TRICKS[sys.argv[1]] = lambda number: refer(number, put(data))


def two(first: list[int], second: list[int], data: bytes) -> bytes:
    """A file of two tensors at these offsets."""
    entries = {
        name: {"dtype": "U8", "shape": [b - a], "data_offsets": [a, b]}
        for name, (a, b) in {"x": first, "y": second}.items()
    }
    return safetensors(data, json.dumps(entries).encode())


PATHS = {
    "absolute": "/etc/passwd",
    "above": "out/../x.safetensors",
    "hidden": "out/.x",
    "deeper": "out/a/x",
    "input": "in/1.safetensors",
    "zero-byte": "out/x\0",
    "line-break": "out/x\n",
    "missing": "out/y.safetensors",
}
DATA = {
    "short": b"\x01\x02",
    "endless-header": safetensors(size=1 << 60),
    "big-endian-header": (16).to_bytes(8, "big") + bytes(16),
    "header-not-json": safetensors(header=b"{x"),
    "header-twice": safetensors(
        header=b'{"x": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}, "x": {}}'
    ),
    "header-nested": safetensors(header=b"[" * 5000),
    "overlap": two([0, 3], [2, 4], ONE),
    "gap": two([0, 1], [2, 4], ONE),
    "beyond": safetensors(data_offsets=[0, 8]),
    "left-over": safetensors(ONE + ONE),
    "shape": safetensors(shape=[3]),
    "negative": safetensors(shape=[-1]),
    "overflow": safetensors(shape=[1 << 62, 1 << 62]),
    "axes": safetensors(shape=[1] * 60),
    "dtype": safetensors(dtype="BF16", shape=[2]),
    "unknown-dtype": safetensors(dtype="float32"),
    "bool": safetensors(b"\0\1\1\7", dtype="BOOL", shape=[4]),
}
TRICKS = {
    "link": linked,
    "two-names": two_names,
    "pipe": pipe,
    "folder": folder,
    "moved": moved,
    "changed": changed,
    "two-large": two_large,
    "many": many,
    "left-folder": left_folder,
    "too-large": too_large,
    "other-name": lambda number: refer(number, put(safetensors()), name="y"),
}

if sys.argv[1] in PATHS:
    path(PATHS[sys.argv[1]])
elif sys.argv[1] in DATA:
    file(DATA[sys.argv[1]])
serve(TRICKS)
