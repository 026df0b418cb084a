"""Overload policies: what a thinker does when user units wait for it (WS-FAULTS-10).

A policy looks at one number, how many units wait behind the one that is about to begin, and says
which waiting units are left out and how much work the next response is worth. It never touches the
exchange: a unit that is left out gets no number, so slices and responses stay contiguous.
Source: design §13 (CHOICE of the five and of their numbers).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import attrs

from spec.errors import ConfigError

ALL: Final = 1_000_000
"""Everything, in parts per million."""

BACKLOG: Final = 2
"""Units that may wait before a policy acts: one is normal, since units come while others run."""

VIDEO_SHARE: Final = 800_000
"""Part of solver and decoder work that video stands for, in parts per million (28 of 32 tokens of
a unit are video, but attention to the cache is shared)."""


@attrs.frozen(kw_only=True)
class Effort:
    """How much work one response gets (WS-FAULTS-10).

    ``solve_ppm``, ``decode_ppm``: share of the stage's time. ``steps_lost``: solver steps left out,
    of ``steps``: the proxy for quality. ``repeated``: the latents of the response before are sent
    again. ``video``: false when only audio is solved and decoded.
    """

    solve_ppm: int = ALL
    decode_ppm: int = ALL
    steps_lost: int = 0
    repeated: bool = False
    video: bool = True


FULL: Final = Effort()


@attrs.frozen(kw_only=True)
class Policy:
    """One way to shed load (WS-FAULTS-10).

    ``skips``: how many of the oldest waiting units are left out, by how many wait behind the
    oldest. ``effort``: of the next response, by the same number and the preset's solver steps.
    """

    name: str
    skips: Callable[[int], int]
    effort: Callable[[int, int], Effort]


def _keep_all(_backlog: int) -> int:
    return 0


def _full(_backlog: int, _steps: int) -> Effort:
    return FULL


def _skip_one(backlog: int) -> int:
    return 1 if backlog > BACKLOG else 0


def _only_newest(backlog: int) -> int:
    return backlog if backlog > BACKLOG else 0


def _fewer_steps(backlog: int, steps: int) -> Effort:
    """One step less for each unit that waits too long, down to a single one."""
    lost = min(max(backlog - BACKLOG, 0), steps - 1)
    return Effort(solve_ppm=ALL * (steps - lost) // steps, steps_lost=lost) if lost else FULL


def _repeat(backlog: int, steps: int) -> Effort:
    if backlog <= BACKLOG:
        return FULL
    return Effort(solve_ppm=0, steps_lost=steps, repeated=True)


def _audio_only(backlog: int, _steps: int) -> Effort:
    if backlog <= BACKLOG:
        return FULL
    return Effort(solve_ppm=ALL - VIDEO_SHARE, decode_ppm=ALL - VIDEO_SHARE, video=False)


POLICIES: Final[Mapping[str, Policy]] = {
    policy.name: policy
    for policy in (
        Policy(name="none", skips=_keep_all, effort=_full),
        Policy(name="skip", skips=_skip_one, effort=_full),
        Policy(name="fewer-steps", skips=_keep_all, effort=_fewer_steps),
        Policy(name="repeat-latents", skips=_keep_all, effort=_repeat),
        Policy(name="audio-only", skips=_keep_all, effort=_audio_only),
        Policy(name="drop-to-live", skips=_only_newest, effort=_full),
    )
}
"""Policies by name; ``none`` lets units wait."""


def policy_named(name: str) -> Policy:
    """The policy of that name.

    Raises:
        ConfigError: an unknown name.
    """
    if name not in POLICIES:
        raise ConfigError("policy", name, ", ".join(POLICIES))
    return POLICIES[name]


@attrs.define
class Cost:
    """What a policy cost one session (WS-FAULTS-10).

    ``units_skipped``: user units that were never heard. ``frames_repeated``: video frames shown
    again for want of new ones. ``steps_lost``: solver steps left out.
    """

    units_skipped: int = 0
    frames_repeated: int = 0
    steps_lost: int = 0
