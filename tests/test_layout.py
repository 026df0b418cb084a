"""The token table: which slots a unit has, in which order, and what stands in them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import attrs
import pytest
import samples
import torch

from reference import kv_cache, thinker
from reference.token_table import COLUMNS, TokenTable
from reference.units import UserUnit
from spec.errors import ConfigError
from spec.layout import (
    Layout,
    Modalities,
    Modality,
    Row,
    Segment,
    language_rows,
    observation_rows,
    prefill_rows,
    response_rows,
)
from spec.presets import TINY
from spec.session import SessionConfig
from spec.sizes import Preset

PRESETS = pytest.mark.parametrize("preset", [TINY, samples.OTHER], ids=lambda p: p.name)


def layout_of(preset: Preset, modalities: Modalities | None = None, prefill: int = 3) -> Layout:
    return Layout(preset=preset, modalities=modalities or Modalities(), prefill_tokens=prefill)


def unit_rows(layout: Layout, unit: int, user_tokens: int = 0) -> tuple[Row, ...]:
    return (
        observation_rows(layout, unit, user_tokens)
        + language_rows(layout, unit)
        + response_rows(layout, unit)
    )


def all_modalities() -> Iterator[Modalities]:
    names = [field.name for field in attrs.fields(Modalities)]
    for present in product((True, False), repeat=len(names)):
        yield Modalities(**dict(zip(names, present, strict=True)))


@PRESETS
def test_segments_come_in_order(preset: Preset) -> None:
    """WS-LAYOUT-1: P before unit 0, then O, L and Z of every unit."""
    assert [segment.name for segment in Segment] == ["P", "O", "L", "Z"]
    layout = layout_of(preset)
    assert {row.segment for row in prefill_rows(layout)} == {Segment.P}
    for unit in (0, 1, 7):
        rows = unit_rows(layout, unit)
        assert [row.segment for row in rows] == sorted(row.segment for row in rows)
        assert {row.segment for row in rows} == {Segment.O, Segment.L, Segment.Z}
        assert {row.unit for row in rows} == {unit}


@PRESETS
def test_shapes_never_change(preset: Preset) -> None:
    """WS-LAYOUT-1: the same slots in every unit, however many tokens the user typed."""
    layout = layout_of(preset)

    def slots(unit: int, user_tokens: int) -> list[tuple[int, int, int]]:
        rows = unit_rows(layout, unit, user_tokens)
        return [(row.segment, row.modality, row.slot) for row in rows]

    first = slots(0, 0)
    assert len(first) == layout.observation_slots + layout.language_slots + layout.response_slots
    for unit, user_tokens in product((0, 1, 900), range(layout.user_text_slots + 1)):
        assert slots(unit, user_tokens) == first


def test_rows_have_the_columns_of_the_clause() -> None:
    """WS-LAYOUT-2: their order, their codes, and what a row that is not noisy holds."""
    fields = [field.name for field in attrs.fields(Row)]
    assert fields == [
        "unit",
        "segment",
        "modality",
        "slot",
        "t",
        "h",
        "w",
        "pad",
        "noisy",
        "step",
        "tau",
    ]
    assert [(s.name, s.value) for s in Segment] == [("P", 0), ("O", 1), ("L", 2), ("Z", 3)]
    codes = [("TEXT", 0), ("STATE", 1), ("AUDIO", 2), ("VIDEO", 3)]
    assert [(m.name, m.value) for m in Modality] == codes
    layout = layout_of(TINY)
    for row in prefill_rows(layout) + unit_rows(layout, 2):
        assert (row.noisy, row.step, row.tau) == (0, -1, 0.0)
    assert {row.unit for row in prefill_rows(layout)} == {-1}


@PRESETS
def test_slots_count_inside_their_segment(preset: Preset) -> None:
    """WS-LAYOUT-2: 0, 1, 2, ... over all modalities of the segment."""
    layout = layout_of(preset)
    segments = (
        prefill_rows(layout),
        observation_rows(layout, 4, 1),
        language_rows(layout, 4),
        response_rows(layout, 4),
        response_rows(layout, 4, noisy=True, step=1, tau=0.5),
    )
    for rows in segments:
        assert [row.slot for row in rows] == list(range(len(rows)))


def test_table_holds_the_rows() -> None:
    """WS-LAYOUT-2: the array form has every column of every row, in order."""
    layout = layout_of(TINY)
    rows = unit_rows(layout, 3, 2) + response_rows(layout, 3, noisy=True, step=2, tau=1 / 3)
    table = TokenTable.of(rows)
    assert len(table) == len(rows)
    for i, row in enumerate(rows):
        assert [int(table.cells[i, c]) for c in range(10)] == [getattr(row, n) for n in COLUMNS]
        assert [int(getattr(table, name)[i]) for name in COLUMNS] == table.cells[i].tolist()
        assert float(table.tau[i]) == row.tau
    both = TokenTable.cat((table[:5], table[5:]))
    assert torch.equal(both.cells, table.cells)
    assert torch.equal(both.tau, table.tau)
    assert len(TokenTable.of(())) == 0


@PRESETS
def test_observation_is_video_audio_text(preset: Preset) -> None:
    """WS-LAYOUT-3: video row by row, then four audio tokens, then the text slots."""
    layout = layout_of(preset)
    rows = observation_rows(layout, 2, 1)
    video = preset.patch_rows * preset.patch_cols
    text = preset.user_text_slots
    expected = [Modality.VIDEO] * video + [Modality.AUDIO] * 4 + [Modality.TEXT] * text
    assert [row.modality for row in rows] == expected
    places = [(row.h - row.t, row.w - row.t) for row in rows[:video]]
    assert places == list(product(range(preset.patch_rows), range(preset.patch_cols)))


@pytest.mark.parametrize("user_tokens", range(4))
def test_slots_without_a_token_are_padding(user_tokens: int) -> None:
    """WS-LAYOUT-3: pad is 1 from the first free text slot on, and nowhere else."""
    layout = layout_of(TINY)
    rows = observation_rows(layout, 0, user_tokens)
    text = [row.pad for row in rows if row.modality == Modality.TEXT]
    assert text == [0] * user_tokens + [1] * (3 - user_tokens)
    others = [row for row in unit_rows(layout, 0, user_tokens) if row.segment != Segment.O]
    assert not any(row.pad for row in (*rows[: -len(text)], *others))


@pytest.mark.parametrize("user_tokens", [-1, 4])
def test_more_text_than_slots_is_refused(user_tokens: int) -> None:
    """WS-LAYOUT-3: the unit and the number of slots are named."""
    message = f"user text of unit 5: got {user_tokens}; allowed: 0 to 3 tokens"
    with pytest.raises(ConfigError, match=message):
        observation_rows(layout_of(TINY), 5, user_tokens)


@pytest.mark.parametrize("schedule", ["overlapped", "sequential"])
def test_what_stands_in_padding_has_no_effect(
    schedule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """WS-LAYOUT-3: other ids in the padding change its own cache entries, and no output at all."""
    config = SessionConfig(preset=samples.SMALL, schedule=schedule)  # type: ignore[arg-type]
    users, noises = samples.users_of(config, 3), samples.noises_of(config, 3)
    before, states = samples.stream(config, users, noises)

    def other_padding(config: SessionConfig, user: UserUnit) -> tuple[int, ...]:
        return (*user.text, *(13,) * (config.layout.user_text_slots - len(user.text)))

    monkeypatch.setattr(thinker, "padded_text", other_padding)
    after, other_states = samples.stream(config, users, noises)
    assert all(samples.identical(a, b) for a, b in zip(before, after, strict=True))
    ours, theirs = states[-1].performer.cache, other_states[-1].performer.cache
    changed = (ours.k != theirs.k).any(dim=-1).any(dim=1).any(dim=0)
    assert torch.equal(changed, ours.table.pad == 1)


@PRESETS
def test_language_is_state_then_text(preset: Preset) -> None:
    """WS-LAYOUT-4: together at most four positions, one a tick."""
    rows = language_rows(layout_of(preset), 3)
    states, text = preset.state_slots, preset.agent_text_slots
    assert [r.modality for r in rows] == [Modality.STATE] * states + [Modality.TEXT] * text
    assert len(rows) <= 4


STATES = pytest.mark.parametrize(
    "preset", [samples.SMALL, samples.OTHER, samples.STATELESS], ids=lambda p: p.name
)


@STATES
def test_text_is_predicted_from_the_token_just_before_it(preset: Preset) -> None:
    """WS-LAYOUT-4: by the last state slot, the text slot before, or without state slots by the
    last language token of the unit before or of the prefill."""
    config = SessionConfig(preset=preset, schedule="overlapped", prompt=(72, 105))
    count = 3
    users, forced = samples.users_of(config, count), samples.forced_of(config, count)
    outputs, states = samples.stream(config, users, samples.noises_of(config, count), forced)
    model, cache = samples.model_of(preset), states[-1].performer.cache
    layout = config.layout

    # A token's own entry must not be seen twice, so each run starts from what is before it.
    def before_language(unit: int) -> kv_cache.KVEntries:
        table = cache.table
        keep = (table.unit < unit) | ((table.unit == unit) & (table.segment == Segment.O))
        return kv_cache.take(cache, torch.nonzero(keep).squeeze(-1))

    nothing = kv_cache.empty(preset.backbone, samples.F64)
    prefill = model.embed_prefill(config.prefill)
    hidden, _ = model.run(prefill, TokenTable.of(prefill_rows(layout)), nothing, config.lag)
    last = hidden[-1]
    for k, agent in enumerate(outputs):
        embedded = torch.cat((model.embed_state(), model.embed_agent_text(forced[k])))
        rows = TokenTable.of(language_rows(layout, k))
        hidden, _ = model.run(embedded, rows, before_language(k), config.lag)
        chain = torch.cat((last[None], hidden))[preset.state_slots :][:-1]
        torch.testing.assert_close(agent.logits, model.logits(chain), rtol=1e-11, atol=1e-11)
        last = hidden[-1]


def test_unused_slots_hold_wait() -> None:
    """WS-LAYOUT-4: `<wait>` stands in what is not filled, and a slot that may be filled with it
    keeps its position."""
    config = SessionConfig(preset=TINY, schedule="overlapped")
    assert thinker.padded_text(config, UserUnit(unit=0, text=(65,))) == (65, 258, 258)
    silent = [(258, 258, 258)] * 2
    users, noises = samples.users_of(config, 2), samples.noises_of(config, 2)
    outputs, states = samples.stream(config, users, noises, silent)
    assert [agent.text for agent in outputs] == silent
    table = states[-1].thinker.cache.table
    assert int((table.segment == Segment.L).sum()) == 2 * 4


def test_state_embeddings_are_learned_and_the_same_in_every_unit() -> None:
    """WS-LAYOUT-4: the state slots enter as parameters; nothing of the unit goes into them."""
    model = samples.model_of(samples.OTHER)
    assert model.state_embedding.shape == (2, samples.OTHER.backbone.d_model)
    kind = model.segment_embedding[4]
    assert torch.equal(model.embed_state(), model.state_embedding + kind)
    assert not torch.equal(model.state_embedding[0], model.state_embedding[1])


def test_every_subset_of_modalities() -> None:
    """WS-LAYOUT-5: an absent modality has no slots on its side; the others keep their places."""
    full = layout_of(TINY)
    place: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
    for row in unit_rows(full, 2):
        place.setdefault((row.segment, row.modality), []).append((row.t, row.h, row.w))
    kinds = {
        "user_text": (Segment.O, Modality.TEXT),
        "user_audio": (Segment.O, Modality.AUDIO),
        "user_video": (Segment.O, Modality.VIDEO),
        "agent_text": (Segment.L, Modality.TEXT),
        "agent_audio": (Segment.Z, Modality.AUDIO),
        "agent_video": (Segment.Z, Modality.VIDEO),
    }
    for modalities in all_modalities():
        rows = unit_rows(layout_of(TINY, modalities), 2)
        for name, kind in kinds.items():
            mine = [r for r in rows if (r.segment, r.modality) == kind]
            expected = place[kind] if getattr(modalities, name) else []
            assert [(r.t, r.h, r.w) for r in mine] == expected, name
        for segment in Segment:
            slots = [r.slot for r in rows if r.segment == segment]
            assert slots == list(range(len(slots)))


@PRESETS
def test_response_is_audio_then_video(preset: Preset) -> None:
    """WS-LAYOUT-6: four audio latents, then the patches row by row."""
    rows = response_rows(layout_of(preset), 1)
    video = preset.patch_rows * preset.patch_cols
    assert [r.modality for r in rows] == [Modality.AUDIO] * 4 + [Modality.VIDEO] * video
    places = [(row.h - row.t, row.w - row.t) for row in rows[4:]]
    assert places == list(product(range(preset.patch_rows), range(preset.patch_cols)))


@PRESETS
def test_noisy_copy_stands_where_the_clean_one_does(preset: Preset) -> None:
    """WS-LAYOUT-6: same slots and positions; only noisy, step and τ tell them apart."""
    layout = layout_of(preset)
    clean = response_rows(layout, 3)
    noisy = response_rows(layout, 3, noisy=True, step=2, tau=0.25)
    assert all((row.noisy, row.step, row.tau) == (1, 2, 0.25) for row in noisy)
    assert tuple(attrs.evolve(row, noisy=0, step=-1, tau=0.0) for row in noisy) == clean


@pytest.mark.parametrize("prompt", [(), (72,), (72, 105, 33)])
def test_prefill_is_bos_and_the_prompt(prompt: tuple[int, ...]) -> None:
    """WS-SESSION-2: never empty; its rows stand at 0, 1, 2, ..."""
    config = SessionConfig(preset=TINY, schedule="overlapped", prompt=prompt)
    assert config.prefill == (256, *prompt)
    rows = prefill_rows(config.layout)
    assert [(r.unit, r.slot, r.t, r.h, r.w) for r in rows] == [
        (-1, i, i, i, i) for i in range(1 + len(prompt))
    ]


def test_layout_without_a_prefill_is_refused() -> None:
    """WS-SESSION-2: there is always a token to predict the first text slot from."""
    with pytest.raises(ConfigError, match="prefill: got 0; allowed: at least one token"):
        layout_of(TINY, prefill=0)
