"""The one shape of an error message: what was wrong, which value came, what is allowed.

Every layer raises a subclass of `WanStreamerError`; the command line prints its text as one line
and exits with a non-zero status (WS-ERRORS-1). A bug of ours stays an ``assert``.
Source: CHOICE.
"""

from __future__ import annotations

from decimal import Decimal


class WanStreamerError(ValueError):
    """A mistake in what was handed to us, never a bug of ours (WS-ERRORS-1).

    Args:
        what: the thing that is wrong, as the user knows it ("preset", "--engine", "clip x.mp4").
        value: the value that came; shown with ``repr``, a `Decimal` as the number that it is.
        allowed: what would have been accepted.
    """

    def __init__(self, what: str, value: object, allowed: str) -> None:
        self.what = what
        self.value = value
        self.allowed = allowed
        shown = str(value) if isinstance(value, Decimal) else repr(value)
        super().__init__(f"{what}: got {shown}; allowed: {allowed}")


class ConfigError(WanStreamerError):
    """A preset, layout or command-line value outside its domain."""


class MediaError(WanStreamerError):
    """A clip that cannot be read, or an output that cannot be written."""


class TensorError(WanStreamerError):
    """A tensor of the wrong shape, dtype or content (NaN, Inf)."""


class WeightsError(WanStreamerError):
    """Weights or a tokenizer that cannot be read, or that do not fit the preset (WS-WEIGHTS-5)."""


class ExchangeError(WanStreamerError):
    """A message that breaks the KV exchange protocol, or a peer that is gone."""


class PortError(WanStreamerError):
    """A port that cannot be loaded, or that answers outside the port protocol."""


class VectorError(WanStreamerError):
    """A folder of conformance vectors, or a file in it, that is not as it was written
    (WS-VECTORS-3)."""
