"""WS-CONFORMANCE-12: ports by name, and one clear line for a name that does not work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from conformance.resolve import resolve
from spec.errors import PortError


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("nonsense", "port: got 'nonsense'"),
        ("mutant:nonsense", "mutant: got 'nonsense'"),
        ("benign:nonsense", "benign: got 'nonsense'"),
        ('cmd:"./no-such-port --fast"', "a program that exists"),
        ("cmd:", "a program that exists"),
        ("cmd:'python", "No closing quotation"),
        ("no_such_module:make", "no no_such_module"),
        ("broken_port:make", "ZeroDivisionError"),
        ("broken_factory:make", "RuntimeError: no weights here"),
        ("broken_factory:other", "AttributeError"),
    ],
)
def test_ws_conformance_12_bad_name_is_one_line(
    name: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_port.py").write_text("1 / 0\n")
    (tmp_path / "broken_factory.py").write_text(
        "def make():\n    raise RuntimeError('no\\nweights here')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(PortError, match=line) as raised:
        resolve(name)
    assert "\n" not in str(raised.value)


def test_ws_conformance_12_module_and_factory() -> None:
    port = resolve("conformance.ports.reference:ReferencePort")
    assert port.hello().name == "reference"
    assert resolve("mutant:tau-upwards").hello().name == "tau-upwards"


@pytest.mark.parametrize(
    ("name", "says"),
    [("reference", "reference"), ("split", "split"), ("benign:fused-attention", "fused-attention")],
)
def test_ws_conformance_12_each_name_gives_its_own_port(name: str, says: str) -> None:
    assert resolve(name).hello().name == says


def test_ws_conformance_12_judging_half_needs_no_torch() -> None:
    code = "import conformance.runner, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
