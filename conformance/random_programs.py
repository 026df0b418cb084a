"""Random programs over several sessions, and the smallest that a port gets wrong.

Hypothesis draws them from a fixed seed, so every run asks the same; what fails is shrunk to a
minimal list of plain steps. A draw is a list of small acts that always make a program: an act that
does not apply (a session is not open yet, two sessions differ in their request) opens the session,
or does nothing, so that shrinking may leave out any of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs
import cattrs
from hypothesis import HealthCheck, Phase, find, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from conformance.inputs import BARE, Content, Signal
from conformance.programs import Step, ended
from conformance.protocol import DType, OpenRequest
from spec.layout import Modalities
from spec.presets import preset_named
from spec.sizes import Schedule

EXAMPLES: Final = 16
MIN_ACTS: Final = 3
MAX_ACTS: Final = 12
MAX_SHRINKS: Final = 50
"""Programs that are tried beyond that to make a failure smaller."""

SESSIONS: Final = ("a", "b")
MODALITIES: Final = (
    Modalities(),
    Modalities(user_video=False, agent_video=False),
    Modalities(user_audio=False, agent_text=False),
    Modalities(user_text=False, agent_audio=False),
)


@attrs.frozen(kw_only=True)
class Act:
    """What is done to a session: "step", "reset", "again" (closed and opened once more) or "move"
    (its state goes to ``to``)."""

    do: str
    session: str
    content: Content = Content()
    to: str = ""


@attrs.frozen(kw_only=True)
class Draw:
    """Requests of the sessions by name, and the acts in order."""

    requests: tuple[OpenRequest, ...]
    acts: tuple[Act, ...]


def draws(dtype: DType, features: Sequence[str]) -> st.SearchStrategy[Draw]:
    """Programs of up to two sessions that use only what the port claims."""
    vocab = preset_named(BARE).tokenizer.vocab_size
    slots = preset_named(BARE).agent_text_slots
    ids = st.integers(0, vocab - 1)
    schedules: tuple[Schedule, ...] = ("overlapped", "sequential")
    request = st.builds(
        OpenRequest,
        preset=st.just(BARE),
        schedule=st.sampled_from(schedules),
        dtype=st.just(dtype),
        modalities=st.sampled_from(MODALITIES),
        prompt=st.lists(ids, max_size=4).map(tuple),
    )
    signals: tuple[Signal, ...] = ("drawn", "zero", "constant", "loud")
    content = st.builds(
        Content,
        seed=st.integers(0, 3),
        text=st.lists(ids, max_size=2).map(tuple),
        agent_text=st.tuples(*[ids] * slots),
        audio=st.sampled_from(signals),
        video=st.sampled_from(signals),
        noise=st.sampled_from(signals),
    )
    session = st.sampled_from(SESSIONS)
    # A step is the most likely, and what shrinking makes of everything that may be one.
    kinds = ["step"] * 7 + ["again"]
    kinds += ["reset"] * 2 if "reset" in features else []
    kinds += ["move"] * 2 if "kv_transfer" in features else []
    act = st.builds(Act, do=st.sampled_from(kinds), session=session, content=content, to=session)
    # A state can only be moved between sessions of the same request.
    both = st.one_of(request.map(lambda r: (r,) * len(SESSIONS)), st.tuples(request, request))
    return st.builds(
        Draw,
        requests=both,
        acts=st.lists(act, min_size=MIN_ACTS, max_size=MAX_ACTS).map(tuple),
    )


def program_of(draw: Draw) -> list[Step]:
    """The commands of a draw; every session that was opened is finished and closed."""
    requests = dict(zip(SESSIONS, draw.requests, strict=True))
    program: list[Step] = []
    is_open: list[str] = []

    def open_once(session: str) -> None:
        if session not in is_open:
            is_open.append(session)
            program.append(Step(do="open", session=session, request=requests[session]))

    for act in draw.acts:
        open_once(act.session)
        if act.do == "step":
            content = act.content
            if not requests[act.session].modalities.agent_text:
                content = attrs.evolve(content, agent_text=None)
            program.append(Step(do="step", session=act.session, content=content))
        elif act.do == "reset":
            program.append(Step(do="reset", session=act.session))
        elif act.do == "again":
            program.append(Step(do="close", session=act.session))
            is_open.remove(act.session)
            open_once(act.session)
        elif requests[act.to] == requests[act.session]:
            open_once(act.to)
            program.append(Step(do="export", session=act.session, state="s"))
            program.append(Step(do="import", session=act.to, state="s"))
    for session in is_open:
        program += ended(session)
    return program


def smallest_failure(
    drawn: st.SearchStrategy[Draw], judge: Callable[[list[Step]], str | None]
) -> tuple[list[Step], str] | None:
    """The smallest program found that ``judge`` faults, with what it said; None if none was."""
    known: dict[str, str | None] = {}

    def fails(draw: Draw) -> bool:
        program = program_of(draw)
        key = to_json(program)
        if key not in known:
            if len(known) >= EXAMPLES + MAX_SHRINKS:
                return False
            known[key] = judge(program)
        return known[key] is not None

    try:
        draw = find(
            drawn,
            fails,
            settings=settings(
                max_examples=EXAMPLES,
                derandomize=True,
                database=None,
                deadline=None,
                phases=(Phase.generate, Phase.shrink),
                suppress_health_check=list(HealthCheck),
            ),
        )
    except NoSuchExample:
        return None
    program = program_of(draw)
    return program, known[to_json(program)] or ""


def to_json(program: Sequence[Step]) -> str:
    """A program as one line of JSON; what has its default value is left out."""
    return json.dumps([_lean(step) for step in program], separators=(",", ":"))


def from_json(text: str) -> list[Step]:
    """The program that `to_json` wrote."""
    return cattrs.structure(json.loads(text), list[Step])


def _lean(value: Any) -> Any:
    if not attrs.has(type(value)):
        return value
    return {
        field.name: _lean(getattr(value, field.name))
        for field in attrs.fields(type(value))
        if getattr(value, field.name) != field.default
    }
