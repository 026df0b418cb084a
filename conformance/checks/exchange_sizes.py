"""Scripts of the KV exchange in sessions of other sizes, formats and names; nearly right headers.

WS-EXCHANGE-1 to WS-EXCHANGE-5. Nothing here is more than a header, so a slice of a gigabyte costs
no more than one of a byte.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import attrs

from conformance.checks.exchange import Story, terms_for
from conformance.checks.exchange_thinker import ThinkerStory
from conformance.exchange.campaign import sha
from conformance.exchange.script import part_json
from conformance.protocol import Json
from spec.exchange_message import LatentsAck, Open
from spec.exchange_terms import Part, Terms

Scripts = Iterator[tuple[str, Sequence[Json], bool]]
"""What is told, in words; the script; and whether its last entry, and no other before it, makes
the session fail. Each is asked for itself."""

PLAIN: Final = terms_for("overlapped", "story")
"""Of a small session; all others differ from it in what their names say."""
SIZES: Final[dict[str, Terms]] = {
    "float16": attrs.evolve(PLAIN, dtype="float16"),
    "bfloat16": attrs.evolve(PLAIN, dtype="bfloat16"),
    "float64": attrs.evolve(PLAIN, dtype="float64"),
    "many-layers": attrs.evolve(PLAIN, layers=300),
    "many-heads": attrs.evolve(PLAIN, kv_heads=300),
    "long-segments": attrs.evolve(PLAIN, response_tokens=70_001, observation_tokens=65_536),
    # Latents of more bytes than 16 and 32 bits count.
    "large-latents": attrs.evolve(PLAIN, latent_values=70_001),
    "huge-latents": attrs.evolve(PLAIN, latent_values=1_100_000_001),
    # No size that is a multiple of anything.
    "least": attrs.evolve(
        PLAIN,
        dtype="bfloat16",
        layers=1,
        kv_heads=1,
        head_dim=1,
        prefill_tokens=1,
        observation_tokens=1,
        language_tokens=1,
        response_tokens=1,
        latent_values=1,
    ),
    "longest-name": attrs.evolve(PLAIN, session="0.:_-" + 58 * "a" + "b"),
    "shortest-name": attrs.evolve(PLAIN, session="_"),
}
"""Terms by what is unusual about them (WS-EXCHANGE-1)."""

WIDE: Final = attrs.evolve(PLAIN, layers=9, kv_heads=8, head_dim=6)
"""More pairs of a layer and a head than the bits of a word."""

CUT: Final = 31
"""Letters that a fixed field of 32 bytes has room for."""

SAME_BYTES: Final = {"float16": "bfloat16", "bfloat16": "float16"}


def cells(terms: Terms, content: str) -> list[Part]:
    """A slice in one part for each layer and head."""
    return [
        Part((i, i + 1), (j, j + 1), sha(f"{content}/{i}/{j}"))
        for i in range(terms.layers)
        for j in range(terms.kv_heads)
    ]


def acked(s: Story, *units: int) -> None:
    """The thinker acknowledges the latents of these units (WS-EXCHANGE-9)."""
    for k in units:
        digest = sha(f"z{k}")
        s.arrive(LatentsAck(session=s.terms.session, epoch=s.epoch, unit=k, digest=digest))


def performer_of(terms: Terms) -> Story:
    """Three units, nothing amiss but copies, gaps and slices of a stranger."""
    s = Story(terms=terms)
    s.slices(-1, -1)
    for k in range(3):
        s.slices(k, k)
        s.slices(k + 1, session="s" + terms.session[1:] + "x")
        s.solved(k)
        s.slices(k + 2)
        s.timer()
        acked(s, k)
    s.open(epoch=1, first=2)
    s.slices(2, 3)
    return s


def thinker_of(terms: Terms) -> ThinkerStory:
    """Three units, what is asked for again, and a takeover."""
    s = ThinkerStory(terms=terms)
    s.begun()
    for k in range(3):
        s.offer(k)
        s.nack(k)
        s.ack(k, session="s" + terms.session[1:] + "x")
        s.ack(k)
        s.latents(k)
        s.say("timer")
    s.hello(2)
    s.epoch = 1
    s.snapshot(2)
    s.ack(2, "snapshot")
    s.offer(3)
    s.latents(3)
    s.say("finish")
    return s


def sizes(terms: Terms) -> Scripts:
    """An ordinary session of these sizes, at both sides; then what is nearly of these sizes."""
    yield "the performer", performer_of(terms).script, False
    yield "the thinker", thinker_of(terms).script, False
    if terms.dtype in SAME_BYTES:
        # As many bytes, and other numbers.
        other = SAME_BYTES[terms.dtype]
        performer = performer_of(terms)
        performer.slices(4, dtype=other)
        yield "a slice in the other format", performer.script, True
        thinker = ThinkerStory(terms=terms)
        thinker.begun()
        thinker.offer(0)
        thinker.latents(0, dtype=other)
        yield "latents in the other format", thinker.script, True
    if len(terms.session) > CUT:
        s = performer_of(terms)
        s.slices(4, session=terms.session[:-1] + "c")
        s.slices(4, session=terms.session[:CUT])
        s.slices(4)
        yield "a name that begins alike", s.script, False


def parts() -> Scripts:
    """A slice in as many parts as there are (WS-EXCHANGE-5)."""
    last = cells(WIDE, "0")
    for name, order in (("in order", last), ("backwards", last[::-1])):
        s = Story(terms=WIDE)
        s.slices(-1)
        for part in order:
            s.part(0, part)
        s.slices(1)
        s.solved(0)
        yield f"parts of cells {name}", s.script, False
    t = ThinkerStory(terms=WIDE)
    t.begun()
    t.script.append({"offered": {"unit": 0, "parts": [part_json(p) for p in last[::-1]]}})
    t.nack(0)
    t.latents(0, slice_digest=sha("other"))
    yield "the thinker's parts of cells", t.script, True
    # As many numbers a token, and other heads.
    s = Story(terms=WIDE)
    swapped = attrs.evolve(WIDE, kv_heads=WIDE.head_dim, head_dim=WIDE.kv_heads)
    name = WIDE.session
    s.arrive(Open(session=name, epoch=1, incarnation=1, unit=-1, terms=swapped))
    yield "heads for numbers", s.script, True


def nearly() -> Scripts:
    """Headers that say the same to whoever reads them loosely (WS-EXCHANGE-2, WS-EXCHANGE-3)."""
    terms = attrs.evolve(PLAIN, language_tokens=1)
    observed = ["O", terms.observation_tokens]
    loose: dict[str, dict[str, Any]] = {
        "true for 1": {"segments": [observed, ["L", True]]},
        "false for 0": {"layers": [False, terms.layers]},
        "true for an end": {"heads": [0, True]},
    }
    for what, spoiled in loose.items():
        s = Story(terms=attrs.evolve(terms, kv_heads=1))
        s.slices(-1)
        s.slices(0, **spoiled)
        s.slices(0)
        yield what, s.script, False
    silent = attrs.evolve(terms, language_tokens=0)
    for what, segments in {
        "an empty segment left out": [observed],
        "an empty segment more": [observed, ["L", 0], ["Z", 0]],
    }.items():
        s = Story(terms=silent)
        s.slices(-1, 0)
        s.slices(1, segments=segments)
        yield what, s.script, True


def alike() -> Scripts:
    """Two units of the same bytes are two units (WS-EXCHANGE-7, WS-EXCHANGE-9)."""
    s = Story()
    s.slices(-1)
    for k in range(3):
        s.part(k, Part((0, s.terms.layers), (0, s.terms.kv_heads), sha("same")))
        s.solved(k)
    s.slices(3)
    yield "slices", s.script, False
    t = ThinkerStory()
    t.begun()
    for k in range(3):
        t.offer(k)
        t.latents(k, digest=sha("same"))
    yield "latents", t.script, False


def long_snapshot() -> Scripts:
    """Three hours of a session of many tokens: counts that 32 bits do not hold (WS-EXCHANGE-3)."""
    terms = attrs.evolve(PLAIN, observation_tokens=40_000)
    s = Story(terms=terms)
    s.open(epoch=1, first=70_000)
    s.slices(70_000, 70_001)
    s.solved(70_001)
    yield "the performer", s.script, False
