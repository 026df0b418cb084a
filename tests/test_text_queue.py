"""User text that is longer than the slots of a unit: it waits, and nothing is lost."""

from __future__ import annotations

import attrs
import pytest
import samples
from hypothesis import given
from hypothesis import strategies as st

from reference import text, text_queue
from reference.text_queue import TextQueue
from spec.errors import TensorError
from spec.layout import Modalities
from spec.session import SessionConfig
from spec.text import USER_TEXT_BUDGET

CONFIG = SessionConfig(preset=samples.SMALL, schedule="overlapped")
MUTE = attrs.evolve(CONFIG, modalities=Modalities(user_text=False))


def config_of(slots: int) -> SessionConfig:
    return attrs.evolve(CONFIG, preset=attrs.evolve(samples.SMALL, user_text_slots=slots))


bursts = st.lists(st.integers(0, 262), max_size=9)


@given(st.integers(1, 4), st.lists(st.lists(bursts, max_size=3), max_size=12))
def test_bursts_come_out_in_order_and_whole(slots: int, typing: list[list[list[int]]]) -> None:
    """WS-TEXT-4: typing[k] are the bursts during unit k; any number of them, any lengths."""
    config, queue = config_of(slots), TextQueue()
    units: list[tuple[int, ...]] = []
    so_far = 0
    for during in typing:
        for burst in during:
            queue = text_queue.typed(config, queue, burst)
            so_far += len(burst)
        unit, queue = text_queue.next_unit(config, queue)
        units.append(unit)
        assert len(unit) == slots or not queue.waiting
        assert sum(map(len, units)) + len(queue.waiting) == so_far
    while queue.waiting:
        unit, queue = text_queue.next_unit(config, queue)
        assert 1 <= len(unit) <= slots
        units.append(unit)
    everything = [token for during in typing for burst in during for token in burst]
    assert [token for unit in units for token in unit] == everything


@given(st.integers(1, 4), bursts, bursts)
def test_typing_does_not_change_what_was_there(slots: int, one: list[int], two: list[int]) -> None:
    """WS-TEXT-4: pure: the queue that was handed in can be used again."""
    config = config_of(slots)
    before = text_queue.typed(config, TextQueue(), one)
    text_queue.typed(config, before, two)
    text_queue.next_unit(config, before)
    assert before == TextQueue(tuple(one))


@given(st.integers(1, 4), bursts)
def test_a_text_typed_at_once_is_the_text_by_unit(slots: int, ids: list[int]) -> None:
    """WS-TEXT-4: all of it before unit 0 is what the command line's `--text` does."""
    config = config_of(slots)
    queue = text_queue.typed(config, TextQueue(), ids)
    units = []
    while queue.waiting:
        unit, queue = text_queue.next_unit(config, queue)
        units.append(unit)
    assert units == list(text.by_unit(ids, slots))


@pytest.mark.parametrize(
    ("config", "ids", "value", "allowed"),
    [
        (CONFIG, (65, 263), 263, "token ids 0 to 262"),
        (CONFIG, (-1,), -1, "token ids 0 to 262"),
        (MUTE, (65,), "1 tokens", "none in this session"),
        (CONFIG, (65,) * 4095, "4095 tokens", "at most 4094, the rest of the budget of 4096"),
    ],
    ids=["over", "under", "mute", "budget"],
)
def test_a_burst_that_does_not_fit_is_refused_whole(
    config: SessionConfig, ids: tuple[int, ...], value: object, allowed: str
) -> None:
    """WS-TEXT-5: one clear error, and the queue is as it was."""
    queue = TextQueue((1, 2))
    with pytest.raises(TensorError) as caught:
        text_queue.typed(config, queue, ids)
    assert (caught.value.what, caught.value.value) == ("typed text", value)
    assert caught.value.allowed == allowed
    assert queue == TextQueue((1, 2))


def test_the_budget_can_be_filled_and_drains() -> None:
    """WS-TEXT-5: exactly the budget may wait; what a unit takes makes room again."""
    assert USER_TEXT_BUDGET == 4096
    queue = text_queue.typed(CONFIG, TextQueue(), (65,) * 4096)
    with pytest.raises(TensorError, match="at most 0"):
        text_queue.typed(CONFIG, queue, (66,))
    _, queue = text_queue.next_unit(CONFIG, queue)
    assert len(text_queue.typed(CONFIG, queue, (66, 67, 68)).waiting) == 4096
    assert text_queue.typed(MUTE, TextQueue(), ()) == TextQueue()
