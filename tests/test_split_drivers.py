"""Both drivers over a network that a test controls: whatever it does to frames, and whatever
becomes of a performer, the session puts out the same bits."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import SMALL, identical, model_of, noises_of, stream, users_of

from optimized import frames
from optimized.performer_driver import PerformerDriver
from optimized.thinker_driver import ThinkerDriver
from reference import kv_cache
from reference.units import AgentUnit
from spec.errors import ExchangeError
from spec.exchange_effects import PeerLost, Timer
from spec.exchange_terms import terms_of
from spec.session import SessionConfig
from spec.sizes import LAG_OF_SCHEDULE, Schedule

UNITS = 3
PATIENCE = 400

PRESET = attrs.evolve(
    SMALL,
    name="smaller",
    frame_width=32,
    solver_steps=1,
    backbone=attrs.evolve(SMALL.backbone, n_layers=1),
)
"""One video token a unit and one solver step: the exchange does not care."""

Move = tuple[str, int]


def config_of(schedule: Schedule) -> SessionConfig:
    return SessionConfig(preset=PRESET, schedule=schedule, prompt=(80, 81))


class Pair:
    """A thinker, a performer and the frames under way between them."""

    def __init__(self, config: SessionConfig, units: int = UNITS) -> None:
        self.config, self.units = config, units
        self.terms = terms_of(config, "pair", "float64")
        self.users, self.noises = users_of(config, units), noises_of(config, units)
        self.flight: list[tuple[str, bytes]] = []
        self.outputs: list[AgentUnit] = []
        self.said = 0
        self.incarnation = -1
        model = model_of(config.preset)
        self.thinker = ThinkerDriver(model, config, self.terms, self.post("performer"), None)
        self.start_performer()

    def post(self, to: str) -> Callable[[bytes], None]:
        return lambda data: self.flight.append((to, data))

    def start_performer(self) -> None:
        """A performer with an empty cache takes the place of the one before it."""
        self.incarnation += 1
        self.performer = PerformerDriver(
            model_of(self.config.preset),
            self.config,
            self.terms,
            self.incarnation,
            self.post("thinker"),
            None,
        )
        self.performer.start()

    @property
    def may_think(self) -> bool:
        """There is a next unit, and the window has room for its slice."""
        return self.said < min(self.units, self.thinker.decoded + 1 + self.terms.window)

    def think(self) -> None:
        self.thinker.think(self.users[self.said], self.noises[self.said])
        self.said += 1

    def hand_over(self, to: str, data: bytes) -> None:
        (self.thinker if to == "thinker" else self.performer).receive(data)
        self.outputs += self.thinker.ready
        self.thinker.ready.clear()

    def fire_timers(self) -> None:
        self.thinker.feed(Timer())
        self.performer.feed(Timer())

    def move(self, what: str, index: int) -> None:
        """One thing that happens, a fault or not."""
        if what == "think" and self.may_think:
            self.think()
        elif what == "restart":
            self.start_performer()
        elif what == "suspect":
            self.thinker.feed(PeerLost())
        elif what == "timers":
            self.fire_timers()
        elif self.flight:
            at = index % len(self.flight)
            to, data = self.flight[at] if what == "duplicate" else self.flight.pop(at)
            if what == "corrupt":
                spot = index % len(data)
                data = data[:spot] + bytes([data[spot] ^ 1 << index % 8]) + data[spot + 1 :]
            if what != "drop":
                self.hand_over(to, data)

    def fair_move(self) -> None:
        """What happens next when nothing goes wrong."""
        if self.may_think:
            self.think()
        elif self.flight:
            self.hand_over(*self.flight.pop(0))
        else:
            self.fire_timers()

    def settle(self) -> None:
        """Every response arrives, and the network falls silent."""
        for _ in range(PATIENCE):
            if len(self.outputs) == self.units and not self.flight:
                return
            self.fair_move()
        raise AssertionError(f"{len(self.outputs)} of {self.units} units after {PATIENCE} moves")

    def close(self) -> None:
        for _ in range(PATIENCE):
            if self.thinker.closed and self.performer.closed:
                return
            self.fair_move()
        raise AssertionError(f"not closed after {PATIENCE} moves")

    def assert_equal_caches(self) -> None:
        """(WS-STREAMING-6)"""
        assert self.performer._performer is not None
        # A sequential performer gets its last response with a slice that never comes.
        committed = self.units - 1 if self.config.schedule == "overlapped" else self.units - 2
        theirs = kv_cache.digest(self.performer._performer.cache, committed)
        assert self.thinker.digest(committed) == theirs


def assert_undisturbed(config: SessionConfig, outputs: Sequence[AgentUnit]) -> None:
    expected, _ = stream(config, users_of(config, UNITS), noises_of(config, UNITS))
    assert [agent.unit for agent in outputs] == list(range(UNITS))
    assert all(map(identical, outputs, expected))


moves = st.lists(
    st.tuples(
        st.sampled_from(
            ["think", "think", "deliver", "deliver", "deliver", "drop", "duplicate", "corrupt",
             "restart", "suspect", "timers"]
        ),
        st.integers(0, 10_000),
    ),
    max_size=30,
)  # fmt: skip

late_moves = moves.map(lambda chosen: [move for move in chosen[:10] if move[0] != "suspect"])
"""A thinker that closes takes a lost performer for closed too, rightly or not."""


@pytest.mark.parametrize("schedule", LAG_OF_SCHEDULE)
@settings(max_examples=8)
@given(moves=moves, late_moves=late_moves)
def test_no_fault_changes_the_output(
    schedule: Schedule, moves: list[Move], late_moves: list[Move]
) -> None:
    """Frames lost, repeated, out of order or damaged, performers lost or only suspected: the
    output is that of one undisturbed process, and both caches agree (WS-EXCHANGE-13)."""
    config = config_of(schedule)
    pair = Pair(config)
    for move in moves:
        pair.move(*move)
    pair.settle()
    pair.assert_equal_caches()
    pair.thinker.finish()
    for move in late_moves:
        pair.move(*move)
    pair.close()
    assert_undisturbed(config, pair.outputs)


@pytest.mark.parametrize("schedule", LAG_OF_SCHEDULE)
@pytest.mark.parametrize("lost_after", range(0, 18, 3))
def test_a_new_performer_goes_on(schedule: Schedule, lost_after: int) -> None:
    """A performer lost at any moment, with all it was sent and all it said, is replaced from the
    thinker's cache (WS-EXCHANGE-10)."""
    config = config_of(schedule)
    pair = Pair(config)
    for _ in range(lost_after):
        pair.fair_move()
    pair.flight.clear()
    pair.start_performer()
    pair.settle()
    pair.assert_equal_caches()
    assert_undisturbed(config, pair.outputs)


