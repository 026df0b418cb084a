"""Stage 3: what the student is drawn to, on whose history, and where gradients end."""

from __future__ import annotations

from itertools import pairwise

import attrs
import pytest
import samples
import torch
import training_world as world
from hypothesis import given
from hypothesis import strategies as st

from reference import flow, guidance, performer, session
from reference.model import WanStreamer
from reference.per_modality import each
from reference.solvers import euler
from reference.training import distillation, distribution_matching, losses, objective, rollout
from reference.training.distillation import Teacher
from reference.training.forward import forced_pass, history_of
from reference.training.layout import NoisyCopy
from reference.training.record import Record, clean_latents
from reference.training.rollout import Rollout

SCHEDULES = pytest.mark.parametrize("schedule", ["overlapped", "sequential"])


def teacher_of(scale: float, substeps: int) -> Teacher:
    return Teacher(model=samples.model_of(samples.SMALL), scale=scale, substeps=substeps)


def record_of(schedule: str = "overlapped", units: int = 2) -> Record:
    return world.record_of(world.session_config(schedule), units)


def copies_of(model: WanStreamer, record: Record) -> list[list[NoisyCopy]]:
    return objective.noise_copies(model, record, clean_latents(model, record), 1)[0]


def test_the_teacher_is_guided() -> None:
    """WS-TRAINING-12: the guided velocity is WS-FLOW-11 of two passes, one of them without
    condition (WS-TRAINING-7); the two differ, and so do scales."""
    record, model = record_of(), samples.model_of(samples.SMALL)
    copies = copies_of(model, record)
    history = history_of(model, record, clean_latents(model, record))
    cond = forced_pass(model, record.config, history, copies).velocities
    free = forced_pass(model, record.config, history, copies, conditional=False).velocities
    for scale in (1.0, 2.5):
        ours = teacher_of(scale, 1).velocities(record.config, history, copies)
        for (v,), (c,), (u,) in zip(ours, cond, free, strict=True):
            assert world.largest_error([c], [u]) > 0.1
            assert world.largest_error([v], [guidance.guide(c, u, scale)]) == 0


def test_unguided_cfg_distillation_of_a_copy_is_done() -> None:
    """WS-TRAINING-12: student = teacher and s = 1 leave nothing to learn; s = 2.5 does."""
    record, student = record_of(), samples.model_of(samples.SMALL)
    at_1 = distillation.guidance_terms(student, teacher_of(1.0, 1), record, 2)
    beyond = distillation.guidance_terms(student, teacher_of(2.5, 1), record, 2)
    for name in ("audio", "video"):
        assert float(at_1[name]) < 1e-20
        assert float(beyond[name]) > 1


@SCHEDULES
def test_a_chord_leads_where_the_teacher_arrives(schedule: str) -> None:
    """WS-TRAINING-12: from every τ_i of the student's grid, one student step along the chord ends
    where M guided teacher steps end; walked here copy by copy, each in a pass of its own."""
    record, model = record_of(schedule), samples.model_of(samples.SMALL)
    teacher = teacher_of(2.0, 3)
    z_0 = clean_latents(model, record)
    history = history_of(model, record, z_0)
    grid = flow.tau_grid(samples.SMALL.solver_steps)
    starts = [
        [NoisyCopy(z=objective.interpolated(z, eps, tau), tau=tau) for tau in grid[:-1]]
        for z, eps in zip(z_0, distillation.unit_noises(model, record), strict=True)
    ]
    chords = distillation.chords(teacher, record.config, history, starts, grid)
    for k in range(len(record)):
        for i, (tau, tau_next) in enumerate(pairwise(grid)):
            z = starts[k][i].z
            fine = [tau + (tau_next - tau) * m / 3 for m in range(3)] + [tau_next]
            for t, t_next in pairwise(fine):
                alone: list[list[NoisyCopy]] = [[] for _ in record.users]
                alone[k] = [NoisyCopy(z=z, tau=t)]
                v = teacher.velocities(record.config, history, alone)[k][0]
                z = euler(z, v, t, t_next)
            arrived = euler(starts[k][i].z, chords[k][i], tau, tau_next)
            assert world.largest_error([arrived], [z]) < 1e-11


@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 12))
def test_substeps_end_exactly_at_the_students_grid(a: float, b: float, substeps: int) -> None:
    """WS-TRAINING-12: the last teacher step ends at τ_{i+1} itself, not a rounding away from it."""
    tau, tau_next = max(a, b), min(a, b)
    assert distillation.substep(tau, tau_next, substeps, substeps) == tau_next
    walk = [distillation.substep(tau, tau_next, m, substeps) for m in range(substeps + 1)]
    assert walk[0] == tau
    assert all(later <= earlier for earlier, later in pairwise(walk))


