"""The loop of ``wanstreamer run``: units through an engine, into a file, and a report.

Source: design §15.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import click
import numpy as np
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn

from optimized.payloads import DTYPES
from reference import text
from reference.digest import OutputDigest
from reference.media.writer import ClipWriter
from reference.noise import unit_noise
from reference.units import AgentUnit, UserUnit
from spec import clock
from spec.session import SessionConfig
from wanstreamer import interrupts
from wanstreamer.engines import Engine


@attrs.define(kw_only=True)
class Result:
    """What ``--json`` reports, gathered as the session goes."""

    dtype: str
    units: int = 0
    frames_out: int = 0
    samples_out: int = 0
    turn_end: int | None = None
    """The id that ends the session, if one does: the agent's end of turn."""
    ended: bool = False
    text: list[int] = attrs.field(factory=list)
    unit_ns: list[int] = attrs.field(factory=list)
    digest: OutputDigest = attrs.field(factory=OutputDigest)

    def add(self, agent: AgentUnit) -> None:
        """Count y_k in; the session ends with the unit that ends the agent's turn."""
        self.units += 1
        self.frames_out += 0 if agent.video is None else agent.video.shape[0]
        self.samples_out += 0 if agent.audio is None else agent.audio.shape[0]
        self.ended = self.turn_end in agent.text
        self.text += agent.text
        self.digest.update(agent)


def stream(
    engine: Engine,
    users: Iterator[UserUnit],
    config: SessionConfig,
    dtype: str,
    seed: int,
    writer: ClipWriter | None,
    total: int | None,
    turn_end: int | None = None,
) -> Result:
    """Every unit through the engine and into the file, one at a time; progress on stderr.

    Args:
        turn_end: the id after which the session ends (WS-PRESETS-6); None: it ends with the user.
    """
    result = Result(dtype=dtype, turn_end=turn_end)

    def emit(agents: list[AgentUnit]) -> None:
        for agent in agents:
            if result.ended:
                # A pipelined engine was a unit ahead when the turn ended.
                return
            result.add(agent)
            if writer is not None:
                writer.write(agent.video, agent.audio)

    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    # A log file needs no bar: there, stderr holds nothing but what went wrong.
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("units", total=total)
        for user in users:
            interrupts.check()
            noise = unit_noise(config, seed, user.unit, DTYPES[dtype])
            start = time.monotonic_ns()
            agents = engine.step(user, noise)
            result.unit_ns.append(time.monotonic_ns() - start)
            emit(agents)
            progress.advance(task)
            if result.ended:
                break
        emit(engine.finish())
    return result


def report(
    result: Result, engine: str, config: SessionConfig, output: Path | None, as_json: bool
) -> None:
    """Print what came out: one JSON object, or a few lines for a person."""
    words = text.decode(config.preset.tokenizer, result.text)
    ms = np.asarray(result.unit_ns) / 1e6
    p50, p95 = np.percentile(ms, (50, 95))
    answer = {
        "engine": engine,
        "preset": config.preset.name,
        "schedule": config.schedule,
        "dtype": result.dtype,
        "units": result.units,
        "fps": clock.FPS,
        "frames_out": result.frames_out,
        "samples_out": result.samples_out,
        "text": words,
        "unit_ms": {
            "p50": round(float(p50), 3),
            "p95": round(float(p95), 3),
            "max": round(float(ms.max()), 3),
        },
        "outputs_sha256": result.digest.hexdigest(),
    }
    if as_json:
        click.echo(json.dumps(answer))
        return
    seconds = result.units * clock.UNIT_NS / 1e9
    click.echo(f"{engine}, {config.preset.name}, {config.schedule}, {result.dtype}")
    click.echo(f"{result.units} units = {seconds:.2f} s at {clock.FPS} fps: "
               f"{result.frames_out} frames, {result.samples_out} samples")  # fmt: skip
    click.echo(f"a unit of {clock.UNIT_NS // 1_000_000} ms took {p50:.1f} ms (median), "
               f"{p95:.1f} ms (p95), {ms.max():.1f} ms (longest)")  # fmt: skip
    trained = "" if config.preset.weights != "recipe" else " (ids of untrained weights)"
    click.echo(f"text{trained}: {words!r}")
    click.echo(f"outputs sha256 {answer['outputs_sha256']}")
    if output is not None:
        written = map(click.format_filename, (output, output.with_suffix(".txt")))
        click.echo(f"wrote {' and '.join(written)}")
