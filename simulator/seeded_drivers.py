"""Seeded defects of the drivers: the machines are true, what is done around them is not.

They begin too early, so what they break is causality; or they go on when they should not. Every
name begins with the clause that the defect breaks. Source: CHOICE (WS-FAULTS-8).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from simulator.seeded_defects import SEEDED_DEFECTS
from simulator.world.machines import Machines
from simulator.world.performer import Work, WorldPerformer
from simulator.world.stages import Stages
from spec.exchange import PERFORMER
from spec.exchange_effects import Effect, Solve
from spec.exchange_events import Action, Event
from spec.exchange_message import Header
from spec.exchange_performer import Performer


class UpdatesEarly(Stages):
    """Does not wait for the responses that an update sees."""

    def may_update(self, k: int, returned: int) -> bool:  # noqa: ARG002
        """See `Stages`."""
        return True


class DecodesEarly(Stages):
    """Begins to decode as the slice is over, whatever came back."""

    def may_decode(self, k: int, returned: int) -> bool:  # noqa: ARG002
        """See `Stages`."""
        return self._sent > k


class GoesOn(Stages):
    """Goes on without a process."""

    @property
    def over(self) -> bool:
        """See `Stages`."""
        return self._place.over


class ReturnsEarly(WorldPerformer):
    """Sends latents when half of their solve is over."""

    def finish_at(self, end_ns: int, work: Work) -> None:
        """See `WorldPerformer`."""
        now = self._queue.now
        super().finish_at(now + (end_ns - now) // 2, work)


def solves_early(state: Performer, given: Header) -> tuple[Performer, tuple[Effect, ...]]:
    """A part of a slice is held, and its solve begins before the slice is whole."""
    state, effects = PERFORMER.actions[Action.HOLD](state, given)
    if given.kv_len_before == 0:
        return state, effects
    return state, (*effects, Solve(epoch=given.epoch, unit=given.unit, digest=given.digest))


HASTY: Final = attrs.evolve(PERFORMER, actions={**PERFORMER.actions, Action.HOLD: solves_early})
ORPHAN: Final = attrs.evolve(
    PERFORMER,
    transitions={
        (phase, event): (phase, ()) if event is Event.PEER_LOST else row
        for (phase, event), row in PERFORMER.transitions.items()
    },
)

DRIVER_DEFECTS: Final[Mapping[str, Machines]] = {
    "WS-STREAMING-9 updates before the responses it sees": Machines(stages=UpdatesEarly),
    "WS-STREAMING-9 decodes before the latents are here": Machines(stages=DecodesEarly),
    "WS-STREAMING-9 solves before its slice is there": Machines(performer=HASTY),
    "WS-TRACE-5 sends latents before they are solved": Machines(performer_driver=ReturnsEarly),
    "WS-FAULTS-4 goes on without a process": Machines(stages=GoesOn),
    "WS-EXCHANGE-10 outlives a lost thinker": Machines(performer=ORPHAN),
}

ALL_DEFECTS: Final[Mapping[str, Machines]] = {
    **{name: machines for name, (machines, _) in SEEDED_DEFECTS.items()},
    **DRIVER_DEFECTS,
}
"""What campaigns run; the machines alone are in `SEEDED_DEFECTS`."""
