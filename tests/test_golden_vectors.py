"""WS-VECTORS-4: the golden vectors are whole, and today's suite would write the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from conformance.files.manifest import FIXTURE_VERSION, check_files, read_manifest

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "conformance" / "vectors" / "tiny"


def test_ws_vectors_3_the_golden_vectors_are_as_they_were_written() -> None:
    """WS-VECTORS-3."""
    manifest = read_manifest(GOLDEN)
    check_files(GOLDEN, manifest)
    assert manifest.fixture_version == FIXTURE_VERSION
    assert manifest.budgets
    topics = {case.split("/")[0] for case in manifest.cases}
    assert topics == {
        "port", "math", "codec", "exchange", "session", "identity", "prefill", "sampling"
    }  # fmt: skip


def test_ws_vectors_4_the_golden_vectors_say_where_they_come_from() -> None:
    labels = {
        json.loads(path.read_text(encoding="utf-8"))["oracle"]
        for path in (GOLDEN / "cases").glob("*/case.json")
    }
    assert labels == {"analytic", "independent-float64", "reference-derived"}


def test_ws_vectors_4_the_job_that_regenerates_them_agrees() -> None:
    script = ROOT / "scripts" / "golden_vectors.py"
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "cases" in run.stdout
