"""The report folder: the log, and what is worked out from it (WS-CONFORMANCE-19)."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from conformance.reporting import events
from conformance.reporting.rendering.badge import badge
from conformance.reporting.rendering.junit import junit
from conformance.reporting.rendering.page import page
from conformance.reporting.rendering.summary import summary
from conformance.reporting.report import Report, as_json
from spec.errors import PortError

RENDERERS: Final[Mapping[str, Callable[[Report], str]]] = {
    "report.json": lambda report: json.dumps(as_json(report), indent=1) + "\n",
    "junit.xml": junit,
    "summary.md": summary,
    "badge.svg": badge,
    "report.html": page,
}
"""Every report by its file name; each is a function of the report alone."""


def write(report: Report, folder: Path) -> tuple[Path, ...]:
    """All reports, each whole or not at all.

    Raises:
        PortError: the folder cannot be made or written.
    """
    return tuple(put(folder / name, render(report)) for name, render in RENDERERS.items())


def rewrite(folder: Path) -> Report:
    """The reports of the log in ``folder``, once more: also of a run that was cut off.

    Raises:
        PortError: no log, or one that cannot be read.
    """
    report = Report.of(events.read(folder / events.LOG))
    write(report, folder)
    return report


def clear(folder: Path) -> None:
    """Remove the reports of an earlier run: they would be taken for those of a run that died.

    Raises:
        PortError: one of them cannot be removed.
    """
    for name in RENDERERS:
        try:
            (folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise events.unwritable(folder, error) from error


def put(path: Path, text: str) -> Path:
    """``text`` as the file ``path``, whole or not at all.

    Raises:
        PortError: the folder cannot be made or written.
    """
    partial = path.with_name(f".{path.name}-{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # A lone surrogate is no text; it is shown, like everything that is not.
            partial.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
            partial.replace(path)
        finally:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
    except OSError as error:
        raise events.unwritable(path.parent, error) from error
    return path


__all__ = ["PortError", "clear", "put", "rewrite", "write"]
