"""The command that shows a verdict again, alone (WS-CONFORMANCE-10)."""

from __future__ import annotations

import shlex


def command(
    port_name: str, clause: str, profile: str | None = None, case: str | None = None
) -> str:
    """A line for a shell; a port called ``files:FOLDER`` is a folder that it has answered."""
    if port_name.startswith("files:"):
        return f"wanstreamer vectors judge {shlex.quote(port_name.removeprefix('files:'))}"
    chosen = "" if profile is None else f" --profile {profile}"
    alone = "" if case is None else f" --case {shlex.quote(case)}"
    return f"wanstreamer check --port {shlex.quote(port_name)}{chosen} --clause {clause}{alone}"
