"""Values of a scenario file: tables taken key by key, and times as exact whole nanoseconds.

Every time carries its unit in its key (``encode_ms``); decimals are read as decimals.
Source: CHOICE (design §13).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Final, TypeVar

from simulator.stage_models import MAX_STAGE_NS
from spec.errors import ConfigError

UNITS_NS: Final[Mapping[str, int]] = {"ms": 1_000_000, "us": 1_000, "ns": 1}

LEAST_POWER: Final = -20
"""Numbers below 10 to this power are no values of a scenario."""

T = TypeVar("T")
L = TypeVar("L", bound=str)


class Table:
    """One TOML table whose keys are taken one by one; what is left over is unknown."""

    def __init__(self, where: str, values: object) -> None:
        if values is not None and not isinstance(values, dict):
            raise ConfigError(where, values, "a table")
        self.where = where
        self._values: dict[str, object] = dict(values or {})
        self._known: list[str] = []

    @property
    def empty(self) -> bool:
        """True if nothing is left in it."""
        return not self._values

    def take(self, key: str) -> object:
        """The value of ``key``, None where it is absent."""
        self._known.append(key)
        return self._values.pop(key, None)

    def of_type(self, key: str, kind: type[T], default: T) -> T:
        """A value that must be of ``kind``."""
        value = self.take(key)
        if value is None:
            return default
        if type(value) is not kind:
            raise ConfigError(self.at(key), value, f"a value of type {kind.__name__}")
        return value

    def choice(self, key: str, allowed: Sequence[L], default: L) -> L:
        """One of ``allowed``."""
        return choose(self.at(key), self.take(key), allowed, default)

    def time_ns(self, name: str) -> int | None:
        """``name_ms``, ``name_us`` or ``name_ns``, in ns."""
        return self.timed(name, time_ns)

    def timed(self, name: str, read: Callable[[str, object, int], T]) -> T | None:
        """The value of ``name`` with its unit as a suffix, as ``read(where, value, scale)``."""
        result: T | None = None
        for suffix, scale in UNITS_NS.items():
            value = self.take(f"{name}_{suffix}")
            if value is None:
                continue
            if result is not None:
                raise ConfigError(self.at(f"{name}_{suffix}"), value, f"{name} in one unit only")
            result = read(self.at(f"{name}_{suffix}"), value, scale)
        return result

    def at(self, key: str) -> str:
        """How a message names a key."""
        return f"{self.where}.{key}" if self.where else key

    def done(self) -> None:
        """Refuse what is left (WS-SIMULATION-3)."""
        for key, value in self._values.items():
            known = (name for name in self._known if not name.endswith(("_us", "_ns")))
            raise ConfigError(f"unknown key {self.at(key)}", value, ", ".join(known))


def choose(what: str, value: object, allowed: Sequence[L], default: L) -> L:
    """One of ``allowed``; ``default`` for None."""
    found = default if value is None else next((a for a in allowed if a == value), None)
    if found is None:
        raise ConfigError(what, value, ", ".join(allowed))
    return found


def time_ns(where: str, value: object, scale: int) -> int:
    """A time as whole ns (WS-SIMULATION-3).

    Raises:
        ConfigError: not a finite number, negative, finer than 1 ns, or above a minute.
    """
    if type(value) not in (int, Decimal):
        raise ConfigError(where, value, "a number")
    number = Decimal(str(value))
    shown = str(value)
    if not number.is_finite():
        raise ConfigError(where, shown, "a finite number")
    if number < 0:
        raise ConfigError(where, shown, "0 or more")
    if number > Decimal(MAX_STAGE_NS) / scale:
        raise ConfigError(where, shown, "at most 60 s")
    # An exponent may be so small that the exact fraction would not fit into memory.
    exact = Fraction(number) * scale if number.adjusted() >= LEAST_POWER else None
    if exact is None or exact.denominator != 1:
        raise ConfigError(where, shown, "whole nanoseconds")
    return int(exact)


def times_ns(where: str, value: object, scale: int) -> tuple[int, ...]:
    """A list of times as whole ns."""
    if not isinstance(value, list):
        raise ConfigError(where, value, "a list of times")
    return tuple(time_ns(f"{where}[{i}]", item, scale) for i, item in enumerate(value))


def ratio(where: str, value: object, low: Fraction, high: Fraction) -> Fraction:
    """A plain number from ``low`` to ``high``, exactly."""
    if type(value) not in (int, Decimal) or not Decimal(str(value)).is_finite():
        raise ConfigError(where, str(value), "a finite number")
    number = Decimal(str(value))
    far = number != 0 and not LEAST_POWER <= number.adjusted() <= -LEAST_POWER
    exact = Fraction(0) if far else Fraction(number)
    if far or not low <= exact <= high:
        raise ConfigError(where, str(value), f"{low} to {high}")
    return exact
