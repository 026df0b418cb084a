"""Ports that get a table, a count or a bit of the recipe wrong: recipe, clock, layout, masks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Final

import attrs
import numpy as np
from torch import nn

from conformance.mutants.math_port import wrong
from conformance.mutants.patching import Mutant
from reference import masks, recipe
from spec import clock, layout, positions
from spec import recipe as names
from spec.layout import Modality, Row, Segment
from spec.visibility import visible

WORDS = recipe.words
RULE_FOR = names.rule_for
OBSERVATION = layout.observation_rows
LANGUAGE = layout.language_rows
RESPONSE = layout.response_rows
PREFILL = layout.prefill_rows
TICK = positions.tick


def no_middle(stream: int, indices: Any) -> Any:
    """Numerators are even."""
    top24 = (WORDS(stream, indices) >> np.uint64(40)).astype(np.int64)
    return (2 * top24 - (1 << 24)) / float(1 << 24)


def mean_of_lanes(stream: int, indices: Any) -> Any:
    """The lanes' mean is taken for 2^15."""
    return GAUSSIAN(stream, indices) - 6 / float(1 << 16)


GAUSSIAN = recipe.gaussian


def one_norm_rule(name: str) -> names.Rule:
    """Query and key norms are filled like all norms."""
    return RULE_FOR(name.replace("q_norm", "norm").replace("k_norm", "norm"))


def in_single(name: str, shape: tuple[int, ...]) -> Any:
    """The arithmetic of WS-RECIPE-5 in float32."""
    rule, count = names.rule_for(name), np.arange(np.prod(shape), dtype=np.uint64)
    u = recipe.uniform(names.stream_id("weights/" + name), count).astype(np.float32)
    bound = np.float32(names.bound(rule, shape))
    return (np.float32(rule.center) + bound * u).reshape(shape)


def in_double(name: str, shape: tuple[int, ...]) -> Any:
    """Not rounded to float32 on the way into a float64 model."""
    rule, count = names.rule_for(name), np.arange(np.prod(shape), dtype=np.uint64)
    u = recipe.uniform(names.stream_id("weights/" + name), count)
    return (rule.center + names.bound(rule, shape) * u).reshape(shape)


def by_length(module: nn.Module) -> str:
    """Names in the order of their numbers, as people sort."""
    pairs = sorted(module.named_parameters(), key=lambda pair: (len(pair[0]), pair[0]))
    digest = hashlib.sha256()
    for name, parameter in pairs:
        shape = ",".join(str(n) for n in parameter.shape)
        digest.update(f"{name}\n{shape}\n".encode())
        digest.update(parameter.detach().numpy().astype("<f4").tobytes())
    return digest.hexdigest()


def of_24_bits(stream: int, indices: Any) -> Any:
    return (WORDS(stream, indices) >> np.uint64(40)).astype(np.float64) / float(1 << 24)


def last_is_padding(plan: Any, unit: int, user_tokens: int) -> tuple[Row, ...]:
    """The last text slot is padding, used or not."""
    rows = OBSERVATION(plan, unit, user_tokens)
    if rows[-1].modality != Modality.TEXT:
        return rows
    return (*rows[:-1], attrs.evolve(rows[-1], pad=1))


def without_unused(plan: Any, unit: int, user_tokens: int) -> tuple[Row, ...]:
    """Slots that hold no token are left out."""
    return tuple(row for row in OBSERVATION(plan, unit, user_tokens) if not row.pad)


def absent_still_counted(plan: Any, unit: int, user_tokens: int) -> tuple[Row, ...]:
    """Slots of a modality that the session lacks are counted on."""
    skipped = 0 if plan.modalities.user_video else plan.video_slots
    rows = OBSERVATION(plan, unit, user_tokens)
    return tuple(attrs.evolve(row, slot=row.slot + skipped) for row in rows)


def state_last(plan: Any, unit: int) -> tuple[Row, ...]:
    """State slots stand after the text."""
    rows = LANGUAGE(plan, unit)
    kinds = [row.modality for row in rows[::-1]]
    return tuple(attrs.evolve(row, modality=m) for row, m in zip(rows, kinds, strict=True))


