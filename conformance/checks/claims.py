"""Claims are kept: what `hello` names is done when it is asked for, and asked again, done alike.

An optional feature that is not claimed costs its cases (WS-CONFORMANCE-3). One that is claimed and
then answered "unsupported" would cost them too, and nobody would see it; so each is asked for once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

import attrs

from conformance.case import Case, Check, Context
from conformance.checks.codec_memory import signal
from conformance.checks.identity import who_of
from conformance.checks.port import FEATURES_OF
from conformance.formulas.case import Op, Question
from conformance.formulas.ops import FEATURES, OPS, questions
from conformance.inputs import BARE, base
from conformance.protocol import (
    PARTS,
    Array,
    CodecRequest,
    DType,
    LoadRequest,
    MathRequest,
    OpenRequest,
    Part,
    SamplingInput,
    Unsupported,
)
from conformance.tolerance import first_difference, same_bits

ASKED: Final = 7
"""Times that the same is asked."""
SETTLES: Final = 3
"""Times that a port may change how it rounds before it counts as one that does not repeat."""

Do = Callable[[str], object]


def claims(context: Context) -> Iterator[Case]:
    """One case a claim (WS-CONFORMANCE-2, WS-CONFORMANCE-3)."""
    hello = context.hello
    yield Case(
        name="same-hello", clauses=("WS-CONFORMANCE-2",), judge=partial(_same_hello, context)
    )
    kept = partial(Case, clauses=("WS-CONFORMANCE-3", "WS-CONFORMANCE-2"))
    for feature in sorted(_acts(context).keys() & set(hello.features)):
        yield kept(name=f"does-{feature}", judge=partial(_does, context, feature))
    for dtype in hello.dtypes:
        yield kept(name=f"does-{dtype}", judge=partial(_does_dtype, context, dtype))
    # Every port is asked, so that one without the claim does not execute too little.
    for command, judge in (("math", _math_repeats), ("codec", _codec_repeats)):
        yield Case(
            name=f"{command}-repeats",
            clauses=("WS-CONFORMANCE-2",),
            judge=partial(_repeats, context, command, judge),
        )


def _same_hello(context: Context) -> str | None:
    def again(when: str) -> str | None:
        said, known = context.port.hello(), context.hello
        if said != known:
            return f"said {known}, and {when} {said}"
        denied = [name for name in known.features if not context.port.supports(name)]
        return f"{when} denies {denied[0]}" if denied else None

    reason = again("then") or _loaded_anew(context, again)
    if reason is not None or "session" not in context.hello.features:
        return reason
    during: list[str | None] = []
    _in_session(context, context.dtype, lambda _: during.append(again("while a session is open")))
    return during[0] or again("after a session")


def _loaded_anew(context: Context, again: Callable[[str], str | None]) -> str | None:
    """What was asked for last is not what a port is."""
    if "load" not in context.hello.features:
        return None
    for dtype in context.hello.dtypes[1:]:
        with suppress(Unsupported):
            context.port.load(LoadRequest(preset=BARE, dtype=dtype))
    return again("after weights were loaded")


def _in_session(context: Context, dtype: DType, do: Do) -> None:
    """``do`` with a session that has taken one unit."""
    script = base(BARE, "overlapped", dtype, units=1)
    session = context.port.open(script.open)
    try:
        context.port.step(session, script.units[0])
        do(session)
    finally:
        context.port.close(session)


def _opens(context: Context, request: OpenRequest) -> None:
    context.port.close(context.port.open(request))


def _acts(context: Context) -> Mapping[str, Callable[[], object]]:
    """The smallest request for each optional feature but the dtypes."""
    port, dtype = context.port, context.dtype
    one = base(BARE, "overlapped", dtype, units=1)
    two = base(BARE, "overlapped", dtype, units=2)
    sessions: Mapping[str, Do] = {
        "reset": port.reset,
        "probe": lambda session: port.probe(session, two.units[1]),
        "kv_digest": lambda session: port.kv_digest(session, -1),
        "kv_transfer": lambda session: port.import_kv(session, port.export_kv(session)),
    }
    opened_with: Mapping[str, Any] = {
        "identity": who_of(context),
        # The prefill is the prompt behind one token of its own (WS-SESSION-2).
        "prefill_chunks": (1, len(one.open.prompt)),
        "sampling": SamplingInput(temperature=0.7),
    }
    return {
        "load": lambda: port.load(LoadRequest(preset=BARE, dtype=dtype)),
        "offline": lambda: port.offline(one.open, one.units),
        **{name: partial(_ask_first, context, name) for name in FEATURES[1:]},
        **{name: partial(_in_session, context, dtype, do) for name, do in sessions.items()},
        **{
            name: partial(_opens, context, attrs.evolve(one.open, **{name: value}))
            for name, value in opened_with.items()
        },
    }


def _does(context: Context, feature: str) -> str | None:
    try:
        _acts(context)[feature]()
    except Unsupported as unsupported:
        return f"hello names {feature}; asked for, it is unsupported ({unsupported.feature})"
    return None


def _does_dtype(context: Context, dtype: DType) -> str | None:
    """In one of the commands that the port has, at least; the main one in all that its profiles
    need."""
    features = context.hello.features
    needed = {command for profile in context.hello.profiles for command in FEATURES_OF[profile]}
    acts: Mapping[str, Callable[[], object]] = {
        "math": lambda: _some_formula(context, dtype),
        "codec": lambda: _run(context, "audio_encoder", dtype),
        "session": lambda: _in_session(context, dtype, lambda _: None),
    }
    if dtype != context.dtype:
        # One command is enough, and it may be one that is nobody's duty.
        one = base(BARE, "overlapped", dtype, units=1)
        acts = {
            **acts,
            "offline": lambda: context.port.offline(one.open, one.units),
            "load": lambda: context.port.load(LoadRequest(preset=BARE, dtype=dtype)),
        }
    done = False
    for command, act in acts.items():
        if command in features:
            try:
                act()
            except Unsupported:
                if dtype == context.dtype and command in needed:
                    return f"hello names {dtype} first, and {command} does not do it"
                continue
            done = True
            if dtype != context.dtype:
                break
    return None if done else f"hello names {dtype}, and no command does it"


def _ask_first(context: Context, feature: str) -> Mapping[str, Array]:
    """The first good question about a formula of this feature."""
    return _ask(context, *next(_good(feature, context.dtype)))


def _good(feature: str, dtype: DType) -> Iterator[tuple[Op, Question, DType]]:
    """One good question about each formula of this feature."""
    for op in OPS.values():
        asked = (q for _, q in questions(op, (dtype,)) if not q.refused)
        question = next(asked, None)
        if op.feature == feature and question is not None:
            yield op, question, dtype


def _some_formula(context: Context, dtype: DType) -> None:
    """Raise `Unsupported` unless one formula is answered in ``dtype``: a port may have few yet."""
    for op, question, _ in _good("math", dtype):
        if op.per_dtype:
            with suppress(Unsupported):
                _ask(context, op, question, dtype)
                return
    raise Unsupported(dtype)


def _ask(context: Context, op: Op, question: Question, dtype: DType) -> Mapping[str, Array]:
    return context.port.math(
        MathRequest(op=op.name, dtype=dtype, arguments=question.arguments, tensors=question.tensors)
    )


def _run(context: Context, part: Part, dtype: DType) -> Array:
    request = CodecRequest(preset=BARE, dtype=dtype, part=part, plan=(1, 1))
    return context.port.codec(request, signal(part, dtype, 2))


def _repeats(context: Context, command: str, judge: Callable[[Context], str | None]) -> str | None:
    hello = context.hello
    return judge(context) if hello.deterministic and command in hello.features else None


def _math_repeats(context: Context) -> str | None:
    """The first question about every formula that the port has; the profile asks for the others."""
    for feature in FEATURES:
        if feature not in context.hello.features:
            continue
        for op, question, dtype in _good(feature, context.dtype):
            answers: list[Mapping[str, Array]] = []
            with suppress(Unsupported):
                answers = [_ask(context, op, question, dtype) for _ in range(ASKED)]
            for name in answers[0] if answers else ():
                reason = _alike([answer[name] for answer in answers])
                if reason is not None:
                    return f"claims to be deterministic: {op.name}, {name} {reason}"
    return None


def _codec_repeats(context: Context) -> str | None:
    for part in PARTS:
        runs: list[Array] = []
        with suppress(Unsupported):
            runs = [_run(context, part, context.dtype).copy() for _ in range(ASKED)]
        reason = _alike(runs) if runs else None
        if reason is not None:
            return f"claims to be deterministic: {part} {reason}"
    return None


def _alike(answers: Sequence[Array]) -> str | None:
    """What differs between two answers, unless the port only settled: one that compiles or tunes
    rounds otherwise from then on, and never as before."""
    left: list[Array] = []
    now = answers[0]
    for answer in answers[1:]:
        if same_bits(now, answer):
            continue
        left.append(now)
        if len(left) == SETTLES or any(same_bits(old, answer) for old in left):
            return first_difference(now, answer)
        now = answer
    return None


CHECKS = (
    Check(
        id="port/claims",
        clauses=("WS-CONFORMANCE-2", "WS-CONFORMANCE-3"),
        profile=None,
        tolerance="A",
        cases=claims,
    ),
)
