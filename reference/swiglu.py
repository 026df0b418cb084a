"""The gated feed-forward layer.

Source: Shazeer 2020, as in the language models the paper starts from (§2.3).
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from spec.sizes import Backbone


class SwiGLU(nn.Module):
    """W_down(silu(W_gate x) · W_up x) (WS-BACKBONE-5)."""

    def __init__(self, cfg: Backbone) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(cfg.d_model, cfg.d_ff, bias=False)
        self.up_proj = nn.Linear(cfg.d_model, cfg.d_ff, bias=False)
        self.down_proj = nn.Linear(cfg.d_ff, cfg.d_model, bias=False)

    def forward(self, x: Float[Tensor, "n d_model"]) -> Float[Tensor, "n d_model"]:
        y: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return y
