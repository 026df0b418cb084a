"""The folder in which the suite and one process of a port leave tensors for each other
(WS-STDIO-5)."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from conformance.protocol import Array
from conformance.stdio.limits import Limits
from conformance.stdio.tensor_files import BadFile, Reader, Reference, write

MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a folder of ours is made in it, with a random name
ROOM: Final = 2**31
"""Free bytes from which on files in memory are preferred to files on a disk."""


def make_base() -> Path:
    """A new folder: where ``TMPDIR`` says, else in memory if there is room, else on disk."""
    parent = None
    if "TMPDIR" not in os.environ and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= ROOM:
        parent = MEMORY
    return Path(tempfile.mkdtemp(prefix="wanstreamer-", dir=parent))


class RunDirectory:
    """``in/`` for the suite, ``out/`` for the port. Both are opened before the port runs, so that
    it does not matter what it puts in their place."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self.path = path
        self._limits = limits
        for folder in ("in", "out"):
            (path / folder).mkdir(parents=True)
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        self._in, self._out = (os.open(path / folder, flags) for folder in ("in", "out"))

    def writer(self, request: int) -> Callable[[Mapping[str, Array]], Mapping[str, Reference]]:
        """Writes the arrays of a request."""
        return lambda tensors: write("in", self._in, f"{request}.safetensors", tensors)

    def reader(self) -> Reader:
        """Reads the arrays of one reply."""
        return Reader("out", self._out, self._limits)

    def empty(self) -> None:
        """Delete the files of a request and its reply.

        Raises:
            BadFile: there is something that cannot be deleted, or far too much.
        """
        for name, fd in (("in", self._in), ("out", self._out)):
            with os.scandir(fd) as entries:
                for count, entry in enumerate(entries):
                    if count >= self._limits.files:
                        raise BadFile(f"{name}/: more than {self._limits.files} files in it")
                    try:
                        os.unlink(entry.name, dir_fd=fd)
                    except OSError as error:
                        raise BadFile(f"{name}/{entry.name}: {error.strerror}") from error

    def remove(self) -> None:
        """Close and delete everything; what a port has made undeletable stays."""
        for fd in (self._in, self._out):
            os.close(fd)
        with suppress(OSError):
            shutil.rmtree(self.path)
