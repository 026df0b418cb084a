"""FLOPs and bytes of every stage of unit k, as functions of the history before it.

A stage is a row of passes, one after the other; each is counted by itself, because each reads the
weights again. FLOPs are those of matrix products and convolutions, 2 for a multiply and an add;
element-wise work and the spectrogram's Fourier transform are not counted (WS-COST-2).
Source: DERIVED from WS-STREAMING and WS-VISIBILITY; bytes are CHOICE (WS-COST-4).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

from spec import clock, cost
from spec.cost_layers import Stack, audio_codec_decoder, audio_encoder, video_codec_decoder
from spec.cost_layers import video_encoder as video_encoder_stack
from spec.layout import Layout
from spec.session import SessionConfig
from spec.sizes import Backbone, Preset


@attrs.frozen
class Work:
    """FLOPs of one pass and the elements it reads and writes (WS-COST-2, WS-COST-4).

    ``weights``: how many of ``elements`` are parameters, which a batch of sessions reads once
    (WS-FLEET-3).
    """

    flops: int
    elements: int
    weights: int = 0


Stages = Mapping[str, tuple[Work, ...]]
"""encode, update, solve, decode, commit: the stages of WS-LATENCY-1 but for communication."""


@attrs.frozen(kw_only=True)
class Workload:
    """A session in which the user fills ``user_tokens`` text slots of every unit (WS-COST-3)."""

    config: SessionConfig
    user_tokens: int

    @classmethod
    def full(cls, config: SessionConfig) -> Workload:
        """Every user text slot filled: the most that the session can cost (WS-COST-3)."""
        return cls(config=config, user_tokens=config.layout.user_text_slots)

    @property
    def layout(self) -> Layout:
        return self.config.layout

    @property
    def backbone(self) -> Backbone:
        return self.config.preset.backbone

    @property
    def heard(self) -> int:
        """Tokens of an O segment that anything later sees: all but the padding."""
        return self.layout.observation_slots - self.layout.user_text_slots + self.user_tokens

    def seen(self, units: int, responses: int) -> int:
        """Cached tokens that are visible after ``units`` of O and L and ``responses`` of Z
        (WS-COST-3)."""
        layout = self.layout
        language = units * (self.heard + layout.language_slots)
        return layout.prefill_tokens + language + responses * layout.response_slots


def stages(work: Workload, unit: int) -> Stages:
    """Passes of every stage of unit ``unit`` ≥ 0 (WS-COST-3).

    ``commit`` is the thinker's own, of the unit before; sequential it is the first pass of
    ``update``, as WS-LATENCY-1 has it.
    """
    own = thinker_commit(work, unit)
    sequential = work.config.schedule == "sequential"
    return {
        "encode": encode(work),
        "update": (*own, *update(work, unit)) if sequential else update(work, unit),
        "solve": solve(work, unit),
        "decode": decode(work),
        "commit": () if sequential else own,
    }


def encode(work: Workload) -> tuple[Work, ...]:
    """Causal encoders and the projections into O_k (WS-COST-2)."""
    preset, layout, maps = work.config.preset, work.layout, cost.linears(work.config.preset)
    works = []
    if layout.user_video_slots:
        works.append(of_stack(video_encoder_stack(preset)))
        works.append(linear(layout.user_video_slots, *maps["user_video"]))
    if layout.user_audio_slots:
        works.append(mel(preset))
        works.append(of_stack(audio_encoder(preset)))
        works.append(linear(layout.user_audio_slots, *maps["user_audio"]))
    return tuple(works)


def update(work: Workload, unit: int) -> tuple[Work, ...]:
    """O_k, the state slots, then each text slot with the head before it (WS-COST-2).

    O_k and L_k see clean responses up to k - 1 - λ (WS-VISIBILITY-7).
    """
    layout = work.layout
    context = work.seen(unit, max(unit - work.config.lag, 0))
    works = [transformer(work.backbone, layout.observation_slots, context)]
    context += work.heard
    works.append(transformer(work.backbone, layout.state_slots, context))
    context += layout.state_slots
    head = linear(1, work.backbone.d_model, work.config.preset.tokenizer.vocab_size, bias=False)
    for i in range(layout.agent_text_slots):
        works += [head, transformer(work.backbone, 1, context + i)]
    return tuple(works)


def solve(work: Workload, unit: int) -> tuple[Work, ...]:
    """N evaluations over Z_k and, overlapped, the performer's commit pass (WS-COST-2)."""
    evaluations = (evaluation(work, unit),) * work.config.preset.solver_steps
    if work.config.schedule == "sequential":
        return evaluations
    return (*evaluations, response_pass(work, unit))


