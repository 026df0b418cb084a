"""Arrays by reference: safetensors files of the run directory, written and read (WS-STDIO-5,
WS-STDIO-6).

A file that a port has written is opened once, by its name in a folder that was opened before the
port ran, and read into memory once; what is hashed is what is parsed.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from collections.abc import Mapping
from typing import Any, Final

import attrs
import numpy as np
import safetensors
import safetensors.numpy

from conformance.protocol import Array
from conformance.stdio import strict_json
from conformance.stdio.limits import Limits
from conformance.stdio.strict_json import NotJson

DTYPES: Final[Mapping[str, np.dtype[Any]]] = {
    name: np.dtype(numpy)
    for name, numpy in (
        ("BOOL", "bool"),
        ("U8", "u1"),
        ("I8", "i1"),
        ("U16", "<u2"),
        ("I16", "<i2"),
        ("U32", "<u4"),
        ("I32", "<i4"),
        ("U64", "<u8"),
        ("I64", "<i8"),
        ("F16", "<f2"),
        ("F32", "<f4"),
        ("F64", "<f8"),
    )
}
AXES: Final = 8
FILE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
NEW_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
OPEN_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class BadFile(ValueError):  # noqa: N818 - a verdict on a file, one line
    """A reference that cannot be followed; says which file and why in one line."""


@attrs.frozen(kw_only=True)
class Reference:
    """Where an array is (WS-STDIO-5): a path of the run directory, a name in that file, and the
    SHA-256 of the whole file."""

    path: str
    name: str
    sha256: str


def write(
    folder: str, folder_fd: int, file_name: str, tensors: Mapping[str, Array]
) -> dict[str, Reference]:
    """``tensors`` as one new file of an opened folder; references by name.

    Raises:
        BadFile: there is something of that name already.
    """
    data = safetensors.numpy.save(
        {name: np.require(array, requirements="C") for name, array in tensors.items()}
    )
    path = f"{folder}/{file_name}"
    try:
        fd = os.open(file_name, NEW_FLAGS, 0o644, dir_fd=folder_fd)
    except FileExistsError as error:
        raise BadFile(f"{path}: was there before it was written") from error
    with os.fdopen(fd, "wb") as file:
        file.write(data)
    sha256 = hashlib.sha256(data).hexdigest()
    return {name: Reference(path=path, name=name, sha256=sha256) for name in tensors}


class Reader:
    """Follows the references of one message; each of its files is opened once."""

    def __init__(self, folder: str, folder_fd: int, limits: Limits) -> None:
        """
        Args:
            folder: name of the only folder that a path may begin with.
            folder_fd: that folder, opened; what the name means later does not matter.
        """
        self._folder, self._fd, self._limits = folder, folder_fd, limits
        self._files: dict[str, tuple[str, Mapping[str, Array]]] = {}
        self._bytes_left = limits.file_bytes
        self._tensors_left = limits.tensors

    def __call__(self, reference: Reference) -> Array:
        """The array that ``reference`` names, read-only.

        Raises:
            BadFile: a path, file, digest, header or name that is not as it must be.
        """
        self._tensors_left -= 1
        if self._tensors_left < 0:
            raise BadFile(f"more than {self._limits.tensors} tensors in one message")
        path = reference.path
        if path not in self._files:
            data = self._read(path)
            self._files[path] = hashlib.sha256(data).hexdigest(), parsed(path, data, self._limits)
        sha256, tensors = self._files[path]
        if sha256 != reference.sha256:
            raise BadFile(
                f"{path}: its bytes have the SHA-256 {sha256[:12]}…, the reply says "
                f"{reference.sha256[:12]}…"
            )
        if reference.name not in tensors:
            raise BadFile(f"{path}: no tensor {reference.name!r} in it")
        return tensors[reference.name]

    def _read(self, path: str) -> bytes:
        folder, _, name = path.partition("/")
        if folder != self._folder or not FILE_NAME.fullmatch(name):
            raise BadFile(f"{path!r}: a path is {self._folder}/FILE")
        try:
            fd = os.open(name, OPEN_FLAGS, dir_fd=self._fd)
        except OSError as error:
            what = "a symbolic link" if error.errno == errno.ELOOP else error.strerror
            raise BadFile(f"{path}: {what}") from error
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise BadFile(f"{path}: not a plain file")
            if status.st_nlink != 1:
                raise BadFile(f"{path}: {status.st_nlink} hard links to it, not 1")
            if status.st_size > self._bytes_left:
                limit = self._limits.file_bytes
                raise BadFile(f"{path}: with it, more than {limit} bytes in one message")
            # A file that still grows ends, for us, where it ended when it was opened.
            with os.fdopen(fd, "rb", closefd=False) as file:
                data = file.read(status.st_size)
        finally:
            os.close(fd)
        self._bytes_left -= len(data)
        return data


def parsed(path: str, data: bytes, limits: Limits) -> Mapping[str, Array]:
    """The tensors of a safetensors file, by name.

    Raises:
        BadFile: not such a file, or a dtype that does not cross the protocol.
    """
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > min(limits.header_bytes, len(data) - 8):
        raise BadFile(f"{path}: a header of {size} bytes in a file of {len(data)}")
    try:
        strict_json.parse(data[8 : 8 + size])
        found = safetensors.deserialize(data)  # type: ignore[no-untyped-call]
    except NotJson as error:
        raise BadFile(f"{path}: its header: {error}") from error
    except safetensors.SafetensorError as error:
        raise BadFile(f"{path}: {error}") from error
    if len(found) > limits.tensors:
        raise BadFile(f"{path}: {len(found)} tensors, more than {limits.tensors}")
    tensors = {}
    for name, entry in found:
        if entry["dtype"] not in DTYPES:
            raise BadFile(f"{path}: {name} has dtype {entry['dtype']}, not {', '.join(DTYPES)}")
        if len(entry["shape"]) > AXES:
            raise BadFile(f"{path}: {name} has {len(entry['shape'])} axes, more than {AXES}")
        if entry["dtype"] == "BOOL" and entry["data"].translate(None, b"\0\1"):
            raise BadFile(f"{path}: {name} holds a BOOL that is neither 0 nor 1")
        array = np.frombuffer(entry["data"], DTYPES[entry["dtype"]]).reshape(entry["shape"])
        array.flags.writeable = False
        tensors[name] = array
    return tensors
