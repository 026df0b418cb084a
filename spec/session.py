"""What a session is opened with; everything else follows from it.

Source: design §4 (modalities), §5 (λ by schedule), §8 (one session, two roles). CHOICE.
"""

from __future__ import annotations

import attrs

from spec.errors import ConfigError
from spec.layout import Layout, Modalities
from spec.prefill import Identity
from spec.sizes import LAG_OF_SCHEDULE, Preset, Schedule
from spec.text import Sampling


@attrs.frozen(kw_only=True)
class SessionConfig:
    """A preset served under one schedule with some modalities (WS-SESSION-1).

    ``prompt`` holds the token ids of the system prompt; ``<bos>`` stands before them.
    ``identity`` says which identity tokens follow it; their signals come when it is
    opened.
    ``sampling`` is how the agent's words are chosen (WS-TEXT-1).
    """

    preset: Preset
    schedule: Schedule
    modalities: Modalities = Modalities()
    prompt: tuple[int, ...] = ()
    identity: Identity = Identity()
    sampling: Sampling = Sampling()

    def __attrs_post_init__(self) -> None:
        if self.schedule not in LAG_OF_SCHEDULE:
            raise ConfigError("schedule", self.schedule, ", ".join(sorted(LAG_OF_SCHEDULE)))
        vocab = self.preset.tokenizer.vocab_size
        for token in self.prompt:
            if not 0 <= token < vocab:
                raise ConfigError("prompt token", token, f"0 to {vocab - 1}")

    @property
    def lag(self) -> int:
        """Feedback lag λ (WS-VISIBILITY-2)."""
        return LAG_OF_SCHEDULE[self.schedule]

    @property
    def prefill(self) -> tuple[int, ...]:
        """Token ids of the text of P: ``<bos>`` and the system prompt (WS-SESSION-2)."""
        return (self.preset.tokenizer.bos, *self.prompt)

    @property
    def layout(self) -> Layout:
        """The slots of this session (WS-LAYOUT-1)."""
        return Layout(
            preset=self.preset,
            modalities=self.modalities,
            prefill_tokens=len(self.prefill) + self.identity.slots(self.preset),
            identity=self.identity,
        )
