"""Two processes are one model: same outputs, same caches."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

import numpy as np

from conformance.case import Case, Check, Context
from conformance.checks.cache import PAD
from conformance.closeness import judge_all_close
from conformance.formulas.case import Exact
from conformance.formulas.exchange import kv_digest as kv_digest_of
from conformance.inputs import BARE, Content, base, identity, script_of
from conformance.programs import as_the_oracle, life_of
from conformance.protocol import (
    DType,
    OpenRequest,
    Refusal,
    SamplingInput,
    UnitInput,
    UnitOutput,
    Unsupported,
)
from conformance.recording import Script, copied
from conformance.relations import same
from spec.sizes import LAG_OF_SCHEDULE, Schedule

SHA_256: Final = re.compile("[0-9a-fA-F]{64}")


def equals_single(context: Context) -> Iterator[Case]:
    """The split's outputs against the single process's, bit by bit in float64 where the port
    claims an exact split, else in class C (WS-STREAMING-11)."""
    for schedule in LAG_OF_SCHEDULE:
        yield Case(name=schedule, judge=partial(_plain, context, schedule))
    yield Case(name="identity-and-numbers", judge=partial(_everything, context))
    yield Case(name="three-at-once", judge=partial(_three_at_once, context))


def _three_at_once(context: Context) -> str | None:
    """Sessions of one prompt that hear different things, in turn and back: each has caches of its
    own on both sides, whoever comes first (WS-SESSION-3)."""
    scripts = [
        base(BARE, "overlapped", context.dtype, units=3, forced=True, seed=seed)
        for seed in (0, 7, 9)
    ]
    sessions = [context.port.open(script.open) for script in scripts]
    outputs: list[list[UnitOutput]] = [[] for _ in scripts]
    try:
        for k in range(3):
            turn = list(zip(sessions, scripts, outputs, strict=True))
            for session, script, own in turn[::-1] if k % 2 else turn:
                own.extend(map(copied, context.port.step(session, script.units[k])))
        for session, own in zip(sessions, outputs, strict=True):
            own.extend(map(copied, context.port.finish(session)))
    finally:
        for session in sessions:
            context.port.close(session)
    lives = [life_of(script, own) for script, own in zip(scripts, outputs, strict=True)]
    return as_the_oracle(context, lives)


def _plain(context: Context, schedule: Schedule) -> str | None:
    dtype = context.in_sessions("float64")
    return _as_one(context, base(context.preset.name, schedule, dtype), dtype)


def _as_one(context: Context, script: Script, dtype: DType) -> str | None:
    if context.hello.exact_split and dtype == "float64":
        return same(context.oracle.record(script), context.run(script), range(len(script.units)))
    return judge_all_close(context, script, dtype, "stream")


def _everything(context: Context) -> str | None:
    """Both sides start from a prefill with picture and voice, and words are drawn on one of them
    (WS-PREFILL-1, WS-TEXT-1)."""
    context.need("identity")
    context.need("sampling")
    dtype = context.in_sessions("float64")
    request = OpenRequest(
        preset=BARE,
        schedule="overlapped",
        dtype=dtype,
        prompt=(72, 105),
        identity=identity(BARE, dtype, voice_ticks=3),
        sampling=SamplingInput(temperature=1.0, top_k=40),
    )
    return _as_one(context, script_of(request, [Content(text=(97,))] * 3), dtype)


def kv_digest(context: Context) -> Iterator[Case]:
    """After every unit, both roles' caches hold the same entries up to the last unit that both
    have committed (WS-STREAMING-6)."""
    for schedule in LAG_OF_SCHEDULE:
        script = base(context.preset.name, schedule, context.dtype)
        yield Case(name=schedule, judge=partial(_caches_agree, context, script))
    yield Case(
        name="padding-counts",
        clauses=("WS-STREAMING-6",),
        judge=partial(_padding_counts, context),
    )
    if "reset" in context.hello.features:
        yield Case(
            name="after-a-reset",
            clauses=("WS-STREAMING-6",),
            judge=partial(_after_reset, context),
        )


Digests = list[Mapping[str, str]]
"""Of both roles, after each unit in turn."""


def _caches_agree(context: Context, script: Script) -> str | None:
    if "kv_digest" not in context.hello.features:
        raise Unsupported("kv_digest")
    found, again = _digests(context, script)
    if again != found:
        k = next(k for k, (a, b) in enumerate(zip(found, again, strict=True)) if a != b)
        return f"up to unit {k - 1}: {dict(found[k])}, and at the end {dict(again[k])}"
    for k, digests in enumerate(found):
        if set(digests) != {"thinker", "performer"}:
            return f"digests of {sorted(digests)}, not of thinker and performer"
        if not all(SHA_256.fullmatch(digest) for digest in digests.values()):
            return f"{dict(digests)} are no SHA-256 in hex"
        if len(set(digests.values())) != 1:
            # Where sums come out otherwise each time, they do so in the two roles; what they hold
            # is then judged in class C, in `transfer/contents` (WS-CONFORMANCE-25).
            steady = context.hello.deterministic or _digests(context, script)[0] == found
            return f"caches differ up to unit {k - 1}: {dict(digests)}" if steady else None
    seen = {digest for digests in found for digest in digests.values()}
    if len(seen) != len(script.units):
        return f"{len(seen)} distinct digests after {len(script.units)} units"
    return None


def _digests(context: Context, script: Script) -> tuple[Digests, Digests]:
    session = context.port.open(script.open)
    try:
        return _digests_of(context, session, script.units)
    finally:
        context.port.close(session)


def _digests_of(
    context: Context, session: str, units: Sequence[UnitInput]
) -> tuple[Digests, Digests]:
    """What both caches hold up to the last unit that both have committed; and, at the end, what
    they hold up to each unit."""
    found: Digests = []
    for unit in units:
        context.port.step(session, unit)
        # What comes of a unit that is not committed is free, and it must not be kept.
        with suppress(Refusal):
            context.port.kv_digest(session, unit.unit)
        # z_k is handed over at the next boundary: k - 1 is the newest that both have committed.
        found.append(context.port.kv_digest(session, unit.unit - 1))
    return found, [context.port.kv_digest(session, unit.unit - 1) for unit in units]


def _after_reset(context: Context) -> str | None:
    """Of other units after a reset the digests are others, but for that of the prefill."""
    context.need("kv_digest")
    before, after = (
        base(BARE, "overlapped", context.dtype, units=3, forced=True, seed=seed) for seed in (0, 7)
    )
    session = context.port.open(before.open)
    try:
        old, _ = _digests_of(context, session, before.units)
        context.port.reset(session)
        new, again = _digests_of(context, session, after.units)
    finally:
        context.port.close(session)
    for k, (a, b, late) in enumerate(zip(old, new, again, strict=True)):
        if k and set(a.values()) & {*b.values(), *late.values()}:
            return f"after a reset, up to unit {k - 1} of other units: still {dict(a)}"
    return None


def _padding_counts(context: Context) -> str | None:
    """Padding counts: the digest is not that of what `export_kv` shows without it. A port may keep
    more digits than it exports, so that it is the digest of all that is shown cannot be asked."""
    context.need("kv_digest")
    context.need("kv_transfer")
    script = base(BARE, "overlapped", context.dtype, units=3, forced=True)
    session = context.port.open(script.open)
    try:
        for unit in script.units:
            context.port.step(session, unit)
        digests = context.port.kv_digest(session, 1)
        state = context.port.export_kv(session)
    finally:
        context.port.close(session)
    for role, entries in state.roles.items():
        used = np.flatnonzero(entries.rows[:, PAD] == 0)
        if len(used) == len(entries.rows):
            # It holds none.
            continue
        tensors = {
            "rows": entries.rows[used],
            "keys": entries.keys[:, :, used],
            "values": entries.values[:, :, used],
        }
        (bare,) = kv_digest_of({"up_to_unit": 1, "dtype": context.dtype}, tensors).values()
        assert isinstance(bare, Exact)
        if digests.get(role, "").lower() == bare.value.tobytes().hex():
            return f"{role}: the digest leaves out padding"
    return None


CHECKS = (
    Check(
        id="streaming/split-equals-single",
        clauses=("WS-STREAMING-11",),
        profile="split",
        tolerance="A",
        cases=equals_single,
    ),
    Check(
        id="streaming/kv-digest",
        clauses=(
            "WS-STREAMING-6",
            "WS-STREAMING-3",
            "WS-STREAMING-5",
            "WS-STREAMING-8",
            "WS-STREAMING-9",
        ),
        profile="split",
        tolerance="A",
        cases=kv_digest,
    ),
)
