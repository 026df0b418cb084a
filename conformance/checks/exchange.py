"""The KV exchange: every slice is appended exactly once, in order, whatever the wire does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final

import attrs

from conformance.case import Case, Check, Context
from conformance.exchange.campaign import letter, sha
from conformance.exchange.judging import answers_differently, cases_of
from conformance.exchange.script import terms_json
from conformance.protocol import Json
from spec.exchange_headers import slice_header
from spec.exchange_message import LatentsAck, Message, Open
from spec.exchange_terms import Part, Terms, terms_of, whole
from spec.layout import PREFILL_UNIT, Modalities
from spec.presets import TINY
from spec.session import SessionConfig
from spec.sizes import Schedule

WORDS_ALONE: Final = Modalities(agent_audio=False, agent_video=False)
"""An agent of words alone: its latents are no numbers, and cross all the same."""


def latents_digest(terms: Terms, unit: int) -> str:
    """Of the latents of a story; where there is no number, of no byte."""
    return sha(f"z{unit}" if terms.latent_values else "")


def terms_for(
    schedule: Schedule,
    session: str,
    modalities: Modalities = Modalities(),  # noqa: B008 - frozen
) -> Terms:
    """Terms of a session of preset `tiny` with a short prompt."""
    config = SessionConfig(preset=TINY, schedule=schedule, prompt=(1, 2, 3), modalities=modalities)
    return terms_of(config, session, "float32")


class Story:
    """Writes a script, message by message, as a thinker and a wire would produce it."""

    def __init__(
        self,
        schedule: Schedule = "overlapped",
        session: str = "story",
        modalities: Modalities = Modalities(),  # noqa: B008 - frozen
        terms: Terms | None = None,
        incarnation: int = 1,
    ) -> None:
        self.terms = terms or terms_for(schedule, session, modalities)
        self.epoch, self.incarnation = 0, incarnation
        self.first = PREFILL_UNIT
        begin = {
            "role": "performer",
            "terms": terms_json(self.terms),
            "incarnation": incarnation,
        }
        self.script: list[Json] = [{"begin": begin}]
        self.open()

    def open(self, epoch: int = 0, first: int = PREFILL_UNIT) -> None:
        self.epoch, self.first = epoch, first
        self.arrive(
            Open(
                session=self.terms.session,
                epoch=epoch,
                incarnation=self.incarnation,
                unit=first,
                terms=self.terms,
            )
        )

    def arrive(self, message: Message, payload: str | None = None, **spoiled: Any) -> None:
        data = letter(message)["message"]
        self.script.append({"arrive": {"message": {**data, **spoiled}, "payload_sha256": payload}})

    def part(self, unit: int, part: Part, payload: str | None = None, **spoiled: Any) -> None:
        """One part of a slice; ``payload`` other than the header's when the wire has flipped it."""
        header = slice_header(self.terms, self.epoch, unit, unit == self.first, part)
        self.arrive(header, part.digest if payload is None else payload, **spoiled)

    def slices(self, *units: int, salt: str = "", **spoiled: Any) -> None:
        """Whole slices, unsharded."""
        for unit in units:
            self.part(unit, whole(self.terms, sha(f"{unit}{salt}"))[0], **spoiled)

    def layer(self, unit: int, index: int, salt: str = "") -> None:
        """The part of a slice that holds one layer."""
        digest = sha(f"{unit}/{index}{salt}")
        self.part(unit, Part((index, index + 1), (0, self.terms.kv_heads), digest))

    def solved(self, *units: int) -> None:
        for unit in units:
            entry = {"epoch": self.epoch, "unit": unit, "digest": latents_digest(self.terms, unit)}
            self.script.append({"solved": entry})

    def timer(self) -> None:
        self.script.append({"timer": {}})


def in_order(s: Story) -> None:
    s.slices(-1)
    for k in range(4):
        s.slices(k)
        s.solved(k)


def duplicate(s: Story) -> None:
    s.slices(-1, -1, 0, 0)
    s.solved(0)
    s.slices(1, 0, 1)


def conflict(s: Story) -> None:
    s.slices(-1, 0)
    s.solved(0)
    s.slices(1)
    s.slices(1, salt="other")


def gap(s: Story) -> None:
    s.slices(-1, 1)
    s.slices(0, 1)


def gap_timer(s: Story) -> None:
    s.slices(-1, 1)
    s.timer()
    s.slices(0, 1)
    s.timer()


def stale_epoch(s: Story) -> None:
    s.slices(-1, 0)
    s.solved(0)
    s.open(epoch=1, first=0)
    s.slices(0)
    s.epoch, s.first = 0, PREFILL_UNIT
    s.slices(1)
    s.epoch, s.first = 1, 0
    s.slices(1)


def parts_across_epochs(s: Story) -> None:
    s.slices(-1)
    s.layer(0, 0)
    s.open(epoch=1)
    s.slices(-1)
    for index in range(s.terms.layers):
        s.layer(0, index, salt="again")


def solve_across_epochs(s: Story) -> None:
    s.slices(-1, 0)
    s.open(epoch=1)
    s.slices(-1, 0)
    s.epoch = 0
    s.solved(0)
    s.epoch = 1
    s.solved(0)


def future_epoch(s: Story) -> None:
    s.slices(-1)
    s.epoch = 2
    s.slices(0)
    s.epoch = 0
    s.slices(0)


def other_session(s: Story) -> None:
    s.slices(-1)
    s.slices(0, session="another")
    s.slices(0)


