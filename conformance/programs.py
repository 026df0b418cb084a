"""Programs: commands to several sessions of one port, as plain data, and what must come of them.

A *life* of a session begins when it is opened, reset or imported, and holds all units that made it
what it is. What a life answered is held to the oracle's recording of the same units, so every
program, however it mixes sessions, has known answers (WS-SESSION-3, WS-CONFORMANCE-17).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Literal

import attrs
import numpy as np

from conformance.case import Context
from conformance.guard import Guard, PortFault
from conformance.inputs import Content, unit_of
from conformance.oracle import Truth
from conformance.protocol import (
    Array,
    DType,
    KvExport,
    OpenRequest,
    Refusal,
    UnitInput,
    UnitOutput,
    Unsupported,
)
from conformance.recording import TENSORS, Recording, Script, copied
from conformance.relations import same
from conformance.tolerance import MANY, Budget, budget, enough, exceeds

Verb = Literal["open", "step", "finish", "reset", "export", "import", "close"]


@attrs.frozen(kw_only=True)
class Step:
    """One command to the session that the program calls ``session``.

    ``request`` goes with "open", ``content`` with "step"; ``state`` names what "export" keeps and
    "import" takes. The agent's text is always prescribed, so that no greedy choice can flip at a
    rounding error (WS-CONFORMANCE-9).
    """

    do: Verb
    session: str
    request: OpenRequest | None = None
    content: Content | None = None
    state: str = ""


@attrs.define(kw_only=True, eq=False)
class Life:
    """One life of a session: its units so far, and what was answered."""

    session: str
    request: OpenRequest
    units: list[UnitInput]
    outputs: dict[int, UnitOutput]
    first: int = 0
    """Units before it were answered, or were to be, in the life that was exported."""
    finished: bool = False

    @property
    def script(self) -> Script:
        """The session that would bring a fresh one here."""
        return Script(open=self.request, units=tuple(self.units))


def life_of(script: Script, outputs: Iterable[UnitOutput], first: int = 0) -> Life:
    """What a session of ``script`` answered from unit ``first`` on, as one life."""
    return Life(
        session="a",
        request=script.open,
        units=list(script.units),
        outputs={output.unit: output for output in outputs if output.unit >= first},
        first=first,
    )


def opened(session: str, request: OpenRequest) -> Step:
    return Step(do="open", session=session, request=request)


def stepped(session: str, contents: Iterable[Content]) -> list[Step]:
    return [Step(do="step", session=session, content=content) for content in contents]


def ended(session: str) -> list[Step]:
    return [Step(do="finish", session=session), Step(do="close", session=session)]


def in_turn(*runs: Sequence[Step]) -> list[Step]:
    """The first step of each run, then the second of each, and so on."""
    longest = max(map(len, runs))
    return [run[i] for i in range(longest) for run in runs if i < len(run)]


def play(port: Guard, program: Sequence[Step]) -> list[Life]:
    """All lives of ``program`` in the order in which they began; everything is closed after it.

    Raises:
        PortFault: a unit was answered that nobody asked for, or out of order, or not at all.
    """
    ids: dict[str, str] = {}
    now: dict[str, Life] = {}
    states: dict[str, tuple[KvExport, list[UnitInput]]] = {}
    lives: list[Life] = []

    def begin(session: str, request: OpenRequest, units: list[UnitInput]) -> None:
        now[session] = Life(
            session=session, request=request, units=list(units), outputs={}, first=len(units)
        )
        lives.append(now[session])

    try:
        for step in program:
            session = step.session
            match step.do:
                case "open":
                    assert step.request is not None, "a session is opened with a request"
                    ids[session] = port.open(step.request)
                    begin(session, step.request, [])
                case "step":
                    assert step.content is not None, "a step has a content"
                    life = now[session]
                    unit = unit_of(life.request, len(life.units), step.content)
                    life.units.append(unit)
                    _answered(life, port.step(ids[session], unit))
                case "finish":
                    _answered(now[session], port.finish(ids[session]))
                    _complete(now[session])
                case "reset":
                    port.reset(ids[session])
                    begin(session, now[session].request, [])
                case "export":
                    states[step.state] = port.export_kv(ids[session]), list(now[session].units)
                case "import":
                    state, units = states[step.state]
                    port.import_kv(ids[session], state)
                    begin(session, now[session].request, units)
                case "close":
                    port.close(ids.pop(session))
    finally:
        for session in ids.values():
            with suppress(PortFault, Refusal, Unsupported):
                port.close(session)
    return lives


def _answered(life: Life, outputs: Sequence[UnitOutput]) -> None:
    for output in outputs:
        k = output.unit
        asked = k < len(life.units)
        if not asked or k in life.outputs or k < max(life.outputs, default=k):
            raise PortFault(f"session {life.session}: unit {k} was answered out of turn")
        life.outputs[k] = copied(output)


def _complete(life: Life) -> None:
    missing = sorted(set(range(life.first, len(life.units))) - set(life.outputs))
    if missing:
        raise PortFault(f"session {life.session}: units {missing} were never answered")
    life.finished = True


def as_the_oracle(context: Context, lives: Iterable[Life]) -> str | None:
    """Class C for everything that was answered, life by life; the first that is off. Of many small
    samples the worst is judged, so both limits are the wider ones (WS-CONFORMANCE-9)."""
    # A long life first: the oracle then knows those that begin like it.
    for life in sorted(lives, key=lambda life: -len(life.units)):
        if life.outputs:
            reason = _off(context, life)
            if reason is not None:
                return f"session {life.session}: {reason}"
    return None


def _off(context: Context, life: Life) -> str | None:
    dtype = life.request.dtype
    truth = context.oracle.truth(life.script, "stream", dtype)
    units = sorted(life.outputs)
    for tensor in TENSORS:
        if getattr(truth.outputs[0], tensor) is None:
            continue
        actual, expected = (_of(r, units, tensor) for r in (life.outputs, truth.outputs))
        allowed = enough(actual, expected, _budgets(truth, units, tensor, dtype))
        reason = exceeds(actual, expected, allowed, tensor, dtype)
        if reason is not None:
            return f"units {units}, {tensor} [unit, ...] {reason}"
    return None


def _budgets(truth: Truth, units: Sequence[int], tensor: str, dtype: DType) -> Iterator[Budget]:
    """A few units are a small sample of rounding errors: the whole session's may be larger."""
    whole = range(len(truth.outputs))
    for runs in truth.naive.growing():
        a, b = (
            budget(_of(truth.outputs, some, tensor), [_of(r, some, tensor) for r in runs], dtype)
            for some in (units, whole)
        )
        yield Budget(rms=max(a.rms, b.rms), max=max(a.max, b.max)).wider(MANY)


def _of(
    recording: Recording | Mapping[int, UnitOutput], units: Sequence[int], tensor: str
) -> Array:
    return np.stack([getattr(recording[k], tensor) for k in units])


def same_lives(a: Sequence[Life], b: Sequence[Life], sessions: Sequence[str]) -> str | None:
    """Class A between two plays of programs with equal commands, for ``sessions`` only."""
    for x, y in zip(a, b, strict=True):
        if x.session in sessions:
            if list(x.outputs) != list(y.outputs):
                return f"session {x.session}: units {list(x.outputs)} against {list(y.outputs)}"
            reason = same(
                tuple(x.outputs.values()), tuple(y.outputs.values()), range(len(x.outputs))
            )
            if reason is not None:
                return f"session {x.session}: {reason}"
    return None
