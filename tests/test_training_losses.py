"""Eq. (1) and Eq. (3) over a batch: what counts, what does not, and the gradient itself."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import pytest
import samples
import torch
import training_world as world
from torch import Tensor

from reference import flow
from reference.model import WanStreamer
from reference.per_modality import each
from reference.training import losses, objective
from reference.training.forward import forced_pass, history_of
from reference.training.record import Record, clean_latents
from reference.units import Latents
from spec.layout import Modalities
from spec.prefill import Identity

COPIES = 2


def loss_of(model: WanStreamer, record: Record, *, checkpointing: bool = False) -> Tensor:
    terms = objective.likelihood(model, record, COPIES, checkpointing=checkpointing)
    return losses.mean_loss(terms, losses.total_counts([record], COPIES))


def parts_of(record: Record) -> tuple[Tensor, list[list[Latents]], list[list[Latents]]]:
    """Logits, velocities and targets of a record, cut off from the model: leaves of a graph."""
    model = samples.model_of(record.config.preset)
    z_0 = clean_latents(model, record)
    noisy, targets = objective.noise_copies(model, record, z_0, COPIES)
    result = forced_pass(model, record.config, history_of(model, record, z_0), noisy)
    leaves = [[each(leaf, v) for v in vs] for vs in result.velocities]
    return leaf(result.logits), leaves, targets


def leaf(x: Tensor) -> Tensor:
    return x.detach().clone().requires_grad_()


def gradient(x: Tensor | None) -> Tensor:
    assert x is not None
    return torch.zeros_like(x) if x.grad is None else x.grad


def test_the_terms_are_those_of_the_equations() -> None:
    """WS-TRAINING-4, WS-TRAINING-8: cross-entropy by hand, `<wait>` included; the flow loss is
    WS-FLOW-3's mean times the count."""
    record = world.record_of(world.session_config())
    logits, velocities, targets = parts_of(record)
    sums = losses.sums(record, logits, velocities, targets)
    counts = losses.counts(record, COPIES)
    said = [token for unit in record.text for token in unit]
    by_hand = [
        -float(torch.log(torch.exp(row) / torch.exp(row).sum())[token])
        for row, token in zip(logits.detach(), said, strict=True)
    ]
    assert sums["text"].item() == pytest.approx(sum(by_hand), rel=1e-12)
    assert counts["text"] == len(by_hand)
    for name in ("audio", "video"):
        mean = [
            flow.flow_loss(getattr(v, name), torch.zeros_like(getattr(t, name)), getattr(t, name))
            for vs, ts in zip(velocities, targets, strict=True)
            for v, t in zip(vs, ts, strict=True)
        ]
        expected = torch.stack(mean).mean().item()
        assert float(sums[name].detach()) / counts[name] == pytest.approx(expected, rel=1e-12)


def test_targets_are_the_velocities_of_the_path() -> None:
    """WS-TRAINING-8: z_τ - τ v is z_0 and z_τ + (1 - τ) v is ε; each copy has a τ of its own,
    audio and video the same one."""
    record = world.record_of(world.session_config())
    model = samples.model_of(record.config.preset)
    z_0 = clean_latents(model, record)
    noisy, targets = objective.noise_copies(model, record, z_0, COPIES)
    taus = [copy.tau for copies in noisy for copy in copies]
    assert len(set(taus)) == len(taus)
    assert all(0 < tau < 1 for tau in taus)
    for clean, copies, ts in zip(z_0, noisy, targets, strict=True):
        for copy, t in zip(copies, ts, strict=True):
            back = each(lambda z, v, tau=copy.tau: z - tau * v, copy.z, t)
            assert world.largest_error([back], [clean]) < 1e-14


