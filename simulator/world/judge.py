"""The online invariant check: what no session may ever do, judged as it happens (WS-FAULTS-5).

O(1) a step and of constant size, so a campaign of a million units can carry it. It keeps its own
account of both sides and does not ask the machines what they think of themselves.
Source: design §8, §9 (what must hold), §13 (the checker); CHOICE of the list.
"""

from __future__ import annotations

from typing import Final

from simulator.world.digests import LATENTS, SLICE, SNAPSHOT, Shards, digest, slice_parts
from spec.exchange_effects import Append, Decode, Solve
from spec.exchange_message import Header, Open
from spec.exchange_performer import Performer
from spec.exchange_terms import Terms, slice_digest, slice_segments, stream_tokens
from spec.exchange_thinker import Thinker
from spec.layout import PREFILL_UNIT

INVARIANTS: Final = (
    "append", "epoch", "latents", "conservation", "bounded", "isolation", "refusal", "causality",
    "requests", "answers", "blame", "own-fault", "liveness", "lost",
)  # fmt: skip
"""Names of what is checked (WS-FAULTS-5), in the order of the clause."""


class InvariantError(Exception):
    """Session ``session`` did what it must never do; ``invariant`` is one of `INVARIANTS`."""

    def __init__(self, invariant: str, session: int, text: str) -> None:
        assert invariant in INVARIANTS
        self.invariant = invariant
        self.session = session
        super().__init__(f"{invariant}: {text}")


