"""A known-bad port of the math profile: the reference's formulas with a few names replaced.

It claims nothing but math, so a broken recipe never fills a model that others share.
"""

from __future__ import annotations

import attrs

from conformance.mutants.patching import Mutant, Patch, PatchedPort
from conformance.protocol import DType, Hello


class MathPort(PatchedPort):
    """Formulas only."""

    dtypes: tuple[DType, ...] = ("float32", "float64")

    def hello(self) -> Hello:
        return attrs.evolve(
            super().hello(),
            profiles=("math",),
            features=("math", "midpoint", "media", "planning", "training"),
            dtypes=self.dtypes,
            exact_split=False,
        )

    def supports(self, feature: str) -> bool:
        hello = self.hello()
        return feature in hello.features or feature in hello.dtypes


def wrong(name: str, clause: str, description: str, *patches: Patch) -> Mutant:
    """A mutant of one formula."""
    return Mutant(
        name=f"math-{name}",
        clause=clause,
        description=description,
        factory=lambda: MathPort(f"math-{name}", patches),
    )
