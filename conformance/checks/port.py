"""Honesty: a port says who it is, and does not claim what it has never heard of."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from conformance.case import Case, Check, Context
from conformance.inputs import base
from conformance.protocol import OPTIONAL_FEATURES, PROFILES, PROTOCOL_VERSION, Profile, Refusal

FEATURES_OF: dict[Profile, tuple[str, ...]] = {
    "math": ("math",),
    "codec": ("codec",),
    "session": ("session",),
    "split": ("session", "exchange"),
    "latency": ("session",),
}
"""Commands that a profile cannot do without (WS-CONFORMANCE-5)."""


def honest(context: Context) -> Iterator[Case]:
    """The first questions of every run (WS-CONFORMANCE-2, WS-CONFORMANCE-3)."""
    yield Case(
        name="unknown-feature", clauses=("WS-CONFORMANCE-3",), judge=partial(_unknown, context)
    )
    yield Case(name="hello", clauses=("WS-CONFORMANCE-2",), judge=partial(_hello, context))
    yield Case(
        name="claims", clauses=("WS-CONFORMANCE-3",), judge=partial(_claims_are_kept, context)
    )
    if "session" in context.hello.features:
        yield Case(
            name="unknown-session", clauses=("WS-CONFORMANCE-4",), judge=partial(_stranger, context)
        )


def _unknown(context: Context) -> str | None:
    stranger = context.unknown_feature
    # Also under the name of something that exists, with more behind it.
    for feature in (stranger, f"session-{stranger}"):
        if context.port.supports(feature) or feature in context.hello.features:
            return f"claims to support {feature}, which does not exist"
    # Names are compared letter by letter.
    known = {*context.hello.features, *context.hello.dtypes}
    for name in sorted(known):
        wide = chr(ord(name[0]) + 0xFEE0) + name[1:]
        others = (
            *(name.upper(), name.capitalize(), name.replace("_", "-"), wide),
            *(f" {name}", f"{name} ", f"{name}\n", name[:-1]),
        )
        for feature in others:
            # A port may have features of its own, one of which is another's name cut short.
            if feature not in known and context.port.supports(feature):
                return f"claims to support {feature!r}, which is not the name of {name}"
    return None


def _hello(context: Context) -> str | None:
    hello = context.hello
    if hello.protocol != PROTOCOL_VERSION:
        return f"speaks protocol {hello.protocol}, not {PROTOCOL_VERSION}"
    if not hello.name.strip() or not hello.version.strip():
        return "has no name or no version"
    if not hello.profiles or not hello.dtypes:
        return "claims no profile or no dtype"
    for profile in PROFILES:
        missing = set(FEATURES_OF[profile]) - set(hello.features)
        if profile in hello.profiles and missing:
            return f"claims profile {profile} without {sorted(missing)}"
    return None


def _claims_are_kept(context: Context) -> str | None:
    for feature in (*context.hello.features, *context.hello.dtypes):
        if not context.port.supports(feature):
            return f"hello names {feature}, supports() denies it"
    for feature in OPTIONAL_FEATURES - set(context.hello.features) - set(context.hello.dtypes):
        if context.port.supports(feature):
            return f"supports() claims {feature}, hello does not name it"
    return None


def _stranger(context: Context) -> str | None:
    unit = base(context.preset.name, context.preset.schedule, context.dtype).units[0]
    try:
        context.port.step("no-such-session", unit)
    except Refusal:
        return None
    return "stepped a session that was never opened"


CHECKS = (
    Check(
        id="port/honest",
        clauses=("WS-CONFORMANCE-2", "WS-CONFORMANCE-3", "WS-CONFORMANCE-4"),
        profile=None,
        tolerance="A",
        cases=honest,
    ),
)