def test_what_is_not_supervised_has_no_effect() -> None:
    """WS-TRAINING-1, WS-TRAINING-8: with unit 1 out of the masks the loss has no gradient there,
    neither in the logits nor in the velocities, and does not change with their targets."""
    whole = world.record_of(world.session_config())
    slots = whole.config.layout.agent_text_slots
    record = attrs.evolve(
        whole,
        text_mask=((True,) * slots, (False,) * slots, (True,) * slots),
        response_mask=(True, False, True),
    )
    logits, velocities, targets = parts_of(record)
    sums = losses.sums(record, logits, velocities, targets)
    torch.autograd.backward(losses.mean_loss(sums, losses.total_counts([record], COPIES)))
    by_unit = gradient(logits).reshape(3, slots, -1).abs().sum(dim=(1, 2))
    assert (by_unit > 0).tolist() == [True, False, True]
    for k, vs in enumerate(velocities):
        for v in vs:
            assert bool(gradient(v.audio).any()) == bool(gradient(v.video).any()) == (k != 1)
    other = attrs.evolve(record, text=(record.text[0], (1,) * slots, record.text[2]))
    moved = [targets[0], [each(torch.neg, t) for t in targets[1]], targets[2]]
    again = losses.sums(other, logits, velocities, moved)
    assert {k: float(v) for k, v in again.items()} == {k: float(v) for k, v in sums.items()}
    assert losses.counts(record, COPIES)["text"] == 2 * slots


def shifted(targets: Sequence[list[Latents]], by: int) -> list[list[Latents]]:
    return [targets[(k + by) % len(targets)] for k in range(len(targets))]


@pytest.mark.parametrize("by", [-1, 1])
def test_targets_off_by_one_unit_are_another_loss(by: int) -> None:
    """WS-TRAINING-3: velocities that fit unit k have no loss; those of unit k ± 1 have."""
    record = world.record_of(world.session_config())
    logits, _, targets = parts_of(record)
    fits = losses.sums(record, logits, targets, targets)
    off = losses.sums(record, logits, targets, shifted(targets, by))
    assert (float(fits["audio"]), float(fits["video"])) == (0.0, 0.0)
    assert float(off["audio"]) > 1
    assert float(off["video"]) > 1


@pytest.mark.parametrize(
    ("modalities", "terms"),
    [
        (Modalities(), {"text", "audio", "video"}),
        (samples.TEXT_ONLY, {"text"}),
        (Modalities(agent_text=False, agent_video=False), {"audio"}),
        (Modalities(user_audio=False, user_video=False, agent_audio=False), {"text", "video"}),
    ],
)
def test_an_absent_modality_adds_nothing(modalities: Modalities, terms: set[str]) -> None:
    """WS-TRAINING-8: its sum and its count are 0, and the loss is finite."""
    record = world.record_of(world.session_config(modalities=modalities))
    sums = objective.likelihood(samples.model_of(samples.SMALL), record, COPIES)
    counts = losses.counts(record, COPIES)
    assert {name for name in losses.TERMS if counts[name] > 0} == terms
    assert {name for name in losses.TERMS if float(sums[name]) > 0} == terms
    assert losses.mean_loss(sums, counts).isfinite()


def test_a_batch_is_one_mean_however_it_is_split() -> None:
    """WS-TRAINING-9: records of unlike size, one after the other, add up to the mean over all
    elements of the batch, in value and in gradient; a mean of means would not."""
    records = [
        world.record_of(world.session_config(), units=1, name="a"),
        world.record_of(world.session_config(modalities=samples.WORDLESS), units=3, name="b"),
    ]
    totals = losses.total_counts(records, COPIES)
    model = world.learning_model()
    parts = []
    for record in records:
        part = losses.mean_loss(objective.likelihood(model, record, COPIES), totals)
        torch.autograd.backward(part)
        parts.append(part.item())
    one_by_one = world.gradients(model)
    model.zero_grad()
    terms = [objective.likelihood(model, record, COPIES) for record in records]
    whole = torch.stack(
        [torch.stack([t[name] for t in terms]).sum() / totals[name] for name in losses.TERMS]
    ).sum()
    torch.autograd.backward(whole)
    assert sum(parts) == pytest.approx(float(whole.detach()), rel=1e-13)
    for name, expected in world.gradients(model).items():
        torch.testing.assert_close(one_by_one[name], expected, rtol=1e-9, atol=1e-12)
    means = sum(float(loss_of(model, record).detach()) for record in records) / 2
    assert means != pytest.approx(sum(parts), rel=1e-3)