class Judge:
    """The account of one session (WS-FAULTS-5)."""

    def __init__(self, session: int, terms: Terms, shards: Shards) -> None:
        self._session = session
        self._terms = terms
        self._shards = shards
        self._layers = {layers: shard for shard, (layers, _) in enumerate(shards)}
        self.decoded = PREFILL_UNIT
        self._committed = PREFILL_UNIT
        self._payloads: set[int] = set()
        self._open = (-1, -1, PREFILL_UNIT)
        self._solved_at: dict[int, int] = {}
        self._asked: dict[str, tuple[int, int]] = {}
        self._thinker_lost = self._told_of_loss = False
        self._epoch = -1
        self._forget()

    def broken(self, invariant: str, text: str) -> InvariantError:
        """The error to raise."""
        return InvariantError(invariant, self._session, text)

    def _forget(self) -> None:
        """The performer's cache is empty."""
        self._appended = PREFILL_UNIT - 1
        self.kv_len = 0
        self._held: list[Header] = []
        self._begun = False
        self._first = PREFILL_UNIT
        self._solving = PREFILL_UNIT

    # The thinker.

    def payload_made(self, unit: int) -> None:
        """A slice, or a snapshot up to ``unit``, is ready to be sent."""
        self._payloads.add(unit)

    def payload_released(self, unit: int) -> None:
        """It will not be sent again."""
        self._payloads.discard(unit)

    def opened(self, message: Open) -> None:
        """Every epoch is opened for one performer, with one snapshot, and they only grow."""
        this = (message.epoch, message.incarnation, message.unit)
        if this != self._open:
            if message.epoch <= self._open[0] or message.incarnation < self._open[1]:
                raise self.broken("epoch", f"opens {this} after {self._open}")
            if message.unit != self.decoded:
                raise self.broken("epoch", f"snapshot up to {message.unit}")
            self._open = this

    def slice_sent(self, header: Header) -> None:
        """Only what is kept can be sent, and only as it was made."""
        if self._thinker_lost:
            raise self.broken("lost", f"a lost thinker sends slice {header.unit}")
        if header.unit not in self._payloads:
            raise self.broken("conservation", f"payload {header.unit} was released too early")
        if header.digest != self._true_digest(header):
            raise self.broken("conservation", f"slice {header.unit} changed")

    def _true_digest(self, header: Header) -> str:
        shard = self._layers.get(header.layers, -1)
        if any(name == "P" for name, _ in header.segments):
            return digest(SNAPSHOT, self._session, header.unit, shard, header.epoch)
        return digest(SLICE, self._session, header.unit, shard)

    def took(self, effect: Decode, now: int) -> None:
        """Responses are decoded once, in order, as they were solved, and not before."""
        if effect.unit != self.decoded + 1:
            raise self.broken("latents", f"decodes {effect.unit} after {self.decoded}")
        if effect.digest != digest(LATENTS, self._session, effect.unit):
            raise self.broken("latents", f"decodes other latents for {effect.unit}")
        solved_at = self._solved_at.pop(effect.unit, None)
        if solved_at is None or solved_at > now:
            raise self.broken("causality", f"decodes {effect.unit} before it is solved")
        self.decoded = effect.unit

    def committed(self, unit: int) -> None:
        """The thinker commits what it decoded, once."""
        if unit != self._committed + 1 or unit > self.decoded:
            raise self.broken("latents", f"commits {unit} after {self._committed}")
        self._committed = unit

    def updates(self, unit: int, lag: int) -> None:
        """The language pass of unit k has seen the responses up to k-1-λ (WS-VISIBILITY-2)."""
        if self._thinker_lost:
            raise self.broken("lost", f"a lost thinker updates {unit}")
        if self.decoded < unit - 1 - lag:
            raise self.broken("causality", f"updates {unit} with responses to {self.decoded}")

    def decodes(self, unit: int) -> None:
        """Only latents that are here are decoded (WS-STREAMING-9)."""
        if unit > self.decoded:
            raise self.broken(
                "causality", f"begins to decode {unit}, has latents to {self.decoded}"
            )

    def thinker_lost(self) -> None:
        """The thinker's process is gone, and the session with it (WS-EXCHANGE-10)."""
        self._thinker_lost = True

    # The performer.

    def told_of_loss(self) -> None:
        """The performer knows that there is no thinker any more."""
        self._told_of_loss = True

    def reset(self, epoch: int) -> None:
        """An epoch begins; a performer never goes back to an older one."""
        if epoch <= self._epoch:
            raise self.broken("epoch", f"epoch {epoch} after {self._epoch}")
        self._epoch = epoch
        self._forget()

    def restarted(self) -> None:
        """The performer's process was replaced."""
        self._epoch = -1
        self._forget()
        self._asked.pop("performer", None)

    @property
    def recent_slices(self) -> range:
        """Units of the newest window + 1 slices in the performer's cache."""
        oldest = max(self._first, self._appended - self._terms.window)
        return range(oldest, self._appended + 1 if self._begun else oldest)

    def held(self, header: Header) -> None:
        """A part that will be used is of this session and epoch, and what the thinker made."""
        if header.session != self._terms.session:
            raise self.broken("isolation", f"holds a part of session {header.session}")
        if header.epoch != self._epoch:
            raise self.broken("epoch", f"holds a part of epoch {header.epoch}")
        if header.digest != self._true_digest(header):
            raise self.broken("append", f"holds a foreign part of slice {header.unit}")
        self._held.append(header)
        if len(self._held) > len(self._shards):
            raise self.broken("bounded", f"{len(self._held)} parts held")

    def appended(self, effect: Append) -> None:
        """Whole slices, exactly once, in order, each where the one before ended."""
        parts, unit = self._held, effect.unit
        if self._told_of_loss:
            raise self.broken("lost", f"appends {unit} for nobody")
        cells = sum((p.layers[1] - p.layers[0]) * (p.heads[1] - p.heads[0]) for p in parts)
        whole = cells == self._terms.layers * self._terms.kv_heads
        if not whole or len({p.part for p in parts}) != len(parts):
            raise self.broken("append", f"slice {unit} is not whole")
        if any(p.unit != unit or p.kv_len_before != self.kv_len for p in parts):
            raise self.broken("append", f"slice {unit} does not fit the cache")
        if self._begun and unit != self._appended + 1:
            raise self.broken("append", f"slice {unit} after slice {self._appended}")
        segments = slice_segments(self._terms, unit, not self._begun)
        if parts[0].segments != segments:
            raise self.broken("append", f"slice {unit} holds {parts[0].segments}")
        self.kv_len += stream_tokens(self._terms, segments)
        if effect.kv_len != self.kv_len:
            raise self.broken("append", f"length {effect.kv_len}, not {self.kv_len}")
        if not self._begun:
            self._begun, self._first, self._solving = True, unit, unit
        self._appended = unit
        self._held = []

    def solves(self, effect: Solve) -> None:
        """Each unit once in an epoch, in order, from its own slice."""
        if effect.unit > self._appended:
            raise self.broken("causality", f"solves {effect.unit}, has slices to {self._appended}")
        if effect.unit != self._solving + 1 or effect.unit != self._appended:
            raise self.broken("latents", f"solves {effect.unit} after {self._solving}")
        parts = slice_digest(slice_parts(self._shards, self._session, effect.unit))
        if effect.digest != parts:
            raise self.broken("latents", f"solves {effect.unit} from another slice")
        self._solving = effect.unit

    def solved(self, unit: int, now: int) -> None:
        """The latents of ``unit`` exist from now on."""
        if unit > self.decoded:
            self._solved_at.setdefault(unit, now)

    # Both.

    def asked(self, side: str, epoch: int, unit: int) -> None:
        """What is missing is asked for once, and again only by timer (WS-EXCHANGE-8)."""
        if self._asked.get(side) == (epoch, unit):
            raise self.broken("requests", f"the {side} asks for {unit} again")
        self._asked[side] = (epoch, unit)

    def timer(self, side: str) -> None:
        """The timer fired: asking again is allowed."""
        self._asked.pop(side, None)

    def thinker_bounded(self, state: Thinker) -> None:
        """The thinker's state does not grow with the session (WS-EXCHANGE-11)."""
        window = self._terms.window
        if len(state.ring) > window or len(state.taken) > window + 1:
            raise self.broken("bounded", f"{len(state.ring)} slices, {len(state.taken)} responses")
        if len(self._payloads) > window + 2:
            raise self.broken("bounded", f"{len(self._payloads)} payloads kept")

    def performer_bounded(self, state: Performer) -> None:
        """The performer's state does not grow with the session (WS-EXCHANGE-11)."""
        window = self._terms.window
        sizes = len(state.kept), len(state.recent) - 1, len(state.held) - len(self._shards) + window
        if max(sizes) > window or len(self._solved_at) > window:
            raise self.broken("bounded", f"sizes above the window: {sizes}")

    def closed(self, units: int) -> None:
        """Every unit that was taken in has come out, and nothing is left over."""
        if not self.decoded == self._committed == units - 1:
            raise self.broken("conservation", f"closed after unit {self.decoded} of {units}")
        if self._payloads:
            raise self.broken("conservation", f"payloads {sorted(self._payloads)} left")
