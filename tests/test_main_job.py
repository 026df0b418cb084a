"""The main job passes only when every step did what it should: shown on a stand-in command."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]

GOOD: dict[str, Any] = {
    "run reference": {"units": 33, "frames_out": 132, "outputs_sha256": "aa"},
    "run split": {"units": 33, "frames_out": 132, "outputs_sha256": "aa"},
    "trace": {"clean": True, "events": 7, "violations": []},
    "simulate": {"cycle_ms": 185.0, "binding": "thinker", "violations": 0},
    "check reference": {"verdict": "pass", "cases": [{"id": "c", "verdict": "pass"}]},
    "check split": {"verdict": "pass", "cases": [{"id": "c", "verdict": "pass"}]},
    "check --list": {"mutants": [{"name": "pads-visible", "clause": "WS-LAYOUT-3"}]},
    "check mutant:pads-visible": {"verdict": "fail", "cases": [{"id": "c", "verdict": "fail"}]},
}

# Answers by the words that tell a command apart; a failing verdict exits with 1.
STAND_IN = """\
#!{python}
import json, pathlib, sys
argv = sys.argv
named = [argv[argv.index(o) + 1] for o in ("--engine", "--port") if o in argv]
key = "check --list" if "--list" in argv else " ".join([argv[1], *named])
answer = json.loads(pathlib.Path({answers!r}).read_text())[key]
print(json.dumps(answer))
sys.exit(answer.get("verdict") == "fail")
"""


def main_job(tmp_path: Path, answers: dict[str, Any]) -> ModuleType:
    """The script as a module, with a stand-in for the command that it runs."""
    spec = importlib.util.spec_from_file_location("main_job", ROOT / "scripts" / "main_job.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    replies, command = tmp_path / "answers.json", tmp_path / "wanstreamer"
    replies.write_text(json.dumps(answers))
    command.write_text(STAND_IN.format(python=sys.executable, answers=str(replies)))
    command.chmod(0o755)
    vars(module).update(COMMAND=command, ROOT=tmp_path)
    return module


def test_all_good_is_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Seven steps, one line each, and a count at the end."""
    assert main_job(tmp_path, GOOD).main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:-1]] == ["ok"] * 7
    assert lines[-1] == "7 passed, 0 failed"


@pytest.mark.parametrize(
    ("key", "change", "says"),
    [
        ("run split", {"outputs_sha256": "bb"}, "outputs_sha256 differ"),
        ("run reference", {"frames_out": 131}, "units and frames"),
        ("trace", {"clean": False, "violations": ["x"]}, "1 violations"),
        ("simulate", {"cycle_ms": 160.0}, "cycle 160.0 ms"),
        ("simulate", {"violations": 2}, "2 violations"),
        ("check reference", {"verdict": "fail"}, "exit 1, not 0"),
        ("check split", {"cases": []}, "on 0 cases"),
        ("check split", {"verdict": "inconclusive"}, "verdict inconclusive"),
        ("check --list", {"mutants": []}, "none"),
        ("check mutant:pads-visible", {"verdict": "pass"}, "exit 0, not 1"),
        ("check mutant:pads-visible", {"cases": []}, "no case failed"),
    ],
)
def test_one_bad_answer_is_failure(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    key: str,
    change: dict[str, Any],
    says: str,
) -> None:
    """Each kind of wrong answer fails its step, says so and fails the job."""
    assert main_job(tmp_path, GOOD | {key: GOOD[key] | change}).main() == 1
    failed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("FAIL")]
    assert len(failed) == 1
    assert says in failed[0]
