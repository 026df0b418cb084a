"""A run: falls, stops, goes on with the same bits, and refuses what does not fit."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch
import training_world as world
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from reference.training import __main__ as cli
from reference.training import data, evaluation, learner, loop, losses, rollout, saved, stages
from reference.training.config import TrainingConfig
from reference.training.distribution_matching import matching_terms
from reference.training.loop import Run
from spec.errors import ConfigError, WanStreamerError, WeightsError


def silent(_done: int, _loss: float) -> None:
    pass


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file of a checkpoint, byte by byte."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@attrs.frozen(eq=False)
class Finished:
    """A run of three updates, one for each phase of stage 3, and the weights it began with."""

    run: Run
    folder: Path
    first: dict[str, dict[str, torch.Tensor]]


def weights_of(run: Run) -> dict[str, dict[str, torch.Tensor]]:
    models = {name: one.model for name, one in run.learners.items()}
    if run.extra is not None:
        models["teacher"] = run.extra.teacher.model
    return {m: {n: p.detach().clone() for n, p in models[m].named_parameters()} for m in models}


def three_updates(stage: int) -> TrainingConfig:
    return world.small_run(
        stage, steps=3, batch=1, units=1, held_out=1, evaluations=1, save_every=5, copies=1
    )


@pytest.fixture(scope="module", params=[1, 3])
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    out = tmp_path_factory.mktemp("finished") / "run"
    run = loop.start(three_updates(request.param), out, None)
    first = weights_of(run)
    return Finished(run, loop.go(run, silent), first)


def test_interrupted_and_resumed_is_uninterrupted(finished: Finished, tmp_path: Path) -> None:
    """WS-TRAINING-17: weights, optimizer memory, critic, scores and config: every byte of the last
    checkpoint is the same, with an interruption between any two updates and phases."""
    config = finished.run.progress.config
    expected = files_of(finished.folder)
    assert ("critic_optimizer.safetensors" in expected) == (config.stage == 3)
    out = tmp_path / "broken"
    loop.go(loop.start(config, out, None), silent, stop_at=1)
    for stop_at in (2, None):
        torch.manual_seed(5)
        last = loop.go(loop.resume(out), silent, stop_at)
    assert files_of(last) == expected
    assert [path.name for path in out.glob("step-*")] == ["step-000003"]


def test_only_the_trained_part_moves(finished: Finished) -> None:
    """WS-TRAINING-3, WS-TRAINING-14: the codecs and the teacher are what they were; student and
    critic have moved, apart from each other."""
    now = weights_of(finished.run)
    moved = {
        name: {n for n, p in now[name].items() if not torch.equal(p, old[n])}
        for name, old in finished.first.items()
    }
    head = "video_velocity_head.weight"
    assert not moved.pop("teacher", None)
    for names in moved.values():
        assert head in names
        assert not [n for n in names if n.startswith(learner.FROZEN)]
    if "critic" in moved:
        assert not torch.equal(now["model"][head], now["critic"][head])


def test_looking_changes_nothing(finished: Finished) -> None:
    """WS-TRAINING-18: evaluated again, the scores are the same and so are the weights."""
    run, before = finished.run, weights_of(finished.run)
    teacher = None if run.extra is None else run.extra.teacher
    again = evaluation.evaluate(run.student.model, run.student.config, teacher)
    assert {"step": 3.0, **again} == run.progress.scores[-1]
    if teacher is not None:
        assert set(again) == {"loss", "text", "cfg", "steps", "rolling"}
    for name, old in weights_of(run).items():
        assert all(torch.equal(p, before[name][n]) for n, p in old.items())


def test_held_out_loss_falls(tmp_path: Path) -> None:
    """WS-TRAINING-18: a few updates are enough to see it; each score tells its terms."""
    config = world.small_run(1, steps=8, batch=4, units=1, held_out=8, evaluations=1)
    run = loop.start(config, tmp_path / "run", None)
    loop.go(run, silent)
    before, after = run.progress.scores
    assert (before["step"], after["step"]) == (0, 8)
    assert after["loss"] < 0.8 * before["loss"]
    for scores in (before, after):
        terms = [scores[name] for name in ("text", "audio", "video")]
        assert scores["loss"] == pytest.approx(sum(terms), rel=1e-12)


def test_stage_3_has_three_phases() -> None:
    """WS-TRAINING-16: a third each, in order, whatever the number of updates."""
    config = world.small_run(3, steps=9)
    phases = [stages.phase_of(config, step) for step in range(9)]
    assert phases == ["cfg"] * 3 + ["steps"] * 3 + ["rolling"] * 3
    for steps in (3, 4, 5, 8, 100):
        config = world.small_run(3, steps=steps)
        phases = [stages.phase_of(config, step) for step in range(steps)]
        counts = [phases.count(name) for name in stages.PHASES]
        assert phases == [n for n, c in zip(stages.PHASES, counts, strict=True) for _ in range(c)]
        assert max(counts) - min(counts) <= 1


def test_what_the_phases_minimise(finished: Finished) -> None:
    """WS-TRAINING-16: the rolling phase adds distribution matching, at its stated weight, to step
    distillation; the words have a gradient in every phase."""
    run = finished.run
    if run.extra is None:
        return
    student, teacher, critic = run.student, run.extra.teacher, run.extra.critic.model
    records = data.batch_of(student.config, 0)
    rollouts = [rollout.roll_out(student.model, record, 0) for record in records]
    cfg = [*stages.guided(student, teacher, records)]
    steps = [*stages.chords(student, teacher, records)]
    rolling = [*stages.rolling(student, run.extra, records, rollouts)]
    weight = student.config.matching_weight
    assert weight != 1
    for record, own in zip(records, rollouts, strict=True):
        terms = matching_terms(teacher, critic, record, own)
        steps.append(weight * losses.mean_loss(terms, losses.total_counts(records, 1)))
    assert [loss.item() for loss in rolling] == pytest.approx([loss.item() for loss in steps])
    head = student.model.lm_head.weight
    for loss in (cfg[0], rolling[0]):
        (slope,) = torch.autograd.grad(loss, head, allow_unused=True)
        assert slope is not None
        assert slope.any()


def test_a_stage_starts_from_the_one_before(finished: Finished, tmp_path: Path) -> None:
    """WS-TRAINING-16: weights of the earlier run, bit by bit; in stage 3 the teacher's and the
    critic's too."""
    run = loop.start(three_updates(3), tmp_path / "next", finished.run.out)
    learned = weights_of(finished.run)["model"]
    for weights in weights_of(run).values():
        assert all(torch.equal(p, learned[n]) for n, p in weights.items())


