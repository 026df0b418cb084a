"""A run that holds no units says the same as one that holds them all, in memory that stays."""

from __future__ import annotations

import gc
import io
import json
import tempfile
import tracemalloc
from pathlib import Path

import attrs
import pytest
import simulation_scenarios
from hypothesis import given, settings
from hypothesis import strategies as st
from test_world_timing import PLAIN

from simulator import spool
from simulator.faults import parse_faults
from simulator.run import run
from simulator.scenario import Scenario
from simulator.spool import Spool
from simulator.streamed import run_streamed
from simulator.summary import summary
from simulator.world.trace import Recorder
from wanstreamer.cli import commands, status_of
from wanstreamer.simulate import simulate_command

commands.add_command(simulate_command)


@settings(max_examples=15, deadline=None)
@given(
    simulation_scenarios.scenarios(),
    st.sampled_from(["none", "drop=0.1,pause=0.05", "burst=0.1,crash=0.02,tamper=0.05"]),
    st.sampled_from(["none", "skip", "drop-to-live"]),
)
def test_the_numbers_are_those_of_a_run_that_holds_every_unit(
    scenario: Scenario, faults: str, policy: str
) -> None:
    """WS-SIMULATION-13: with faults and policies too, and the same trace."""
    chosen, rates = attrs.evolve(scenario, policy=policy), parse_faults(faults)
    held, streamed = io.StringIO(), io.StringIO()
    assert run_streamed(chosen, streamed, rates) == summary(run(chosen, held, rates))
    assert streamed.getvalue() == held.getvalue()


@given(st.lists(st.integers(0, 2**63 - 1) | st.integers(0, 300), min_size=1, max_size=40))
def test_a_spool_ranks_exactly(values: list[int]) -> None:
    """WS-SIMULATION-13: every rank of every column, over several blocks."""
    with pytest.MonkeyPatch.context() as patch, Spool(2) as kept:
        patch.setattr(spool, "ROWS", 7)
        for value in values:
            kept.add(value, 2**63 - 1 - value)
        ranks = range(1, len(values) + 1)
        assert [kept.ranked(0, rank) for rank in ranks] == sorted(values)
        assert 2**63 - 1 - kept.ranked(1, 1) == max(values)


def test_memory_does_not_grow_with_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """WS-SIMULATION-13: as the last unit is out, a longer run holds what a shorter one does."""
    # Bounded memories, bounded further, so that a short run fills them.
    for name, bound in (
        ("simulator.world.times.BLOCK", 16),
        ("simulator.world.thinker.KEPT_CAUSES", 8),
        ("simulator.spool.ROWS", 16),
    ):
        monkeypatch.setattr(name, bound)
    held = list[int]()

    def measured(self: Recorder, session: str, t_ns: int) -> str:
        # What is free for the interpreter to use again is not held.
        gc.collect()
        held.append(tracemalloc.get_traced_memory()[0])
        return end(self, session, t_ns)

    end = Recorder.end
    monkeypatch.setattr(Recorder, "end", measured)
    # The first run fills what functions remember of former calls.
    run_streamed(attrs.evolve(PLAIN, units=400), io.StringIO())
    for units in (100, 400):
        tracemalloc.start()
        with tempfile.TemporaryFile("w+", encoding="utf-8", newline="\n") as trace:
            numbers = run_streamed(attrs.evolve(PLAIN, units=units), trace)
        tracemalloc.stop()
        assert (numbers.units, numbers.violations) == (units, 0)
    # A number kept of every unit, in a list, would come to 36 bytes each.
    assert held[-1] < held[-2] + 300 * 16


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """WS-SIMULATION-13: the same line and the same file; for a person, the numbers alone."""
    arguments = ["simulate", "qwen3-8b-h100", "--units", "40", "--sessions", "2"]
    files = [tmp_path / name for name in ("held.jsonl", "streamed.jsonl")]
    lines = []
    for file, extra in zip(files, ([], ["--stream"]), strict=True):
        assert status_of([*arguments, "--trace", str(file), "--json", *extra]) == 0
        lines.append(json.loads(capsys.readouterr().out))
    assert lines[0] == lines[1]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert status_of([*arguments, "--stream"]) == 0
    out = capsys.readouterr().out
    assert "model side" in out
    assert "frames a second" in out


@pytest.mark.parametrize(
    ("option", "value"),
    [("--tables", ""), ("--curves", "."), ("--gantt", "a.svg"), ("--perfetto", "a.perfetto")],
)
def test_what_needs_all_units_is_refused(
    option: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """WS-SIMULATION-13: in one line, before anything is run or written."""
    named = [option, *([str(tmp_path / value)] if value else [])]
    assert status_of(["simulate", "--units", "5", "--stream", *named]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"{option} with --stream" in captured.err
    assert captured.err.count("\n") == 1
    assert not list(tmp_path.iterdir())
