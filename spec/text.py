"""Text on both sides: how the agent's tokens are chosen, how much the user may be ahead.

Source: PAPER §2.1 (next-token prediction, text on both sides); the rules are CHOICE.
"""

from __future__ import annotations

import math
from typing import Final

import attrs

from spec.errors import ConfigError

USER_TEXT_BUDGET: Final = 4096
"""Most tokens that may wait for user text slots (WS-TEXT-5)."""


@attrs.frozen(kw_only=True)
class Sampling:
    """How a text slot's token is chosen from its logits (WS-TEXT-1, WS-TEXT-2).

    Raises:
        ConfigError: a value outside its domain.
    """

    temperature: float = 0.0
    """0 is greedy decoding."""
    top_k: int = 0
    """Keep this many tokens; 0 keeps all."""
    top_p: float = 1.0
    """Keep the likeliest tokens up to this much probability; 1 keeps all."""

    def __attrs_post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise ConfigError("temperature", self.temperature, "a finite number from 0 up")
        if self.top_k < 0:
            raise ConfigError("top_k", self.top_k, "0 (all tokens) or more")
        if not 0 < self.top_p <= 1:
            raise ConfigError("top_p", self.top_p, "above 0, up to 1")
