"""The command that shows a verdict again, alone (WS-CONFORMANCE-10)."""

from __future__ import annotations

import shlex


def command(port_name: str, clause: str, profile: str | None = None) -> str:
    """A line for a shell."""
    chosen = "" if profile is None else f" --profile {profile}"
    return f"wanstreamer check --port {shlex.quote(port_name)}{chosen} --clause {clause}"
