"""Known-bad ports, by which the suite is tested, and harmless variants that it must let pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from conformance.mutants import backbone, benign, codec, exchange, response, session, visibility
from conformance.mutants.patching import Benign, Mutant

MUTANTS: Final[Mapping[str, Mutant]] = {
    mutant.name: mutant
    for module in (visibility, backbone, response, codec, session, exchange)
    for mutant in module.MUTANTS
}
"""Every known-bad port by name (WS-CONFORMANCE-14)."""

BENIGN: Final[Mapping[str, Benign]] = {variant.name: variant for variant in benign.VARIANTS}
"""Every harmless variant by name (WS-CONFORMANCE-15)."""
