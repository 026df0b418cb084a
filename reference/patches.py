"""Video latents to response tokens and back: patches of p x p latent pixels, row-major.

Source: design §3 (12 x 21 latents, patched 3 x 3, are 28 tokens a unit). CHOICE.
"""

from __future__ import annotations

from einops import rearrange
from jaxtyping import Float
from torch import Tensor


def patchify(
    z: Float[Tensor, "*lead c rows cols"], patch: int
) -> Float[Tensor, "*lead n features"]:
    """Latent frame to n = (rows/p)(cols/p) tokens of c·p·p features (WS-CODEC-13).

    Tokens run row by row; inside a token the channel is slowest, the column fastest.
    """
    return rearrange(z, "... c (r p) (s q) -> ... (r s) (c p q)", p=patch, q=patch)


def unpatchify(
    tokens: Float[Tensor, "*lead n features"], patch: int, patch_rows: int
) -> Float[Tensor, "*lead c rows cols"]:
    """The inverse of `patchify`, for ``patch_rows`` rows of tokens (WS-CODEC-13)."""
    return rearrange(
        tokens,
        "... (r s) (c p q) -> ... c (r p) (s q)",
        p=patch,
        q=patch,
        r=patch_rows,
    )
