"""Stage-time models, the link and the network: exact, portable, and what they say they are."""

from __future__ import annotations

import math
import statistics
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.durations import draw
from simulator.link import Link, Network
from simulator.random_streams import keys
from simulator.scenario import Scenario, StageModels
from simulator.stage_models import (
    WORDS_PER_UNIT,
    Constant,
    Lognormal,
    Quantiles,
    Recorded,
    Roofline,
    StageModel,
    Uniform,
)
from spec import clock, recipe, roofline
from spec.devices import device_named
from spec.errors import ConfigError
from spec.latency import NETWORK_NS
from spec.presets import preset_named
from spec.roofline import Plan
from spec.session import SessionConfig

MS = 1_000_000
KEY = keys(5, "solve", 2)

PLAN = Plan(
    config=SessionConfig(preset=preset_named("qwen3-8b"), schedule="overlapped"),
    device=device_named("h100-sxm"),
    dtype="bfloat16",
)

MODELS: dict[str, StageModel] = {
    "constant": Constant(ns=7),
    "uniform": Uniform(low_ns=3, high_ns=60_000 * MS),
    "quantiles": Quantiles(points_ns=(1, 5 * MS, 5 * MS, 40 * MS)),
    "lognormal": Lognormal(least_ns=MS, median_ns=20 * MS, sigma_q16=20_000),
    "recorded": Recorded(values_ns=(4, 8, 15)),
    "roofline": Roofline(plan=PLAN, stage="solve"),
}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_a_time_depends_on_its_unit_only(model: StageModel) -> None:
    """WS-SIMULATION-2: in blocks, alone, or for one session, the same times."""
    whole = model.times_ns(KEY, 0, 40)
    assert whole.shape == (2, 40)
    assert whole.dtype == np.int64
    assert (model.times_ns(KEY, 13, 20) == whole[:, 13:33]).all()
    assert (model.times_ns(KEY[1], 0, 40) == whole[1]).all()
    assert (whole >= 0).all()


def exact_draws(first_of_unit: int, count: int) -> list[list[int]]:
    key = int(KEY[0])
    return [
        [recipe.word(key, WORDS_PER_UNIT * k + j) for j in range(WORDS_PER_UNIT)]
        for k in range(first_of_unit, first_of_unit + count)
    ]


@given(st.integers(0, 10**6), st.integers(0, 10**9), st.integers(0, 10**9))
def test_uniform_as_whole_numbers_give_it(first: int, low: int, span: int) -> None:
    """WS-SIMULATION-2: both bounds included, from the first of a unit's words."""
    model = Uniform(low_ns=low, high_ns=low + span)
    expected = [low + ((w[0] >> 32) * (span + 1) >> 32) for w in exact_draws(first, 3)]
    assert model.times_ns(KEY[0], first, 3).tolist() == expected


@given(st.lists(st.integers(0, 10**10), min_size=2, max_size=6).map(sorted))
def test_quantiles_as_whole_numbers_give_them(points: list[int]) -> None:
    """WS-SIMULATION-2: the upper half of a word chooses the gap, the lower half the place."""
    expected = []
    for w in exact_draws(0, 5):
        gap = (w[0] >> 32) * (len(points) - 1) >> 32
        width = points[gap + 1] - points[gap]
        expected.append(points[gap] + ((w[0] & 0xFFFFFFFF) * width >> 32))
    assert Quantiles(points_ns=tuple(points)).times_ns(KEY[0], 0, 5).tolist() == expected


@given(st.integers(0, 10**10), st.integers(1000, 6 * 10**10), st.integers(0, 1 << 16))
def test_lognormal_is_the_exponential_of_the_recipes_gaussian(
    least: int, median: int, sigma_q16: int
) -> None:
    """WS-SIMULATION-2, WS-RECIPE-4: against the library's exp, to the stated precision."""
    model = Lognormal(least_ns=least, median_ns=median, sigma_q16=sigma_q16)
    found = model.times_ns(KEY[0], 0, 20)
    for time, w in zip(found.tolist(), exact_draws(0, 20), strict=True):
        lanes = sum((v >> shift) & 0xFFFF for v in w[:3] for shift in (0, 16, 32, 48))
        g = (lanes - 6 * 0xFFFF) / 65536
        expected = median * math.exp(sigma_q16 / 65536 * g)
        assert time - least == pytest.approx(expected, rel=1e-5, abs=2)


