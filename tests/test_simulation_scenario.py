"""Scenario files and --stages: what is read, and one clear line for what is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.link import Network
from simulator.scenario import Scenario, Slo
from simulator.scenario_reading import (
    complete,
    parse_stages,
    read_scenario,
    scenario_of,
    shipped,
)
from simulator.stage_models import Constant, Lognormal, Quantiles, Recorded, Roofline, Uniform
from spec import cost
from spec.errors import ConfigError, WanStreamerError
from spec.presets import preset_named
from spec.session import SessionConfig

MS = 1_000_000

STAGES = """
[stages]
encode_ms = 20
update_ms = 20
comm_ms = 5
solve_ms = 110
decode_ms = 30
"""


def test_everything_that_a_file_can_say() -> None:
    """WS-SIMULATION-3, WS-SIMULATION-2: each kind of model, each table."""
    read = scenario_of(
        """
        name = "all"
        preset = "smollm2-135m"
        schedule = "overlapped"
        handover = "eager"
        thinker = "separate-streams"
        units = 7
        sessions = 2
        seed = 9
        policy = "skip"

        [stages]
        encode = { uniform_ms = [18.5, 21] }
        update = { quantiles_us = [1000, 2000, 9000] }
        solve = { median_ms = 100, sigma = 0.25, least_ms = 10 }
        decode = { recorded_ms = [30, 31.000001] }
        commit = { device = "h100-sxm", efficiency = 0.5, history_units = 375 }

        [link]
        latency_us = 10
        jitter_us = 3
        gigabytes_per_second = 0.5

        [network]
        up_ms = 20
        down = { uniform_ms = [10, 40] }

        [slo]
        deadline_ms = 250
        on_time = 0.995

        [faults]
        drop = 0.01
        """,
        "name of the file",
    )
    stages = read.stages
    assert (read.name, read.preset, read.handover) == ("all", "smollm2-135m", "eager")
    assert (read.thinker, read.units, read.sessions) == ("separate-streams", 7, 2)
    assert (read.seed, read.policy, list(read.faults)) == (9, "skip", ["drop"])
    assert stages.encode == Uniform(low_ns=18_500_000, high_ns=21 * MS)
    assert stages.update == Quantiles(points_ns=(MS, 2 * MS, 9 * MS))
    assert stages.solve == Lognormal(least_ns=10 * MS, median_ns=100 * MS, sigma_q16=1 << 14)
    assert stages.decode == Recorded(values_ns=(30 * MS, 31 * MS + 1))
    assert isinstance(stages.commit, Roofline)
    assert (stages.commit.stage, stages.commit.history) == ("commit", 375)
    config = SessionConfig(preset=preset_named("smollm2-135m"), schedule="overlapped")
    least = 10_000 + cost.slice_bytes(config, 4) * 2
    assert stages.comm == Uniform(low_ns=least, high_ns=least + 3000)
    assert read.network == Network(
        up=Constant(ns=20 * MS), down=Uniform(low_ns=10 * MS, high_ns=40 * MS)
    )
    assert read.slo == Slo(deadline_ns=250 * MS, on_time_ppm=995_000)


def test_what_a_file_need_not_say() -> None:
    """WS-SIMULATION-3: the smallest file, its schedule that of the preset."""
    read = scenario_of(STAGES, "small")
    assert (read.name, read.schedule, read.handover) == ("small", "overlapped", "boundary")
    assert (read.thinker, read.policy, read.sessions) == ("one-stream", "none", 1)
    assert read.stages.back == read.stages.comm == Constant(ns=5 * MS)
    assert read.stages.commit == Constant(ns=0)
    assert scenario_of('preset = "tiny-lag0"' + STAGES, "x").schedule == "sequential"


def test_a_device_fills_in_what_is_not_given() -> None:
    """WS-SIMULATION-2: times of a device, beside those that are stated."""
    read = scenario_of('[stages]\ndevice = "h100-sxm"\nencode_ms = 3\n', "x")
    assert read.stages.encode == Constant(ns=3 * MS)
    found = [s for s in (read.stages.update, read.stages.back) if isinstance(s, Roofline)]
    assert [model.stage for model in found] == ["update", "comm"]
    assert read.stages.solve.typical_ns > 0


def test_another_schedule_gives_other_times_of_device_and_link() -> None:
    """WS-SIMULATION-2, WS-SIMULATION-3: what a schedule changes is worked out for the one that is
    run: a sequential slice brings the response too, and its commit is part of the update."""
    text = """
        [stages]
        device = "h100-sxm"
        history_units = 10
        [link]
        latency_us = 1
        gigabytes_per_second = 1
        """
    overlapped, sequential = (scenario_of(text, "x", s) for s in ("overlapped", "sequential"))
    assert sequential.schedule == "sequential"
    assert sequential.stages.comm.typical_ns > overlapped.stages.comm.typical_ns
    assert sequential.stages.commit == Constant(ns=0) != overlapped.stages.commit
    assert sequential.stages.update.typical_ns > overlapped.stages.update.typical_ns


def test_a_unit_of_one_millisecond_is_one() -> None:
    """WS-SIMULATION-3: only less is taken for a mistake."""
    least = "[stages]\nencode_ns = 999_999\nupdate_ms = 0\ncomm_ms = 0\nsolve_ms = 0\n"
    assert scenario_of(least + "decode_ns = 1\n", "x").stages.encode == Constant(ns=MS - 1)
    with pytest.raises(ConfigError, match="times are in ms, not in s"):
        scenario_of(least + "decode_ns = 0\n", "x")


def test_shipped_scenarios_are_found_by_name(tmp_path: Path) -> None:
    """WS-SIMULATION-3: and a path is a path."""
    assert {"paper", "condition-not-enough"} <= set(shipped())
    path = tmp_path / "mine.toml"
    path.write_text(STAGES, encoding="utf-8")
    assert read_scenario(path) == read_scenario(str(path))
    assert read_scenario(path).name == "mine"
    assert isinstance(read_scenario("paper"), Scenario)


WRONG = {
    "no session": ("sessions = 0" + STAGES, "sessions: got 0; allowed: 1 to"),
    "half a session": ("sessions = 2.5" + STAGES, "sessions: got 2.5; allowed"),
    "three streams": ('thinker = "three-streams"' + STAGES, "allowed: one-stream"),
    "not TOML": ("= 1", "TOML"),
    "deeply nested": ("x = " + "[" * 10_000, "scenario"),
    "endless digits": ("x = " + "9" * 5_000, "scenario"),
    "unknown key": ("colour = 1" + STAGES, "unknown key colour"),
    "unknown table": (STAGES + "[stage]\n", "unknown key stage"),
    "unknown stage": (STAGES + "think_ms = 1\n", "unknown key stages.think_ms"),
    "seconds": (STAGES + "commit_s = 1\n", "unknown key stages.commit_s"),
    "no unit": (STAGES + "commit = 1\n", "stages.commit: got 1"),
    "two units": (STAGES + "encode_us = 1\n", "encode in one unit only"),
    "two models": (STAGES + "commit = {uniform_ms = [1, 2], recorded_ms = [1]}\n", "stages.commit"),
    "time and model": (STAGES + "encode = {uniform_ms = [1, 2]}\n", "stages.encode"),
    "negative": (STAGES + "commit_ms = -1\n", "got '-1'; allowed: 0 or more"),
    "not a number": (STAGES + "commit_ms = nan\n", "got 'NaN'; allowed: a finite number"),
    "endless": (STAGES + "commit_ms = inf\n", "allowed: a finite number"),
    "a text": (STAGES + 'commit_ms = "5"\n', "allowed: a number"),
    "a truth": (STAGES + "commit_ms = true\n", "allowed: a number"),
    "too fine": (STAGES + "commit_ms = 0.0000001\n", "whole nanoseconds"),
    "ms given as ns": (STAGES + "commit_ms = 20000000\n", "at most 60 s"),
    "huge exponent": (STAGES + "commit_ms = 1e999999999\n", "at most 60 s"),
    "tiny exponent": (STAGES + "commit_ms = 1e-999999999\n", "whole nanoseconds"),
    "wrong in a list": (STAGES + "commit = {recorded_ms = [1, -2]}\n", r"recorded_ms\[1\]"),
    "no list": (STAGES + "commit = {recorded_ms = 1}\n", "a list of times"),
    "three bounds": (STAGES + "commit = {uniform_ms = [1, 2, 3]}\n", "two times"),
    "bounds swapped": (STAGES + "commit = {uniform_ms = [2, 1]}\n", "low first"),
    "sigma": (STAGES + "commit = {median_ms = 2, sigma = 1.5}\n", "0 to 1"),
    "no stage": ("[stages]\nencode_ms = 1\n", "stages update: got 'no time'"),
    "seconds for ms": (STAGES.replace("_ms = ", "_ms = 0.00"), "times are in ms, not in s"),
    "seconds for ms beside a true sending": (
        STAGES.replace("_ms = ", "_ms = 0.00") + "back_ms = 5\n", "times are in ms, not in s",
    ),
    "schedule": ('schedule = "both"' + STAGES, "schedule: got 'both'"),
    "handover": ("handover = 3" + STAGES, "handover: got 3"),
    "thinker": ('thinker = "two"' + STAGES, "one-stream, separate-streams"),
    "preset": ('preset = "big"' + STAGES, "preset: got 'big'"),
    "units": ("units = 0" + STAGES, "units: got 0"),
    "units as decimal": ("units = 4.0" + STAGES, "units"),
    "units as truth": ("units = true" + STAGES, "units"),
    "sessions": ("sessions = -1" + STAGES, "sessions: got -1"),
    "seed": ("seed = -1" + STAGES, "seed: got -1"),
    "commit when sequential": (
        'schedule = "sequential"' + STAGES + "commit_ms = 1\n", "part of update",
    ),
    "commit when sequential, typically none": (
        'schedule = "sequential"' + STAGES + "commit = {uniform_ns = [0, 1]}\n", "part of update",
    ),
    "link and comm": (
        STAGES + "[link]\nlatency_us = 1\ngigabytes_per_second = 1\n", "either a time or a",
    ),
    "link and back": (
        STAGES.replace("comm_ms", "back_ms")
        + "[link]\nlatency_us = 1\ngigabytes_per_second = 1\n", "stages.back: got 'a time'",
    ),
    "half a link": (STAGES + "[link]\nlatency_us = 1\n", "gigabytes_per_second"),
    "no bandwidth": (
        STAGES + "[link]\nlatency_us = 1\ngigabytes_per_second = 0\n", "link.gigabytes_per_second",
    ),
    "device": (STAGES + 'device = "abacus"\n', "device: got 'abacus'"),
    "dtype": (STAGES + 'device = "h100-sxm"\ndtype = "int8"\n', "bfloat16, float32"),
    "dtype alone": (STAGES + 'dtype = "float32"\n', "no device"),
    "efficiency": (STAGES + 'device = "h100-sxm"\nefficiency = 0\n', "stages.efficiency"),
    "history": (STAGES + 'device = "h100-sxm"\nhistory_units = -1\n', "history_units"),
    "on time": (STAGES + "[slo]\non_time = 99\n", "slo.on_time: got '99'; allowed: 0 to 1"),
    "deadline": (STAGES + "[slo]\ndeadline_ms = 0\n", "deadline"),
    "a device as network": (
        STAGES + '[network]\nup = {device = "h100-sxm"}\n', "unknown key network.up.device",
    ),
    "a table that is none": ("network = 3" + STAGES, "network: got 3"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), WRONG.values(), ids=WRONG)
def test_a_mistake_is_one_clear_line(text: str, message: str) -> None:
    """WS-SIMULATION-3: what, which value, what is allowed."""
    with pytest.raises(ConfigError, match=message) as caught:
        scenario_of(text, "x")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("name", ["missing.toml", ".", "bytes.toml"])
def test_a_file_that_cannot_be_read(name: str, tmp_path: Path) -> None:
    """WS-SIMULATION-3: missing, a folder, not text."""
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="a TOML file, or one of"):
        read_scenario(tmp_path / name)


def test_a_mistake_names_its_file(tmp_path: Path) -> None:
    """WS-SIMULATION-3: and what is wrong in it."""
    path = tmp_path / "mine.toml"
    path.write_text("units = 0" + STAGES, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"mine\.toml: units: got 0"):
        read_scenario(path)


@given(st.integers(0, 60_000 * MS))
def test_decimals_are_exact(ns: int) -> None:
    """WS-SIMULATION-3: six decimals of a millisecond are a nanosecond, and nothing is rounded."""
    text = f"{ns // MS}.{ns % MS:06}"
    assert parse_stages(f"solve={text}") == {"solve": Constant(ns=ns)}
    read = scenario_of(STAGES.replace("solve_ms = 110", f"solve_ms = {text}"), "x")
    assert read.stages.solve == Constant(ns=ns)


def test_stages_option() -> None:
    """WS-SIMULATION-3: the form of the command line."""
    given_stages = parse_stages("encode=20, update=20,comm=5,solve=110,decode=30.5")
    assert complete("--stages", given_stages).decode == Constant(ns=30_500_000)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "NAME=MS"),
        ("encode", "NAME=MS"),
        ("think=1", "NAME=MS"),
        ("encode=1,encode=2", "each once"),
        ("encode=", "a number of ms"),
        ("encode=1s", "a number of ms"),
        ("encode=nan", "finite"),
        ("encode=-1", "0 or more"),
        ("encode=1e9", "at most 60 s"),
        ("encode=0.0000001", "whole nanoseconds"),
    ],
)
def test_a_wrong_stages_option_is_one_line(text: str, message: str) -> None:
    """WS-SIMULATION-3: which stage, which value."""
    with pytest.raises(ConfigError, match=message):
        parse_stages(text)


@given(st.text(max_size=60))
def test_no_text_breaks_the_reader(text: str) -> None:
    """WS-SIMULATION-3: a mistake is said, whatever it is."""
    for read in (lambda: scenario_of(text, "x"), lambda: parse_stages(text)):
        try:
            read()
        except WanStreamerError as error:
            assert "\n" not in str(error)  # noqa: PT017
