"""The causal contract, against lists of keys written down loop by loop from its prose."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import product

import attrs
import pytest
import samples
from hypothesis import given
from hypothesis import strategies as st

from reference.masks import dense_mask
from reference.token_table import TokenTable
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
from spec.prefill import Identity
from spec.presets import TINY
from spec.sizes import LAG_OF_SCHEDULE, Preset
from spec.visibility import visible

UNITS = 4
USER_TOKENS = (0, 3, 1, 2)
STEPS = 2
LAGS = pytest.mark.parametrize("lag", [0, 1])


@attrs.frozen(kw_only=True)
class Session:
    """A session's rows, and where each segment's rows are among them."""

    rows: tuple[Row, ...]
    places: dict[tuple[str, int, int], tuple[int, ...]]
    """Indices into ``rows`` by segment name, unit and solver step (-1 where clean)."""

    def indices(self, segment: str, unit: int, step: int = -1) -> tuple[int, ...]:
        return self.places.get((segment, unit, step), ())


def session_rows(
    layout: Layout, user_tokens: Sequence[int] = USER_TOKENS, steps: int = STEPS
) -> Session:
    """Prefill, then every unit with its clean response and ``steps`` noisy copies of it."""
    rows: list[Row] = []
    places: dict[tuple[str, int, int], tuple[int, ...]] = {}

    def add(segment: str, unit: int, step: int, new: tuple[Row, ...]) -> None:
        places[segment, unit, step] = tuple(range(len(rows), len(rows) + len(new)))
        rows.extend(new)

    add("P", -1, -1, prefill_rows(layout))
    for unit, tokens in enumerate(user_tokens):
        count = min(tokens, layout.user_text_slots)
        add("O", unit, -1, observation_rows(layout, unit, count))
        add("L", unit, -1, language_rows(layout, unit))
        add("Z", unit, -1, response_rows(layout, unit))
        for step in range(steps):
            noisy = response_rows(layout, unit, noisy=True, step=step, tau=1 - step / steps)
            add("Z", unit, step, noisy)
    return Session(rows=tuple(rows), places=places)


def keys_of(session: Session, query: int, lag: int) -> set[int]:
    """Everything that row ``query`` may attend to, clause by clause, the long way round."""
    q = session.rows[query]
    segment = Segment(q.segment).name
    keys: list[int] = []

    # WS-VISIBILITY-3: the prefill, backwards, and its picture both ways.
    for key in session.indices("P", -1):
        picture = {q.modality, session.rows[key].modality} == {Modality.VIDEO}
        if segment != "P" or key <= query or picture:
            keys.append(key)
    if segment == "P":
        return set(keys)

    # WS-VISIBILITY-4 to 6: all observations and words of earlier units.
    for unit in range(q.unit):
        keys.extend(session.indices("O", unit))
        keys.extend(session.indices("L", unit))

    # WS-VISIBILITY-7: clean responses, up to the newest that this segment may know.
    newest = q.unit - 1 if segment == "Z" else q.unit - 1 - lag
    for unit in range(newest + 1):
        keys.extend(session.indices("Z", unit))

    # The query's own unit.
    own_observation = session.indices("O", q.unit)
    own_language = session.indices("L", q.unit)
    if segment == "O":
        for key in own_observation:
            is_text = session.rows[key].modality == Modality.TEXT
            if not is_text or (q.modality == Modality.TEXT and key <= query):
                keys.append(key)
    elif segment == "L":
        keys.extend(own_observation)
        keys.extend(key for key in own_language if key <= query)
    else:
        keys.extend(own_observation)
        keys.extend(own_language)
        # WS-VISIBILITY-8: its own block in its own state.
        keys.extend(session.indices("Z", q.unit, q.step))

    # WS-VISIBILITY-1: nobody sees padding.
    return {key for key in keys if session.rows[key].pad == 0}


def layout_of(
    preset: Preset = TINY, modalities: Modalities | None = None, identity: Identity | None = None
) -> Layout:
    who = identity or Identity()
    return Layout(
        preset=preset,
        modalities=modalities or Modalities(),
        prefill_tokens=3 + who.slots(preset),
        identity=who,
    )


def all_modalities() -> Iterator[Modalities]:
    names = [field.name for field in attrs.fields(Modalities)]
    for present in product((True, False), repeat=len(names)):
        yield Modalities(**dict(zip(names, present, strict=True)))


def mask_of(session: Session, lag: int) -> list[set[int]]:
    """The dense mask as the set of visible keys of every query."""
    table = TokenTable.of(session.rows)
    mask = dense_mask(table, table, lag)
    return [set(row.nonzero().flatten().tolist()) for row in mask]


@cache
def full() -> Session:
    return session_rows(layout_of(identity=Identity(image=True, voice_ticks=3)))


@LAGS
def test_every_pair_of_a_session(lag: int) -> None:
    """WS-VISIBILITY-1, WS-VISIBILITY-3, WS-VISIBILITY-4, WS-VISIBILITY-5, WS-VISIBILITY-6,
    WS-VISIBILITY-7, WS-VISIBILITY-8, WS-VISIBILITY-9: the predicate over two rows, for all pairs
    of a session with padding and noisy copies."""
    rows = full().rows
    for i, q in enumerate(rows):
        seen = {j for j, k in enumerate(rows) if visible(q, k, lag)}
        assert seen == keys_of(full(), i, lag), f"query {i}: {q}"


@LAGS
def test_tables_give_what_rows_give(lag: int) -> None:
    """WS-VISIBILITY-1: the same lines over arrays of rows, query by key."""
    rows = full().rows
    table = TokenTable.of(rows)
    mask = dense_mask(table, table, lag)
    assert mask.shape == (len(rows), len(rows))
    assert mask.tolist() == [[bool(visible(q, k, lag)) for k in rows] for q in rows]
    part = dense_mask(table[50:60], table[20:90], lag)
    assert part.equal(mask[50:60, 20:90])


@LAGS
def test_every_subset_of_modalities(lag: int) -> None:
    """WS-VISIBILITY-1: absent slots change nothing for the others, in all 64 sessions."""
    for modalities in all_modalities():
        session = session_rows(layout_of(samples.SMALL, modalities), (0, 2, 1))
        for i, seen in enumerate(mask_of(session, lag)):
            assert seen == keys_of(session, i, lag), f"{modalities}, query {session.rows[i]}"


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    """Any preset geometry and any modalities."""
    states = draw(st.integers(0, 3))
    preset = attrs.evolve(
        TINY,
        frame_height=48 * draw(st.integers(1, 2)),
        frame_width=48 * draw(st.integers(1, 3)),
        state_slots=states,
        agent_text_slots=draw(st.integers(0 if states else 1, 4 - states)),
        user_text_slots=draw(st.integers(0, 4)),
    )
    modalities = draw(st.sampled_from(list(all_modalities())))
    identity = Identity(image=draw(st.booleans()), voice_ticks=draw(st.integers(0, 3)))
    return Layout(
        preset=preset,
        modalities=modalities,
        prefill_tokens=draw(st.integers(1, 4)) + identity.slots(preset),
        identity=identity,
    )


@given(
    layout=layouts(),
    user_tokens=st.lists(st.integers(0, 4), min_size=1, max_size=4),
    steps=st.integers(0, 3),
    lag=st.integers(0, 1),
)
def test_any_layout(layout: Layout, user_tokens: list[int], steps: int, lag: int) -> None:
    """WS-VISIBILITY-1: no slot count, grid or prefill length is special."""
    session = session_rows(layout, user_tokens, steps)
    for i, seen in enumerate(mask_of(session, lag)):
        assert seen == keys_of(session, i, lag), session.rows[i]


@LAGS
def test_nothing_sees_a_later_unit(lag: int) -> None:
    """WS-VISIBILITY-1: nor a later segment of its own unit."""
    rows = full().rows
    for i, seen in enumerate(mask_of(full(), lag)):
        assert seen, "every row sees something, or its softmax has no meaning"
        for j in seen:
            assert (rows[j].unit, rows[j].segment) <= (rows[i].unit, rows[i].segment)


@LAGS
def test_the_prefill_is_causal_but_for_its_picture(lag: int) -> None:
    """WS-VISIBILITY-3: text sees text backwards; the picture sees all text and itself, both ways;
    the voice sees all before it and itself backwards; every unit sees all of them."""
    rows, masks = full().rows, mask_of(full(), lag)
    prefill = [i for i, row in enumerate(rows) if row.segment == Segment.P]
    kinds = [Modality.TEXT] * 3 + [Modality.VIDEO] * 6 + [Modality.AUDIO] * 3
    assert [rows[i].modality for i in prefill] == kinds
    for i in prefill:
        end = 9 if rows[i].modality == Modality.VIDEO else i + 1
        assert masks[i] == set(range(end))
    assert all(set(prefill) <= masks[i] for i in range(12, len(rows)))


@LAGS
def test_padding_is_seen_by_nobody(lag: int) -> None:
    """WS-VISIBILITY-1, WS-VISIBILITY-5: not even by itself; the tokens beside it are seen."""
    rows = full().rows
    pads = {j for j, row in enumerate(rows) if row.pad}
    assert len(pads) == sum(3 - tokens for tokens in USER_TOKENS)
    masks = mask_of(full(), lag)
    assert not pads & set().union(*masks)
    for unit in range(UNITS):
        said = set(full().indices("O", unit)) - pads
        for i in (*full().indices("L", unit), *full().indices("Z", unit)):
            assert said <= masks[i]


def test_lag_takes_away_the_newest_response_and_nothing_else() -> None:
    """WS-VISIBILITY-2, WS-VISIBILITY-7: λ = 1 sees a subset of λ = 0, and what it misses is clean
    Z_{k-1}, missed by O_k and L_k."""
    assert LAG_OF_SCHEDULE == {"sequential": 0, "overlapped": 1}
    for i, (near, far) in enumerate(zip(mask_of(full(), 0), mask_of(full(), 1), strict=True)):
        q = full().rows[i]
        assert far <= near
        missed = set()
        if q.segment in (Segment.O, Segment.L):
            missed = set(full().indices("Z", q.unit - 1))
        assert near - far == missed


def test_units_are_alike() -> None:
    """WS-VISIBILITY-7: moving a query and a key by the same number of units changes nothing."""
    layout = layout_of(samples.SMALL)
    near = session_rows(layout, (2,) * UNITS).rows[layout.prefill_tokens :]
    far = [attrs.evolve(row, unit=row.unit + 10**6) for row in near]
    for lag in (0, 1):
        here, there = TokenTable.of(near), TokenTable.of(far)
        assert dense_mask(here, here, lag).equal(dense_mask(there, there, lag))


@LAGS
def test_noisy_tokens_are_seen_by_their_own_step_only(lag: int) -> None:
    """WS-VISIBILITY-8, WS-VISIBILITY-9: every noisy block is exactly its own audience, and a clean
    block never mixes with it."""
    masks = mask_of(full(), lag)
    for unit, step in product(range(UNITS), range(STEPS)):
        block = set(full().indices("Z", unit, step))
        audience = {i for i, seen in enumerate(masks) if seen & block}
        assert audience == block
        assert all(block <= masks[i] for i in block)
    for unit in range(UNITS):
        clean = set(full().indices("Z", unit))
        assert all(clean <= masks[i] for i in clean)


@LAGS
def test_audio_and_video_of_an_observation_see_each_other(lag: int) -> None:
    """WS-VISIBILITY-4: in both directions and without text; text sees them and itself backwards."""
    masks, rows = mask_of(full(), lag), full().rows
    for unit in range(UNITS):
        own = full().indices("O", unit)
        av = {i for i in own if rows[i].modality != Modality.TEXT}
        text = [i for i in own if rows[i].modality == Modality.TEXT and not rows[i].pad]
        for i in av:
            assert masks[i] & set(own) == av
        for n, i in enumerate(text):
            assert masks[i] & set(own) == av | set(text[: n + 1])


def test_a_noisy_step_looks_at_the_same_history_as_the_clean_copy() -> None:
    """WS-VISIBILITY-7: outside its own block Z_k sees the same keys, noisy or clean."""
    for lag in (0, 1):
        masks = mask_of(full(), lag)
        for unit, step in product(range(UNITS), range(STEPS)):
            clean, noisy = full().indices("Z", unit), full().indices("Z", unit, step)
            for i, j in zip(clean, noisy, strict=True):
                assert masks[i] - set(clean) == masks[j] - set(noisy)
