"""WS-CONFORMANCE-18 at the command line: the first tensor that is off is named."""

from __future__ import annotations

import json

import pytest

from conformance.probing import order
from wanstreamer.cli import register, status_of

TINY = ["probe", "--preset", "tiny-bare", "--unit", "1"]


@pytest.fixture(autouse=True, scope="module")
def commands() -> None:
    register()


def test_ws_conformance_18_the_reference_is_within_its_budgets(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert status_of([*TINY, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["first"] is None
    assert {point["verdict"] for point in answer["points"]} == {"within"}
    assert answer["points"][0]["point"] == "audio_features"


def test_ws_conformance_18_the_first_layer_that_is_off_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert status_of([*TINY, "--port", "mutant:rotary-pairs-interleaved"]) == 1
    assert "first over its budget: O.layer.0" in capsys.readouterr().out


@pytest.mark.parametrize(
    "wrong", [["--dtype", "int8"], ["--schedule", "eager"], ["--unit", "-1"], ["--preset", "no"]]
)
def test_mistakes_are_one_line(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of([*TINY, *wrong]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert wrong[1] in line


def test_ws_conformance_18_points_stand_in_the_order_of_a_step() -> None:
    names = ["Z.clean.hidden", "L.1.layer.0", "Z.step.1.velocity_video", "O.hidden", "O.layer.2"]
    names += ["O.embeddings", "Z.step.0.layer.1", "video_features", "L.0.hidden", "O.layer.10"]
    assert sorted(names, key=order) == [
        "video_features",
        "O.embeddings",
        "O.layer.2",
        "O.layer.10",
        "O.hidden",
        "L.0.hidden",
        "L.1.layer.0",
        "Z.step.0.layer.1",
        "Z.step.1.velocity_video",
        "Z.clean.hidden",
    ]