def test_lognormal_has_its_median_and_spread() -> None:
    """WS-SIMULATION-2: over many units, and the same number on every machine."""
    model = Lognormal(least_ns=0, median_ns=20 * MS, sigma_q16=1 << 14)
    times = model.times_ns(KEY[0], 0, 100_000)
    assert np.median(times) == pytest.approx(20 * MS, rel=0.01)
    assert np.log(times / (20 * MS)).std() == pytest.approx(0.25, rel=0.02)
    assert int(times.sum()) == 2_062_165_150_984


def test_typical_times() -> None:
    """WS-SIMULATION-2: the mean where it is known exactly, else the median."""
    typical = {name: model.typical_ns for name, model in MODELS.items()}
    assert typical["constant"] == 7
    assert typical["uniform"] == (3 + 60_000 * MS) // 2
    assert typical["quantiles"] == statistics.mean([(1 + 5 * MS) / 2, 5 * MS, 22.5 * MS]) // 1
    assert typical["lognormal"] == 21 * MS
    assert typical["recorded"] == 9


def test_recorded_times_begin_again() -> None:
    """WS-SIMULATION-2: one a unit, from the first again after the last."""
    assert MODELS["recorded"].times_ns(KEY, 0, 5)[0].tolist() == [4, 8, 15, 4, 8]


def test_roofline_times_are_those_of_the_plan() -> None:
    """WS-SIMULATION-2, WS-COST-8: with the history of each unit, from a stated unit on."""
    late = Roofline(plan=PLAN, stage="solve", history=1000)
    expected = [roofline.stage_times(PLAN, unit).solve for unit in (1000, 1001)]
    assert late.times_ns(KEY, 0, 2)[1].tolist() == expected
    assert late.typical_ns == expected[0] > MODELS["roofline"].typical_ns


def test_a_response_is_committed_in_the_unit_after_its_own() -> None:
    """WS-SIMULATION-2, WS-COST-2: so unit 0 has a commit, with the history of unit 1."""
    commit = Roofline(plan=PLAN, stage="commit", history=5)
    expected = [roofline.stage_times(PLAN, unit).commit for unit in (6, 7)]
    assert commit.times_ns(KEY, 0, 2)[0].tolist() == expected
    assert commit.typical_ns == expected[0] > 0


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Uniform(low_ns=2, high_ns=1),
        lambda: Quantiles(points_ns=(1,)),
        lambda: Quantiles(points_ns=(2, 1)),
        lambda: Lognormal(least_ns=0, median_ns=1, sigma_q16=(1 << 16) + 1),
        lambda: Recorded(values_ns=()),
    ],
)
def test_what_is_no_model_is_refused(wrong: type[StageModel]) -> None:
    """WS-SIMULATION-2: in one line."""
    with pytest.raises(ConfigError):
        wrong()


@given(st.integers(0, 10**7), st.integers(0, 10**6), st.integers(1, 10**12), st.integers(0, 10**8))
def test_a_message_takes_latency_and_its_bytes(
    latency: int, jitter: int, bandwidth: int, size: int
) -> None:
    """WS-SIMULATION-4: rounded up, and jitter on top, never below."""
    link = Link(latency_ns=latency, jitter_ns=jitter, bytes_per_second=bandwidth)
    least = latency + math.ceil(Fraction(size * 10**9, bandwidth))
    times = link.model(size).times_ns(KEY, 0, 50)
    assert ((least <= times) & (times <= least + jitter)).all()
    assert jitter > 0 or (times == least).all()
    # Every amount of jitter is as likely as any other, the most included.
    assert (times == least + Uniform(low_ns=0, high_ns=jitter).times_ns(KEY, 0, 50)).all()


def test_the_network_keeps_order() -> None:
    """WS-SIMULATION-4: a unit that was faster waits for the one before it; half the budget each
    way unless stated."""
    slow_first = Network(up=Recorded(values_ns=(400 * MS, 0, 0, 0)))
    stages = StageModels(**dict.fromkeys(("encode", "update", "comm", "solve", "back", "decode"),
                                         Constant(ns=MS)))  # fmt: skip
    scenario = Scenario(name="n", stages=stages, network=slow_first, units=4)
    assert draw(scenario).arrive[:4, 0].tolist() == [560 * MS, 560 * MS, 560 * MS, 640 * MS]
    default = Network()
    assert default.up.typical_ns + default.down.typical_ns == NETWORK_NS
    assert clock.unit_available_ns(3) == 640 * MS
