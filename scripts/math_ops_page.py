"""Writes `docs/math-ops.md`: every formula that a port of the math profile can be asked.

Run it after an op, its signature or its clauses have changed.
"""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from conformance.formulas.ops import OPS, questions
from conformance.reporting.rendering.files import put

PAGE = Path(__file__).resolve().parents[1] / "docs/math-ops.md"
HEAD = """\
# The formulas of the math profile

What the command `math` is asked (WS-CONFORMANCE-16). Before the arrow stand the plain arguments,
then, after a semicolon, the arrays with their shapes; behind it the results. Floats are float64 in
requests of that dtype and float32 in all others, where no other dtype is named. Class A is
bit-exact, class B element by element, class C a sum (WS-CONFORMANCE-9). This page is written by
`scripts/math_ops_page.py`; the expected values stand in `conformance/formulas/`, and
`examples/ports/c_math/` answers all but those of latency, cost and training in C.
"""


def page() -> str:
    """The whole file."""
    parts = [HEAD]
    for topic, ops in groupby(OPS.values(), key=lambda op: op.topic):
        parts.append(
            f"\n## {topic}\n\n| op | asks and gives | clauses | class |\n|---|---|---|---|\n"
        )
        for op in ops:
            asked = (q for _, q in questions(op, ("float32", "float64")))
            clauses = dict.fromkeys(clause for q in asked for clause in q.clauses)
            text = op.signature.replace("|", "\\|")
            parts.append(f"| `{op.name}` | {text} | {', '.join(clauses)} | {op.tolerance} |\n")
    return "".join(parts)


if __name__ == "__main__":
    put(PAGE, page())
