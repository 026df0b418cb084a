"""A badge for a port's own page: what was judged, and the verdict."""

from __future__ import annotations

from typing import Final

from jinja2 import Template

from conformance.reporting.report import Report
from conformance.verdicts import Verdict

COLOUR: Final = {
    Verdict.PASS: "#2e7d32",
    Verdict.FAIL: "#c62828",
    Verdict.ERROR: "#c62828",
    Verdict.INCONCLUSIVE: "#8a6100",
    Verdict.UNSUPPORTED: "#5f6368",
    Verdict.WAIVED: "#00695c",
}
CHARACTER: Final = 6.6
"""Width of a character at 11 px, on the safe side."""

SVG: Final = Template(
    """\
<svg xmlns="http://www.w3.org/2000/svg" width="{{ left + right }}" height="20" role="img"
     aria-label="{{ label }}: {{ says }}">
  <title>{{ label }}: {{ says }}</title>
  <rect width="{{ left + right }}" height="20" rx="3" fill="{{ colour }}"/>
  <path d="M3 0h{{ left - 3 }}v20h-{{ left - 3 }}a3 3 0 0 1-3-3v-14a3 3 0 0 1 3-3z" fill="#444"/>
  <g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle">
    <text x="{{ left / 2 }}" y="14">{{ label }}</text>
    <text x="{{ left + right / 2 }}" y="14">{{ says }}</text>
  </g>
</svg>
""",
    autoescape=True,
    keep_trailing_newline=True,
)


def badge(report: Report) -> str:
    """An SVG of one line: profile, verdict, and how many of the cases that were judged passed."""
    label = f"Wan-Streamer {report.case or report.clause or report.profile}"
    counts = report.counts
    judged = len(report.cases) - counts["unsupported"]
    says = f"{report.verdict.value} {counts['pass']}/{judged}"
    svg: str = SVG.render(
        label=label,
        says=says,
        colour=COLOUR[report.verdict],
        left=round(len(label) * CHARACTER) + 12,
        right=round(len(says) * CHARACTER) + 12,
    )
    return svg