def test_an_unguided_single_step_leaves_nothing_to_distill() -> None:
    """WS-TRAINING-12: student = teacher, s = 1, M = 1: the chord is the student's own velocity.
    More steps or guidance differ."""
    record, student = record_of(), samples.model_of(samples.SMALL)
    nothing = distillation.step_terms(student, teacher_of(1.0, 1), record)
    assert float(nothing["video"]) < 1e-20
    for teacher in (teacher_of(1.0, 3), teacher_of(2.0, 1)):
        assert float(distillation.step_terms(student, teacher, record)["video"]) > 1e-3


@SCHEDULES
def test_a_rollout_is_a_session(schedule: str) -> None:
    """WS-TRAINING-13: history is what the streaming session commits, bit by bit, whatever the exit
    step; with the last exit step the samples are the history too."""
    record, model = record_of(schedule, units=3), samples.model_of(samples.SMALL)
    config, steps = record.config, samples.SMALL.solver_steps
    state, expected = session.open_session(model, config), []
    for k, noise in enumerate(distillation.unit_noises(model, record)):
        agent, state = session.step(model, config, state, record.users[k], noise, record.text[k])
        expected.append(agent.latents)
    for exit_step in range(steps):
        rolled = rollout.roll_out(model, record, exit_step)
        assert world.largest_error(rolled.history, expected) == 0
        error = world.largest_error(rolled.generated, expected)
        assert error < 1e-13 if exit_step == steps - 1 else error > 1e-3


