"""How fast a fleet is simulated, for ``wanstreamer bench``.

Source: CHOICE (WS-FLEET-14).
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import attrs

from simulator.fleet.reading import read_fleet
from simulator.fleet.run import simulate
from spec import clock

SCENARIO: Final = Path(__file__).parents[1] / "scenarios/internet-scale.toml"
ROUNDS: Final = 20


def fleet_rate() -> float:
    """Units served in a second of a core, with a million sessions there at a time: all that is
    done from the file to the result is included (WS-FLEET-14, WS-BENCH-1)."""
    start = time.process_time()
    fleet = attrs.evolve(read_fleet(SCENARIO), duration_ns=ROUNDS * clock.UNIT_NS)
    result = simulate(fleet)
    return result.session_units / (time.process_time() - start)
