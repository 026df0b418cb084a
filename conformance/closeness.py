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
    context: Context, script: Script, dtype: DType, truth_form: Form = "offline"
) -> str | None:
    """`judge_close` over all tensors; the first that is off."""
    reasons = (judge_close(context, script, dtype, tensor, truth_form) for tensor in TENSORS)
    return next((reason for reason in reasons if reason is not None), None)