@SCHEDULES
def test_the_gradient_passes_through_the_exit_step_only(schedule: str) -> None:
    """WS-TRAINING-13: the gradient of a rollout is that of one evaluation of the exit step in a
    teacher-forced pass whose context is constant: cache entries carry none, nor do earlier steps.
    """
    record, exit_step = record_of(schedule, units=3), 1
    model = world.learning_model()
    rolled = rollout.roll_out(model, record, exit_step)
    assert not any(t.requires_grad for z in rolled.history for t in world.tensors(z))
    assert all(t.requires_grad for z in rolled.generated for t in world.tensors(z))
    total = torch.stack([t.sum() for z in rolled.generated for t in world.tensors(z)]).sum()
    torch.autograd.backward(total)
    ours = world.gradients(model)
    # The user's encoders and the language head are history: they are not in the graph at all.
    history_only = ("user_video_proj.weight", "audio_encoder.", "lm_head.", "state_embedding")
    assert not [name for name in ours if name.startswith(history_only)]

    model.zero_grad()
    grid = flow.tau_grid(samples.SMALL.solver_steps)
    with torch.no_grad():
        state = session.open_session(model, record.config)
    for k, noise in enumerate(distillation.unit_noises(model, record)):
        with torch.no_grad():
            _, state = session.step(
                model, record.config, state, record.users[k], noise, record.text[k]
            )
            field = performer.velocity_field(model, record.config, k, state.performer)
            z = euler(noise, field(noise, grid[0], 0), grid[0], grid[1])
        v = field(z, grid[exit_step], exit_step)
        torch.autograd.backward([-grid[exit_step] * t.sum() for t in world.tensors(v)])
    for name, expected in world.gradients(model).items():
        torch.testing.assert_close(ours[name], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("tau", [0.05, 0.4, 0.95])
def test_the_score_of_a_gaussian_is_known(tau: float) -> None:
    """WS-TRAINING-14: for x ~ N(μ, σ²), z_τ ~ N((1-τ) μ, (1-τ)² σ² + τ²), and the exact velocity
    E[ε - x | z_τ] converts to exactly the score of that law."""
    mean, sigma = 0.7, 1.3
    z = torch.linspace(-2, 2, 9, dtype=samples.F64).requires_grad_()
    variance = (1 - tau) ** 2 * sigma**2 + tau**2
    centred = z - (1 - tau) * mean
    x_hat = mean + (1 - tau) * sigma**2 / variance * centred
    eps_hat = tau / variance * centred
    log_p = -(centred**2) / (2 * variance)
    (expected,) = torch.autograd.grad(log_p.sum(), z, retain_graph=True)
    ours = distribution_matching.score(z, eps_hat - x_hat, tau)
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(z - tau * (eps_hat - x_hat), x_hat, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("tau", [0.02, 0.5, 0.98])
def test_the_matching_gradient_is_the_weighted_score_difference(tau: float) -> None:
    """WS-TRAINING-14: (x̂_0^fake - x̂_0^real) / mean|x - x̂_0^real|; none where both agree; a step
    against it leads from the fake distribution towards the real one."""
    x, eps, real, fake = (samples.signal(2, i, "dm", (6, 5)) for i in range(4))
    z = flow.interpolate(x, eps, tau)
    gradient = distribution_matching.matching_gradient(x, z, real, fake, tau)
    x_real, x_fake = z - tau * real, z - tau * fake
    expected = (x_fake - x_real) / (x - x_real).abs().mean()
    torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-12)
    same = distribution_matching.matching_gradient(x, z, real, real, tau)
    assert not same.any()
    # The teacher finds data at +1, the critic at -1: descent moves the sample up.
    up = distribution_matching.matching_gradient(x, z, (z - 1) / tau, (z + 1) / tau, tau)
    assert bool((up < 0).all())


def test_matching_moves_the_samples_and_nothing_else() -> None:
    """WS-TRAINING-14: the loss's gradient with respect to a sample is `matching_gradient`; teacher
    and critic get none."""
    record = record_of()
    student, critic = samples.model_of(samples.SMALL), world.learning_model()
    with torch.no_grad():
        critic.video_velocity_head.weight.mul_(0.9)
        critic.audio_velocity_head.weight.mul_(0.9)
    rolled = rollout.roll_out(student, record, 0)
    leaves = [each(lambda t: t.detach().clone().requires_grad_(), z) for z in rolled.generated]
    teacher = teacher_of(2.0, 1)
    fresh = Rollout(history=rolled.history, generated=leaves)
    terms = distribution_matching.matching_terms(teacher, critic, record, fresh)
    torch.autograd.backward(terms["audio"] + terms["video"])
    assert not world.gradients(critic)
    assert not world.gradients(teacher.model)

    copies, _ = distribution_matching.noised(critic, record, leaves, f"{record.name}/matching")
    history = history_of(critic, record, rolled.history)
    with torch.no_grad():
        fake = forced_pass(critic, record.config, history, copies).velocities
    given = history_of(teacher.model, record, rolled.history)
    real = teacher.velocities(record.config, given, copies)
    for x, (copy,), (r,), (f,) in zip(leaves, copies, real, fake, strict=True):
        for got, z, v_r, v_f in zip(*map(world.tensors, (x, copy.z, r, f)), strict=True):
            expected = distribution_matching.matching_gradient(
                got.detach(), z.detach(), v_r, v_f, copy.tau
            )
            assert got.grad is not None
            torch.testing.assert_close(got.grad, expected, rtol=1e-11, atol=1e-13)


def test_student_and_critic_learn_apart() -> None:
    """WS-TRAINING-14: the student's update leaves the critic's gradients untouched, the critic's
    leaves the student's."""
    record = record_of()
    student, critic = world.learning_model(), world.learning_model()
    with torch.no_grad():
        critic.video_velocity_head.weight.mul_(0.9)
    rolled = rollout.roll_out(student, record, 1)
    totals = losses.total_counts([record], 1)
    fakes = distribution_matching.critic_terms(critic, record, rolled, "critic")
    torch.autograd.backward(losses.mean_loss(fakes, totals))
    assert not world.gradients(student)
    critics = world.gradients(critic)
    assert bool(critics["video_velocity_head.weight"].any())
    terms = distribution_matching.matching_terms(teacher_of(2.0, 1), critic, record, rolled)
    torch.autograd.backward(losses.mean_loss(terms, totals))
    assert bool(world.gradients(student)["video_velocity_head.weight"].any())
    after = world.gradients(critic)
    assert after.keys() == critics.keys()
    assert all(torch.equal(after[name], critics[name]) for name in critics)


def test_the_critic_learns_the_students_samples() -> None:
    """WS-TRAINING-14: its loss is Eq. (3) with the samples as data, on the student's history."""
    record, critic = record_of(), samples.model_of(samples.SMALL)
    rolled = rollout.roll_out(critic, record, 0)
    terms = distribution_matching.critic_terms(critic, record, rolled, "critic")
    copies, noises = distribution_matching.noised(critic, record, rolled.generated, "critic")
    history = history_of(critic, record, rolled.history)
    result = forced_pass(critic, record.config, history, copies).velocities
    for name in ("audio", "video"):
        expected = [
            (getattr(v, name) - (getattr(eps, name) - getattr(x, name))).square().sum()
            for (v,), eps, x in zip(result, noises, rolled.generated, strict=True)
        ]
        assert float(terms[name]) == pytest.approx(float(sum(expected)), rel=1e-12)


def test_only_supervised_units_are_distilled() -> None:
    """WS-TRAINING-8: the response mask holds for distribution matching and for the critic too."""
    record, critic = record_of(), samples.model_of(samples.SMALL)
    rolled = rollout.roll_out(critic, record, 0)
    none = attrs.evolve(record, response_mask=(False, False))
    for terms in (
        distribution_matching.critic_terms(critic, none, rolled, "critic"),
        distribution_matching.matching_terms(teacher_of(2.0, 1), critic, none, rolled),
    ):
        assert {float(value) for value in terms.values()} == {0.0}


def test_exit_steps_cover_the_grid() -> None:
    """WS-TRAINING-13: drawn by the record's name, the same for all units; every step comes up."""
    drawn = {rollout.exit_step_of(attrs.evolve(record_of(), name=f"r/{n}"), 3) for n in range(40)}
    assert drawn == {0, 1, 2}
