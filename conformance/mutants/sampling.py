"""Ports that draw the agent's words wrong."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
import torch
from torch import Tensor

from conformance.mutants.patching import by_class, in_sessions
from conformance.ports.reference import ReferencePort
from conformance.protocol import OpenRequest, SamplingInput, UnitInput, UnitOutput
from reference import sampling, thinker
from spec.errors import PortError
from spec.session import SessionConfig
from spec.text import Sampling

CANDIDATES = sampling.candidates
DRAW = sampling.draw
NEXT_TOKEN = thinker.next_token


def number_of_next_slot(
    config: SessionConfig, said: Sequence[int], logits: Tensor, uniform: Tensor | None
) -> int:
    """Each slot is drawn by the number of the slot after it."""
    return NEXT_TOKEN(config, said, logits, None if uniform is None else uniform.roll(-1))


def one_number_a_unit(
    config: SessionConfig, said: Sequence[int], logits: Tensor, uniform: Tensor | None
) -> int:
    """All slots of a unit are drawn by the number of the first."""
    first = None if uniform is None else uniform[:1].expand(len(uniform))
    return NEXT_TOKEN(config, said, logits, first)


def past_the_end(
    config: SessionConfig, said: Sequence[int], logits: Tensor, uniform: Tensor | None
) -> int:
    """A drawn <eos> does not end the unit."""
    if config.sampling.temperature == 0 or uniform is None:
        return NEXT_TOKEN(config, said, logits, uniform)
    return DRAW(logits, config.sampling, float(uniform[len(said)]))


def nucleus_plus_one(logits: Tensor, rule: Sampling) -> tuple[Tensor, Tensor]:
    """One candidate more than top_p asks for."""
    kept = len(CANDIDATES(logits, rule)[0])
    ids, p = CANDIDATES(logits, attrs.evolve(rule, top_p=1.0))
    kept += rule.top_p < 1
    return ids[:kept], p[:kept] / p[:kept].sum()


def top_k_plus_one(logits: Tensor, rule: Sampling) -> tuple[Tensor, Tensor]:
    more = rule.top_k + 1 if rule.top_k else 0
    return CANDIDATES(logits, attrs.evolve(rule, top_k=more))


def nucleus_first(logits: Tensor, rule: Sampling) -> tuple[Tensor, Tensor]:
    """The nucleus is cut from all words, and top_k from what is left."""
    ids, p = CANDIDATES(logits, attrs.evolve(rule, top_k=0))
    kept = rule.top_k or len(ids)
    return ids[:kept], p[:kept] / p[:kept].sum()


def at_temperature_one(logits: Tensor, rule: Sampling) -> tuple[Tensor, Tensor]:
    return CANDIDATES(logits, attrs.evolve(rule, temperature=1.0))


def rounded_logits(logits: Tensor, rule: Sampling) -> tuple[Tensor, Tensor]:
    return CANDIDATES(logits.to(torch.bfloat16), rule)


def in_order_of_ids(logits: Tensor, rule: Sampling, u: float) -> int:
    """Probabilities are added up in the order of the ids."""
    ids, p = CANDIDATES(logits, rule)
    order = torch.argsort(ids)
    cumulative = torch.cumsum(p[order], dim=0)
    return int(ids[order][int((cumulative <= u * cumulative[-1]).sum())])


def not_divided(logits: Tensor, rule: Sampling, u: float) -> int:
    """What stays after the cuts is not divided by its sum: the last one gets what was cut."""
    ids, p = CANDIDATES(logits, rule)
    _, whole = CANDIDATES(logits, Sampling(temperature=rule.temperature))
    passed = int((torch.cumsum(whole[: len(p)], dim=0) <= u).sum())
    return int(ids[min(passed, len(ids) - 1)])


class SaysOneFeedsAnother(ReferencePort):
    """The most likely word is fed back, whatever was drawn and said."""

    name = "drawn-word-not-fed-back"

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        opened = self.opened(session_id)
        if opened.config.sampling.temperature == 0 or unit.agent_text is not None:
            return super().step(session_id, unit)
        before, config = opened.state, opened.config
        (drawn,) = super().step(session_id, unit)
        opened.state, opened.config = before, attrs.evolve(config, sampling=Sampling())
        (greedy,) = super().step(session_id, unit)
        opened.config = config
        return [attrs.evolve(greedy, text=drawn.text)]


class DrawsOverForced(ReferencePort):
    """Numbers win over words that the caller prescribes."""

    name = "numbers-win-over-forced-words"

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        if unit.uniform is not None and self.opened(session_id).config.sampling.temperature:
            unit = attrs.evolve(unit, agent_text=None)
        return super().step(session_id, unit)


class NumbersInStock(ReferencePort):
    """Numbers that a unit did not use are used by the next one."""

    name = "unused-numbers-kept"

    def __init__(self) -> None:
        super().__init__()
        self._stock: dict[str, list[float]] = {}

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        if unit.uniform is None or unit.uniform.ndim != 1:
            return super().step(session_id, unit)
        stock = [*self._stock.get(session_id, []), *unit.uniform.tolist()]
        used = 0 if unit.agent_text is not None else len(unit.uniform)
        taken = np.array(stock[: len(unit.uniform)])
        outputs = super().step(session_id, attrs.evolve(unit, uniform=taken))
        self._stock[session_id] = stock[used:]
        return outputs


class AnyRule(ReferencePort):
    """A rule outside its domain is moved to the nearest one inside."""

    name = "sampling-rule-clamped"

    def open(self, request: OpenRequest) -> str:
        rule = request.sampling
        if rule is not None:
            clamped = SamplingInput(
                temperature=max(rule.temperature, 0.0),
                top_k=max(rule.top_k, 0),
                top_p=min(max(rule.top_p, 1e-9), 1.0),
            )
            request = attrs.evolve(request, sampling=clamped)
        return super().open(request)


class AnyNumbers(ReferencePort):
    """Numbers outside [0, 1) are moved inside."""

    name = "numbers-clamped"

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        if unit.uniform is not None:
            inside = np.nan_to_num(unit.uniform, nan=0.5).clip(0, 1 - 2.0**-53)
            unit = attrs.evolve(unit, uniform=inside)
        return super().step(session_id, unit)


class OwnNumbers(ReferencePort):
    """Numbers that the caller does not give are the port's own."""

    name = "missing-numbers-made-up"

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        layout = self.opened(session_id).config.layout
        if unit.uniform is None and layout.agent_text_slots:
            unit = attrs.evolve(unit, uniform=np.full(layout.agent_text_slots, 0.5))
        return super().step(session_id, unit)