def noisy_counts_on(plan: Any, unit: int, **state: Any) -> tuple[Row, ...]:
    """A noisy copy has slots after those of the clean one."""
    more = plan.response_slots if state.get("noisy") else 0
    return tuple(attrs.evolve(row, slot=row.slot + more) for row in RESPONSE(plan, unit, **state))


def step_zero(plan: Any, unit: int) -> tuple[Row, ...]:
    return tuple(attrs.evolve(row, step=0) for row in LANGUAGE(plan, unit))


def voice_first(plan: Any) -> tuple[Row, ...]:
    """The voice stands before the picture."""
    rows = PREFILL(plan)
    kinds = sorted(row.modality for row in rows)
    return tuple(attrs.evolve(row, modality=m) for row, m in zip(rows, kinds, strict=True))


def voice_at_once(plan: Any) -> tuple[Row, ...]:
    """The voice begins a tick after the picture, not a unit."""

    def moved(row: Row) -> Row:
        if row.modality != Modality.AUDIO or not plan.identity.image:
            return row
        return attrs.evolve(row, t=row.t - 3, h=row.h - 3, w=row.w - 3)

    return tuple(moved(row) for row in PREFILL(plan))


def loses_a_tick(base: int, unit: int, index: int) -> tuple[int, int, int]:
    """A tick is lost after six units, as clocks of 24.9 fps lose it."""
    t, h, w = TICK(base, unit, index)
    return t - unit // 6, h - unit // 6, w - unit // 6


def absolute_rows(base: int, unit: int, row: int, col: int) -> tuple[int, int, int]:
    """Rows and columns are not added to the time."""
    return TICK(base, unit, 0)[0], row, col


def masked(name: str, clause: str, description: str, change: Callable[..., Any]) -> Mutant:
    """``change`` gets what is visible, query, key and λ, and says what the port sees."""

    def seen(q: Any, k: Any, lag: int) -> Any:
        return change(visible(q, k, lag), q, k, lag)

    return wrong(f"mask-{name}", clause, description, (masks, "visible", seen))


def same_unit(q: Any, k: Any) -> Any:
    return q.unit == k.unit


