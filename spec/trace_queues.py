"""The queues of a session, as traces state them: how long each is at an event, and its limit.

Source: DERIVED from WS-EXCHANGE-11; the form is CHOICE (WS-TRACE-11).
"""

from __future__ import annotations

from typing import Final

from spec.exchange_message import Header, Latents, Message
from spec.exchange_performer import Performer
from spec.exchange_thinker import Thinker
from spec.trace import Kind, Value

QUEUES: Final = {
    ("thinker", Kind.OBSERVE.value): "units in work",
    ("thinker", Kind.SEND.value): "slices unanswered",
    ("performer", Kind.SEND.value): "responses unacknowledged",
    ("thinker", Kind.EMIT.value): "responses unread",
}
"""By process and kind of the events that state them (WS-TRACE-11)."""


def length_of(length: int, limit: int) -> dict[str, Value]:
    """What an event's detail says of a queue (WS-TRACE-11)."""
    return {"queue": length, "queue_limit": limit}


def at_sending(message: Message, state: object) -> dict[str, Value]:
    """The queue that a message has just joined, or waits in again, by its sender's state: slices
    whose latents are not here, latents that are not acknowledged; of other messages nothing
    (WS-TRACE-11, WS-EXCHANGE-11)."""
    if isinstance(state, Thinker) and isinstance(message, Header):
        if message.unit in {sent.unit for sent in state.ring}:
            return length_of(len(state.ring), state.terms.window)
    elif isinstance(state, Performer) and isinstance(message, Latents):
        return length_of(len(state.kept), state.terms.window)
    return {}
