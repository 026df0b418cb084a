"""WS-CONFORMANCE-6: what reaches a check is well formed, or a fault told in one line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import pytest

from conformance.guard import Guard, PortFault
from conformance.inputs import base
from conformance.ports.reference import ReferencePort
from conformance.protocol import MathRequest, Refusal, UnitInput, UnitOutput, Unsupported
from conformance.recording import Recorder

SCRIPT = base("tiny", "overlapped", "float32", units=2)
Spoil = Callable[[UnitOutput], Sequence[UnitOutput]]


class Spoiled(ReferencePort):
    """Answers something else than the reference."""

    def __init__(self, spoil: Spoil) -> None:
        super().__init__()
        self._spoil = spoil

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        (output,) = super().step(session_id, unit)
        return self._spoil(output)


def _transposed(output: UnitOutput) -> list[UnitOutput]:
    return [attrs.evolve(output, logits=output.logits.T)]


def _halved(output: UnitOutput) -> list[UnitOutput]:
    return [attrs.evolve(output, logits=output.logits.astype(np.float16))]


def _infinite(output: UnitOutput) -> list[UnitOutput]:
    return [attrs.evolve(output, logits=output.logits * np.inf)]


def _mute(output: UnitOutput) -> list[UnitOutput]:
    return [attrs.evolve(output, audio=None)]


def _wordy(output: UnitOutput) -> list[UnitOutput]:
    return [attrs.evolve(output, text=(*output.text, 1))]


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (_transposed, r"logits of unit 0: shape \[263, 3\], not \[3, 263\]"),
        (_halved, "logits of unit 0: dtype float16, not float32"),
        (_infinite, "logits of unit 0: not finite"),
        (_mute, "audio of unit 0: a NoneType, not an array"),
        (_wordy, "step 0: 4 ids for 3 text slots"),
        (lambda output: [output, output], r"outputs of units \[0, 0, 1, 1\] for inputs of units"),
        (lambda _: [], r"outputs of units \[\] for inputs of units \[0, 1\]"),
    ],
)
def test_ws_conformance_6_ill_formed_reply_is_a_fault(spoil: Spoil, line: str) -> None:
    with pytest.raises(PortFault, match=line):
        Recorder(Guard(Spoiled(spoil)), ("session",))(SCRIPT)


def test_a_crash_is_one_line() -> None:
    def crash(_: UnitOutput) -> list[UnitOutput]:
        raise KeyError("two\nlines")

    with pytest.raises(PortFault, match=r"^step 0: KeyError: 'two\\nlines'$"):
        Recorder(Guard(Spoiled(crash)), ("session",))(SCRIPT)


def test_ws_conformance_4_an_error_of_ours_is_a_refusal() -> None:
    port = Guard(ReferencePort())
    session = port.open(SCRIPT.open)
    with pytest.raises(Refusal, match="user unit: got 1"):
        port.step(session, SCRIPT.units[1])


def test_ws_conformance_6_inputs_cannot_be_written_to() -> None:
    class Writes(ReferencePort):
        def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
            assert unit.audio is not None
            unit.audio[0] = 0
            return super().step(session_id, unit)

    with pytest.raises(PortFault, match="read-only"):
        Recorder(Guard(Writes()), ("session",))(SCRIPT)


def test_ws_conformance_3_unsupported_is_another_word_for_no() -> None:
    class Wordy(ReferencePort):
        def supports(self, feature: str) -> bool:
            raise Unsupported(feature)

    assert Guard(Wordy()).supports("telepathy") is False


def test_ws_conformance_16_a_scalar_of_numpy_is_an_array_without_axes() -> None:
    class Scalars(ReferencePort):
        def math(self, request: MathRequest) -> Mapping[str, Any]:
            return {request.op: np.float32(0.5), "none": np.zeros(0)}

    request = MathRequest(op="flow.loss", dtype="float32", arguments={}, tensors={})
    found = Guard(Scalars()).math(request)
    assert isinstance(found["flow.loss"], np.ndarray)
    assert (found["flow.loss"].shape, found["flow.loss"].dtype) == ((), np.dtype("float32"))
