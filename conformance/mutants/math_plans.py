"""Ports whose closed forms or losses are slightly off: latency, cost, training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs
import torch
from torch import Tensor

from conformance.mutants.math_port import wrong
from conformance.mutants.patching import Mutant
from reference.per_modality import each
from reference.token_table import TokenTable
from reference.training import distillation, distribution_matching, layout, losses, rollout
from reference.training.layout import NoisyCopy
from reference.units import Latents
from spec import clock, cost, latency
from spec import layout as rows
from spec.latency import StageTimes
from spec.layout import Modality, Row, Segment

RESPONSE = rows.response_rows
TERMS = latency.cycle_terms_ns
SCHEDULED = latency.as_scheduled_ns
SUMS = losses.sums
PREDICTORS = layout.text_predictors


class Careless:
    """Stage times of any sign."""

    def __init__(self, **times: int) -> None:
        for name, value in times.items():
            setattr(self, name, value)


def with_comm(s: StageTimes) -> int:
    return s.encode + s.update + s.solve + s.comm + s.decode


def without_comm(s: StageTimes, schedule: Any) -> Mapping[str, int]:
    return {**TERMS(s, schedule), "performer": s.solve}


def without_commit(s: StageTimes, schedule: Any) -> Mapping[str, int]:
    return TERMS(attrs.evolve(s, commit=0), schedule)


def comm_once(s: StageTimes, schedule: Any) -> Mapping[str, int]:
    terms = dict(TERMS(s, schedule))
    return {**terms, "loop": terms["loop"] - s.comm} if "loop" in terms else terms


def loop_in_both(s: StageTimes, _: Any) -> Mapping[str, int]:
    return TERMS(s, "sequential")


def latents_at_once(s: StageTimes, handover: Any) -> int:
    """The way back takes no time."""
    return SCHEDULED(s, handover) - (s.comm if handover == "eager" else 0)


def solved_before_the_boundary(s: StageTimes, handover: Any) -> int:
    """What is solved in less than a unit need not wait for the boundary."""
    if handover == "boundary":
        return s.encode + s.update + s.comm + s.solve + s.decode
    return SCHEDULED(s, handover)


def both_ways(model_side_ns: int, network_ns: int = latency.NETWORK_NS) -> int:
    """The network's budget is taken for that of one direction."""
    return model_side_ns + 2 * network_ns


def without_prefill(config: Any, units: int, element: int) -> int:
    tokens = units * cost.unit_tokens(config.layout)
    return tokens * cost.kv_bytes_per_token(config.preset.backbone, element)


def keys_only(backbone: Any, element: int) -> int:
    return int(backbone.n_layers * backbone.n_kv_heads * backbone.head_dim * element)


def overlapped_slice(config: Any, element: int) -> int:
    """Without the responses, whatever the schedule."""
    plan = config.layout
    token = cost.ROW_BYTES + cost.kv_bytes_per_token(config.preset.backbone, element)
    return int((plan.observation_slots + plan.language_slots) * token)


def slots_of_latents(config: Any, element: int) -> int:
    """A video token is one latent pixel."""
    plan, preset = config.layout, config.preset
    video = plan.agent_video_slots * preset.video_codec.latent_channels
    return int((plan.agent_audio_slots * preset.audio_codec.latent_channels + video) * element)


def copies_in_line(*arguments: Any, **keywords: Any) -> tuple[Row, ...]:
    """Noisy copies have places of their own, behind the clean response."""
    found = RESPONSE(*arguments, **keywords)
    behind = clock.TICKS_PER_UNIT * (1 + keywords.get("step", -1))
    return tuple(attrs.evolve(row, t=row.t + behind) for row in found)


def from_itself(table: TokenTable) -> Tensor:
    """The row of the slot."""
    slots = (table.segment == Segment.L) & (table.modality == Modality.TEXT)
    return torch.nonzero(slots).squeeze(-1)


def row_before(table: TokenTable) -> Tensor:
    """Whatever stands before the slot, though it be an observation."""
    return from_itself(table) - 1


