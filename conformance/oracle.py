"""Expected numbers: the oracle in float64, and how far its naive runs in less are off.

The oracle is a port too, reached by name; only our own is used today. What it was asked once is
kept, so many ports can be judged against one oracle.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import attrs

from conformance.guard import Guard
from conformance.inputs import in_dtype, with_text_of
from conformance.naive import Naive
from conformance.protocol import Array, CodecRequest, DType, LoadRequest, Port
from conformance.recording import Form, Recorder, Recording, Script
from conformance.wire import digest

SHORT: Final = 6
SHORT_PROMPT: Final = 32
"""A session of so many units, with such a prompt, has two naive forms; the offline form of a longer
one takes too long, and the session alone is a large sample of rounding errors."""


@attrs.frozen(kw_only=True, eq=False)
class Truth:
    """``script`` with the oracle's text forced, its true outputs, and the naive runs in a dtype.

    The agent's text is chosen by the float64 oracle and forced in every other run, so a greedy
    choice that flips at a rounding error never accuses a port (WS-CONFORMANCE-9).
    """

    script: Script
    outputs: Recording
    naive: Naive

    def beginning(self, units: int) -> Truth:
        """Of a stream: of its first units."""
        return Truth(
            script=attrs.evolve(self.script, units=self.script.units[:units]),
            outputs=self.outputs[:units],
            naive=self.naive.beginning(units),
        )


class Oracle:
    """A port whose answers are taken for true in float64.

    Args:
        thorough: every truth comes with all its naive runs, needed or not. What is written down
            must judge any port, and by budgets that do not depend on it.
    """

    def __init__(self, port: Port, *, thorough: bool = False) -> None:
        guard = Guard(port)
        self._thorough = thorough
        self._port = guard
        self.port: Port = guard
        self.record = Recorder(guard, guard.hello().features)
        self._truths: dict[tuple[str, Form, DType], Truth] = {}
        self._streams: dict[tuple[str, DType], list[tuple[Script, Truth]]] = {}
        self._parts: dict[str, Array] = {}

    def truth(self, script: Script, form: Form = "offline", dtype: DType = "float32") -> Truth:
        """What ``script`` must give, by the oracle's ``form`` of it.

        Args:
            dtype: of the port; the naive runs are in it, for float64 in float32.
        """
        naive = naive_dtype(dtype)
        key = digest(script), form, naive
        if key not in self._truths:
            whole = form == "offline"
            self._truths[key] = (
                self._truth(script, form, naive) if whole else self._streamed(script, naive)
            )
        return self._truths[key]

    def _streamed(self, script: Script, dtype: DType) -> Truth:
        """What is known of a longer stream holds for its beginning (WS-CONFORMANCE-9)."""
        known = self._streams.setdefault((digest(script.open), dtype), [])
        for longer, truth in known:
            if begins(longer, script):
                return truth.beginning(len(script.units))
        known.append((script, self._truth(script, "stream", dtype)))
        return known[-1][1]

    def _truth(self, script: Script, form: Form, dtype: DType) -> Truth:
        free = self.record(in_dtype(script, "float64"), form)
        forced = with_text_of(script, tuple(unit.text for unit in free))
        narrow = in_dtype(forced, dtype)
        short = len(script.units) <= SHORT and len(script.open.prompt) <= SHORT_PROMPT
        forms: tuple[Form, ...] = ("stream", "offline") if short else ("stream",)
        runs = tuple(partial(self.record, narrow, each) for each in forms)
        naive = Naive(runs=runs, thorough=self._thorough)
        return Truth(script=forced, outputs=free, naive=naive)

    def load(self, request: LoadRequest) -> str:
        """The digest of the recipe's weights."""
        return self._port.load(request)

    def codec(self, request: CodecRequest, data: Array) -> Array:
        """One part of the model on ``data``."""
        key = digest((request, data))
        if key not in self._parts:
            self._parts[key] = self._port.codec(request, data)
        return self._parts[key]


def begins(longer: Script, script: Script) -> bool:
    """``longer`` has the units of ``script``, the same objects, and more."""
    units = len(script.units)
    same = all(a is b for a, b in zip(longer.units, script.units, strict=False))
    return same and len(longer.units) > units


def naive_dtype(dtype: DType) -> DType:
    """In what the naive reference is run to judge a port in ``dtype`` (WS-CONFORMANCE-9)."""
    return "float32" if dtype == "float64" else dtype
