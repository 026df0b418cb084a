"""The text of a clause, for a screen of any width: pages are wrapped by hand, screens are not."""

from __future__ import annotations

import re
from typing import Final

from markupsafe import Markup, escape

from conformance.stdio.untrusted import visible

STARTS_A_LINE: Final = re.compile(r"\s*([-*|#>]|\d+\. |$)|    ")
"""A list, a table, a heading, a quotation, a formula, an empty line."""


def reflowed(text: str) -> str:
    """``text`` with each paragraph on one line; lists, tables and code keep theirs."""
    lines: list[str] = []
    code = False
    for line in text.splitlines():
        fence = line.startswith("```")
        own = code or fence or not lines or STARTS_A_LINE.match(line) or not lines[-1].strip()
        if own or lines[-1].startswith(("```", "|", "    ")):
            lines.append(line)
        else:
            lines[-1] += f" {line.strip()}"
        code ^= fence
    return "\n".join(lines)


def prose(text: str) -> Markup:
    """The Markdown of a clause, as far as clauses use it: code spans and emphasis."""
    html = str(escape(visible(reflowed(text), 20_000)))
    html = re.sub(r"`([^`]+)`", r"<code>\1</code>", html)
    html = re.sub(r"(?<!\w)\*([^*\n]+)\*(?!\w)", r"<em>\1</em>", html)
    # What is escaped above cannot bring an element of its own.
    return Markup(html)  # noqa: S704
