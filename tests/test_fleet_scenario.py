"""Fleet files: what is well formed is read, and every mistake is one clear line."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from simulator.fleet.reading import fleet_of, is_fleet, read_fleet
from simulator.scenario_reading import SHIPPED
from spec.errors import ConfigError

SECOND = 1_000_000_000

GOOD = """\
[fleet]
preset = "qwen3-8b"
device = "h200-sxm"
efficiency = 0.5
pairs = 10
jitter = 0.1
duration_s = 30
warmup_s = 1.6
seed = 3

[arrivals]
kind = "poisson"
sessions = 20

[session]
kind = "lognormal"
mean_s = 60
longest_s = 120
spread = 0.7

[admission]
memory = "present"
headroom_s = 2
patience_s = 5

[slo]
deadline_ms = 320
on_time = 0.99

[site]
up_kbit_s = 300
down_kbit_s = 300
idle_share = 0.2
power_overhead = 1.3
kwh_price = 0.1
device_hour_price = 2.5
currency = "USD"
"""


def test_what_is_written_is_read() -> None:
    """WS-FLEET-1: exactly, as whole ns and fractions."""
    fleet = fleet_of(GOOD, "name")
    assert fleet.name == "name"
    assert fleet.plan.efficiency == Fraction(1, 2)
    assert fleet.plan.config.preset.name == "qwen3-8b"
    assert (fleet.pairs, fleet.seed, fleet.jitter) == (10, 3, Fraction(1, 10))
    assert (fleet.duration_ns, fleet.warmup_ns) == (30 * SECOND, 1_600_000_000)
    assert (fleet.rounds, fleet.warmup_rounds) == (188, 10)
    assert fleet.lengths.longest_units == 750
    assert fleet.lengths.spread == Fraction(7, 10)
    assert fleet.admission.headroom_ns == 2 * SECOND
    assert fleet.site is not None
    assert fleet.site.kwh_price == Fraction(1, 10)


def test_what_is_left_out_has_a_value() -> None:
    """WS-FLEET-1: a bare table is a fleet; the site alone is never made up."""
    fleet = fleet_of("[fleet]\n", "bare")
    assert fleet.arrivals.sessions == 1
    assert fleet.site is None
    assert fleet.pairs is None


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_fleets_are_good(path: Path) -> None:
    """WS-FLEET-1: every shipped file with a [fleet] table."""
    text = path.read_text(encoding="utf-8")
    if is_fleet(text):
        assert read_fleet(path).site is not None
    else:
        assert "[fleet]" not in text


KINDS = {
    "bursty": 'kind = "bursty"\nburst_factor = 4\nburst_s = 10\ncalm_s = 50',
    "diurnal": 'kind = "diurnal"\nswing = 0.5\nperiod_s = 86400',
    "users": 'kind = "users"\nusers = 50',
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_arrivals_has_its_keys(kind: str) -> None:
    """WS-FLEET-1: and no other kind has them."""
    text = GOOD.replace('kind = "poisson"', KINDS[kind])
    assert fleet_of(text, "x").arrivals.kind == kind
    for other in {"poisson", *KINDS} - {kind}:
        with pytest.raises(ConfigError, match="unknown key arrivals"):
            fleet_of(text.replace(f'kind = "{kind}"', f'kind = "{other}"'), "x")


@pytest.mark.parametrize("table", ["fleet", "arrivals", "session", "admission", "slo", "site"])
def test_no_table_takes_an_unknown_key(table: str) -> None:
    """WS-FLEET-1: not even beside all that it knows."""
    with pytest.raises(ConfigError, match=f"unknown key {table}.colour: got 1; allowed: "):
        fleet_of(GOOD.replace(f"[{table}]", f"[{table}]\ncolour = 1"), "x")


MISTAKES = {
    "no TOML": ("pairs = 10", "pairs = = 10", "fleet: got"),
    "unknown table": ("[slo]", "[slos]", "unknown key slos"),
    "unknown key": ("pairs = 10", "pair = 10", "unknown key fleet.pair"),
    "key of another kind": ("sessions = 20", "sessions = 20\nswing = 0.5", "arrivals.swing"),
    "spread of no distribution": ('"lognormal"', '"exponential"', "session.spread"),
    "headroom of the other policy": ('"present"', '"longest"', "admission.headroom_s"),
    "preset": ("qwen3-8b", "qwen3-9b", "preset: got 'qwen3-9b'"),
    "device": ("h200-sxm", "h300", "device: got 'h300'"),
    "no pair": ("pairs = 10", "pairs = 0", "pairs: got 0"),
    "half a pair": ("pairs = 10", "pairs = 1.5", "fleet.pairs"),
    "nobody": ("sessions = 20", "sessions = 0", "sessions: got 0"),
    "negative time": ("mean_s = 60", "mean_s = -60", "session.mean_s"),
    "not a number": ("mean_s = 60", "mean_s = nan", "session.mean_s"),
    "no end": ("duration_s = 30", "duration_s = inf", "fleet.duration_s"),
    "a text": ("mean_s = 60", 'mean_s = "60"', "session.mean_s"),
    "ms for s": ("mean_s = 60", "mean_s = 60_000", "mean length of a session"),
    "ms for s in the longest": ("longest_s = 120", "longest_s = 120_000", "session.longest_s"),
    "s for ms": ("deadline_ms = 320", "deadline_ms = 0.32", "slo.deadline_ms"),
    "percent for a share": ("on_time = 0.99", "on_time = 99", "slo.on_time"),
    "eager return": ("efficiency = 0.5", 'handover = "eager"', "fleet.handover: got 'eager'"),
    "percent for memory": ("patience_s = 5", "memory_share = 95", "admission.memory_share"),
    "percent for time": ("patience_s = 5", "time_share = 90", "admission.time_share"),
    "percent for a jitter": ("jitter = 0.1", "jitter = 10", "fleet.jitter"),
    "percent for a confidence": ("on_time = 0.99", "confidence = 95", "slo.confidence"),
    "percent for a blocking": ("on_time = 0.99", "blocking = 2", "slo.blocking"),
    "s for ms in the percentile": ("on_time = 0.99", "p99_ms = 0.32", "slo.p99_ms"),
    "percent for an efficiency": ("efficiency = 0.5", "efficiency = 50", "fleet.efficiency"),
    "mean above the longest": ("longest_s = 120", "longest_s = 30", "mean length of a session"),
    "finer than a ns": ("warmup_s = 1.6", "warmup_s = 1.0000000001", "whole nanoseconds"),
    "site with a gap": ("idle_share = 0.2\n", "", "site.idle_share"),
    "site without money": ('currency = "USD"', "currency = 3", "site.currency"),
    "overhead below one": ("power_overhead = 1.3", "power_overhead = 0.3", "site.power_overhead"),
    "seed": ("seed = 3", "seed = -1", "seed: got -1"),
    "crowd too small": ('kind = "poisson"', 'kind = "users"\nusers = 20', "users: got 20"),
    "placement": ("patience_s = 5", 'placement = "packed"', "admission.placement"),
    "places": ("patience_s = 5", "sessions_per_pair = 0", "admission.sessions_per_pair"),
}


@pytest.mark.parametrize(("old", "new", "says"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line(old: str, new: str, says: str, tmp_path: Path) -> None:
    """WS-FLEET-1: which names the file, the key, the value and what is allowed; eager return, which
    is not modelled, is one (WS-FLEET-4)."""
    assert GOOD.count(old) == 1
    path = tmp_path / "mine.toml"
    path.write_text(GOOD.replace(old, new), encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        read_fleet(path)
    message = str(error.value)
    assert says in message
    assert message.startswith("mine.toml: ")
    assert "allowed: " in message
    assert "\n" not in message


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    """WS-FLEET-1: nor one that is no text."""
    with pytest.raises(ConfigError, match="a TOML file"):
        read_fleet(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="a TOML file"):
        read_fleet(tmp_path / "binary.toml")
