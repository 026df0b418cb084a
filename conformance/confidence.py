"""How sure a count of late units makes one (WS-LATENCY-7): exact binomial tails."""

from __future__ import annotations

from math import comb
from typing import Final

ALLOWED: Final = 0.01
"""Late units, of all."""
DOUBT: Final = 0.05


def at_most(late: int, units: int, rate: float = ALLOWED) -> float:
    """Probability of ``late`` or fewer late units of ``units`` at a true ``rate``."""
    return sum(comb(units, k) * rate**k * (1 - rate) ** (units - k) for k in range(late + 1))


def at_least(late: int, units: int, rate: float = ALLOWED) -> float:
    """Probability of ``late`` or more."""
    return 1.0 - at_most(late - 1, units, rate) if late else 1.0


def holds(late: int, units: int) -> bool | None:
    """True: the rate is below the allowed one; False: above; None: too few units to say."""
    if at_most(late, units) <= DOUBT:
        return True
    return False if at_least(late, units) <= DOUBT else None


def units_needed() -> int:
    """The fewest units that can show the claim, when none is late."""
    units = 1
    while at_most(0, units) > DOUBT:
        units += 1
    return units
