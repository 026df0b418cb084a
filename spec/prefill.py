"""What stands before unit 0: the system prompt and, if wanted, who the agent is.

Source: PAPER §2.4 (system prefill), §1 (identity is kept over the history); that identity comes in
as clean latents is CHOICE (design §4, §6).
"""

from __future__ import annotations

import attrs

from spec.errors import ConfigError
from spec.sizes import Preset


@attrs.frozen(kw_only=True)
class Identity:
    """Which identity tokens a prefill has after its text (WS-PREFILL-1).

    Raises:
        ConfigError: a negative number of ticks.
    """

    image: bool = False
    """A still picture of the agent: the tokens of one video latent frame."""
    voice_ticks: int = 0
    """Length of a recording of the agent's voice, 40 ms and one token each."""

    def __attrs_post_init__(self) -> None:
        if self.voice_ticks < 0:
            raise ConfigError("voice_ticks", self.voice_ticks, "0 (no voice) or more")

    def image_slots(self, preset: Preset) -> int:
        """Tokens of the picture (WS-PREFILL-1)."""
        return preset.patch_rows * preset.patch_cols if self.image else 0

    def slots(self, preset: Preset) -> int:
        """Tokens of picture and voice (WS-PREFILL-1)."""
        return self.image_slots(preset) + self.voice_ticks
