"""The numpy port of the examples passes what it claims, by files; a broken copy does not."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conformance.files import vectors
from conformance.files.judging import report_of
from conformance.files.manifest import Selection
from conformance.ports.reference import ReferencePort

PORT = Path(__file__).parent.parent / "examples" / "ports" / "numpy_port"
CHOSEN = Selection(
    profiles=("codec", "session"),
    dtypes=("float32", "float64"),
    cases=(
        "port/honest:*",
        "codec/chunking:audio_*",
        "codec/chunking:video_*1+2+1",
        "codec/causality:audio_encoder-stream-*",
        "codec/receptive-field:*-stream-last",
        "codec/levels:video_*silence",
        "codec/refusals:*",
        "session/presets:tiny-bare",
        "session/refusals:unit-*",
        "lifecycle/reset:reset-of-another",
    ),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("vectors") / "codec"
    vectors.write(root, CHOSEN, ReferencePort(), ReferencePort())
    return root


def answered_by(port: Path, folder: Path) -> None:
    subprocess.run(
        [sys.executable, port / "answer.py", folder], check=True, stdout=subprocess.DEVNULL
    )


def test_ws_vectors_2_a_port_without_torch_answers_and_passes(folder: Path) -> None:
    """WS-VECTORS-2, WS-VECTORS-5."""
    answered_by(PORT, folder)
    report = report_of(folder)
    assert report.failures() == ()
    assert report.exit_status == 0
    assert report.counts["pass"] == len(report.cases)


@pytest.mark.parametrize(
    ("file", "right", "wrong", "clause"),
    [
        ("blocks.py", "1e-6", "1e-3", "WS-CODEC-5"),
        ("parts.py", "np.pi * n / window", "np.pi * n / (window - 1)", "WS-CODEC-5"),
        ("blocks.py", "(a - s) // 2, (a - s) // 2", "a - s, 0", "WS-CODEC-5"),
    ],
)
def test_ws_vectors_5_a_broken_copy_fails(
    folder: Path, tmp_path: Path, file: str, right: str, wrong: str, clause: str
) -> None:
    broken = Path(shutil.copytree(PORT, tmp_path / "port"))
    text = (broken / file).read_text()
    assert right in text
    (broken / file).write_text(text.replace(right, wrong))
    answered_by(broken, folder)
    report = report_of(folder)
    assert report.exit_status == 1
    assert clause in {case.clause for case in report.failures()}