class NeedsNumbers(ReferencePort):
    """A session that is greedy by its rule asks for numbers all the same."""

    name = "greedy-needs-numbers"

    def __init__(self) -> None:
        super().__init__()
        self._ruled: set[str] = set()

    def open(self, request: OpenRequest) -> str:
        name = super().open(request)
        if request.sampling is not None:
            self._ruled.add(name)
        return name

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        if session_id in self._ruled and unit.uniform is None and unit.agent_text is None:
            raise PortError("uniform numbers", None, "one a slot")
        return super().step(session_id, unit)


MUTANTS = (
    in_sessions(
        "number-of-the-next-slot",
        "WS-TEXT-3",
        "each text slot is drawn by the number of the slot after it",
        (thinker, "next_token", number_of_next_slot),
    ),
    in_sessions(
        "one-number-a-unit",
        "WS-TEXT-3",
        "all text slots of a unit are drawn by the first number",
        (thinker, "next_token", one_number_a_unit),
    ),
    in_sessions(
        "draws-past-eos",
        "WS-TEXT-6",
        "a drawn <eos> does not silence the rest of its unit",
        (thinker, "next_token", past_the_end),
    ),
    in_sessions(
        "nucleus-one-too-large",
        "WS-TEXT-2",
        "top_p keeps one token too many",
        (sampling, "candidates", nucleus_plus_one),
    ),
    in_sessions(
        "top-k-one-too-many",
        "WS-TEXT-2",
        "top_k keeps one token too many",
        (sampling, "candidates", top_k_plus_one),
    ),
    in_sessions(
        "nucleus-before-top-k",
        "WS-TEXT-2",
        "top_p is applied before top_k",
        (sampling, "candidates", nucleus_first),
    ),
    in_sessions(
        "temperature-ignored",
        "WS-TEXT-1",
        "words are drawn at temperature 1, whatever the session's",
        (sampling, "candidates", at_temperature_one),
    ),
    in_sessions(
        "logits-rounded-before-drawing",
        "WS-TEXT-2",
        "logits are rounded to bfloat16 before a word is drawn",
        (sampling, "candidates", rounded_logits),
    ),
    in_sessions(
        "draws-in-order-of-ids",
        "WS-TEXT-2",
        "probabilities are added up in the order of ids, not of falling logits",
        (sampling, "draw", in_order_of_ids),
    ),
    in_sessions(
        "cut-words-to-the-last",
        "WS-TEXT-2",
        "the probabilities of what stays are not divided by their sum",
        (sampling, "draw", not_divided),
    ),
    by_class("WS-LAYOUT-4", SaysOneFeedsAnother),
    by_class("WS-TEXT-3", DrawsOverForced),
    by_class("WS-TEXT-3", NumbersInStock),
    by_class("WS-TEXT-1", NeedsNumbers),
    by_class("WS-TEXT-8", AnyRule),
    by_class("WS-TEXT-8", AnyNumbers),
    by_class("WS-TEXT-8", OwnNumbers),
)