def test_memory_of_a_session_is_bounded() -> None:
    """Nothing but the caches grows: payloads are let go once they cannot be asked for again."""
    pair = Pair(config_of("overlapped"))
    pair.settle()
    assert pair.thinker._slices == pair.thinker._noise == {}
    assert not pair.thinker._languages
    assert pair.performer._kept == {}
    assert pair.performer._held == []


def test_noise_comes_again_with_its_slice() -> None:
    """Noise enters as a tensor on the thinker's side only (WS-FLOW-7)."""
    pair = Pair(config_of("overlapped"))
    for _ in range(3):
        pair.fair_move()
    pair.flight.clear()
    pair.thinker.feed(Timer())
    again = [frames.decode(data) for to, data in pair.flight if to == "performer"]
    assert [(frame.unit, len(frame.noise) > 0) for frame in again] == [
        (-1, False), (0, True), (1, True),
    ]  # fmt: skip


@pytest.mark.parametrize("to", ["thinker", "performer"])
def test_an_unknown_channel_is_refused(to: str) -> None:
    frame = frames.Frame(channel="gossip", cause="", unit=0, body=b"")
    with pytest.raises(ExchangeError, match="gossip"):
        Pair(config_of("overlapped"), 1).hand_over(to, frames.encode(frame))


@given(spot=st.integers(0, 10_000), bit=st.integers(0, 7), noise=st.binary(max_size=9))
def test_a_damaged_frame_is_noticed(spot: int, bit: int, noise: bytes) -> None:
    """Its first line and its noise are guarded here; the body is a message, which guards itself."""
    frame = frames.Frame(channel=frames.EXCHANGE, cause="thinker:7", unit=3, body=b"", noise=noise)
    data = frames.encode(frame)
    assert frames.decode(data) == frame
    at = spot % len(data)
    with pytest.raises(ExchangeError):
        frames.decode(data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :])
    with pytest.raises(ExchangeError):
        frames.decode(data[:at])
