"""WS-CONFORMANCE-1: records are JSON and tensors; WS-CONFORMANCE-7: parts and their shapes. The
suite's inputs are the recipe's."""

from __future__ import annotations

import json

import attrs
import numpy as np
import pytest

from conformance import arrays, inputs, wire
from conformance.guard import Guard
from conformance.ports.reference import ReferencePort
from conformance.protocol import PARTS, CodecRequest, Part
from conformance.shapes import codec_shapes
from spec import recipe
from spec.presets import TINY


def test_ws_conformance_1_a_script_is_json_and_tensors() -> None:
    script = inputs.base("tiny", "overlapped", "float32", units=2, forced=True)
    data, tensors = wire.encode(script)
    again = json.loads(json.dumps(data))
    assert again["open"]["schedule"] == "overlapped"
    assert again["open"]["modalities"]["user_text"] is True
    assert again["units"][1]["audio"] == {"tensor": "units.1.audio"}
    assert tensors["units.1.audio"] is script.units[1].audio
    assert len(tensors) == 8


def test_digest_sees_every_value_and_nothing_else() -> None:
    script = inputs.base("tiny", "overlapped", "float32", units=2)
    copy = attrs.evolve(script, units=tuple(attrs.evolve(u) for u in script.units))
    assert wire.digest(copy) == wire.digest(script)
    for field in ("audio", "video", "text", "noise_audio", "noise_video"):
        assert wire.digest(inputs.perturbed(script, field, 1)) != wire.digest(script)
    assert wire.digest(inputs.in_dtype(script, "float64")) != wire.digest(script)


def test_digest_of_a_writable_array_is_not_remembered() -> None:
    array = np.zeros(3)
    before = wire.array_digest(array)
    array[0] = 1
    assert wire.array_digest(array) != before


def test_perturbation_changes_values_and_no_lengths() -> None:
    script = inputs.base("tiny", "overlapped", "float32", units=2, forced=True)
    for field in ("audio", "video", "text", "agent_text", "noise_audio", "noise_video"):
        changed = inputs.perturbed(script, field, 0)
        old, new = getattr(script.units[0], field), getattr(changed.units[0], field)
        assert np.shape(old) == np.shape(new)
        assert not np.array_equal(old, new)
        assert changed.units[1] is script.units[1]


def test_inputs_are_those_of_the_recipe() -> None:
    stream = recipe.stream_id("name")
    assert arrays.uniform("name", (2, 3)).ravel().tolist() == [
        recipe.uniform(stream, i) for i in range(6)
    ]
    assert arrays.noise(3, 1, "audio", (2, 2)).ravel().tolist() == [
        recipe.noise(3, 1, "audio", i) for i in range(4)
    ]


@pytest.mark.parametrize("part", PARTS)
def test_ws_conformance_7_codec_shapes(part: Part) -> None:
    given, wanted = codec_shapes(TINY, part, 2)
    request = CodecRequest(preset="tiny", dtype="float32", part=part, plan=(1, 1))
    result = Guard(ReferencePort()).codec(request, np.zeros(given, np.float32))
    assert result.shape == wanted
