"""The math profile: formula by formula against the suite's own numbers (WS-CONFORMANCE-16).

One check a topic and tolerance class, one case a family of inputs and dtype. A case is about
exactly the clauses of its formula, so ``--clause`` finds the formulas that a clause states.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import groupby
from typing import Final

from conformance.case import Case, Check, Context, Tolerance
from conformance.formulas.case import Op, Question, differs
from conformance.formulas.ops import OPS, questions
from conformance.guard import PortFault
from conformance.protocol import DType, MathRequest, Refusal, Unsupported


def cases(context: Context, ops: tuple[Op, ...]) -> Iterator[Case]:
    """Every family of every op, in every dtype that the port claims."""
    for op in ops:
        for dtype, question in questions(op, context.hello.dtypes):
            where = f"-{dtype}" if op.per_dtype else ""
            yield Case(
                name=f"{op.name.partition('.')[2]}{where}-{question.family}",
                clauses=question.clauses,
                judge=partial(_answers, context, op, question, dtype),
            )


def _answers(context: Context, op: Op, question: Question, dtype: DType) -> str | None:
    request = MathRequest(
        op=op.name, dtype=dtype, arguments=question.arguments, tensors=question.tensors
    )
    try:
        results = context.port.math(request)
    except Refusal:
        if question.refused:
            return None
        raise
    except Unsupported as unsupported:
        if unsupported.feature == op.feature or unsupported.feature in (dtype, op.name):
            # The name of the op says as much as that of its feature.
            feature = dtype if unsupported.feature == dtype else op.feature
            raise Unsupported(feature) from unsupported
        raise
    if question.refused:
        return f"{op.name}: {question.family} was accepted"
    expected = op.formula(question.arguments, question.tensors)
    for name in question.results or expected:
        if name not in results:
            raise PortFault(f"math {op.name}: no result {name}")
        reason = differs(results[name], expected[name], dtype, name)
        if reason is not None:
            return f"{op.name}: {reason}"
    return None


def _check(topic: str, tolerance: Tolerance, ops: tuple[Op, ...]) -> Check:
    asked = (question for op in ops for _, question in questions(op, ("float32", "float64")))
    clauses = dict.fromkeys(clause for question in asked for clause in question.clauses)
    return Check(
        id=f"math/{topic}",
        clauses=tuple(clauses),
        profile="math",
        tolerance=tolerance,
        cases=partial(cases, ops=ops),
    )


def _checks() -> Iterator[Check]:
    order: tuple[Tolerance, ...] = ("A", "B", "C")
    for topic, group in groupby(OPS.values(), key=lambda op: op.topic):
        ops = tuple(group)
        kinds = {op.tolerance for op in ops}
        for tolerance in order:
            chosen = tuple(op for op in ops if op.tolerance == tolerance)
            if chosen:
                suffix = {"A": "", "B": "-elements", "C": "-sums"}[tolerance]
                name = topic if len(kinds) == 1 else f"{topic}{suffix}"
                yield _check(name, tolerance, chosen)


CHECKS: Final = tuple(_checks())
