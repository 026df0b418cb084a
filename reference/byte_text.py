"""The `bytes` tokenizer: UTF-8 bytes are ids, special ids stand above them.

Source: CHOICE (WS-PRESETS-4): needs no file and round-trips any text.
"""

from __future__ import annotations

from collections.abc import Sequence

BYTES = 256


def encode(words: str) -> tuple[int, ...]:
    """Ids of ``words``, one a UTF-8 byte (WS-PRESETS-4)."""
    return tuple(words.encode("utf-8"))


def decode(ids: Sequence[int]) -> str:
    """Text of ``ids``; special and unused ids are left out (WS-PRESETS-4).

    Malformed UTF-8 becomes U+FFFD.
    """
    return bytes(i for i in ids if i < BYTES).decode("utf-8", errors="replace")
