"""Class C over sessions: the port's stream against the oracle."""

from __future__ import annotations

from conformance.case import Context
from conformance.inputs import in_dtype
from conformance.protocol import DType
from conformance.recording import TENSORS, Form, Script
from conformance.relations import close


def judge_close(
    context: Context,
    script: Script,
    dtype: DType,
    tensor: str,
    truth_form: Form = "offline",
    form: Form = "stream",
) -> str | None:
    """The port's ``form`` of ``script`` in ``dtype`` against the oracle's, one tensor."""
    truth = context.oracle.truth(script, truth_form, dtype)
    actual = context.run(in_dtype(truth.script, dtype), form)
    return close(actual, truth.outputs, truth.naive, dtype, tensor)


def judge_all_close(
    context: Context,
    script: Script,
    dtype: DType,
    truth_form: Form = "offline",
    form: Form = "stream",
) -> str | None:
    """`judge_close` over all tensors; the first that is off. Then the words, which are all
    prescribed: they are said as they are (WS-TEXT-6)."""
    for tensor in TENSORS:
        reason = judge_close(context, script, dtype, tensor, truth_form, form)
        if reason is not None:
            return reason
    truth = context.oracle.truth(script, truth_form, dtype)
    said = context.run(in_dtype(truth.script, dtype), form)
    for given, unit in zip(truth.script.units, said, strict=True):
        if unit.text != given.agent_text:
            return f"unit {unit.unit}, text {list(unit.text)}, not the prescribed one"
    return None