O, L, Z, P = Segment.O, Segment.L, Segment.Z, Segment.P  # noqa: E741 - the segments' names
TEXT = Modality.TEXT
MUTANTS: Final = (
    wrong("words-from-zero", "WS-RECIPE-1", "the counter is not advanced before it is mixed",
          (recipe, "words", lambda stream, n: WORDS(stream, n - np.uint64(1)))),
    wrong("uniform-even", "WS-RECIPE-2", "uniform numbers are not centred on zero",
          (recipe, "uniform", no_middle)),
    wrong("gaussian-mean", "WS-RECIPE-4", "the mean of twelve lanes is off by a half each",
          (recipe, "gaussian", mean_of_lanes)),
    wrong("recipe-rule-skipped", "WS-RECIPE-3", "query and key norms are filled as other norms",
          (names, "rule_for", one_norm_rule)),
    wrong("recipe-in-float32", "WS-RECIPE-5", "weights are computed in float32",
          (recipe, "weight", in_single)),
    wrong("recipe-not-rounded", "WS-RECIPE-6", "float64 weights skip the rounding to float32",
          (recipe, "weight", in_double)),
    wrong("weights-by-length", "WS-RECIPE-7", "weights are digested in another order",
          (recipe, "weights_sha256", by_length)),
    wrong("text-number-24-bits", "WS-RECIPE-8", "text numbers have 24 bits",
          (recipe, "fraction", of_24_bits)),
    wrong("clock-in-seconds", "WS-CLOCK-1", "unit starts pass through float32 seconds",
          (clock, "unit_start_ns", lambda k: int(float(np.float32(k * 0.16)) * 1e9))),
    wrong("available-early", "WS-CLOCK-5", "a unit is available when it begins",
          (clock, "unit_available_ns", clock.unit_start_ns)),
    wrong("covers-one-more", "WS-CLOCK-6", "a clip that ends on a border fills one more unit",
          (clock, "units_covering_ns", lambda n: n // clock.UNIT_NS + 1)),
    wrong("slots-vary", "WS-LAYOUT-1", "unused text slots are left out",
          (layout, "observation_rows", without_unused)),
    wrong("clean-step-zero", "WS-LAYOUT-2", "language rows have step 0",
          (layout, "language_rows", step_zero)),
    wrong("last-slot-is-padding", "WS-LAYOUT-3", "a used text slot is marked as padding",
          (layout, "observation_rows", last_is_padding)),
    wrong("state-last", "WS-LAYOUT-4", "state slots stand after the text slots",
          (layout, "language_rows", state_last)),
    wrong("absent-counted", "WS-LAYOUT-5", "slots count on over a modality that is not there",
          (layout, "observation_rows", absent_still_counted)),
    wrong("noisy-slots-count-on", "WS-LAYOUT-6", "a noisy copy has slots of its own",
          (layout, "response_rows", noisy_counts_on)),
    wrong("voice-before-picture", "WS-PREFILL-1", "identity tokens stand in the wrong order",
          (layout, "prefill_rows", voice_first)),
    wrong("voice-follows-picture", "WS-PREFILL-2", "the picture holds for one tick only",
          (layout, "prefill_rows", voice_at_once)),
    wrong("tick-lost", "WS-POSITIONS-1", "positions lose a tick after six units",
          (positions, "tick", loses_a_tick)),
    wrong("text-flat", "WS-POSITIONS-2", "text has no row and no column",
          (positions, "tick", lambda *at: (TICK(*at)[0], 0, 0))),
    wrong("video-absolute", "WS-POSITIONS-3", "rows and columns do not move with time",
          (positions, "video", absolute_rows)),
    masked("padding-seen", "WS-VISIBILITY-1", "padding is seen by later units",
           lambda seen, q, k, _: seen | ((k.pad == 1) & (k.unit < q.unit))),
    masked("lag-fixed", "WS-VISIBILITY-2", "the lag is 1 under both schedules",
           lambda _, q, k, __: visible(q, k, 1)),
    masked("picture-causal", "WS-VISIBILITY-3", "picture tokens see only earlier ones",
           lambda seen, q, k, _: seen & ~((q.segment == P) & (k.segment == P) & (k.slot > q.slot))),
    masked("text-sees-ahead", "WS-VISIBILITY-4", "a user text slot sees the next one",
           lambda seen, q, k, _: seen | (same_unit(q, k) & (q.segment == O) & (k.segment == O)
           & (q.modality == TEXT) & (k.slot == q.slot + 1) & (k.pad == 0))),
    masked("response-misses-text", "WS-VISIBILITY-5", "a response does not see its unit's text",
           lambda seen, q, k, _: seen & ~(same_unit(q, k) & (q.segment == Z) & (k.segment == O)
           & (k.modality == TEXT))),
    masked("observation-sees-words", "WS-VISIBILITY-6", "O_k sees L_k",
           lambda seen, q, k, _: seen | (same_unit(q, k) & (q.segment == O) & (k.segment == L))),
    masked("response-lags", "WS-VISIBILITY-7", "a response misses the one just before it",
           lambda seen, q, k, lag: seen & ~((q.segment == Z) & (k.segment == Z)
           & (k.unit == q.unit - 1) & (lag == 1))),
    masked("steps-see-each-other", "WS-VISIBILITY-8", "a noisy token sees other solver steps",
           lambda seen, q, k, _: seen | (same_unit(q, k) & (q.segment == Z) & (k.segment == Z)
           & (q.noisy == 1) & (k.noisy == 1))),
    masked("noise-leaks", "WS-VISIBILITY-9", "the next unit's words see a noisy response",
           lambda seen, q, k, _: seen | ((q.segment == L) & (k.noisy == 1)
           & (k.unit == q.unit - 1) & (k.step == 1))),
    masked("joint-block-split", "WS-VISIBILITY-8", "audio and video of a response are apart",
           lambda seen, q, k, _: seen & ~(same_unit(q, k) & (q.segment == Z) & (k.segment == Z)
           & (q.modality != k.modality))),
)  # fmt: skip
