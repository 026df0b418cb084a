"""One sequence with clean and noisy copies: who stands where, and who sees whom."""

from __future__ import annotations

import attrs
import pytest
import samples
import torch
import training_world as world

from reference import masks
from reference.model import WanStreamer
from reference.token_table import TokenTable
from reference.training import draws
from reference.training.forward import history_of
from reference.training.layout import NoisyCopy, interleave, noisy_tokens, text_predictors
from reference.training.record import Record, clean_latents
from reference.units import Latents
from spec.layout import Modality, Row, Segment
from spec.prefill import Identity
from spec.session import SessionConfig
from spec.sizes import Preset

UNITS = 3


def copies_of(model: WanStreamer, record: Record, count: int = 2) -> list[list[NoisyCopy]]:
    return [
        [
            NoisyCopy(z=draws.epsilon(model, record.config, f"c{i}", k), tau=0.9 - 0.2 * i)
            for i in range(count)
        ]
        for k in range(len(record))
    ]


def table_of(config: SessionConfig, *, conditional: bool = True) -> TokenTable:
    model = samples.model_of(config.preset)
    record = world.record_of(config, UNITS)
    history = history_of(model, record, clean_latents(model, record))
    x, table = interleave(model, config, history, copies_of(model, record), conditional=conditional)
    assert x.shape == (len(table), config.preset.backbone.d_model)
    return table


@pytest.mark.parametrize("schedule", ["overlapped", "sequential"])
def test_the_order_is_that_of_the_stream(schedule: str) -> None:
    """WS-TRAINING-2: P, then for every unit O, L, Z clean, Z noisy, each with all its slots."""
    config = world.session_config(schedule)
    table, layout = table_of(config), config.layout
    expected = [(-1, Segment.P, -1)] * layout.prefill_tokens
    for k in range(UNITS):
        expected += [(k, Segment.O, -1)] * layout.observation_slots
        expected += [(k, Segment.L, -1)] * layout.language_slots
        for step in (-1, 0, 1):
            expected += [(k, Segment.Z, step)] * layout.response_slots
    columns = (table.unit.tolist(), table.segment.tolist(), table.step.tolist())
    assert list(zip(*columns, strict=True)) == expected


def test_copies_stand_where_the_response_stands() -> None:
    """WS-TRAINING-2: same slots, modalities and positions, clean and noisy; τ is each copy's."""
    table = table_of(world.session_config())
    for k in range(UNITS):
        clean = torch.nonzero(
            (table.segment == Segment.Z) & (table.unit == k) & (table.noisy == 0)
        ).squeeze(-1)
        assert table.tau[clean].tolist() == [0.0] * len(clean)
        for i, tau in enumerate((0.9, 0.7)):
            noisy = noisy_tokens(table, k, i)
            assert torch.equal(table.cells[noisy, :8], table.cells[clean, :8])
            assert table.tau[noisy].tolist() == [tau] * len(noisy)


@pytest.mark.parametrize("schedule", ["overlapped", "sequential"])
def test_the_mask_is_that_of_eq_1(schedule: str) -> None:
    """WS-TRAINING-2: row by row from the text of design §5, written down again without the
    predicate: a noisy copy sees the clean past and itself; nothing else sees a noisy copy."""
    config = world.session_config(schedule)
    table = table_of(config)
    lag = config.lag
    rows = [Row(*cells) for cells in table.cells.tolist()]

    def seen(q: Row, k: Row) -> bool:
        if k.pad:
            return False
        if k.noisy:
            return (q.unit, q.noisy, q.step) == (k.unit, 1, k.step)
        before = k.unit < q.unit
        match Segment(q.segment), Segment(k.segment):
            case Segment.P, Segment.P:
                return k.slot <= q.slot
            case _, Segment.P:
                return True
            case Segment.O, Segment.O:
                alike = k.modality != Modality.TEXT
                return before or (
                    k.unit == q.unit
                    and (alike or (q.modality == Modality.TEXT and k.slot <= q.slot))
                )
            case Segment.O, Segment.L:
                return before
            case Segment.L, Segment.O:
                return before or k.unit == q.unit
            case Segment.L, Segment.L:
                return before or (k.unit == q.unit and k.slot <= q.slot)
            case ((Segment.O | Segment.L), Segment.Z):
                return k.unit <= q.unit - 1 - lag
            case Segment.Z, (Segment.O | Segment.L):
                return k.unit <= q.unit
            case Segment.Z, Segment.Z:
                return before or (k.unit == q.unit and not q.noisy)
        return False

    expected = torch.tensor([[seen(q, k) for k in rows] for q in rows])
    assert torch.equal(masks.dense_mask(table, table, lag), expected)


@pytest.mark.parametrize("preset", [samples.SMALL, samples.STATELESS, samples.OTHER])
def test_a_slot_is_predicted_from_the_language_token_before_it(preset: Preset) -> None:
    """WS-TRAINING-4: the state slot, the text slot before, and without state slots the last token
    of the prompt, whatever identity follows it, or of the unit before."""
    body = Identity(image=True, voice_ticks=2)
    table = table_of(world.session_config(preset=preset, identity=body))
    predictors = text_predictors(table)
    found = list(zip(table.unit[predictors].tolist(), table.segment[predictors].tolist(),
                     table.slot[predictors].tolist(), strict=True))  # fmt: skip
    states, slots = preset.state_slots, preset.agent_text_slots
    expected = []
    for k in range(UNITS):
        for slot in range(states, states + slots):
            if slot > 0:
                expected.append((k, Segment.L, slot - 1))
            elif k > 0:
                expected.append((k - 1, Segment.L, states + slots - 1))
            else:
                expected.append((-1, Segment.P, 2))
    assert found == expected


def test_without_condition_only_the_response_and_the_prefill_are_seen() -> None:
    """WS-TRAINING-7: observations and language are hidden from all; the rest stays as it was."""
    config = world.session_config()
    given, free = table_of(config), table_of(config, conditional=False)
    with_all = masks.dense_mask(given, given, config.lag)
    without = masks.dense_mask(free, free, config.lag)
    context = (given.segment == Segment.O) | (given.segment == Segment.L)
    assert not without[:, context].any()
    assert torch.equal(without[:, ~context], with_all[:, ~context])
    # No row is left with nothing to see: its softmax would be undefined.
    assert without.any(dim=1).all()


def test_the_target_of_a_unit_is_its_own_latent() -> None:
    """WS-TRAINING-3: against one streaming encode a unit; the last unit has its own target too."""
    config = world.session_config()
    model, record = samples.model_of(config.preset), world.record_of(config, UNITS)
    z_0 = clean_latents(model, record)
    assert len(z_0) == UNITS
    assert record.audio is not None
    assert record.video is not None
    sound, picture = model.audio_codec.encoder_state(1), model.video_codec.encoder_state(1)
    for k in range(UNITS):
        wave = record.audio[3840 * k : 3840 * (k + 1)]
        audio, sound = model.audio_codec.encode(wave[None], sound)
        frames = record.video[4 * k : 4 * (k + 1)].transpose(0, 1)[None]
        video, picture = model.video_codec.encode(frames, picture)
        expected = Latents(audio=audio.mean[0].T, video=video.mean[0, :, 0])
        assert world.largest_error([z_0[k]], [expected]) < 1e-12
    changed = record.audio.clone()
    changed[3840:] = 0
    later = clean_latents(model, attrs.evolve(record, audio=changed))
    assert world.largest_error([later[0]], [z_0[0]]) < 1e-12
    assert world.largest_error([later[1]], [z_0[1]]) > 1e-3
