"""Seeded defects of the exchange: each shows in a campaign, and by what it breaks."""

from __future__ import annotations

import pytest

from simulator.campaign_kills import FILE, kill_of, kill_table, write_kill_table
from simulator.campaign_runs import run_one
from simulator.faults import RATES
from simulator.seeded_drivers import ALL_DEFECTS, DRIVER_DEFECTS
from simulator.world.judge import INVARIANTS
from simulator.world.machines import Machines

TABLE = kill_table()


def test_every_defect_has_been_killed() -> None:
    """WS-FAULTS-8: by an invariant that is one of WS-FAULTS-5, in a run that is named."""
    assert list(TABLE) == list(ALL_DEFECTS)
    assert len(TABLE) >= 20
    for kill in TABLE.values():
        assert kill.first_run >= 0
        assert set(kill.by_invariant) <= set(INVARIANTS)
        assert sum(kill.by_invariant.values()) > 0


@pytest.mark.parametrize("defect", ALL_DEFECTS)
def test_its_run_still_kills_it_and_not_the_truth(defect: str) -> None:
    """WS-FAULTS-5, WS-FAULTS-6, WS-FAULTS-8"""
    first = TABLE[defect].first_run
    machines = ALL_DEFECTS[defect]
    violations = run_one(0, first, RATES, machines).violations
    assert set(violations) & set(TABLE[defect].by_invariant)
    assert not run_one(0, first, RATES, Machines()).violations


def test_every_invariant_kills() -> None:
    """WS-FAULTS-8: an invariant that no defect breaks would judge nothing."""
    killing = {name for kill in TABLE.values() for name in kill.by_invariant}
    assert killing >= set(INVARIANTS)


def test_what_begins_too_early_is_shown_by_causality_alone() -> None:
    """WS-FAULTS-5, WS-TRACE-5: no other invariant would have found these."""
    early = [name for name in DRIVER_DEFECTS if "before" in name]
    assert len(early) == 4
    assert {tuple(TABLE[name].by_invariant) for name in early} == {("causality",)}


def test_the_table_is_made_of_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """WS-FAULTS-8: `kill_of` counts sessions by invariant, and the file gives back the table."""
    monkeypatch.setattr("simulator.campaign_kills.RUNS", 2)
    kill = kill_of("WS-EXCHANGE-5 seals with a layer missing")
    assert kill.first_run == TABLE["WS-EXCHANGE-5 seals with a layer missing"].first_run < 2
    assert set(kill.by_invariant) == {"append"}
    before = FILE.read_text("utf-8")
    write_kill_table(TABLE)
    assert FILE.read_text("utf-8") == before