@pytest.fixture
def copied(finished: Finished, tmp_path: Path) -> Path:
    """A copy of a finished run, to be harmed."""
    shutil.copytree(finished.run.out, tmp_path / "run")
    return tmp_path / "run"


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def without_a_tensor(path: Path) -> None:
    tensors = load_file(path)
    del tensors["lm_head.weight"]
    save_file(tensors, path)


def with_nan(path: Path) -> None:
    tensors = load_file(path)
    tensors["lm_head.weight"] = tensors["lm_head.weight"] * float("nan")
    save_file(tensors, path)


def of_another_shape(path: Path) -> None:
    tensors = load_file(path)
    tensors["lm_head.weight"] = tensors["lm_head.weight"][1:].contiguous()
    save_file(tensors, path)


def of_another_type(path: Path) -> None:
    tensors = load_file(path)
    tensors["lm_head.weight"] = tensors["lm_head.weight"].half()
    save_file(tensors, path)


@pytest.mark.parametrize(
    "harm", [truncated, without_a_tensor, with_nan, of_another_shape, of_another_type]
)
def test_a_damaged_checkpoint_is_refused(harm: Callable[[Path], None], copied: Path) -> None:
    """WS-TRAINING-17: one clear error that names the file, and the tensor where it is one."""
    harm(saved.newest(copied) / "model.safetensors")
    with pytest.raises(WeightsError, match=r"model\.safetensors"):
        loop.resume(copied)


