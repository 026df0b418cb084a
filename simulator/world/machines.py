"""The pair of exchange machines that a simulated session runs, and their drivers (WS-FAULTS-3).

Source: design §9, §13: the simulator and the real processes run the same tables.
"""

from __future__ import annotations

import attrs

from simulator.world.performer import WorldPerformer
from simulator.world.stages import Stages
from spec.exchange import PERFORMER, THINKER
from spec.exchange_machine import Machine
from spec.exchange_performer import Performer
from spec.exchange_thinker import Thinker


@attrs.frozen(kw_only=True)
class Machines:
    """The true pair, or one with a seeded defect (WS-FAULTS-8)."""

    thinker: Machine[Thinker] = THINKER
    performer: Machine[Performer] = PERFORMER
    stages: type[Stages] = Stages
    performer_driver: type[WorldPerformer] = WorldPerformer
