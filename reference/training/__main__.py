"""``python -m reference.training``: one stage of training.

    python -m reference.training --preset tiny --stage 1 --out out/stage1
    python -m reference.training --preset tiny --stage 2 --init out/stage1 --out out/stage2
    python -m reference.training --preset tiny --stage 3 --init out/stage2 --out out/stage3
    python -m reference.training --resume out/stage2

Source: design §11, §15 (progress on stderr, one JSON object on stdout, one line for a mistake).
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import attrs
import click
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from reference import recipe
from reference.training import loop
from reference.training.config import TrainingConfig, default_config
from reference.training.loop import Run
from spec.errors import ConfigError, WanStreamerError

USAGE_STATUS = 2
INTERRUPTED_STATUS = 130


@click.command("python -m reference.training")
@click.option("--preset", default=None, help="A preset [tiny].")
@click.option("--stage", type=int, help="1 tasks, 2 duplex, 3 distillation.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder [out/training/PRESET-stageN].")
@click.option("--init", type=click.Path(path_type=Path), help="Run to start from [stage before].")
@click.option("--resume", type=click.Path(path_type=Path), help="Run to go on with, as it was.")
@click.option("--steps", type=int, help="Updates.")
@click.option("--batch", type=int, help="Records an update.")
@click.option("--units", type=int, help="Units a record.")
@click.option("--held-out", type=int, help="Held-out records.")
@click.option("--learning-rate", type=float)
@click.option("--guidance-scale", type=float, help="Of the teacher, stage 3.")
@click.option("--matching-weight", type=float, help="Of distribution matching, stage 3.")
@click.option("--seed", type=int, help="Of data order and noise [0].")
@click.option("--checkpointing", is_flag=True, default=None, help="Less memory, more time.")
@click.option("--save-every", type=int, help="Updates between checkpoints.")
@click.option("--stop-at", type=int, help="Stop after this many updates; --resume goes on.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def command(
    out: Path | None,
    init: Path | None,
    resume: Path | None,
    stop_at: int | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Train one stage, or go on with a run. Held-out losses are shown at the end."""
    torch.set_num_threads(1)
    chosen = {name: value for name, value in given.items() if value is not None}
    began = time.monotonic()
    if resume is None:
        run = new_run(chosen, out, init)
    elif chosen or out or init:
        odd = sorted(chosen) + ["out"] * bool(out) + ["init"] * bool(init)
        raise ConfigError("options beside --resume", ", ".join(odd), "--stop-at and --json")
    else:
        run = loop.resume(resume)
    folder = with_progress(run, stop_at)
    result = {
        "preset": run.progress.config.preset,
        "stage": run.progress.config.stage,
        "step": run.progress.step,
        "steps": run.progress.config.steps,
        "seconds": round(time.monotonic() - began, 1),
        "checkpoint": str(folder),
        "weights_sha256": recipe.weights_sha256(run.student.model),
        "held_out": run.progress.scores,
    }
    if as_json:
        click.echo(json.dumps(result))
    else:
        show(result)


def new_run(chosen: dict[str, Any], out: Path | None, init: Path | None) -> Run:
    """A run as the options say, the stage's defaults for the rest.

    Raises:
        ConfigError: no stage, no run to start from, or a value outside its domain.
    """
    if "stage" not in chosen:
        raise ConfigError("--stage", "none", "1, 2 or 3, or --resume DIR")
    stage, preset = chosen["stage"], chosen.pop("preset", "tiny")
    config = attrs.evolve(default_config(preset, stage, chosen.get("seed", 0)), **chosen)
    if init is None and stage > 1:
        init = default_folder(config, stage - 1)
    return loop.start(config, out or default_folder(config, stage), init)


def default_folder(config: TrainingConfig, stage: int) -> Path:
    """Where a stage's run lives unless told otherwise."""
    return Path("out") / "training" / f"{config.preset}-stage{stage}"


def with_progress(run: Run, stop_at: int | None) -> Path:
    """The run under a progress bar on stderr."""
    columns = (TextColumn("stage {task.fields[stage]}"), BarColumn(), MofNCompleteColumn(),
               TextColumn("loss {task.fields[loss]:.3f}"), TimeRemainingColumn())  # fmt: skip
    config = run.progress.config
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(
            "", total=config.steps, completed=run.progress.step, stage=config.stage, loss=0.0
        )

        def report(done: int, loss: float) -> None:
            bar.update(task, completed=done, loss=loss)

        return loop.go(run, report, stop_at)


def show(result: dict[str, Any]) -> None:
    """Held-out scores as lines, and where the weights are."""
    for scores in result["held_out"]:
        values = "  ".join(f"{k} {v:.4f}" for k, v in scores.items() if k != "step")
        click.echo(f"update {scores['step']:>5.0f}  {values}")
    click.echo(f"{result['checkpoint']}  weights {result['weights_sha256'][:16]}")


def main() -> int:
    """Run the command; a user's mistake ends in one line and status 2 (WS-ERRORS-1)."""
    try:
        command.main(prog_name="python -m reference.training", standalone_mode=False)
    except WanStreamerError as error:
        return complain(str(error))
    except click.ClickException as error:
        return complain(error.format_message())
    except (click.Abort, KeyboardInterrupt):
        complain("interrupted; --resume goes on from the last checkpoint")
        return INTERRUPTED_STATUS
    except OSError as error:
        return complain(f"{error.filename or 'system'}: {error.strerror or error}")
    return 0


def complain(message: str) -> int:
    """Say ``message`` as one line on stderr."""
    click.echo("reference.training: " + " ".join(message.split()), err=True)
    return USAGE_STATUS


if __name__ == "__main__":
    sys.exit(main())