def test_a_checkpoint_comes_whole_or_not_at_all(finished: Finished, copied: Path) -> None:
    """WS-TRAINING-17: what a crash leaves of a half-written one is not taken for one, and is
    written over; an optimizer without its memory is refused."""
    folder = saved.newest(copied)
    shutil.copytree(folder, copied / ".step-000009.partial")
    assert loop.resume(copied).progress.step == 3
    again = saved.save(copied, finished.run.progress, finished.run.learners)
    assert files_of(again) == files_of(finished.folder)
    (folder / "optimizer.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"optimizer\.safetensors"):
        loop.resume(copied)


def test_a_save_that_breaks_off_changes_nothing(
    finished: Finished, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """WS-TRAINING-17: the disk is full after the first file: the last checkpoint is the newest."""
    files: list[Path] = []

    def full(tensors: dict[str, torch.Tensor], path: Path) -> None:
        if files:
            raise OSError(28, "No space left on device")
        files.append(path)
        save_file(tensors, path)

    monkeypatch.setattr(saved, "save_file", full)
    further = attrs.evolve(finished.run.progress, step=9)
    with pytest.raises(OSError, match="No space left"):
        saved.save(copied, further, finished.run.learners)
    assert saved.newest(copied).name == "step-000003"
    assert files_of(saved.newest(copied)) == files_of(finished.folder)


def test_no_pickle_is_written(finished: Finished) -> None:
    """WS-TRAINING-17: safetensors and JSON, nothing else."""
    files = [path for path in finished.run.out.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".safetensors", ".json"}


def test_runs_do_not_overwrite_or_mix(finished: Finished, tmp_path: Path) -> None:
    """WS-TRAINING-17: a folder that is taken, by a run or by anything else, one that holds no run,
    another preset's weights."""
    out, config = finished.run.out, finished.run.progress.config
    notes = tmp_path / "notes" / "notes.txt"
    notes.parent.mkdir()
    notes.write_text("mine")
    for taken in (out, notes.parent, notes):
        with pytest.raises(ConfigError, match="--out"):
            loop.start(config, taken, None)
    with pytest.raises(ConfigError, match="checkpoint"):
        loop.resume(tmp_path / "nothing")
    other = attrs.evolve(config, preset="tiny-lag0")
    with pytest.raises(ConfigError, match="preset"):
        loop.start(other, tmp_path / "other", out)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [("stage", 4), ("steps", 0), ("batch", -1), ("drop", 1.0), ("preset", "huge"),
     ("learning_rate", 0.0), ("learning_rate", float("nan"))],
)  # fmt: skip
def test_a_config_outside_its_domain_is_refused(name: str, value: Any) -> None:
    """WS-TRAINING-17: when it is made, not when it is used."""
    with pytest.raises(ConfigError, match=name):
        attrs.evolve(three_updates(1), **{name: value})


@pytest.mark.parametrize("loss", ["nan", "inf"])
def test_a_loss_that_is_not_finite_ends_the_run(loss: str, tmp_path: Path) -> None:
    """WS-TRAINING-17: before the weights are spoilt."""
    run = loop.start(three_updates(1), tmp_path / "run", None)
    before = [p.clone() for p in run.student.model.parameters()]
    with pytest.raises(ConfigError, match="loss of update 0"):
        run.student.update([torch.tensor(float(loss), requires_grad=True)], 0)
    assert all(
        torch.equal(a, b) for a, b in zip(run.student.model.parameters(), before, strict=True)
    )


SMALL = ["--steps", "2", "--batch", "1", "--units", "1", "--held-out", "1"]


def invoke(arguments: Sequence[str], tmp_path: Path) -> tuple[int, str, str]:
    """The command in a folder of its own: status, stdout, stderr."""
    with contextlib.chdir(tmp_path):
        result = CliRunner().invoke(cli.command, list(arguments), standalone_mode=False)
    if isinstance(result.exception, WanStreamerError):
        return 2, result.stdout, str(result.exception)
    assert result.exception is None, result.exception
    return result.exit_code, result.stdout, result.stderr


def test_the_command_prints_one_json_object(tmp_path: Path) -> None:
    """WS-TRAINING-17: stopped and resumed from the command line, the weights are those of a run
    that was not; progress goes to stderr."""
    first = ["--stage", "1", *SMALL, "--out", str(tmp_path / "a"), "--json"]
    _, out, err = invoke(first, tmp_path)
    whole = json.loads(out)
    assert (whole["stage"], whole["step"], whole["steps"]) == (1, 2, 2)
    assert whole["held_out"][-1]["step"] == 2
    assert "stage 1" in err
    invoke(["--stage", "1", *SMALL, "--out", str(tmp_path / "b"), "--stop-at", "1"], tmp_path)
    _, out, _ = invoke(["--resume", str(tmp_path / "b"), "--json"], tmp_path)
    assert json.loads(out)["weights_sha256"] == whole["weights_sha256"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--stage"),
        (["--stage", "7"], "stage"),
        (["--stage", "1", "--preset", "huge"], "preset"),
        (["--stage", "2"], "checkpoint"),
        (["--resume", "nowhere"], "checkpoint"),
        (["--resume", "nowhere", "--steps", "3"], "--resume"),
        (["--stage", "1", "--steps", "0"], "steps"),
    ],
)
def test_mistakes_are_one_clear_line(arguments: list[str], message: str, tmp_path: Path) -> None:
    """WS-TRAINING-17: no stage, no such stage or preset, no run to start from or to go on with."""
    status, out, err = invoke(arguments, tmp_path)
    assert status == 2
    assert not out
    assert message in err
    assert "\n" not in err
