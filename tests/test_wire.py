"""Messages as bytes: what goes in comes out, and nothing else does (WS-EXCHANGE-14)."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from typing import Any

import attrs
import pytest
from exchange_scripts import closes, hello, opens, sends
from exchange_thinker_scripts import acks, latents, nacks
from hypothesis import given, settings
from hypothesis import strategies as st

from optimized.wire import MAX_LINE_BYTES, decode, encode
from spec.errors import ExchangeError
from spec.exchange_json import to_json
from spec.exchange_message import LatentsAck, LatentsNack, Message, payload_bytes

DIGEST = "0" * 64
MESSAGES: list[Message] = [
    hello(), opens(), sends(0), acks(0), nacks(0), latents(0), closes("why\nnot ü"),
    LatentsAck(session="s", epoch=0, unit=0, digest=DIGEST),
    LatentsNack(session="s", epoch=0, unit=0),
]  # fmt: skip


def with_payload(message: Message) -> tuple[Message, bytes]:
    """The message with a payload of its announced size, and the digest that belongs to it."""
    payload = bytes(i % 251 for i in range(payload_bytes(message)))
    if payload:
        message = attrs.evolve(message, digest=hashlib.sha256(payload).hexdigest())  # type: ignore[call-arg]
    return message, payload


PAIRS = [with_payload(message) for message in MESSAGES]
ENCODED = [encode(*pair) for pair in PAIRS]


@pytest.mark.parametrize(("message", "payload"), PAIRS)
def test_round_trip(message: Message, payload: bytes) -> None:
    """WS-EXCHANGE-14."""
    assert decode(encode(message, payload)) == (message, payload)


def test_the_line_can_be_written_by_anyone() -> None:
    """WS-EXCHANGE-14: a fixed example, spelled out."""
    text = b'{"incarnation":7,"kind":"hello","session":"s","version":1}'
    assert encode(hello(7)) == hashlib.sha256(text).hexdigest().encode() + b" " + text + b"\n"


@given(st.binary(max_size=300))
def test_random_bytes(data: bytes) -> None:
    """WS-EXCHANGE-14: an ExchangeError, never another exception."""
    with pytest.raises(ExchangeError):
        decode(data)


@pytest.mark.parametrize("data", ENCODED)
def test_every_truncation(data: bytes) -> None:
    """WS-EXCHANGE-14: no prefix of a message is a message, nor one with bytes after it."""
    for end in range(len(data)):
        with pytest.raises(ExchangeError):
            decode(data[:end])
    with pytest.raises(ExchangeError):
        decode(data + b"\0")


@settings(max_examples=300)
@given(st.sampled_from(ENCODED), st.data())
def test_every_bit_matters(data: bytes, draw: st.DataObject) -> None:
    """WS-EXCHANGE-14: a flipped bit is always seen, in the header as in the payload."""
    bit = draw.draw(st.integers(0, 8 * len(data) - 1))
    flipped = bytearray(data)
    flipped[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ExchangeError):
        decode(bytes(flipped))


def signed(text: bytes, payload: bytes = b"") -> bytes:
    """A line whose digest is right, whatever it says: a hostile peer."""
    return hashlib.sha256(text).hexdigest().encode() + b" " + text + b"\n" + payload


def compact(data: dict[str, Any]) -> bytes:
    return json.dumps(data, sort_keys=True, separators=(",", ":")).encode()


HELLO = to_json(hello())


@pytest.mark.parametrize(
    "text",
    [
        b"", b"null", b"[" * 60_000, b"\xff", b"{", b"1" * 5_000,
        b'{"incarnation":NaN,"kind":"hello","session":"s","version":1}',
        b'{"incarnation":1,"incarnation":1,"kind":"hello","session":"s","version":1}',
        json.dumps(HELLO, sort_keys=True).encode(),
        compact({**HELLO, "version": 2}),
        compact({**HELLO, "kind": "hell"}),
        compact({**HELLO, "incarnation": -1}),
        b'{"version":1,"session":"s","kind":"hello","incarnation":1}',
    ],
)  # fmt: skip
def test_a_signed_line_that_is_no_message(text: bytes) -> None:
    """WS-EXCHANGE-14: the digest is no excuse."""
    with pytest.raises(ExchangeError):
        decode(signed(text))


def test_a_line_without_an_end_is_refused_unread() -> None:
    """WS-EXCHANGE-14: 64 KiB, whatever follows."""
    with pytest.raises(ExchangeError, match="a line within"):
        decode(signed(b'"' + b"a" * MAX_LINE_BYTES + b'"'))


def test_a_lying_byte_count_allocates_nothing() -> None:
    """WS-EXCHANGE-14: memory follows what came, not what was announced."""
    lie = to_json(attrs.evolve(sends(0), byte_count=1 << 60))
    tracemalloc.start()
    with pytest.raises(ExchangeError, match="bytes of the payload"):
        decode(signed(compact(lie), b"x"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


def test_a_payload_must_be_the_announced_one() -> None:
    """WS-EXCHANGE-14: both ways."""
    message, payload = with_payload(sends(0))
    for wrong in (payload[:-1], payload + b"\0", payload[:-1] + b"\xff", b""):
        with pytest.raises(ExchangeError, match="payload"):
            encode(message, wrong)
        with pytest.raises(ExchangeError, match="payload"):
            decode(signed(compact(to_json(message)), wrong))
    with pytest.raises(ExchangeError, match="payload"):
        encode(hello(), b"more")


def test_the_terms_fit_into_a_line() -> None:
    """WS-EXCHANGE-14: the longest message is far from the limit."""
    assert max(map(len, (encode(opens()), encode(closes("ü" * 200))))) < MAX_LINE_BYTES // 20
