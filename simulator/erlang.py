"""Loss and waiting of N places under random load, in closed form: Erlang B, Erlang C, Engset.

    B(a, N) = (a^N / N!) / Σ_{n ≤ N} a^n / n!         C(a, N) = N B / (N - a (1 - B))

Powers and factorials are never formed: 1 / B(a, N) = 1 + (N / a) / B(a, N - 1) is stable, since
every term is positive. ``load`` a is the mean number of places taken if none were refused
(arrival rate · mean length). B holds whatever the distribution of lengths is.
Source: DERIVED (WS-FLEET-11); Erlang 1917, Engset 1918.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator

from spec.errors import ConfigError


def erlang_b(load: float, places: int) -> float:
    """Share of arrivals refused by ``places`` places without a queue (WS-FLEET-11).

    Raises:
        ConfigError: a load that is negative or not finite, or fewer than no places.
    """
    require_load(load)
    if places < 0:
        raise ConfigError("places", places, "0 or more")
    return next(blocked for n, blocked in enumerate(blocking_by_places(load)) if n == places)


def blocking_by_places(load: float) -> Iterator[float]:
    """B(a, 0), B(a, 1), ... without end (WS-FLEET-11)."""
    inverse, places = 1.0, 0
    while True:
        yield 0.0 if math.isinf(inverse) else 1.0 / inverse
        places += 1
        inverse = 1.0 + inverse * places / load if load else math.inf


@functools.cache
def places_for(load: float, blocking: float) -> int:
    """The fewest places that refuse at most ``blocking`` of the arrivals (WS-FLEET-11).

    Raises:
        ConfigError: a load that is negative or not finite, or a blocking outside 0 to 1, 0 out.
    """
    require_load(load)
    if not 0 < blocking <= 1:
        raise ConfigError("blocking", blocking, "more than 0, at most 1")
    return next(n for n, blocked in enumerate(blocking_by_places(load)) if blocked <= blocking)


def erlang_c(load: float, places: int) -> float:
    """Share of arrivals that wait, in a queue that nobody leaves; exponential lengths
    (WS-FLEET-11).

    Raises:
        ConfigError: as `erlang_b`, or a load of all places or more: that queue has no end.
    """
    blocked = erlang_b(load, places)
    if load >= places:
        raise ConfigError("load of a queue", load, f"less than its {places} places")
    return places * blocked / (places - load * (1 - blocked))


def mean_wait(load: float, places: int, mean_length: float) -> float:
    """Mean wait over all arrivals, in the unit of ``mean_length``; exponential lengths
    (WS-FLEET-11).

    Raises:
        ConfigError: as `erlang_c`.
    """
    return erlang_c(load, places) * mean_length / (places - load)


def engset(users: int, load_per_idle_user: float, places: int) -> float:
    """Share of the calls of ``users`` that ``places`` places refuse (WS-FLEET-11).

    ``load_per_idle_user``: mean length / mean time from the end of a call, or a refusal, to the
    next one. With B(0) = 1: 1 / B(n) = 1 + n / ((users - n) a) / B(n - 1).

    Raises:
        ConfigError: a load that is negative or not finite, no user, or fewer than no places.
    """
    require_load(load_per_idle_user)
    if users < 1 or places < 0:
        raise ConfigError("users and places", (users, places), "at least 1 user and 0 places")
    if places >= users or load_per_idle_user == 0:
        return 0.0 if places else 1.0
    inverse = 1.0
    for n in range(1, places + 1):
        inverse = 1.0 + inverse * n / ((users - n) * load_per_idle_user)
    return 1.0 / inverse


def require_load(load: float) -> None:
    """Refuse a load that no traffic has (WS-FLEET-11)."""
    if not (math.isfinite(load) and load >= 0):
        raise ConfigError("load", load, "0 or more, finite")
