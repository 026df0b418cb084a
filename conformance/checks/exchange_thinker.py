"""The thinker's side of the KV exchange: what it sends, sends again, decodes once, and refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import attrs

from conformance.case import Case, Check, Context
from conformance.checks.exchange import WORDS_ALONE, latents_digest, terms_for
from conformance.exchange.campaign import letter, sha
from conformance.exchange.judging import answers_differently, cases_of
from conformance.exchange.script import part_json, terms_json
from conformance.protocol import Json
from spec.exchange_headers import latents_message
from spec.exchange_message import Close, Hello, Message, SliceAck, SliceNack
from spec.exchange_terms import Part, Terms, kv_len_after, slice_digest, whole
from spec.layout import PREFILL_UNIT, Modalities
from spec.sizes import Schedule

SESSION: Final = "story"


class ThinkerStory:
    """Writes a script, entry by entry, as a performer, a driver and a wire would produce it."""

    def __init__(
        self,
        schedule: Schedule = "overlapped",
        modalities: Modalities = Modalities(),  # noqa: B008 - frozen
        terms: Terms | None = None,
    ) -> None:
        self.terms = terms or terms_for(schedule, SESSION, modalities)
        self.epoch = 0
        begin = {"role": "thinker", "terms": terms_json(self.terms), "incarnation": 0}
        self.script: list[Json] = [{"begin": begin}]

    def arrive(self, message: Message, **spoiled: Any) -> None:
        sent = letter(message)
        if "digest" in spoiled and sent["payload_sha256"] is not None:
            sent["payload_sha256"] = spoiled["digest"]
        self.script.append({"arrive": {**sent, "message": {**sent["message"], **spoiled}}})

    def hello(self, incarnation: int = 1) -> None:
        self.arrive(Hello(session=self.terms.session, incarnation=incarnation))

    def parts(self, what: str, unit: int) -> tuple[Part, ...]:
        return whole(self.terms, sha(f"{what} {unit}"))

    def snapshot(self, unit: int = PREFILL_UNIT, epoch: int | None = None) -> None:
        parts = [part_json(p) for p in self.parts("snapshot", unit)]
        entry = {"epoch": self.epoch if epoch is None else epoch, "unit": unit, "parts": parts}
        self.script.append({"exported": entry})

    def offer(self, *units: int) -> None:
        for unit in units:
            parts = [part_json(p) for p in self.parts("slice", unit)]
            self.script.append({"offered": {"unit": unit, "parts": parts}})

    def digest(self, unit: int, what: str = "slice") -> str:
        return slice_digest(self.parts(what, unit))

    def ack(self, unit: int, what: str = "slice", **spoiled: Any) -> None:
        message = SliceAck(
            session=self.terms.session,
            epoch=self.epoch,
            unit=unit,
            digest=self.digest(unit, what),
            kv_len=kv_len_after(self.terms, unit),
        )
        self.arrive(message, **spoiled)

    def nack(self, unit: int, **spoiled: Any) -> None:
        length = 0 if unit == PREFILL_UNIT else kv_len_after(self.terms, unit - 1)
        name = self.terms.session
        message = SliceNack(session=name, epoch=self.epoch, unit=unit, kv_len=length)
        self.arrive(message, **spoiled)

    def latents(self, *units: int, **spoiled: Any) -> None:
        for unit in units:
            z = latents_digest(self.terms, unit)
            self.arrive(
                latents_message(self.terms, self.epoch, unit, self.digest(unit), z), **spoiled
            )

    def close(self, reason: str = "") -> None:
        self.arrive(Close(session=self.terms.session, epoch=self.epoch, reason=reason))

    def say(self, kind: str) -> None:
        """``timer``, ``finish`` or ``peer_lost``."""
        self.script.append({kind: {}})

    def begun(self) -> None:
        self.hello()
        self.snapshot()
        self.ack(PREFILL_UNIT, "snapshot")


def in_order(s: ThinkerStory) -> None:
    s.begun()
    for k in range(4):
        s.offer(k)
        s.ack(k)
        s.latents(k)
    s.say("finish")
    s.close()


def late_ack(s: ThinkerStory) -> None:
    s.begun()
    s.offer(0)
    s.latents(0)
    s.ack(0)
    s.ack(0)
    s.offer(1)
    s.latents(1)


def wrong_ack(s: ThinkerStory) -> None:
    s.begun()
    s.offer(0)
    s.ack(0, digest=sha("another"))


def resend(s: ThinkerStory) -> None:
    s.begun()
    s.offer(0)
    s.nack(0)
    s.nack(1)
    s.say("timer")
    s.ack(0)
    s.say("timer")
    s.nack(0)


def nack_of_the_future(s: ThinkerStory) -> None:
    s.begun()
    s.offer(0)
    s.nack(2)


def latents_once(s: ThinkerStory) -> None:
    s.begun()
    s.offer(0)
    s.latents(0, 0)
    s.offer(1)
    s.latents(0, 1, 1)


def latents_out_of_order(s: ThinkerStory) -> None:
    s.begun()
    s.offer(0, 1)
    s.latents(1, 1, 0, 1)


def latents_of_another_slice(s: ThinkerStory) -> None:
    s.begun()
    s.offer(0)
    s.latents(0, slice_digest=sha("another"))


def other_latents(s: ThinkerStory) -> None:
    s.begun()
    s.offer(0)
    s.latents(0)
    s.latents(0, digest=sha("another"))


def latents_never_asked_for(s: ThinkerStory) -> None:
    s.begun()
    s.offer(0)
    s.latents(1)


def another_session(s: ThinkerStory) -> None:
    s.begun()
    s.offer(0)
    s.latents(0, session="another")
    s.ack(0, session="another")
    s.latents(0)


def lost_performer(s: ThinkerStory) -> None:
    s.begun()
    s.offer(0)
    s.latents(0)
    s.offer(1)
    s.say("peer_lost")
    s.latents(1)
    s.epoch = 1
    s.hello(2)
    s.epoch = 2
    s.snapshot(0, epoch=1)
    s.snapshot(0)
    s.ack(0, "snapshot")
    s.latents(1)
    s.offer(2)
    s.latents(2)


def hello_again(s: ThinkerStory) -> None:
    s.hello()
    s.hello()
    s.snapshot()
    s.hello()
    s.hello(0)
    s.offer(0)
    s.latents(0)


def window(s: ThinkerStory) -> None:
    s.begun()
    s.offer(0, 1, 2)
    s.latents(0)
    s.offer(2, 3)
    s.latents(1)
    s.offer(3)


def before_hello(s: ThinkerStory) -> None:
    s.offer(0, 1, 2)
    s.say("timer")
    s.hello()
    s.snapshot()


def closing(s: ThinkerStory) -> None:
    s.begun()
    s.offer(0)
    s.say("finish")
    s.say("timer")
    s.latents(0)
    s.say("timer")
    s.ack(0)
    s.close()
    s.say("timer")


def accused(s: ThinkerStory) -> None:
    s.begun()
    s.offer(0)
    s.close("you sent nonsense")


@attrs.frozen
class Told:
    """A story, its clause, and by hand what it must come to: units decoded, in order, and how the
    session stands. The tables of `spec.exchange` give the rest."""

    clause: str
    tell: Callable[[ThinkerStory], None]
    decoded: tuple[int, ...]
    end: str = "open"
    modalities: Modalities = Modalities()


STORIES: Final[dict[str, Told]] = {
    "in-order": Told("WS-EXCHANGE-12", in_order, (0, 1, 2, 3), "closed"),
    "late-ack": Told("WS-EXCHANGE-7", late_ack, (0, 1)),
    "wrong-ack": Told("WS-EXCHANGE-7", wrong_ack, (), "failed"),
    "resend": Told("WS-EXCHANGE-13", resend, ()),
    "nack-of-the-future": Told("WS-EXCHANGE-8", nack_of_the_future, (), "failed"),
    "latents-once": Told("WS-EXCHANGE-9", latents_once, (0, 1)),
    "latents-out-of-order": Told("WS-EXCHANGE-9", latents_out_of_order, (0, 1)),
    "latents-of-another-slice": Told("WS-EXCHANGE-9", latents_of_another_slice, (), "failed"),
    "other-latents": Told("WS-EXCHANGE-9", other_latents, (0,), "failed"),
    "latents-never-asked-for": Told("WS-EXCHANGE-9", latents_never_asked_for, (), "failed"),
    "another-session": Told("WS-EXCHANGE-2", another_session, (0,)),
    "lost-performer": Told("WS-EXCHANGE-10", lost_performer, (0, 1, 2)),
    "hello-again": Told("WS-EXCHANGE-10", hello_again, (0,)),
    "window": Told("WS-EXCHANGE-11", window, (0, 1)),
    "before-hello": Told("WS-EXCHANGE-11", before_hello, ()),
    "closing": Told("WS-EXCHANGE-12", closing, (0,), "closed"),
    "accused": Told("WS-EXCHANGE-12", accused, (), "failed"),
    "words-alone": Told("WS-EXCHANGE-9", in_order, (0, 1, 2, 3), "closed", modalities=WORDS_ALONE),
}
IN_BOTH_SCHEDULES: Final = ("in-order", "latents-once", "words-alone")


def script_of(name: str, schedule: Schedule) -> list[Json]:
    """The script of a story."""
    story = ThinkerStory(schedule, STORIES[name].modalities)
    STORIES[name].tell(story)
    return story.script


def stories(context: Context) -> Iterator[Case]:
    """Every story under the overlapped schedule, plain ones under both (WS-EXCHANGE-9)."""
    return cases_of(STORIES, IN_BOTH_SCHEDULES, partial(_judge, context))


def _judge(context: Context, name: str, schedule: Schedule) -> str | None:
    script, told = script_of(name, schedule), STORIES[name]
    replies = context.port.exchange(script)
    reason = answers_differently(script, replies)
    if reason is not None:
        return f"story {name}, {reason}"
    # The end of the story as written down here, independent of the tables.
    decoded = tuple(unit for reply in replies for unit in reply["decode"])
    if decoded != told.decoded:
        return f"decoded responses {list(decoded)}, not {list(told.decoded)}"
    end = next((word for word in ("closed", "failed") if replies[-1][word]), "open")
    return None if end == told.end else f"the session is {end}, not {told.end}"


CHECKS = (
    Check(
        id="exchange/thinker",
        clauses=(
            *dict.fromkeys(told.clause for told in STORIES.values()),
            "WS-CONFORMANCE-8",
        ),
        profile="split",
        tolerance="A",
        cases=stories,
    ),
)
