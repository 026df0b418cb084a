"""Records: made from their names alone, and what each task and conversation holds."""

from __future__ import annotations

from itertools import pairwise

import attrs
import numpy as np
import pytest
import samples
import torch
import training_world as world

from reference.training import data, draws, duplex, script, signals, tasks
from reference.training.record import Record
from reference.training.tasks import TASKS
from spec import clock
from spec.presets import TINY
from spec.session import SessionConfig

WAIT = TINY.tokenizer.wait
LETTERS = [signals.letter(s) for s in range(signals.SYMBOLS)]


def same(a: Record, b: Record) -> bool:
    """Every token and every sample the same."""
    fields = [(x.text, x.text_mask, x.response_mask, x.conditional, x.task) for x in (a, b)]
    media = [
        [t for t in (x.audio, x.video) if t is not None]
        + [t for u in x.users for t in (u.audio, u.video) if t is not None]
        for x in (a, b)
    ]
    words = [[u.text for u in x.users] for x in (a, b)]
    return (
        fields[0] == fields[1]
        and words[0] == words[1]
        and len(media[0]) == len(media[1])
        and all(torch.equal(s, t) for s, t in zip(*media, strict=True))
    )


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_a_record_is_a_function_of_its_name(stage: int) -> None:
    """WS-TRAINING-15: made twice it is the same, whatever was made in between; another number or
    another seed is another record."""
    config = world.small_run(stage, batch=13)
    first = data.batch_of(config, 0)
    torch.manual_seed(1)
    np.random.default_rng(1)
    again = data.batch_of(config, 0)
    assert all(same(a, b) for a, b in zip(first, again, strict=True))
    next_batch = data.batch_of(config, 1)
    other_seed = data.batch_of(attrs.evolve(config, seed=4), 0)
    for others in (next_batch, other_seed):
        assert not all(same(a, b) for a, b in zip(first, others, strict=True))


def test_a_record_does_not_depend_on_the_batch() -> None:
    """WS-TRAINING-15: record n is the same whether one record or four make an update."""
    config = world.small_run(2, batch=4)
    together = data.batch_of(config, 1)
    single = attrs.evolve(config, batch=1)
    for n, record in zip(range(4, 8), together, strict=True):
        (alone,) = data.batch_of(single, n)
        assert alone.name == record.name
        assert same(alone, record)


def test_held_out_records_are_never_trained_on() -> None:
    """WS-TRAINING-15: their names are in no run, whatever its seed; all have their condition."""
    config = world.small_run(1, drop=0.5, held_out=26)
    held_out = data.held_out(config)
    trained = {r.name for step in range(20) for r in data.batch_of(config, step)}
    assert not trained & {r.name for r in held_out}
    assert all(r.conditional for r in held_out)
    others = data.held_out(attrs.evolve(config, seed=99))
    assert all(same(a, b) for a, b in zip(held_out, others, strict=True))


def test_draws_are_spread() -> None:
    """WS-TRAINING-15: integers cover their range evenly, fractions lie strictly inside (0, 1) with
    the mean and variance of the uniform law, noise is a unit Gaussian's."""
    drawn = [draws.integer(f"n/{i}", 7) for i in range(2100)]
    shares = np.bincount(drawn, minlength=7)
    assert len(shares) == 7
    assert abs(shares - 300).max() < 60
    fractions = np.array([draws.fraction(f"f/{i}") for i in range(4000)])
    assert 0 < fractions.min() < fractions.max() < 1
    assert fractions.mean() == pytest.approx(0.5, abs=0.02)
    assert fractions.var() == pytest.approx(1 / 12, abs=0.005)


def test_draws_are_those_of_the_recipe() -> None:
    """WS-TRAINING-15: known values, so that every process and machine draws the same."""
    assert draws.integer("n/0", 2**64) == 16_861_815_287_814_573_238
    assert draws.fraction("f/0") == 0.2962571084499359


def test_noise_is_a_function_of_its_name() -> None:
    """WS-TRAINING-15: the same under the same name, another under another one, and a unit
    Gaussian's in mean and variance."""
    model, config = samples.model_of(TINY), SessionConfig(preset=TINY, schedule="overlapped")
    names = [f"e/{i}" for i in range(40)]
    drawn = [draws.epsilon(model, config, name, 0) for name in names]
    again = draws.epsilon(model, config, "e/7", 0)
    assert world.largest_error([again], [drawn[7]]) == 0
    numbers = torch.stack([torch.cat([t.ravel() for t in world.tensors(z)]) for z in drawn])
    assert len({tuple(row) for row in numbers.tolist()}) == len(names)
    assert float(numbers.mean()) == pytest.approx(0, abs=0.05)
    assert float(numbers.var()) == pytest.approx(1, abs=0.1)


def test_the_tasks_take_turns() -> None:
    """WS-TRAINING-10: equal shares of understanding, dialogue, ASR, TTS and generation."""
    config = world.small_run(1, batch=len(TASKS))
    assert [r.task for r in data.batch_of(config, 5)] == list(TASKS)
    gives = {frozenset(task.gives) for task in TASKS.values()}
    assert gives >= {frozenset({"text"}), frozenset({"audio"}), frozenset({"video"}),
                     frozenset({"audio", "video"})}  # fmt: skip


