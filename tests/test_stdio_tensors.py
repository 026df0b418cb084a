"""WS-STDIO-5, WS-STDIO-6: arrays by reference, and files that are read as they were hashed."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import safetensors.numpy
from hostile_world import asked, started
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from conformance.protocol import Array, Refusal, Unsupported
from conformance.stdio.limits import Limits
from conformance.stdio.run_directory import RunDirectory, make_base
from conformance.stdio.tensor_files import DTYPES, BadFile, Reference, parsed

KINDS = st.sampled_from(sorted(DTYPES))
ARRAYS = KINDS.flatmap(
    lambda kind: arrays.arrays(DTYPES[kind], arrays.array_shapes(min_dims=0, min_side=0))
)
NAMES = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=12)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[RunDirectory]:
    made = RunDirectory(tmp_path / "run", attrs.evolve(Limits(), files=8, file_bytes=1 << 16))
    yield made
    made.remove()


def by_hand(tensors: dict[str, Array]) -> bytes:
    """A safetensors file, written from the page that describes it and not by the library."""
    entries: dict[str, Any] = {}
    data = b""
    kinds = {dtype: name for name, dtype in DTYPES.items()}
    for name, array in tensors.items():
        bits = array.tobytes()
        offsets = [len(data), len(data) + len(bits)]
        entries[name] = {"dtype": kinds[array.dtype], "shape": list(array.shape)}
        entries[name]["data_offsets"] = offsets
        data += bits
    header = json.dumps(entries).encode()
    return struct.pack("<Q", len(header)) + header + data


@given(st.dictionaries(NAMES, ARRAYS, max_size=4))
def test_the_format_as_docs_protocol_md_describes_it(tensors: dict[str, Array]) -> None:
    """WS-STDIO-5: whatever is written by hand is read, bit by bit."""
    found = parsed("out/x", by_hand(tensors), Limits())
    assert found.keys() == tensors.keys()
    for name, array in tensors.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes()
        assert not found[name].flags.writeable


@given(st.dictionaries(NAMES, ARRAYS, min_size=1, max_size=3), st.data())
def test_a_changed_byte_is_refused_or_is_a_file_of_its_own(
    tensors: dict[str, Array], data: st.DataObject
) -> None:
    """WS-STDIO-6: nothing but `BadFile` comes out of a file that was tampered with."""
    good = bytearray(by_hand(tensors))
    at = data.draw(st.integers(0, len(good) - 1))
    good[at] ^= data.draw(st.integers(1, 255))
    found: Mapping[str, Array] = {}
    with suppress(BadFile):
        found = parsed("out/x", bytes(good), Limits())
    assert sum(array.nbytes for array in found.values()) <= len(good)


def test_a_request_goes_there_and_a_reply_comes_back(directory: RunDirectory) -> None:
    """WS-STDIO-5: in one file a request, with the digest of the whole file."""
    given: dict[str, Array] = {"a": np.arange(6, dtype=np.float32).reshape(2, 3).T}
    given["b"] = np.array(3.0)
    references = directory.writer(7)(given)
    data = (directory.path / "in" / "7.safetensors").read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    assert references["a"] == Reference(path="in/7.safetensors", name="a", sha256=sha256)
    library = safetensors.numpy.load(data)
    for name, array in given.items():
        assert np.array_equal(library[name], array)
        assert library[name].shape == array.shape
    (directory.path / "out" / "y").write_bytes(data)
    read = directory.reader()
    found = read(Reference(path="out/y", name="a", sha256=sha256))
    assert np.array_equal(found, given["a"])


def test_what_was_read_cannot_change(directory: RunDirectory) -> None:
    """WS-STDIO-6: the file is opened once a message; the next message sees what is there then."""
    path = directory.path / "out" / "x"
    first, second = (by_hand({"x": np.array([n], np.float32)}) for n in (1, 2))
    old = Reference(path="out/x", name="x", sha256=hashlib.sha256(first).hexdigest())
    path.write_bytes(first)
    read = directory.reader()
    assert read(old) == 1
    path.write_bytes(second)
    assert read(old) == 1
    with pytest.raises(BadFile, match="its bytes have the SHA-256"):
        directory.reader()(old)


def test_files_live_for_one_request(directory: RunDirectory) -> None:
    """WS-STDIO-5: both folders are empty afterwards."""
    directory.writer(1)({"a": np.zeros(3)})
    (directory.path / "out" / "x").write_bytes(b"")
    (directory.path / "out" / "link").symlink_to(directory.path)
    directory.empty()
    assert [*directory.path.glob("*/*")] == []
    assert directory.path.is_dir()


@pytest.mark.parametrize("trick", ["refused", "unsupported"])
def test_files_of_a_request_that_was_not_honoured_live_no_longer(trick: str) -> None:
    """WS-STDIO-5."""
    with started("forms", trick) as port:
        with pytest.raises((Refusal, Unsupported)):
            port.math(asked("nasty"))
        (talk,) = port._talks
        assert [*talk._directory.path.glob("*/*")] == []


def test_a_file_is_read_once(directory: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """WS-STDIO-6: what comes into it afterwards is neither hashed nor parsed."""
    data, other = (by_hand({"x": np.array([n], np.float32)}) for n in (1, 2))
    path = directory.path / "out" / "x"
    path.write_bytes(data)
    close = os.close

    def closing(fd: int) -> None:
        close(fd)
        path.write_bytes(other)

    monkeypatch.setattr("conformance.stdio.tensor_files.os.close", closing)
    sha256 = hashlib.sha256(data).hexdigest()
    assert directory.reader()(Reference(path="out/x", name="x", sha256=sha256)) == 1
    assert path.read_bytes() == other


@pytest.mark.parametrize("axes", [8, 9])
def test_as_many_axes_as_are_allowed(axes: int) -> None:
    """WS-STDIO-6: 8 and no more."""
    data = by_hand({"x": np.zeros((1,) * axes, np.float32)})
    if axes == 8:
        assert parsed("out/x", data, Limits())["x"].ndim == 8
    else:
        with pytest.raises(BadFile, match="x has 9 axes, more than 8"):
            parsed("out/x", data, Limits())


def test_tensors_of_a_message_are_counted_over_its_files(tmp_path: Path) -> None:
    """WS-STDIO-9."""
    made = RunDirectory(tmp_path / "run", attrs.evolve(Limits(), tensors=3))
    data = by_hand({"x": np.zeros(1)})
    sha256 = hashlib.sha256(data).hexdigest()
    read = made.reader()
    for n in range(4):
        (made.path / "out" / str(n)).write_bytes(data)
    for n in range(3):
        read(Reference(path=f"out/{n}", name="x", sha256=sha256))
    with pytest.raises(BadFile, match="more than 3 tensors in one message"):
        read(Reference(path="out/3", name="x", sha256=sha256))
    made.remove()


def test_a_file_that_waits_for_ours(directory: RunDirectory) -> None:
    """WS-STDIO-6: the suite writes no file through what a port has put in its place."""
    (directory.path / "in" / "2.safetensors").symlink_to("/dev/full")
    with pytest.raises(BadFile, match=r"in/2\.safetensors: was there before it was written"):
        directory.writer(2)({"a": np.zeros(3)})


def test_more_than_a_message_may_name(directory: RunDirectory) -> None:
    """WS-STDIO-9: files left behind, and tensors read."""
    for i in range(9):
        (directory.path / "out" / str(i)).write_bytes(by_hand({"x": np.zeros(1)}))
    with pytest.raises(BadFile, match=r"out/: more than 8 files in it"):
        directory.empty()
    tensors = {str(i): np.zeros(1, np.uint8) for i in range(5)}
    with pytest.raises(BadFile, match="5 tensors, more than 4"):
        parsed("out/x", by_hand(tensors), attrs.evolve(Limits(), tensors=4))


def test_where_the_run_directory_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """WS-STDIO-1: where TMPDIR says; if it says nothing, in memory when there is room."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    base = make_base()
    assert base.parent == tmp_path
    assert base.stat().st_mode & 0o077 == 0
    monkeypatch.delenv("TMPDIR")
    monkeypatch.setattr("conformance.stdio.run_directory.MEMORY", tmp_path / "memory")
    elsewhere = make_base()
    elsewhere.rmdir()
    assert elsewhere.parent != tmp_path / "memory"
    (tmp_path / "memory").mkdir()
    monkeypatch.setattr("conformance.stdio.run_directory.ROOM", 0)
    assert make_base().parent == tmp_path / "memory"


def test_a_removed_directory_leaves_nothing(tmp_path: Path) -> None:
    """WS-STDIO-5: also when a port has taken away its right to be read."""
    directory = RunDirectory(tmp_path / "run", Limits())
    before = len([*Path("/proc/self/fd").iterdir()])
    (directory.path / "out" / "deep").mkdir(mode=0)
    directory.remove()
    assert not (tmp_path / "run").exists()
    assert len([*Path("/proc/self/fd").iterdir()]) == before - 2
