"""Text to ids and back, by the tokenizer of the preset.

Source: CHOICE (WS-PRESETS-4, WS-PRESETS-5).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

from reference import byte_text
from spec.errors import WeightsError
from spec.sizes import Tokenizer


@runtime_checkable
class Codec(Protocol):
    """What every kind of tokenizer can do."""

    def encode(self, words: str) -> tuple[int, ...]: ...

    def decode(self, ids: Sequence[int]) -> str: ...


@runtime_checkable
class ChatCodec(Codec, Protocol):
    """A tokenizer that knows how its language model wants a chat."""

    def chat(self, words: str) -> tuple[int, ...]: ...


def codec_of(tokenizer: Tokenizer) -> Codec:
    """The tokenizer that ``tokenizer`` names.

    Raises:
        WeightsError: its file is not installed, does not fit, or is the user's to give
            (WS-PRESETS-7).
    """
    if tokenizer.kind == "given":
        raise WeightsError(
            "tokenizer of this preset", "none", "`wanstreamer plan`, which needs none"
        )
    return byte_text if tokenizer.kind == "bytes" else byte_pairs(tokenizer)


def encode(tokenizer: Tokenizer, words: str) -> tuple[int, ...]:
    """Ids of ``words`` (WS-PRESETS-4, WS-PRESETS-5)."""
    return codec_of(tokenizer).encode(words)


def decode(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    """Text of ``ids``; special and unused ids are left out (WS-PRESETS-4, WS-PRESETS-5)."""
    return codec_of(tokenizer).decode(ids)


def byte_pairs(tokenizer: Tokenizer) -> ChatCodec:
    """The byte-pair tokenizer of the installed language model."""
    from reference import smollm2

    path = smollm2.gguf_path()
    # Late, because only the extra has what it imports.
    from reference import bpe_text

    return bpe_text.of_gguf(path, tokenizer)


def chat(tokenizer: Tokenizer, words: str) -> tuple[int, ...]:
    """Ids of the chat that puts ``words`` to the agent; for tokenizers that have chats
    (WS-PRESETS-6)."""
    return byte_pairs(tokenizer).chat(words)


def by_unit(ids: Sequence[int], slots: int) -> Iterator[tuple[int, ...]]:
    """``ids`` as they arrive, ``slots`` a unit from unit 0 on (WS-LAYOUT-3)."""
    for start in range(0, len(ids), slots):
        yield tuple(ids[start : start + slots])