def identity_predicts(table: TokenTable) -> Tensor:
    """The prompt's last token is that of its identity."""
    found = PREDICTORS(table)
    last = int((table.segment == Segment.P).sum()) - 1
    return torch.where(table.segment[found] == Segment.P, last, found)


def hidden(*segments: Segment) -> Any:
    """Only those are hidden."""

    def without_condition(row: Row) -> Row:
        return attrs.evolve(row, pad=1) if row.segment in segments else row

    return without_condition


def history_learned(record: Any, *rest: Any) -> Any:
    """The masks of responses are not looked at."""
    return SUMS(attrs.evolve(record, response_mask=(True,) * len(record)), *rest)


def probability(logits: Tensor, target: Tensor, supervised: Tensor) -> Tensor:
    """1 - p instead of -log p."""
    p = torch.softmax(logits[supervised], dim=-1)
    return (1 - p[torch.arange(len(p)), target[supervised]]).sum()


def all_slots(logits: Tensor, target: Tensor, _: Tensor) -> Tensor:
    return torch.nn.functional.cross_entropy(logits, target, reduction="sum")


def absolute(velocity: Tensor, target: Tensor) -> Tensor:
    return (velocity - target).abs().sum()


def mean_of_means(records: Sequence[Any], copies: int) -> Mapping[str, int]:
    """As if each record had as many elements as the first."""
    first = losses.counts(records[0], copies)
    return {term: count * len(records) for term, count in first.items()}


def in_units(record: Any, copies: int) -> Mapping[str, int]:
    """Responses are counted in units, whatever they hold."""
    units = sum(record.response_mask) * copies
    text = sum(sum(unit) for unit in record.text_mask)
    return {"text": text, "audio": units, "video": units * record.config.modalities.agent_video}


def backwards(end: NoisyCopy, start: NoisyCopy) -> Latents:
    """The sign of time is lost."""
    return each(lambda a, b: (b - a) / (end.tau - start.tau), end.z, start.z)


def undivided(end: NoisyCopy, start: NoisyCopy) -> Latents:
    return each(lambda a, b: b - a, start.z, end.z)


def other_side(z_tau: Latents, velocity: Latents, tau: float) -> Latents:
    """The estimate of ε."""
    return each(lambda z, v: z + (1 - tau) * v, z_tau, velocity)


def weightless(x: Any, z: Any, real: Any, fake: Any, tau: float) -> Tensor:
    """Without the mean distance."""
    del x, z
    return torch.as_tensor(tau * (real - fake))


def from_the_critic(x: Any, z: Any, real: Any, fake: Any, tau: float) -> Tensor:
    """The distance is that to the critic's estimate."""
    distance = (x - (z - tau * fake)).abs().mean()
    return torch.as_tensor(tau * (real - fake) / distance)


def per_element(x: Any, z: Any, real: Any, fake: Any, tau: float) -> Tensor:
    """Each element is divided by its own distance."""
    distance = (x - (z - tau * real)).abs().clamp(min=1e-3)
    return torch.as_tensor(tau * (real - fake) / distance)


def from_the_noisy(x: Any, z: Any, real: Any, fake: Any, tau: float) -> Tensor:
    """The distance is that of the sample to its noisy state."""
    return torch.as_tensor(tau * (real - fake) / (x - z).abs().mean())