def evaluation(work: Workload, unit: int) -> Work:
    """One solver evaluation: the pass over Z_k, then the velocity heads (WS-COST-2)."""
    layout, maps = work.layout, cost.linears(work.config.preset)
    return total(
        (
            response_pass(work, unit),
            linear(layout.agent_audio_slots, *maps["velocity_audio"]),
            linear(layout.agent_video_slots, *maps["velocity_video"]),
        )
    )


def response_pass(work: Workload, unit: int) -> Work:
    """Ways in and Transformer over Z_k, noisy or clean: it sees all before it (WS-COST-2)."""
    layout, maps = work.layout, cost.linears(work.config.preset)
    n = layout.response_slots
    return total(
        (
            linear(layout.agent_audio_slots, *maps["latent_audio"]),
            linear(layout.agent_video_slots, *maps["latent_video"]),
            linear(n, *maps["tau_in"]),
            linear(n, *maps["tau_out"]),
            transformer(work.backbone, n, work.seen(unit + 1, unit)),
        )
    )


def thinker_commit(work: Workload, unit: int) -> tuple[Work, ...]:
    """The thinker's commit of Z_{k-1} while it works on unit k; none in unit 0 (WS-COST-2)."""
    return (response_pass(work, unit - 1),) if unit else ()


def decode(work: Workload) -> tuple[Work, ...]:
    """Causal decoders (WS-COST-2)."""
    preset, layout = work.config.preset, work.layout
    works = []
    if layout.agent_audio_slots:
        works.append(of_stack(audio_codec_decoder(preset.audio_codec)))
    if layout.agent_video_slots:
        works.append(of_stack(video_codec_decoder(preset)))
    return tuple(works)


def transformer(backbone: Backbone, n: int, context: int) -> Work:
    """One pass of ``n`` tokens over ``context`` visible cached ones (WS-COST-2, WS-COST-4).

    FLOPs a layer: 2 n rows cols for each matrix, and 4 n (context + n) heads · head_dim for
    scores and weighted values. Elements: weights and visible keys and values once, own keys and
    values once, input and output of every matrix. No tokens, no pass.
    """
    if n == 0:
        return Work(0, 0)
    matrices = cost.layer_matrices(backbone)
    width = backbone.n_heads * backbone.head_dim
    products = sum(2 * n * rows * cols for rows, cols in matrices)
    attention = 4 * n * (context + n) * width
    kv = cost.kv_bytes_per_token(backbone, 1) * (context + n)
    activations = backbone.n_layers * n * sum(rows + cols for rows, cols in matrices)
    weights = cost.backbone_parameters(backbone)
    flops = backbone.n_layers * (products + attention)
    return Work(flops, weights + kv + activations, weights)


def linear(n: int, inputs: int, outputs: int, *, bias: bool = True) -> Work:
    """A linear map of ``n`` tokens; no tokens, no work (WS-COST-2, WS-COST-4)."""
    if n == 0:
        return Work(0, 0)
    weights = inputs * outputs + (outputs if bias else 0)
    return Work(2 * n * inputs * outputs, weights + n * (inputs + outputs), weights)


def mel(preset: Preset) -> Work:
    """The mel filters over the power spectra of a unit (WS-COST-2, WS-ENCODER-5)."""
    sizes = preset.encoders
    frames = clock.USER_SAMPLES_PER_UNIT // sizes.mel_hop
    return linear(frames, sizes.mel_window // 2 + 1, sizes.n_mels, bias=False)


def of_stack(stack: Stack) -> Work:
    """A chain of convolutions over one unit (WS-COST-2, WS-COST-4)."""
    weights = sum(conv.parameters for conv in stack.convs)
    return Work(stack.flops, stack.elements_moved, weights)


def total(works: Iterable[Work]) -> Work:
    """Several works as one."""
    every = tuple(works)
    return Work(
        sum(w.flops for w in every),
        sum(w.elements for w in every),
        sum(w.weights for w in every),
    )
