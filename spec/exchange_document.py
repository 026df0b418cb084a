"""`docs/exchange.md`, made from the tables and by running them (WS-EXCHANGE-6).

Source: CHOICE; a drawing made by hand would drift from the code.
"""

from __future__ import annotations

import itertools
import sys
from collections import deque
from collections.abc import Iterator
from typing import Final

from spec.exchange import PERFORMER, THINKER, performer, step, thinker
from spec.exchange_effects import (
    Decode,
    Effect,
    Export,
    Exported,
    Finish,
    Input,
    Offered,
    Send,
    Solve,
    Solved,
    Timer,
)
from spec.exchange_events import Event, Phase
from spec.exchange_machine import Machine, S
from spec.exchange_message import KIND_OF, Message
from spec.exchange_terms import Terms, whole

_TERMS: Final = Terms(
    session="example",
    schedule="overlapped",
    window=2,
    layers=2,
    kv_heads=1,
    head_dim=2,
    dtype="float32",
    prefill_tokens=3,
    observation_tokens=2,
    language_tokens=1,
    response_tokens=2,
    latent_values=4,
)
_DIGEST: Final = "0" * 64


def document() -> str:
    """The text of `docs/exchange.md`: a conversation, then both machines (WS-EXCHANGE-6)."""
    return "\n".join(
        [
            "# The KV exchange, drawn from its tables",
            "",
            "Made by `spec.exchange_document`; do not edit. The rules are in `spec/exchange.md`.",
            "A pair of phase and event that is not listed is a protocol error: the peer's when the",
            "event is a message, ours otherwise.",
            "",
            "## A session of two units",
            "",
            "The machines themselves held this conversation; slice 0 was lost once on its way.",
            "",
            "```mermaid",
            "sequenceDiagram",
            "    participant T as thinker",
            "    participant P as performer",
            *conversation(),
            "```",
            "",
            *_machine_text(THINKER),
            *_machine_text(PERFORMER),
        ]
    )


def conversation() -> Iterator[str]:
    """Lines of a sequence diagram: both machines over a link that loses slice 0 once."""
    sides = {"T": thinker(_TERMS), "P": performer(_TERMS, incarnation=1)}
    inbox = deque[tuple[str, Input]]([("P", Timer())])
    losses = 1
    parts = whole(_TERMS, _DIGEST)
    offers: list[tuple[str, Input]] = [
        ("T", Offered(unit=0, parts=parts)),
        ("T", Offered(unit=1, parts=parts)),
        ("T", Finish()),
    ]
    while inbox:
        side, given = inbox.popleft()
        machine = THINKER if side == "T" else PERFORMER
        sides[side], effects = step(machine, sides[side], given)  # type: ignore[misc]
        peer = "P" if side == "T" else "T"
        for effect in effects:
            if isinstance(effect, Send):
                text = _say(effect.message)
                if losses and text.startswith("slice 0"):
                    losses -= 1
                    yield f"    {side}-x{peer}: {text}"
                else:
                    yield f"    {side}->>{peer}: {text}"
                    inbox.append((peer, effect.message))
            inbox.extend(_work(side, effect))
            note = _note(effect)
            if note:
                yield f"    Note over {side}: {note}"
        if side == "T" and isinstance(given, Exported):
            inbox.extend(offers)


def _work(side: str, effect: Effect) -> list[tuple[str, Input]]:
    """What a driver feeds back once it has carried the effect out."""
    parts = whole(_TERMS, _DIGEST)
    if isinstance(effect, Export):
        return [(side, Exported(epoch=effect.epoch, unit=effect.unit, parts=parts))]
    if isinstance(effect, Solve):
        return [(side, Solved(epoch=effect.epoch, unit=effect.unit, digest=_DIGEST))]
    return []


def _say(message: Message) -> str:
    unit = getattr(message, "unit", None)
    return KIND_OF[type(message)] + ("" if unit is None else f" {unit}")


def _note(effect: Effect) -> str:
    return f"{type(effect).__name__.lower()} {effect.unit}" if isinstance(
        effect, Export | Solve | Decode
    ) else ""  # fmt: skip


def _machine_text(machine: Machine[S]) -> list[str]:
    lines = [f"## The {machine.name}", "", *_diagram(machine), "", *_readings(machine), ""]
    lines += ["| phase | event | actions, in order | next phase |", "|---|---|---|---|"]
    for (phase, event), (after, actions) in sorted(machine.transitions.items(), key=_place):
        lines.append(f"| {phase} | {event} | {', '.join(actions)} | {after} |")
    return [*lines, ""]


def _place(item: tuple[tuple[Phase, Event], object]) -> tuple[int, int]:
    (phase, event), _ = item
    return list(Phase).index(phase), list(Event).index(event)


def _diagram(machine: Machine[S]) -> list[str]:
    """A state diagram of what changes the phase; an arrow may stand for several events."""
    lines = ["```mermaid", "stateDiagram-v2"]
    moves = sorted(
        (
            (list(Phase).index(phase), list(Phase).index(after), phase, after, event)
            for (phase, event), (after, _) in machine.transitions.items()
            if phase is not after
        ),
        key=lambda move: (*move[:2], list(Event).index(move[4])),
    )
    for (_, _, phase, after), group in itertools.groupby(moves, key=lambda move: move[:4]):
        lines.append(f"    {phase} --> {after}: {', '.join(move[4] for move in group)}")
    # A message that fits no row fails the session; these phases have a row for every message.
    done = {Phase.CLOSING, Phase.CLOSED, Phase.FAILED}
    live = [p for p in Phase if p in {phase for phase, _ in machine.transitions} - done]
    lines += [f"    {phase} --> failed: any message not listed" for phase in live]
    return [*lines, "```"]


def _readings(machine: Machine[S]) -> list[str]:
    """How inputs become events: the first guard that holds, top down."""
    lines = ["| input | event | when (the first that holds) |", "|---|---|---|"]
    for kind, guards in machine.guards.items():
        for guard, event in guards:
            when = " ".join((guard.__doc__ or "").split())
            lines.append(f"| {kind.__name__} | {event} | {when} |")
    return lines


if __name__ == "__main__":
    sys.stdout.write(document())