MUTANTS: Final[tuple[Mutant, ...]] = (
    wrong("latency-of-any-sign", "WS-LATENCY-1", "a stage may take less than nothing",
          (latency, "StageTimes", Careless)),
    wrong("path-with-comm", "WS-LATENCY-2", "communication counts to the critical path",
          (latency, "critical_path_ns", with_comm)),
    wrong("cycle-without-comm", "WS-LATENCY-3", "the performer's term is p",
          (latency, "cycle_terms_ns", without_comm)),
    wrong("cycle-without-commit", "WS-LATENCY-3", "the thinker's commit takes no time",
          (latency, "cycle_terms_ns", without_commit)),
    wrong("loop-comm-once", "WS-LATENCY-3", "the loop of the sequential schedule is p + u + c",
          (latency, "cycle_terms_ns", comm_once)),
    wrong("loop-when-overlapped", "WS-LATENCY-3", "the loop binds the overlapped schedule too",
          (latency, "cycle_terms_ns", loop_in_both)),
    wrong("eager-comm-once", "WS-LATENCY-4", "latents come back in no time",
          (latency, "as_scheduled_ns", latents_at_once)),
    wrong("boundary-not-waited-for", "WS-LATENCY-4", "hand-over at boundaries waits for p only",
          (latency, "as_scheduled_ns", solved_before_the_boundary)),
    wrong("network-twice", "WS-LATENCY-5", "350 ms each way", (latency, "total_ns", both_ways)),
    wrong("wait-is-the-offset", "WS-LATENCY-6", "the later in its unit, the longer it waits",
          (latency, "capture_wait_ns", lambda o: o)),
    wrong("cache-without-prefill", "WS-COST-5", "the prefill takes no memory",
          (cost, "kv_bytes", without_prefill)),
    wrong("cache-of-keys", "WS-COST-5", "only keys are counted",
          (cost, "kv_bytes_per_token", keys_only)),
    wrong("slice-without-responses", "WS-COST-6", "sequential slices hold no response",
          (cost, "slice_bytes", overlapped_slice)),
    wrong("latents-by-tokens", "WS-COST-6", "a video token has one latent pixel",
          (cost, "latents_bytes", slots_of_latents)),
    wrong("copies-in-line", "WS-TRAINING-2", "noisy copies stand behind the clean response",
          (rows, "response_rows", copies_in_line)),
    wrong("predicted-from-itself", "WS-TRAINING-4", "a slot's logits are those of its own token",
          (layout, "text_predictors", from_itself)),
    wrong("predicted-from-the-row-before", "WS-TRAINING-4", "an observation predicts a word",
          (layout, "text_predictors", row_before)),
    wrong("predicted-from-the-identity", "WS-TRAINING-4", "the identity predicts the first word",
          (layout, "text_predictors", identity_predicts)),
    wrong("words-unhidden", "WS-TRAINING-7", "without condition the words are seen",
          (layout, "without_condition", hidden(Segment.O))),
    wrong("past-hidden", "WS-TRAINING-7", "without condition own responses are hidden too",
          (layout, "without_condition", hidden(Segment.O, Segment.L, Segment.Z))),
    wrong("history-is-learned", "WS-TRAINING-8", "units that are history only count",
          (losses, "sums", history_learned)),
    wrong("loss-of-probability", "WS-TRAINING-8", "1 - p instead of -log p",
          (losses, "cross_entropy", probability)),
    wrong("all-words-learned", "WS-TRAINING-8", "the mask of text slots is not looked at",
          (losses, "cross_entropy", all_slots)),
    wrong("loss-absolute", "WS-TRAINING-8", "absolute error", (losses, "squared_error", absolute)),
    wrong("mean-of-means", "WS-TRAINING-9", "each record counts alike",
          (losses, "total_counts", mean_of_means)),
    wrong("mean-over-units", "WS-TRAINING-9", "a unit's elements are not averaged",
          (losses, "counts", in_units)),
    wrong("chord-backwards", "WS-TRAINING-12", "from the end to the start",
          (distillation, "chord", backwards)),
    wrong("chord-undivided", "WS-TRAINING-12", "the way, not the velocity",
          (distillation, "chord", undivided)),
    wrong("noise-for-the-sample", "WS-TRAINING-13", "the estimate of the noise, not of the sample",
          (rollout, "predict_clean", other_side)),
    wrong("matching-weightless", "WS-TRAINING-14", "without the weight of the distance",
          (distribution_matching, "matching_gradient", weightless)),
    wrong("matching-by-the-critic", "WS-TRAINING-14", "weighed by the critic's distance",
          (distribution_matching, "matching_gradient", from_the_critic)),
    wrong("matching-per-element", "WS-TRAINING-14", "each element has a weight of its own",
          (distribution_matching, "matching_gradient", per_element)),
    wrong("matching-by-the-noisy", "WS-TRAINING-14", "weighed by the distance to the noisy state",
          (distribution_matching, "matching_gradient", from_the_noisy)),
)  # fmt: skip
