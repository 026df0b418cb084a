"""The example port in C: it passes the profile it claims, is caught when broken, and never crashes.

WS-CONFORMANCE-16: nothing of what it answers comes from Python or from this project's code.
"""

from __future__ import annotations

import json
import shlex
import struct
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from conformance import runner
from conformance.reporting.report import Report

FOLDER = Path(__file__).resolve().parents[1] / "examples/ports/c_math"


def built(target: Path, *settings: str) -> Path:
    """The port, made by its own Makefile outside the tree."""
    target.mkdir()
    command = ["make", "-C", str(FOLDER), f"OUT={target}", *settings]
    subprocess.run(command, check=True, capture_output=True, timeout=100)
    return target / "c_math"


def judged(program: Path, clause: str | None = None) -> Report:
    return runner.check(f"cmd:{shlex.quote(str(program))}", "math", clause)


def test_it_passes_the_profile_it_claims(tmp_path: Path) -> None:
    report = judged(built(tmp_path / "port"))
    assert report.failures() == ()
    assert report.exit_status == 0
    assert report.counts["pass"] > 600
    # It plans nothing and trains nothing.
    missing = [case.id for case in report.cases if case.verdict.value == "unsupported"]
    assert {name.partition(":")[0] for name in missing} == {
        "math/latency", "math/cost", "math/training", "math/training-elements",
    }  # fmt: skip


def test_a_broken_one_is_caught_by_its_clause(tmp_path: Path) -> None:
    report = judged(built(tmp_path / "port", "OPTIMISE=-O0", "EXTRA=-DBROKEN_EPS"), "WS-BACKBONE-2")
    assert report.exit_status == 1
    assert {case.clause for case in report.failures()} == {"WS-BACKBONE-2"}


def tensor_file(header: Any, data: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


GOOD = {"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
FILES = {
    "good": tensor_file(GOOD, bytes(8)),
    "empty": b"",
    "short": b"\0" * 7,
    "long-header": struct.pack("<Q", 2**63) + b"{}",
    "no-json": tensor_file(b'{"x":', bytes(8)),
    "deep": tensor_file(b"[" * 4000, b""),
    "no-entry": tensor_file({}, bytes(8)),
    "past-the-end": tensor_file({"x": {**GOOD["x"], "data_offsets": [8, 16]}}, bytes(8)),
    "backwards": tensor_file({"x": {**GOOD["x"], "data_offsets": [8, 0]}}, bytes(8)),
    "negative": tensor_file({"x": {**GOOD["x"], "shape": [-2]}}, bytes(8)),
    "huge": tensor_file({"x": {**GOOD["x"], "shape": [1 << 30, 1 << 30]}}, bytes(8)),
    "overflow": tensor_file({"x": {**GOOD["x"], "shape": [1 << 29] * 8}}, bytes(8)),
    "fractional": tensor_file({"x": {**GOOD["x"], "shape": [0.5]}}, bytes(8)),
    "other-dtype": tensor_file({"x": {**GOOD["x"], "dtype": "F16"}}, bytes(8)),
    "not-finite": tensor_file(GOOD, struct.pack("<ff", 1.0, float("nan"))),
    "many-axes": tensor_file({"x": {**GOOD["x"], "shape": [1] * 9}}, bytes(8)),
}


def line(number: int, op: str, arguments: Any = None, **tensors: Any) -> str:
    request = {"id": number, "command": "math", "op": op, "dtype": "float32"}
    return json.dumps({**request, "arguments": arguments or {}, "tensors": tensors})


def reference(name: str, digest: str | None = None) -> dict[str, Any]:
    path, sha = f"in/{name}.safetensors", digest or sha256(FILES[name]).hexdigest()
    return {"tensor": {"path": path, "name": "x", "sha256": sha}}


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("c") / "port", "sanitized")


def test_no_request_makes_it_crash(sanitized: Path, tmp_path: Path) -> None:
    """Under the sanitizers, which end the program at the first wrong access."""
    for folder in ("in", "out"):
        (tmp_path / folder).mkdir()
    for name, content in FILES.items():
        (tmp_path / f"in/{name}.safetensors").write_bytes(content)
    lines = [line(n, "codec.silu", x=reference(name)) for n, name in enumerate(FILES, start=1)]
    lines += [
        line(100, "codec.silu"),
        line(101, "codec.silu", x=reference("good", "0" * 64)),
        line(
            102, "codec.silu", x={"tensor": {**reference("good")["tensor"], "path": "/etc/hosts"}}
        ),
        line(103, "codec.silu", x={"tensor": {"path": "in/../in/good.safetensors"}}),
        line(104, "codec.conv", {"stride": [0], "plan": []}, x=reference("good")),
        line(105, "codec.upsample", {"time": 0, "side": 1}, x=reference("good")),
        line(106, "recipe.words", {"name": "a", "start": 0, "count": -5}),
        line(107, "recipe.words", {"name": "a", "start": 0, "count": 1 << 60}),
        line(108, "recipe.weight", {"name": "none", "shape": [2], "dtype": "float32"}),
        line(109, "recipe.weight", {"name": "x.weight", "shape": [1] * 9, "dtype": "float32"}),
        line(110, "flow.grid", {"steps": 1e300, "shift": 1}),
        line(111, "text.queue", {"slots": 3, "bursts": [[[1] * 5000]]}),
        line(112, "text.decode", {"ids": [0xF4, 0xFF, 0xE2, 0x82, -1, 1 << 40]}),
        line(113, "layout.rows", {"modalities": {}}),
        line(114, "no.such.op"),
        line(115, "encoder.hann", {"window": 0}),
        "",
        "{",
        '{"id": 1}',
        "[" * 100_000,
        '{"id": 7, "command": "\\ud800"}',
        '{"id": 7, "command": "hello", "command": "stop"}',
        "\0\0\0",
        '{"id": 200, "command": "stop"}',
    ]
    run = subprocess.run(
        [sanitized],
        input="\n".join(lines) + "\n",
        env={"WANSTREAMER_RUN_DIR": str(tmp_path), "ASAN_OPTIONS": "allocator_may_return_null=1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.stderr == ""
    assert run.returncode == 0
    replies = [json.loads(reply) for reply in run.stdout.splitlines()]
    assert len(replies) == len(lines)
    assert "ok" in replies[0]
    assert "ok" in replies[-1]
    kinds = {reply["id"]: next(k for k in reply if k != "id") for reply in replies}
    assert all(kinds[n] == "error" for n in range(2, len(FILES) + 1)), kinds
    assert kinds[112] == "ok"
    assert kinds[114] == "unsupported"
