"""The `bytes` tokenizer: UTF-8 bytes are ids, special ids stand above them.

Source: CHOICE (WS-PRESETS-4): needs no file and round-trips any text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

BYTES = 256


def encode(text: str) -> tuple[int, ...]:
    """Ids of ``text``, one a UTF-8 byte (WS-PRESETS-4)."""
    return tuple(text.encode("utf-8"))


def decode(ids: Sequence[int]) -> str:
    """Text of ``ids``; special and unused ids are left out (WS-PRESETS-4).

    Malformed UTF-8 becomes U+FFFD.
    """
    return bytes(i for i in ids if i < BYTES).decode("utf-8", errors="replace")


def by_unit(ids: Sequence[int], slots: int) -> Iterator[tuple[int, ...]]:
    """``ids`` as they arrive, ``slots`` a unit from unit 0 on (WS-LAYOUT-3)."""
    for start in range(0, len(ids), slots):
        yield tuple(ids[start : start + slots])
