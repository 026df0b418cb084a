"""What is simulated: one record that holds everything, so that a run is a function of it.

Source: CHOICE (design §10, §13). Files are read in `simulator.scenario_reading`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, get_args

import attrs

from simulator.link import Link, Network
from simulator.stage_models import Constant, StageModel
from spec import clock
from spec.errors import ConfigError
from spec.latency import Handover, StageTimes
from spec.presets import preset_named
from spec.sizes import LAG_OF_SCHEDULE, Schedule

ThinkerMode = Literal["one-stream", "separate-streams"]
"""``one-stream``: the thinker does one thing at a time. ``separate-streams``: encoders, language
pass (with sending and commit) and decoders each have a stream of their own (WS-SIMULATION-5)."""

FaultSpec = Mapping[str, object]
"""What goes wrong, as its owner reads it; empty: nothing does."""

MAX_COUNT: Final = 100_000_000
MAX_SEED: Final = (1 << 63) - 1


def no_time() -> StageModel:
    """A stage that takes none."""
    return Constant(ns=0)


@attrs.frozen(kw_only=True)
class StageModels:
    """A model for each stage of a unit (WS-SIMULATION-2).

    ``comm`` is the slice from thinker to performer, ``back`` the latents the other way; each
    occupies its sender. ``commit`` is the thinker's own, 0 when sequential (WS-LATENCY-1).
    """

    encode: StageModel
    update: StageModel
    comm: StageModel
    solve: StageModel
    back: StageModel
    decode: StageModel
    commit: StageModel = attrs.field(factory=no_time)

    @property
    def typical(self) -> StageTimes:
        """Typical times for the closed forms; ``comm`` is the larger of both directions
        (WS-COST-8, WS-LATENCY-1)."""
        return StageTimes(
            encode=self.encode.typical_ns,
            update=self.update.typical_ns,
            comm=max(self.comm.typical_ns, self.back.typical_ns),
            solve=self.solve.typical_ns,
            decode=self.decode.typical_ns,
            commit=self.commit.typical_ns,
        )


STAGES: Final = tuple(field.name for field in attrs.fields(StageModels))
"""In the order a unit passes them, ``commit`` last; also the names of their random streams."""


@attrs.frozen(kw_only=True)
class Slo:
    """What counts as on time (WS-SIMULATION-8).

    ``deadline_ns``: the most a unit's model-side latency may be. ``on_time_ppm``: how many of a
    million units must keep it.
    """

    deadline_ns: int = 2 * clock.UNIT_NS
    on_time_ppm: int = 990_000

    def __attrs_post_init__(self) -> None:
        _within("slo deadline in ns", self.deadline_ns, 1, clock.UNIT_NS * MAX_COUNT)
        _within("slo on-time units in a million", self.on_time_ppm, 0, 1_000_000)


@attrs.frozen(kw_only=True)
class Scenario:
    """One simulation (WS-SIMULATION-3).

    ``preset``: sizes of the messages and of the protocol's counts. ``link``: where ``comm`` and
    ``back`` come from, if from a link. ``units``: of each session; ``sessions``: side by side,
    each on a thinker and a performer of its own. ``policy``: what is done under overload.

    Raises:
        ConfigError: a value outside its domain, or values that contradict each other.
    """

    name: str
    stages: StageModels
    preset: str = "tiny"
    schedule: Schedule = "overlapped"
    handover: Handover = "boundary"
    thinker: ThinkerMode = "one-stream"
    link: Link | None = None
    network: Network = attrs.field(factory=Network)
    units: int = 400
    sessions: int = 1
    seed: int = 0
    faults: FaultSpec = attrs.field(factory=dict)
    policy: str = "none"
    slo: Slo = attrs.field(factory=Slo)

    def __attrs_post_init__(self) -> None:
        preset_named(self.preset)
        _one_of("schedule", self.schedule, tuple(sorted(LAG_OF_SCHEDULE)))
        _one_of("handover", self.handover, get_args(Handover))
        _one_of("thinker", self.thinker, get_args(ThinkerMode))
        _within("units", self.units, 1, MAX_COUNT)
        _within("sessions", self.sessions, 1, MAX_COUNT)
        _within("seed", self.seed, 0, MAX_SEED)
        if self.schedule == "sequential" and self.stages.commit != no_time():
            raise ConfigError(
                "commit of a sequential schedule",
                f"{self.stages.commit.typical_ns} ns",
                "0: the thinker's commit is part of update",
            )

    @property
    def lag(self) -> int:
        """Feedback lag λ (WS-VISIBILITY-2)."""
        return LAG_OF_SCHEDULE[self.schedule]


def _one_of(what: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(what, value, ", ".join(allowed))


def _within(what: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ConfigError(what, value, f"{low} to {high}")
