"""The port protocol: what the suite asks of a port, and what a port answers (WS-CONFORMANCE-1).

Every record is plain values plus named arrays, so that `conformance.wire` can write it as JSON and
tensors; the methods of `Port` are the commands. Source: CHOICE (design §12).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, Protocol

import attrs
import numpy as np
import numpy.typing as npt

from spec.errors import WanStreamerError
from spec.layout import Modalities
from spec.sizes import Schedule

Array = npt.NDArray[Any]
DType = Literal["float32", "float64", "bfloat16", "float16"]
Profile = Literal["math", "codec", "session", "split", "latency"]
Part = Literal[
    "video_codec.encode",
    "video_codec.decode",
    "audio_codec.encode",
    "audio_codec.decode",
    "audio_encoder",
    "video_encoder",
]
Json = dict[str, Any]

PROTOCOL_VERSION: Final = 1
PROFILES: Final[tuple[Profile, ...]] = ("math", "codec", "session", "split", "latency")
"""In the order in which a port is best built (WS-CONFORMANCE-5)."""

PARTS: Final[tuple[Part, ...]] = (
    "video_codec.encode",
    "video_codec.decode",
    "audio_codec.encode",
    "audio_codec.decode",
    "audio_encoder",
    "video_encoder",
)

DTYPES: Final[tuple[DType, ...]] = ("float32", "float64", "bfloat16", "float16")
OPTIONAL_FEATURES: Final = frozenset(
    {
        "load",
        "midpoint",
        "media",
        "planning",
        "training",
        "offline",
        "kv_digest",
        "kv_transfer",
        "reset",
        "probe",
        "identity",
        "prefill_chunks",
        "sampling",
        *DTYPES,
    }
)
"""What a conformant port may answer `Unsupported` to (WS-CONFORMANCE-3)."""


ABSENT_WHEN_NONE: Final = {"absent_when_none": True}
"""Metadata of a field that a message names only if it has a value: who lacks the feature that the
field belongs to never sees it (WS-CONFORMANCE-24)."""


def wire_dtype(dtype: DType) -> np.dtype[Any]:
    """What arrays of a session cross the protocol in: float64 as it is, all others as float32.

    A port rounds to its narrower dtype what comes in and widens what goes out, which loses
    nothing; no language needs a bfloat16 array to speak the protocol (WS-CONFORMANCE-6).
    """
    return np.dtype("float64" if dtype == "float64" else "float32")


class Unsupported(Exception):  # noqa: N818 - a reply, not an error
    """The reply "I do not do that", with the name of the feature (WS-CONFORMANCE-3)."""

    def __init__(self, feature: str) -> None:
        self.feature = feature
        super().__init__(feature)


class Refusal(WanStreamerError):  # noqa: N818 - a reply, named as the protocol names it
    """The clean error reply of a port to a request that it cannot honour (WS-CONFORMANCE-4)."""


class Inconclusive(Exception):  # noqa: N818 - a verdict, not an error
    """Too little was seen to judge; its text says what was missing (WS-CONFORMANCE-10)."""


@attrs.frozen(kw_only=True)
class Hello:
    """A port's first answer: who it is and what it claims (WS-CONFORMANCE-2).

    ``deterministic``: the same commands give the same bits. ``features`` names the commands it
    answers: "math", "codec", "session" (open, step, finish, close), "exchange", and the optional
    "midpoint", "media", "planning" and "training" (ops of `math`), "offline", "kv_digest",
    "kv_transfer" (export_kv, import_kv), "reset", "probe", and "identity", "prefill_chunks" and
    "sampling" (members of `open` and `step`).
    ``exact_split``: its thinker and performer reproduce the oracle's single process bit by bit in
    float64; only our own split claims it, everyone else is held to class C (WS-CONFORMANCE-9).
    """

    name: str
    version: str
    protocol: int = PROTOCOL_VERSION
    profiles: tuple[Profile, ...]
    dtypes: tuple[DType, ...]
    deterministic: bool
    features: tuple[str, ...]
    exact_split: bool = False


@attrs.frozen(kw_only=True, eq=False)
class IdentityInput:
    """Who the agent is: what the session's description says, and the signals themselves
    (WS-CONFORMANCE-24, WS-PREFILL-3).

    ``image`` and ``voice_ticks`` are the description, the fields of `spec.prefill.Identity`;
    ``picture`` [3, H, W] and ``voice`` [960 x voice_ticks] are RGB and samples in [-1, 1], in the
    wire form of the session's dtype, None where the description has none.
    """

    image: bool = False
    voice_ticks: int = 0
    picture: Array | None = None
    voice: Array | None = None


@attrs.frozen(kw_only=True)
class SamplingInput:
    """How the agent's words are chosen: the fields of `spec.text.Sampling`, not checked, so that a
    bad one can be sent (WS-CONFORMANCE-24, WS-TEXT-8)."""

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0


@attrs.frozen(kw_only=True)
class OpenRequest:
    """What a session is opened with; weights always come from the integer recipe (WS-RECIPE-3).

    Only a port with the feature of that name is asked with an ``identity``, with
    ``prefill_chunks``, the tokens of P to run at a time (WS-PREFILL-5), or with ``sampling``.
    """

    preset: str
    schedule: Schedule
    dtype: DType
    modalities: Modalities = Modalities()
    prompt: tuple[int, ...] = ()
    weights: Literal["recipe"] = "recipe"
    identity: IdentityInput | None = attrs.field(default=None, metadata=ABSENT_WHEN_NONE)
    prefill_chunks: tuple[int, ...] | None = attrs.field(default=None, metadata=ABSENT_WHEN_NONE)
    sampling: SamplingInput | None = attrs.field(default=None, metadata=ABSENT_WHEN_NONE)


@attrs.frozen(kw_only=True, eq=False)
class UnitInput:
    """Everything that enters in one unit, in the dtype of the session (WS-CONFORMANCE-6).

    ``audio`` [2560]; ``video`` [4, 3, H, W]; ``noise_audio`` [4, Ca]; ``noise_video``
    [Cv, h, w], the latent frame; None where the session has no such modality. ``agent_text``
    forces the ids of the agent's text slots instead of the model's own. ``uniform`` float64
    [agent text slots] in [0, 1), whatever the dtype: the numbers by which a session that samples
    chooses them (WS-TEXT-3).
    """

    unit: int
    text: tuple[int, ...] = ()
    audio: Array | None = None
    video: Array | None = None
    noise_audio: Array | None = None
    noise_video: Array | None = None
    agent_text: tuple[int, ...] | None = None
    uniform: Array | None = attrs.field(default=None, metadata=ABSENT_WHEN_NONE)


@attrs.frozen(kw_only=True, eq=False)
class UnitOutput:
    """The agent's response to one unit, in the dtype of the session (WS-CONFORMANCE-6).

    ``logits`` [n, vocab]; ``audio_latents`` [4, Ca]; ``video_latents`` [Cv, h, w]; ``audio``
    [3840]; ``video`` [4, 3, H, W]; None where the session has no such modality.
    """

    unit: int
    text: tuple[int, ...]
    logits: Array
    audio_latents: Array | None
    video_latents: Array | None
    audio: Array | None
    video: Array | None


@attrs.frozen(kw_only=True)
class CodecRequest:
    """One run of a causal codec or encoder from a fresh start (WS-CONFORMANCE-7).

    ``plan`` lists how many units each streaming call takes; an empty plan asks for the offline
    form, the whole input in one call without streaming state.
    """

    preset: str
    dtype: DType
    part: Part
    plan: tuple[int, ...]
    weights: Literal["recipe"] = "recipe"


@attrs.frozen(kw_only=True)
class LoadRequest:
    """Which weights to have ready: the recipe's, of a preset (WS-RECIPE-3)."""

    preset: str
    dtype: DType
    weights: Literal["recipe"] = "recipe"