def parts_in_any_order(s: Story) -> None:
    s.slices(-1)
    for index in (2, 0, 1):
        s.layer(0, index)
    s.solved(0)
    for index in (1, 2, 1, 0):
        s.layer(1, index)


def missing_layer(s: Story) -> None:
    s.slices(-1)
    s.layer(0, 0)
    s.layer(0, 2)
    s.slices(1)
    s.timer()
    s.layer(0, 1)
    s.slices(1)


def held_conflict(s: Story) -> None:
    s.slices(-1)
    s.layer(0, 0)
    s.layer(0, 0, salt="other")


def corrupt_payload(s: Story) -> None:
    s.slices(-1)
    s.slices(0, payload=sha("flipped"))
    s.slices(0)


def corrupt_header(s: Story) -> None:
    s.slices(-1)
    s.slices(0, kv_len_before="nine")
    s.slices(0)


def miscounted(s: Story) -> None:
    header = slice_header(s.terms, 0, 0, False, whole(s.terms, sha("0"))[0])
    s.slices(-1)
    s.slices(0, kv_len_before=header.kv_len_before + 1, kv_len_after=header.kv_len_after + 1)


def misfit(s: Story) -> None:
    s.slices(-1)
    s.slices(0, dtype="float64")


def early(s: Story) -> None:
    s.slices(-1, 0, 1, 2)


def late_ack(s: Story) -> None:
    s.slices(-1, 0)
    s.solved(0)
    for _ in range(2):
        s.arrive(LatentsAck(session="story", epoch=0, unit=0, digest=sha("z0")))
    s.slices(1)


@attrs.frozen
class Told:
    """A story, its clause, and by hand what it must come to: units appended, and whether the
    session failed. The tables of `spec.exchange` give the rest."""

    clause: str
    tell: Callable[[Story], None]
    appended: tuple[int, ...]
    failed: bool = False
    modalities: Modalities = Modalities()


STORIES: Final[dict[str, Told]] = {
    "in-order": Told("WS-EXCHANGE-7", in_order, (-1, 0, 1, 2, 3)),
    "duplicate": Told("WS-EXCHANGE-7", duplicate, (-1, 0, 1)),
    "conflict": Told("WS-EXCHANGE-7", conflict, (-1, 0, 1), failed=True),
    "gap-and-resend": Told("WS-EXCHANGE-8", gap, (-1, 0, 1)),
    "gap-and-timer": Told("WS-EXCHANGE-8", gap_timer, (-1, 0, 1)),
    "stale-epoch": Told("WS-EXCHANGE-10", stale_epoch, (-1, 0, 0, 1)),
    "parts-across-epochs": Told("WS-EXCHANGE-10", parts_across_epochs, (-1, -1, 0)),
    "solve-across-epochs": Told("WS-EXCHANGE-10", solve_across_epochs, (-1, 0, -1, 0)),
    "future-epoch": Told("WS-EXCHANGE-10", future_epoch, (-1, 0)),
    "other-session": Told("WS-EXCHANGE-2", other_session, (-1, 0)),
    "parts-in-any-order": Told("WS-EXCHANGE-5", parts_in_any_order, (-1, 0, 1)),
    "missing-layer": Told("WS-EXCHANGE-5", missing_layer, (-1, 0, 1)),
    "held-conflict": Told("WS-EXCHANGE-5", held_conflict, (-1,), failed=True),
    "corrupt-payload": Told("WS-EXCHANGE-8", corrupt_payload, (-1, 0)),
    "corrupt-header": Told("WS-EXCHANGE-8", corrupt_header, (-1, 0)),
    "miscounted": Told("WS-EXCHANGE-7", miscounted, (-1,), failed=True),
    "misfit": Told("WS-EXCHANGE-3", misfit, (-1,), failed=True),
    "early": Told("WS-EXCHANGE-11", early, (-1, 0, 1), failed=True),
    "late-ack": Told("WS-EXCHANGE-9", late_ack, (-1, 0, 1)),
    "words-alone": Told("WS-EXCHANGE-9", in_order, (-1, 0, 1, 2, 3), modalities=WORDS_ALONE),
}
IN_BOTH_SCHEDULES: Final = ("in-order", "words-alone")


def script_of(name: str, schedule: Schedule) -> list[Json]:
    """The script of a story."""
    story = Story(schedule, modalities=STORIES[name].modalities)
    STORIES[name].tell(story)
    return story.script


def stories(context: Context) -> Iterator[Case]:
    """Every story under the overlapped schedule, the plain one under both (WS-EXCHANGE-7)."""
    return cases_of(STORIES, IN_BOTH_SCHEDULES, partial(_judge, context))


def _judge(context: Context, name: str, schedule: Schedule) -> str | None:
    script = script_of(name, schedule)
    replies = context.port.exchange(script)
    reason = answers_differently(script, replies)
    return f"story {name}, {reason}" if reason else _by_hand(STORIES[name], replies)


def _by_hand(told: Told, replies: Sequence[Json]) -> str | None:
    """The end of the story as written down here, independent of the tables."""
    appended = tuple(unit for reply in replies for unit in reply["appended"])
    if appended != told.appended:
        return f"appended slices {list(appended)}, not {list(told.appended)}"
    if replies[-1]["failed"] != told.failed:
        return f"failed: {replies[-1]['failed']}, not {told.failed}"
    return None


CHECKS = (
    Check(
        id="exchange/exactly-once",
        clauses=(
            *dict.fromkeys(told.clause for told in STORIES.values()),
            "WS-CONFORMANCE-8",
        ),
        profile="split",
        tolerance="A",
        cases=stories,
    ),
)
