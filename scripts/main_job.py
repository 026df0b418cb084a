"""The main job: the sample clip through both engines, then the conformance checks and mutants.

Runs the installed ``wanstreamer`` command, prints one line a step, and exits with 1 when a step
failed. Outputs go to ``out/``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
COMMAND = Path(sys.executable).with_name("wanstreamer")
CLIP = "examples/media/bigbuckbunny-160p.mp4"
TRACE = "out/split.jsonl"
UNITS, FRAMES = 33, 132
STAGES = "encode=60,update=60,comm=5,solve=100,decode=60"
"""Meets the paper's condition p + c ≤ T and yet takes 185 ms a unit (WS-LATENCY-3)."""
STEP_LIMIT_S = 300
SAMPLE = (
    "pads-visible",
    "lag-too-short",
    "user-text-blind",
    "conv-state-not-kept",
    "duplicate-appended",
)
"""Known-bad ports that are tried here: padding, lag, streaming, codec state, KV exchange."""


class StepError(Exception):
    """A step that did not do what it should; its text is the detail."""


def wanstreamer(*arguments: str, status: int = 0) -> dict[str, Any]:
    """The JSON object that a command prints; it must exit with ``status``."""
    # One thread a process: steps run side by side, and sums keep their order.
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    try:
        run = subprocess.run(
            [COMMAND, *arguments, "--json"],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=STEP_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise StepError(f"no end after {STEP_LIMIT_S} s") from error
    if run.returncode != status:
        said = (run.stderr or run.stdout).strip().splitlines()
        raise StepError(f"exit {run.returncode}, not {status}: {said[-1] if said else 'silent'}")
    answer: dict[str, Any] = json.loads(run.stdout)
    return answer


def streamed(engine: str) -> str:
    """The digest of the outputs that ``engine`` makes of the clip."""
    out = f"out/{engine}.mp4"
    trace = ("--trace", TRACE) if engine == "split" else ()
    answer = wanstreamer("run", CLIP, "-o", out, "--engine", engine, "--dtype", "float64", *trace)
    got = answer["units"], answer["frames_out"]
    if got != (UNITS, FRAMES):
        raise StepError(f"units and frames {got}, not {(UNITS, FRAMES)}")
    return str(answer["outputs_sha256"])


def engines_agree() -> str:
    with ThreadPoolExecutor(2) as pool:
        reference, split = pool.map(streamed, ("reference", "split"))
    if reference != split:
        raise StepError(f"outputs_sha256 differ: {reference[:12]} and {split[:12]}")
    return f"{UNITS} units, {FRAMES} frames, outputs {reference[:12]}"


def trace_is_clean() -> str:
    answer = wanstreamer("trace", "check", TRACE)
    if not answer["clean"]:
        raise StepError(f"{len(answer['violations'])} violations")
    return f"{answer['events']} events of the two processes"


def simulated() -> str:
    answer = wanstreamer("simulate", "--stages", STAGES, "--units", "400")
    if (answer["cycle_ms"], answer["violations"]) != (185.0, 0):
        raise StepError(f"cycle {answer['cycle_ms']} ms, {answer['violations']} violations")
    return f"cycle {answer['cycle_ms']:.0f} ms, bound by the {answer['binding']}"


def port_conforms(port: str, *jobs: str) -> str:
    answer = wanstreamer("check", "--port", port, *jobs)
    if answer["verdict"] != "pass" or not answer["cases"]:
        raise StepError(f"verdict {answer['verdict']} on {len(answer['cases'])} cases")
    return f"{len(answer['cases'])} cases"


def mutant_is_killed(name: str, clause: str) -> str:
    answer = wanstreamer("check", "--port", f"mutant:{name}", "--clause", clause, status=1)
    killers = [case["id"] for case in answer["cases"] if case["verdict"] == "fail"]
    if not killers:
        raise StepError("exit 1, but no case failed")
    return f"killed by {clause}"


def step(name: str, work: Callable[..., str], *arguments: str) -> bool:
    """Do one step and print its line."""
    start = time.monotonic()
    try:
        passed, detail = True, work(*arguments)
    except (StepError, OSError, ValueError, KeyError) as error:
        passed, detail = False, f"{type(error).__name__}: {error}"
    seconds = time.monotonic() - start
    print(f"{'ok' if passed else 'FAIL':4} {seconds:6.1f} s  {name:36} {detail}", flush=True)
    return passed


def sample(mutants: list[dict[str, str]]) -> list[dict[str, str]]:
    """The mutants of `SAMPLE`; `make test` runs all of them."""
    return [mutant for mutant in mutants if mutant["name"] in SAMPLE]


def main() -> int:
    (ROOT / "out").mkdir(exist_ok=True)
    results = [step("reference = split, float64", engines_agree)]
    results.append(step("trace of the split is clean", trace_is_clean))
    results.append(step("simulated pipeline", simulated))
    mutants: list[dict[str, str]] = []

    def listed() -> str:
        everything = wanstreamer("check", "--list")["mutants"]
        mutants.extend(sample(everything))
        if not mutants:
            raise StepError("none")
        return f"{len(everything)}, of which {len(mutants)} are tried here"

    results.append(step("mutants are listed", listed))
    with ThreadPoolExecutor(2) as pool:
        steps = [
            # One process, because the mutants are judged beside it.
            pool.submit(step, "split conforms", port_conforms, "split", "--jobs", "1"),
            *(
                pool.submit(step, f"mutant {m['name']}", mutant_is_killed, m["name"], m["clause"])
                for m in mutants
            ),
        ]
        results += [done.result() for done in steps]
    results.append(step("reference conforms", port_conforms, "reference"))
    passed = sum(results)
    print(f"{passed} passed, {len(results) - passed} failed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
