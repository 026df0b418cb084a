"""The pipeline at boundaries on one stream in SimPy, as lean as SimPy allows: what to compare with.

Only the benchmark needs SimPy; it is a development dependency.
Source: DERIVED from WS-SIMULATION-5.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from simulator.durations import Durations
from spec.errors import ConfigError

if TYPE_CHECKING:
    import simpy


def run(times: Durations, session: int = 0) -> list[int]:
    """Starts of decoding, ns, of one overlapped session (WS-BENCH-2).

    Raises:
        ConfigError: SimPy is not installed.
    """
    try:
        import simpy
    except ImportError:
        raise ConfigError("benchmark against SimPy", "no simpy", "pip install simpy") from None
    environment = simpy.Environment()
    model = _Model(environment, times, session)
    environment.process(model.arrivals())
    environment.process(model.thinker())
    environment.process(model.performer())
    environment.run()
    return model.decodes


class _Model:
    """A process each for the user, the thinker and the performer; a stage is a timeout."""

    def __init__(self, environment: simpy.Environment, times: Durations, session: int) -> None:
        self.environment = environment
        self.units = times.units

        def column(name: str) -> list[int]:
            found: list[int] = getattr(times, name)[:, session].tolist()
            return found

        self.arrive, self.encode, self.update = column("arrive"), column("encode"), column("update")
        self.comm, self.solve, self.back = column("comm"), column("solve"), column("back")
        self.decode, self.commit = column("decode"), column("commit")
        self.arrived = [environment.event() for _ in range(self.units + 1)]
        self.sent = [environment.event() for _ in range(self.units)]
        self.returned = [environment.event() for _ in range(self.units)]
        self.decodes: list[int] = []

    def arrivals(self) -> Generator[simpy.Event, Any, None]:
        """User units, and the last boundary."""
        for k, event in enumerate(self.arrived):
            yield self.environment.timeout(self.arrive[k] - int(self.environment.now))
            event.succeed()

    def thinker(self) -> Generator[simpy.Event, Any, None]:
        """Encode, update, send; then decode and commit what came back."""
        wait = self.environment.timeout
        for k in range(self.units):
            yield self.arrived[k]
            yield wait(self.encode[k])
            yield wait(self.update[k])
            yield wait(self.comm[k])
            self.sent[k].succeed()
            if k > 0:
                yield from self.take_up(k - 1)
        yield self.arrived[self.units]
        yield from self.take_up(self.units - 1)

    def take_up(self, k: int) -> Generator[simpy.Event, Any, None]:
        """Decode and commit response k."""
        yield self.returned[k]
        self.decodes.append(int(self.environment.now))
        yield self.environment.timeout(self.decode[k])
        yield self.environment.timeout(self.commit[k])

    def performer(self) -> Generator[simpy.Event, Any, None]:
        """Solve and send back."""
        wait = self.environment.timeout
        for k in range(self.units):
            yield self.sent[k]
            yield wait(self.solve[k])
            yield wait(self.back[k])
            self.returned[k].succeed()
