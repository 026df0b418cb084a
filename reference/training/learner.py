"""A model that is being trained, and the one way in which its weights change.

Source: CHOICE: AdamW with warm-up and clipped gradients, the usual recipe.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs
import torch
from torch import Tensor, nn

from reference.model import WanStreamer
from reference.training.config import TrainingConfig
from spec.errors import ConfigError

FROZEN = ("video_codec.", "audio_codec.")
"""Their posterior means are targets; targets that move would be no targets (WS-TRAINING-3)."""

BETAS = (0.9, 0.95)


@attrs.frozen(kw_only=True, eq=False)
class Learner:
    """A model and the optimizer of its trained parameters (WS-TRAINING-17)."""

    model: WanStreamer
    optimizer: torch.optim.AdamW
    config: TrainingConfig

    @classmethod
    def of(cls, model: WanStreamer, config: TrainingConfig) -> Learner:
        """Everything learns but the codecs (WS-TRAINING-3)."""
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(not name.startswith(FROZEN))
        optimizer = torch.optim.AdamW(
            trained(model).values(), betas=BETAS, weight_decay=config.weight_decay
        )
        return cls(model=model, optimizer=optimizer, config=config)

    def update(self, losses: Iterable[Tensor], step: int) -> float:
        """One update from a batch, whose loss is the sum of ``losses`` (WS-TRAINING-9).

        Each loss gives its gradient before the next one is computed.

        Raises:
            ConfigError: the loss is not finite.
        """
        total = 0.0
        for loss in losses:
            torch.autograd.backward(loss)
            total += loss.item()
        if not torch.isfinite(torch.tensor(total)):
            raise ConfigError(f"loss of update {step}", total, "finite: lower the learning rate")
        parameters = list(trained(self.model).values())
        for parameter in parameters:
            # Every parameter takes part in every update, also where no record of the batch uses it.
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        nn.utils.clip_grad_norm_(parameters, self.config.max_gradient_norm)
        rising = min(1.0, (step + 1) / self.config.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * rising
        self.optimizer.step()
        self.optimizer.zero_grad()
        return total


def trained(model: WanStreamer) -> dict[str, nn.Parameter]:
    """The parameters that learn, by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}
