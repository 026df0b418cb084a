"""The `smollm2` tokenizer: byte-level BPE with the vocabulary, merges and chat of a GGUF file.

Source: CHOICE (WS-PRESETS-5): the tokenizer of the language model that the preset starts from.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import gguf
import jinja2.sandbox
import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from reference import gguf_file
from spec.errors import WeightsError
from spec.sizes import Tokenizer

TURN = "\0"
"""Stands in a rendered chat where the user's own words go."""


@attrs.frozen(eq=False)
class BytePairText:
    """A byte-pair tokenizer, its special tokens, and the template of its chats."""

    pairs: tokenizers.Tokenizer
    specials: Mapping[str, int]
    template: str

    def encode(self, words: str) -> tuple[int, ...]:
        """Ids of ``words``; what looks like a special token is ordinary text (WS-PRESETS-5)."""
        return tuple(self.pairs.encode(words, add_special_tokens=False).ids)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ``ids`` without the special tokens; malformed UTF-8 is U+FFFD (WS-PRESETS-5)."""
        special = set(self.specials.values())
        words: str = self.pairs.decode([i for i in ids if i not in special])
        return words

    def chat(self, words: str) -> tuple[int, ...]:
        """Ids of a chat that opens with the user saying ``words``, up to where the agent begins
        (WS-PRESETS-6)."""
        # The environment of the public library, which the templates are written for.
        scratch = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        turns = [{"role": "user", "content": TURN}]
        frame = scratch.from_string(self.template).render(
            messages=turns, add_generation_prompt=True
        )
        special = "|".join(re.escape(token) for token in self.specials)
        ids: list[int] = []
        for piece in re.split(f"({special})", frame):
            if piece in self.specials:
                ids.append(self.specials[piece])
            else:
                ids += self.encode(piece.replace(TURN, words))
        return tuple(ids)


@functools.cache
def of_gguf(path: Path, sizes: Tokenizer) -> BytePairText:
    """The tokenizer in the metadata of ``path`` (WS-PRESETS-5).

    Raises:
        WeightsError: it is of another kind, or its ids are not those of ``sizes``.
    """
    reader = gguf_file.open_gguf(path)

    def held(key: str) -> Any:
        return gguf_file.value(reader, f"tokenizer.{key}")

    tokens, kinds, merges = (held(f"ggml.{key}") for key in ("tokens", "token_type", "merges"))
    rules = {
        "ggml.model": (held("ggml.model"), "gpt2"),
        "ggml.pre": (held("ggml.pre"), "smollm"),
        "size": (len(tokens or ()), sizes.vocab_size),
        "ggml.bos_token_id": (held("ggml.bos_token_id"), sizes.bos),
        "ggml.eos_token_id": (held("ggml.eos_token_id"), sizes.eos),
    }
    for key, (value, allowed) in rules.items():
        if value != allowed:
            raise WeightsError(f"tokenizer {key} of {path.name}", value, repr(allowed))
    specials = {
        token: i
        for i, (token, kind) in enumerate(zip(tokens, kinds, strict=True))
        if kind == gguf.TokenType.CONTROL
    }
    if sizes.wait not in specials.values():
        raise WeightsError(f"<wait> in {path.name}", tokens[sizes.wait], "a special token")
    pairs = tokenizers.Tokenizer(
        models.BPE(
            vocab={token: i for i, token in enumerate(tokens)},
            merges=[tuple(merge.split(" ")) for merge in merges],
        )
    )
    # What "smollm" stands for: every digit alone, then the pieces of GPT-2.
    digits = pre_tokenizers.Digits(individual_digits=True)
    pieces = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pairs.pre_tokenizer = pre_tokenizers.Sequence([digits, pieces])
    pairs.decoder = decoders.ByteLevel()
    return BytePairText(pairs, specials, held("chat_template"))