@attrs.frozen(kw_only=True, eq=False)
class MathRequest:
    """One formula of the specification on given numbers (WS-CONFORMANCE-16).

    ``op`` is a name of `conformance.formulas.ops.OPS`; ``arguments`` are plain values, ``tensors``
    the named arrays it works on, in the wire form of ``dtype``.
    """

    op: str
    dtype: DType
    arguments: Mapping[str, Any]
    tensors: Mapping[str, Array]


@attrs.frozen(kw_only=True, eq=False)
class KvEntries:
    """Entries of one role's cache, in canonical order (WS-STREAMING-5, WS-CONFORMANCE-17).

    ``rows`` int64 [n, 8]: unit, segment, modality, slot, t, h, w, pad (WS-LAYOUT-2). ``keys``
    (rotated) and ``values`` [layers, kv_heads, n, head_dim], in the wire form of the session.
    """

    rows: Array
    keys: Array
    values: Array


@attrs.frozen(kw_only=True, eq=False)
class KvExport:
    """A session between two units (WS-CONFORMANCE-17).

    ``unit``: the next one. ``roles``: the caches, "thinker" and "performer". ``extra``: all else
    that the port needs to go on, under names of its own; nobody but the port reads it.
    """

    unit: int
    roles: Mapping[str, KvEntries]
    extra: Mapping[str, Array]


