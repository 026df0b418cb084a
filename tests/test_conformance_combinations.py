"""WS-CONFORMANCE-14: sessions in which everything is combined, and what they find."""

from __future__ import annotations

from itertools import combinations

import pytest
from port_judging import judged

from conformance.checks.combinations import FACTORS, pairs, rows
from conformance.mutants import MUTANTS


def test_every_two_choices_meet() -> None:
    met = set().union(*map(pairs, rows()))
    for a, b in combinations(sorted(FACTORS), 2):
        for x in FACTORS[a]:
            for y in FACTORS[b]:
                assert ((a, x), (b, y)) in met
    # A session for each pair would be some hundreds.
    assert len(rows()) < 60


@pytest.mark.parametrize("name", ["auto-chunk-cuts-picture", "returned-narrow-without-video"])
def test_ws_conformance_14_a_port_that_is_wrong_with_both_is_found(name: str) -> None:
    report = judged(MUTANTS[name].factory(), "session/combinations")
    assert report.exit_status == 1
    failed = [case for case in report.cases if case.verdict.value != "pass"]
    assert {case.verdict.value for case in failed} == {"fail"}
    # With one of the two it is right.
    assert len(failed) < len(report.cases) / 2
