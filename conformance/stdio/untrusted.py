"""Text that came from a port, made fit to be shown: one cannot trust a name or a message.

A port may call itself anything and say anything in an error. Before such text reaches a terminal,
XML, HTML or Markdown, what would steer the reader's screen is written out as an escape, and what is
endless is cut, saying how much is missing (WS-CONFORMANCE-10).
"""

from __future__ import annotations

import unicodedata
from typing import Final

LIMIT: Final = 4000
"""Characters of one detail that are kept."""

_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories that print as nothing, turn the line round, or are no text at all."""


def visible(text: str, limit: int = LIMIT) -> str:
    r"""``text`` with every character that would not show itself written as ``\x1b`` or ``\u202e``;
    line feeds and tabs stay."""
    return "".join(_shown(c) for c in clipped(text, limit))


def one_line(text: str, limit: int = LIMIT) -> str:
    """`visible`, with every run of white space as one blank."""
    return visible(" ".join(text.split()), limit)


def clipped(text: str, limit: int = LIMIT) -> str:
    """About ``limit`` characters of ``text``, cut in the middle: both ends tell most."""
    if len(text) <= limit:
        return text
    tail = limit // 4
    missing = len(text) - limit
    return f"{text[: limit - tail]} [... {missing} characters left out ...] {text[-tail:]}"


def _shown(character: str) -> str:
    if character in "\n\t" or unicodedata.category(character) not in _HIDDEN:
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