@pytest.mark.parametrize("name", sorted(TASKS))
def test_a_task_has_its_modalities_and_its_answer(name: str) -> None:
    """WS-TRAINING-1, WS-TRAINING-10: what a task does not use is absent; text is `<wait>` but where
    there is something to say, and the answer follows from the question."""
    task = TASKS[name]
    record = tasks.task_record(TINY, f"t/{name}", name, 4, drop=0.0)
    assert len(record) == (1 if task.still else 4)
    assert [user.unit for user in record.users] == list(range(len(record)))
    for user in record.users:
        assert (user.audio is not None) == ("audio" in task.takes)
        assert (user.video is not None) == ("video" in task.takes)
    assert (record.audio is not None) == ("audio" in task.gives)
    assert (record.video is not None) == ("video" in task.gives)
    if record.audio is not None:
        assert record.audio.shape == (len(record) * clock.AGENT_SAMPLES_PER_UNIT,)
        assert float(record.audio.abs().max()) <= 1
    if record.video is not None:
        assert record.video.shape == (len(record) * 4, 3, TINY.frame_height, TINY.frame_width)
        assert float(record.video.abs().max()) <= 1
    for unit in record.text:
        assert len(unit) == record.config.layout.agent_text_slots
        assert all(token == WAIT for token in unit[1:])
        assert not unit or unit[0] in (WAIT, *LETTERS)
    moments = [
        tasks.moment(task, [draws.integer(f"t/{name}/symbol{k}", 7) for k in range(len(record))], k)
        for k in range(len(record))
    ]
    said = [m.said for m in moments if m.said is not None]
    asked = [m.typed for m in moments if m.typed is not None]
    repeated = asked * len(said) if task.timing == "caption" else asked
    assert said == [(s + task.answer) % signals.SYMBOLS for s in repeated]
    if record.config.modalities.agent_text:
        spoken = [unit[0] for unit in record.text if unit[0] != WAIT]
        assert spoken == [signals.letter(s) for s in said]


def test_some_generation_records_lose_their_condition() -> None:
    """WS-TRAINING-7: about the stated share of them, none of the others; their text is not
    learned."""
    made = [tasks.task_record(TINY, f"d/{i}", "tts", 1, drop=0.25) for i in range(400)]
    share = sum(not r.conditional for r in made) / len(made)
    assert share == pytest.approx(0.25, abs=0.08)
    heard = [tasks.task_record(TINY, f"d/{i}", "asr", 1, drop=0.9) for i in range(20)]
    assert all(r.conditional for r in heard)
    duplexes = [duplex.duplex_record(TINY, f"d/{i}", 1, drop=0.5) for i in range(20)]
    for record in duplexes:
        assert all(all(unit) == record.conditional for unit in record.text_mask)


def test_conversations_hold_what_duplex_means() -> None:
    """WS-TRAINING-11: idle, listening, answers, both at once, yielding in the next unit, remarks
    unasked; while it listens the agent is silent and yet not idle to look at."""
    scripts = [duplex.conversation(f"c/{i}", 12) for i in range(60)]
    assert all(len(s) == 12 for s in scripts)
    moments = [m for s in scripts for m in s]
    both = [m for m in moments if m.heard is not None and m.said is not None]
    unasked = [m for m in moments if m.seen is not None and m.heard is None and m.typed is None]
    typed = [m for m in moments if m.typed is not None]
    idle = [m for m in moments if (m.heard, m.seen, m.typed, m.said) == (None,) * 4]
    assert all((both, unasked, typed, idle))
    assert all(m.said is None for m in moments if m.listening)
    for s in scripts:
        for now, then in pairwise(s):
            if now.heard is not None and now.said is not None and then.said is not None:
                # A one-symbol interruption is answered at once; nothing of the old answer is left.
                assert then.said == (now.heard + 1) % signals.SYMBOLS
    config = SessionConfig(preset=TINY, schedule="overlapped")
    record = script.play("x", "duplex", config, [script.Moment(), script.Moment(listening=True)])
    assert record.video is not None
    still, attending = record.video[:4], record.video[4:]
    assert not torch.equal(still, attending)
    assert record.text == ((WAIT,) * 3, (WAIT,) * 3)
    assert record.audio is not None
    assert not record.audio.any()


def test_half_of_the_agents_show_who_they_are() -> None:
    """WS-TRAINING-11: where the prefill has a picture, the agent has its colour while it says
    nothing; where it has none, the agent is grey."""
    made = [duplex.duplex_record(TINY, f"p/{i}", 4, drop=0.0) for i in range(24)]
    shown = [r for r in made if r.config.identity.image]
    assert 6 < len(shown) < 18
    for record in made:
        assert (record.identity.image is not None) == record.config.identity.image
        for unit, script_moment in enumerate(duplex.conversation(record.name, 4)):
            if script_moment.said is None and record.video is not None:
                colour = record.video[4 * unit].mean(dim=(1, 2)).sign()
                face = record.identity.image
                expected = torch.ones(3) if face is None else face.mean(dim=(1, 2)).sign()
                assert torch.equal(colour, expected.to(colour))


def test_symbols_can_be_told_apart() -> None:
    """WS-TRAINING-10: every symbol has a tone of its own frequency, as stated, and a picture of its
    own colour; sound begins and ends near zero."""
    for hz in (clock.USER_AUDIO_HZ, clock.AGENT_AUDIO_HZ):
        for symbol in range(signals.SYMBOLS):
            wave = signals.tone(symbol, hz)
            spectrum = torch.fft.rfft(wave, n=hz).abs()
            assert int(spectrum.argmax()) == pytest.approx(220 * 2 ** (symbol / 2), abs=3)
            assert abs(float(wave[0])) < 1e-3
            assert abs(float(wave[-1])) < 1e-3
    colours = {
        tuple((signals.picture(s, [0], 4, 4).mean(dim=(0, 2, 3)) > 0).tolist())
        for s in range(signals.SYMBOLS)
    }
    assert len(colours) == signals.SYMBOLS
    moving, still = signals.picture(0, [0, 4], 4, 8), signals.picture(0, [0, 0], 4, 8)
    assert not torch.equal(moving[0], moving[1])
    assert torch.equal(still[0], still[1])
