"""Named devices and their peak numbers.

Source: ``spec/devices.toml``, where each device states its own.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import attrs

from spec.errors import ConfigError

Dtype = Literal["bfloat16", "float32"]

ELEMENT_BYTES: Final[Mapping[Dtype, int]] = {"bfloat16": 2, "float32": 4}


@attrs.frozen(kw_only=True)
class Device:
    """Peak numbers of one device (WS-COST-7).

    FLOP/s of dense matrix products, bytes, bytes/s; the link in one direction. ``bf16_flops`` is
    None where the device has no bf16 arithmetic of its own.
    """

    name: str
    fp32_flops: int
    memory_bytes: int
    memory_bandwidth: int
    link_bandwidth: int
    source: str
    bf16_flops: int | None = None
    power_watts: int | None = None
    """The most that the device draws, as its maker states it; None where nobody does
    (WS-FLEET-12)."""

    @property
    def default_dtype(self) -> Dtype:
        """bfloat16 where there is one (WS-COST-7)."""
        return "float32" if self.bf16_flops is None else "bfloat16"

    def peak_flops(self, dtype: Dtype) -> int:
        """FLOP/s in ``dtype`` (WS-COST-7).

        Raises:
            ConfigError: the device does not have it.
        """
        if dtype == "float32":
            return self.fp32_flops
        if self.bf16_flops is None:
            raise ConfigError(f"dtype on {self.name}", dtype, "float32")
        return self.bf16_flops


@functools.cache
def devices() -> Mapping[str, Device]:
    """Every device of ``spec/devices.toml`` by its name, in the order of the file (WS-COST-7)."""
    with Path(__file__).with_suffix(".toml").open("rb") as file:
        return {name: Device(name=name, **row) for name, row in tomllib.load(file).items()}


def device_named(name: str) -> Device:
    """The device called ``name``.

    Raises:
        ConfigError: there is none.
    """
    if name not in devices():
        raise ConfigError("device", name, ", ".join(devices()))
    return devices()[name]
