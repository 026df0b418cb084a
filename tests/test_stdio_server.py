"""WS-STDIO-2: the example server answers every command, keeps its standard output to itself, and
ends; the conversation in the documents is one that takes place."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance import wire
from conformance.protocol import (
    CodecRequest,
    LoadRequest,
    MathRequest,
    OpenRequest,
    Port,
    Refusal,
    UnitInput,
    Unsupported,
)
from conformance.stdio.limits import Limits
from conformance.stdio.port import StdioPort

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples" / "ports"
SERVER = (sys.executable, "-m", "conformance.stdio.server")
LOUD = """
import os, toy

print("a banner of a library")

class Port(toy.Port):
    def supports(self, feature):
        print("a print in the port")
        os.system("echo a child that prints")
        return super().supports(feature)
"""


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[StdioPort]:
    monkeypatch.setenv("PYTHONPATH", str(EXAMPLES))
    port = StdioPort((*SERVER, "toy:Port"), Limits())
    yield port
    port.stop()


def conversation(port: Port) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Every command, good and bad."""
    x = np.linspace(-1, 1, 5, dtype=np.float32)
    opened = OpenRequest(preset="tiny", schedule="overlapped", dtype="float32", prompt=(1, 2))
    codec = CodecRequest(preset="tiny", dtype="float32", part="video_codec.encode", plan=(1, 1))
    units = [UnitInput(unit=k, text=(65 + k,), audio=x) for k in range(3)]

    def formula(op: str) -> MathRequest:
        return MathRequest(op=op, dtype="float32", arguments={"τ": [1, None]}, tensors={"x": x})

    yield "hello", port.hello
    yield "supports", lambda: (port.supports("reset"), port.supports("magic"))
    yield "load", lambda: port.load(LoadRequest(preset="tiny", dtype="float32"))
    yield "math", lambda: port.math(formula("double"))
    yield "unknown formula", lambda: port.math(formula("triple"))
    yield "codec", lambda: port.codec(codec, np.zeros((8, 3, 48, 80), np.float32))
    yield "open", lambda: port.open(opened)
    yield "step", lambda: port.step("toy-0", units[0])
    yield "wrong unit", lambda: port.step("toy-0", units[2])
    yield "unknown session", lambda: port.step("toy-9", units[0])
    yield "probe", lambda: port.probe("toy-0", units[1], ["L.0.hidden", "O.hidden"])
    yield "export", lambda: port.export_kv("toy-0")
    yield "import", lambda: port.import_kv("toy-0", port.export_kv("toy-0"))
    yield "finish", lambda: port.finish("toy-0")
    yield "reset", lambda: port.reset("toy-0")
    yield "first again", lambda: port.step("toy-0", units[0])
    yield "offline", lambda: port.offline(opened, units)
    yield "digest", lambda: port.kv_digest("toy-0", 0)
    yield "exchange", lambda: port.exchange([{"timer": {}}, {"arrive": {"message": {"x": "ö"}}}])
    yield "close", lambda: port.close("toy-0")
    yield "closed", lambda: port.finish("toy-0")


def outcome(act: Callable[[], Any]) -> str:
    try:
        return wire.digest(act())
    except (Refusal, Unsupported) as answer:
        return f"{isinstance(answer, Refusal)} {answer}"


def test_every_command_answers_as_in_process(
    served: StdioPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    """WS-STDIO-2, WS-CONFORMANCE-1: the same records, to the bit, by both entrances."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import toy  # type: ignore[import-not-found]

    direct = {name: outcome(act) for name, act in conversation(toy.Port())}
    assert {name: outcome(act) for name, act in conversation(served)} == direct
    assert direct["wrong unit"] == "True unit: got 2; allowed: 1"
    assert direct["offline"] == "False offline"


def test_prints_go_to_standard_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """WS-STDIO-2: of a library, of the port, of its children."""
    (tmp_path / "loud.py").write_text(LOUD, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", f"{EXAMPLES}:{tmp_path}")
    port = StdioPort((*SERVER, "loud:Port"), Limits())
    assert port.supports("reset")
    port.stop(tmp_path)
    log = (tmp_path / "port.stderr.log").read_text(encoding="utf-8")
    for line in ("a banner of a library", "a print in the port", "a child that prints"):
        assert line in log


def spoken(*lines: str, run_dir: Path, port: str = "toy:Port") -> tuple[int, list[Any], str]:
    """Exit status, replies, and standard error of a server that is told these lines."""
    for name in ("in", "out"):
        (run_dir / name).mkdir(exist_ok=True)
    ended = subprocess.run(
        [*SERVER, port],
        input="".join(f"{line}\n" for line in lines),
        env={"PYTHONPATH": str(EXAMPLES), "WANSTREAMER_RUN_DIR": str(run_dir)},
        capture_output=True,
        text=True,
        check=False,
    )
    return ended.returncode, [json.loads(line) for line in ended.stdout.splitlines()], ended.stderr


def test_bad_requests_are_refused(tmp_path: Path) -> None:
    """WS-STDIO-4: the server checks what it is sent, and answers until it is told to stop."""
    tensor = {"path": "in/1.safetensors", "name": "x", "sha256": "0" * 64}
    formula = {"op": "double", "dtype": "float32", "arguments": {}, "tensors": {}}
    status, replies, _ = spoken(
        json.dumps({"id": 1, "command": "dance"}),
        json.dumps({"id": 2, "command": "reset"}),
        json.dumps({"id": 3, "command": "math", **formula, "tensors": {"x": {"tensor": tensor}}}),
        json.dumps({"id": 4, "command": "stop"}),
        json.dumps({"id": 5, "command": "supports", "feature": "reset"}),
        run_dir=tmp_path,
    )
    assert status == 0
    assert replies == [
        {"id": 1, "unsupported": {"feature": "dance"}},
        {
            "id": 2,
            "error": {
                "kind": "refused",
                "message": "the message: 'session' is a required property",
            },
        },
        {
            "id": 3,
            "error": {
                "kind": "refused",
                "message": "in/1.safetensors: No such file or directory",
            },
        },
        {"id": 4, "ok": {}},
    ]


def test_it_ends_when_nobody_asks_any_more(tmp_path: Path) -> None:
    """WS-STDIO-2: the end of standard input is the end."""
    status, replies, _ = spoken('{"id": 1, "command": "finish", "session": "x"}', run_dir=tmp_path)
    assert status == 0
    assert [reply["error"]["kind"] for reply in replies] == ["refused"]


def test_a_port_that_cannot_be_loaded(tmp_path: Path) -> None:
    """WS-STDIO-2: one line on standard error, nothing on standard output."""
    status, replies, said = spoken(run_dir=tmp_path, port="nowhere:Port")
    assert (status, replies) == (1, [])
    assert said.strip().startswith("port: got 'nowhere:Port'")
    assert "\n" not in said.strip()


def test_the_transcript_took_place() -> None:
    """WS-STDIO-2: word for word; run ``scripts/protocol_transcript.py`` after a change."""
    spec = importlib.util.spec_from_file_location(
        "protocol_transcript", ROOT / "scripts" / "protocol_transcript.py"
    )
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    page = script.conversation()
    assert page == script.TARGET.read_text(encoding="utf-8")
    for command in ("hello", "stop", "math", "codec", "step", "export_kv", "exchange"):
        assert f'"command": "{command}"' in page