PROBED = (
    "embed_tokens.weight",
    "segment_embedding",
    "state_embedding",
    "tau_embedding.in_proj.weight",
    "user_video_proj.weight",
    "user_audio_proj.bias",
    "video_encoder.trunk.stem.weight",
    "backbone.layers.0.self_attn.k_proj.weight",
    "backbone.layers.1.mlp.down_proj.weight",
    "backbone.norm.weight",
    "lm_head.weight",
    "audio_velocity_head.weight",
    "video_velocity_head.bias",
    "video_latent_proj.weight",
)


@pytest.mark.parametrize("conditional", [True, False])
def test_gradients_are_finite_differences(conditional: bool) -> None:
    """WS-TRAINING-8: along a fixed direction of each of these parameters, float64, central
    difference; with its condition and without (WS-TRAINING-7)."""
    model = world.learning_model()
    record = world.record_of(world.session_config(), units=2, conditional=conditional)
    torch.autograd.backward(loss_of(model, record))
    named, h = dict(model.named_parameters()), 1e-5
    generator = torch.Generator().manual_seed(4)
    for name in PROBED:
        parameter = named[name]
        direction = torch.randn(parameter.shape, generator=generator, dtype=samples.F64)
        values = []
        with torch.no_grad():
            before = parameter.clone()
            for sign in (1, -1):
                parameter.copy_(before + sign * h * direction)
                values.append(float(loss_of(model, record)))
            parameter.copy_(before)
        slope = float((gradient_of(parameter) * direction).sum())
        measured = (values[0] - values[1]) / (2 * h)
        assert slope == pytest.approx(measured, rel=1e-5, abs=1e-6), name


def gradient_of(parameter: Tensor) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


def test_without_condition_nothing_is_learned_from_it() -> None:
    """WS-TRAINING-7: the encoders, the ways in of the user and the language head get no gradient
    from an unconditional record, and get one from the same record with its condition."""
    record = world.record_of(world.session_config(), conditional=True)
    own = ("user_video_proj.weight", "video_encoder.trunk.stem.weight", "lm_head.weight")
    for conditional in (True, False):
        model = world.learning_model()
        slots = record.config.layout.agent_text_slots
        mask = ((conditional,) * slots,) * len(record)
        changed = attrs.evolve(record, conditional=conditional, text_mask=mask)
        torch.autograd.backward(loss_of(model, changed))
        got = world.gradients(model)
        assert all((name in got and bool(got[name].any())) == conditional for name in own)
        assert bool(got["video_velocity_head.weight"].any())


def test_the_codecs_learn_nothing() -> None:
    """WS-TRAINING-3: targets are constants: no gradient reaches a codec."""
    model = world.learning_model()
    config = world.session_config(identity=Identity(image=True, voice_ticks=1))
    torch.autograd.backward(loss_of(model, world.record_of(config)))
    got = world.gradients(model)
    assert not [name for name in got if name.startswith(("video_codec.", "audio_codec."))]
    learned = {n for n, p in model.named_parameters() if p.requires_grad}
    assert got.keys() == learned


@pytest.mark.parametrize("schedule", ["overlapped", "sequential"])
@pytest.mark.parametrize("conditional", [True, False])
def test_checkpointing_changes_no_gradient(schedule: str, *, conditional: bool) -> None:
    """WS-TRAINING-6: loss and every gradient are the same bit by bit with and without, under
    either λ, with a condition and without."""
    record = world.record_of(world.session_config(schedule), conditional=conditional)
    results = []
    for checkpointing in (False, True):
        model = world.learning_model()
        loss = loss_of(model, record, checkpointing=checkpointing)
        torch.autograd.backward(loss)
        results.append((loss.detach(), world.gradients(model)))
    (loss, plain), (loss_again, again) = results
    assert torch.equal(loss, loss_again)
    assert plain.keys() == again.keys()
    assert all(torch.equal(plain[name], again[name]) for name in plain)
