"""Approves the checks of clauses for the clauses' present text (WS-CLAUSES-2, WS-CONFORMANCE-22).

    python scripts/approve_clauses.py                   says what waits for approval
    python scripts/approve_clauses.py WS-FLOW-4 ...     approves these, after their checks were read
    python scripts/approve_clauses.py --new             approves those that never were

A clause whose text has changed may demand something else than its checks judge: read both first.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from conformance.checks.registry import CLAUSES
from conformance.reporting.rendering.files import put
from conformance.reporting.trace_matrix import APPROVED, approved, changed
from spec.clauses import registry

HEAD = """\
# For which text of a clause its checks were approved: clause = SHA-256 of the text (WS-CLAUSES-2).
# Written by scripts/approve_clauses.py; a clause that has changed since is named by the tests.

[approved]
"""


def written(digests: Mapping[str, str]) -> str:
    """The file, in the order of the pages."""
    lines = [f'{c} = "{digests[c]}"\n' for c in registry() if c in digests]
    return HEAD + "".join(lines)


def main(names: Sequence[str]) -> int:
    if not names:
        print("\n".join(changed()) or "every clause with checks is approved")
        return int(bool(changed()))
    chosen = [c for c in CLAUSES if c not in approved()] if "--new" in names else list(names)
    strangers = [name for name in chosen if name not in CLAUSES]
    if strangers:
        print(f"no check judges {', '.join(strangers)}", file=sys.stderr)
        return 2
    now = {name: registry()[name].text_sha256 for name in chosen}
    put(APPROVED, written({**{c: d for c, d in approved().items() if c in CLAUSES}, **now}))
    print(f"approved: {', '.join(chosen) or 'nothing new'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
