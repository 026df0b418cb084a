"""Campaigns: the same result for any number of workers, and none for what was never reached."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TextIO

import attrs
import pytest
from click.testing import CliRunner

from simulator import campaign, campaign_runs
from simulator.campaign import SOMETIMES, run_campaign
from simulator.faults import RATES, FaultKind
from simulator.world.run import Setup, WorldReport, run_world
from simulator.world.trace import Recorder
from spec.errors import ConfigError, WanStreamerError
from spec.trace import Kind, TraceEvent
from spec.trace_reading import read_trace
from wanstreamer.simulate import simulate_command


def test_the_true_machines_have_no_violation() -> None:
    """WS-FAULTS-8: and the runs are drawn, run and counted the same with two workers."""
    alone = run_campaign(800, RATES, seed=1)
    assert alone.clean
    assert alone.units >= 800
    assert alone.outcomes.total() == 2 * alone.runs
    together = run_campaign(800, RATES, seed=1, workers=2)
    assert together == alone
    assert run_campaign(500, RATES, seed=2).sha256 != alone.sha256


def test_a_defect_is_found() -> None:
    """WS-FAULTS-8: and named, with its run."""
    defect = "WS-EXCHANGE-9 decodes twice"
    report = run_campaign(5000, RATES, defect=defect, stop_at_violation=True)
    assert report.violations["latents"] == 1
    assert report.first.startswith("run 0: latents: decodes")
    with pytest.raises(ConfigError, match="defect: got 'none such'"):
        run_campaign(10, RATES, defect="none such")


def test_what_was_never_reached_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """WS-FAULTS-8: a campaign too small to reach everything, judged as one of 100,000 units."""
    assert campaign.SOMETIMES_UNITS == 100_000
    units = run_campaign(200, RATES).units
    monkeypatch.setattr(campaign, "SOMETIMES_UNITS", units + 1)
    assert run_campaign(200, RATES).clean
    monkeypatch.setattr(campaign, "SOMETIMES_UNITS", units)
    report = run_campaign(200, RATES)
    assert set(report.missing) == set(SOMETIMES) - set(report.marks)
    assert report.missing
    assert not report.clean
    assert run_campaign(200, {FaultKind.DROP: 0.1}).missing == ()


def test_a_run_that_is_not_the_same_twice_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """WS-FAULTS-8: here the second trace says another thing."""
    assert not campaign_runs.run_one(0, 0, RATES, campaign.machines_named(None)).violations
    runs = list[WorldReport]()

    def fickle(setup: Setup, recorder: Recorder | None = None) -> WorldReport:
        runs.append(run_world(setup, recorder))
        return attrs.evolve(runs[-1], end_ns=len(runs))

    monkeypatch.setattr(campaign_runs, "run_world", fickle)
    result = campaign_runs.run_one(0, 0, RATES, campaign.machines_named(None))
    assert result.violations == {"determinism": 1}
    assert "is not the same when run again" in result.first


def test_a_trace_that_changes_its_run_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """WS-FAULTS-8: two traced runs that are alike, and not like the one without a trace."""

    def fickle(setup: Setup, recorder: Recorder | None = None) -> WorldReport:
        report = run_world(setup, recorder)
        return report if recorder is None else attrs.evolve(report, end_ns=report.end_ns + 1)

    monkeypatch.setattr(campaign_runs, "run_world", fickle)
    result = campaign_runs.run_one(0, 0, {}, campaign.machines_named(None))
    assert result.violations == {"determinism": 1}


def test_a_trace_that_is_not_clean_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """WS-FAULTS-8: here one without its end; in one run of a hundred."""

    def cut_off(file: TextIO) -> Iterator[TraceEvent]:
        return (event for event in read_trace(file) if event.kind is not Kind.END)

    monkeypatch.setattr(campaign_runs, "read_trace", cut_off)
    found = [
        campaign_runs.run_one(0, index, {}, campaign.machines_named(None)).violations
        for index in (0, 1, 99, 100, 101)
    ]
    assert found == [{"trace": 1}, {}, {}, {"trace": 1}, {}]


def test_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """WS-FAULTS-8: one JSON object; exit 1 for a campaign that is not clean."""
    monkeypatch.setattr("os.cpu_count", lambda: 1)

    def said(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(simulate_command, ["--campaign", *arguments])
        return result.exit_code, result.stdout

    status, out = said("--units", "100", "--faults", "drop=0.1,crash=0.01", "--json")
    report = json.loads(out)
    assert (status, report["clean"], report["violations"]) == (0, True, {})
    assert report["units"] >= 100
    status, out = said("--units", "300", "--defect", "WS-EXCHANGE-9 decodes twice")
    assert status == 1
    assert "violations: latents" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--campaign", "--units", "0"], "--units: got 0"),
        (["--campaign", "--faults", "gremlin=1"], "--faults: got 'gremlin=1'"),
        (["--campaign", "--stages", "encode=1"], "--campaign: got 'encode=1'"),
        (["--campaign", "--defect", "none such"], "defect: got 'none such'"),
        (["--defect", "WS-EXCHANGE-9 decodes twice"], "allowed: with --campaign only"),
    ],
)
def test_bad_words_to_the_command(arguments: list[str], said: str) -> None:
    """WS-FAULTS-2 and WS-FAULTS-8: refused in one line."""
    error = CliRunner().invoke(simulate_command, arguments).exception
    assert isinstance(error, WanStreamerError)
    assert said in str(error)
    assert "\n" not in str(error)


def test_ws_faults_6_a_late_open_is_not_made_right_by_tampering() -> None:
    """A run in which an `Open` for one beginning of the performer came late, after the next one,
    with that one's number: nobody could have told it from a right one."""
    result = campaign_runs.run_one(1, 3746, RATES, campaign.machines_named(None))
    assert result.marks["tamper"]
    assert not result.violations, result.first