class Port(Protocol):
    """The commands (WS-CONFORMANCE-1). Any of them may raise `Unsupported` or `Refusal`."""

    def hello(self) -> Hello: ...

    def supports(self, feature: str) -> bool:
        """False for every feature that the port has never heard of (WS-CONFORMANCE-3)."""
        ...

    def load(self, request: LoadRequest) -> str:
        """Have weights ready; returns their digest, lower-case hexadecimal (WS-RECIPE-7)."""
        ...

    def math(self, request: MathRequest) -> Mapping[str, Array]:
        """One formula; the results by name (WS-CONFORMANCE-16)."""
        ...

    def open(self, request: OpenRequest) -> str:
        """A fresh session, independent of all others; returns its id."""
        ...

    def step(self, session: str, unit: UnitInput) -> Sequence[UnitOutput]:
        """Take one unit; answer zero or more units, in unit order: a pipeline answers later; for
        the profile ``latency`` by no more than three units (WS-LATENCY-8)."""
        ...

    def finish(self, session: str) -> Sequence[UnitOutput]:
        """The outputs still in the pipeline."""
        ...

    def reset(self, session: str) -> None:
        """The session as it was when it was opened, before unit 0 (WS-SESSION-4)."""
        ...

    def close(self, session: str) -> None: ...

    def probe(self, session: str, unit: UnitInput, points: Sequence[str]) -> Mapping[str, Array]:
        """Named intermediate tensors of the step that would take ``unit``; all that the port has
        if ``points`` is empty. The session is left as it was (WS-CONFORMANCE-18)."""
        ...

    def export_kv(self, session: str) -> KvExport:
        """Everything that a session is; later steps do not change what was exported
        (WS-CONFORMANCE-17)."""
        ...

    def import_kv(self, session: str, state: KvExport) -> None:
        """Make a session, opened with the same request, what the exported one was
        (WS-CONFORMANCE-17)."""
        ...

    def offline(self, request: OpenRequest, units: Sequence[UnitInput]) -> Sequence[UnitOutput]:
        """The offline form: whole sequence, dense mask, no cache."""
        ...

    def codec(self, request: CodecRequest, data: Array) -> Array:
        """See `conformance.shapes.codec_shapes` for what goes in and out."""
        ...

    def exchange(self, script: Sequence[Json]) -> Sequence[Json]:
        """Feed a fresh receiver of the KV exchange; one reply an entry (WS-CONFORMANCE-8)."""
        ...

    def kv_digest(self, session: str, up_to_unit: int) -> Mapping[str, str]:
        """Hex digest of each role's cache, entries of units ≤ ``up_to_unit``, order-free."""
        ...
