"""What the user typed and no unit has carried yet.

A unit has a few user text slots; whoever types faster than that waits here. Pure: a queue in, a
queue out. Source: PAPER §2.1 (user text is part of every u_k); the rule is CHOICE (WS-TEXT-4).
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from spec.errors import TensorError
from spec.session import SessionConfig
from spec.text import USER_TEXT_BUDGET


@attrs.frozen
class TextQueue:
    """Token ids that wait, the oldest first (WS-TEXT-4)."""

    waiting: tuple[int, ...] = ()


def typed(config: SessionConfig, queue: TextQueue, ids: Sequence[int]) -> TextQueue:
    """The queue after a burst of typing, which is taken whole or not at all (WS-TEXT-4).

    Raises:
        TensorError: text in a session without user text, an id outside the vocabulary, or more
            than the budget (WS-TEXT-5).
    """
    vocab = config.preset.tokenizer.vocab_size
    if ids and not config.layout.user_text_slots:
        raise TensorError("typed text", f"{len(ids)} tokens", "none in this session")
    for token in ids:
        if not 0 <= token < vocab:
            raise TensorError("typed text", token, f"token ids 0 to {vocab - 1}")
    free = USER_TEXT_BUDGET - len(queue.waiting)
    if len(ids) > free:
        raise TensorError("typed text", f"{len(ids)} tokens", f"at most {free}, the rest of the "
                          f"budget of {USER_TEXT_BUDGET}")  # fmt: skip
    return TextQueue((*queue.waiting, *ids))


def next_unit(config: SessionConfig, queue: TextQueue) -> tuple[tuple[int, ...], TextQueue]:
    """User text of the next unit: the oldest ids, as many as there are slots (WS-TEXT-4)."""
    slots = config.layout.user_text_slots
    return queue.waiting[:slots], TextQueue(queue.waiting[slots:])
