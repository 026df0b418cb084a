"""WS-CONFORMANCE-16: formulas by name, their own numbers, and comparisons that can fail."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path

import attrs
import numpy as np
import pytest
from port_judging import judged

from conformance.checks.math import CHECKS
from conformance.formulas.case import Exact, differs, drawn, rounded
from conformance.formulas.ops import OPS, questions
from conformance.guard import Guard
from conformance.mutants import math_benign
from conformance.mutants.math_port import MathPort
from conformance.mutants.patching import Benign
from conformance.ports.reference import ReferencePort
from conformance.protocol import DTYPES, Array, DType, MathRequest, Refusal, Unsupported
from spec.clauses import registry

ROOT = Path(__file__).resolve().parents[1]
IDS = tuple(check.id for check in CHECKS)


# Those that only leave something out are seen in the floors of `suite_facts.json`.
SHORTER = ("math-without-optional-ops", "math-half-storage")
VARIANTS = [v for v in math_benign.VARIANTS if v.name not in SHORTER]


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: v.name)
def test_ws_conformance_15_variant_passes(variant: Benign) -> None:
    """WS-CONFORMANCE-15: no dtype, spelling, width or order of sums is accused."""
    report = judged(variant.factory(), *IDS)
    assert report.failures() == ()
    assert report.exit_status == 0


def test_the_reference_refuses_what_must_be_refused() -> None:
    asked = [(op, d, q) for op in OPS.values() for d, q in questions(op, DTYPES)]
    assert len(OPS) >= 60
    assert len(asked) > 1000
    refused = [(op, dtype, question) for op, dtype, question in asked if question.refused]
    assert len(refused) > 15
    for op, dtype, question in refused:
        request = MathRequest(
            op=op.name, dtype=dtype, arguments=question.arguments, tensors=question.tensors
        )
        with pytest.raises(Refusal):
            Guard(ReferencePort()).math(request)


class Spoiled(MathPort):
    """Right, but for one number of each result, which is a ten-thousandth or one bit off."""

    def __init__(self) -> None:
        super().__init__("spoiled", ())

    def math(self, request: MathRequest) -> Mapping[str, Array]:
        results = super().math(request)
        return {name: spoiled(value) for name, value in results.items()}


def spoiled(value: Array) -> Array:
    if value.size == 0:
        return value
    off = value.copy()
    at = np.unravel_index(int(np.argmax(np.abs(value.astype(np.float64)))), value.shape)
    if value.dtype.kind == "f":
        off[at] = 1.0001 * value[at] if value[at] else 1e-4
    else:
        off[at] = value[at] ^ value.dtype.type(1)
    return off


def test_a_ten_thousandth_in_one_element_fails_every_case() -> None:
    """No budget of float32 or float64 is so wide that its largest element could be 1e-4 off."""
    report = judged(Spoiled(), *IDS)
    passed = [case.id for case in report.cases if case.verdict.value == "pass"]
    refusals = {
        question.family
        for op in OPS.values()
        for _, question in questions(op, ("float32",))
        if question.refused
    }
    # Nothing to spoil: an empty text.
    empty = {"encode-1", "predictors-no-words"}
    assert [c for c in passed if not any(c.endswith(f) for f in refusals | empty)] == []


def test_questions_name_clauses_that_exist_and_differ_in_name() -> None:
    for op in OPS.values():
        asked = [question for _, question in questions(op, ("float32",))]
        assert asked, op.name
        families = [question.family for question in asked]
        assert len(families) == len(set(families)), op.name
        assert {c for question in asked for c in question.clauses} <= registry().keys()
        assert op.signature


OPTIONAL = {"media": "media", "latency": "planning", "cost": "planning", "training": "training"}


@pytest.mark.parametrize("name", OPS)
def test_only_the_formulas_of_some_pages_are_optional(name: str) -> None:
    """WS-CONFORMANCE-16: and the midpoint rule; they are asked about their own pages alone."""
    topics = {c.split("-")[1] for _, q in questions(OPS[name], ("float32",)) for c in q.clauses}
    own = {OPTIONAL.get(topic.lower(), "math") for topic in topics}
    feature = own.pop() if len(own) == 1 else "math"
    assert OPS[name].feature == ("midpoint" if name == "flow.solve_midpoint" else feature)


def test_a_question_cannot_be_changed() -> None:
    (_, question), *_ = questions(OPS["backbone.rms_norm"], ("float32",))
    with pytest.raises(ValueError, match="read-only"):
        question.tensors["x"][0] = 1


class Deaf(MathPort):
    """Answers with nothing, or with one result under another name."""

    def __init__(self, results: Mapping[str, Array]) -> None:
        super().__init__("deaf", ())
        self._results = results

    def math(self, _: MathRequest) -> Mapping[str, Array]:
        return self._results


@pytest.mark.parametrize("results", [{}, {"z": np.zeros(3, np.float32)}])
def test_a_result_that_is_missing_is_the_ports_fault(results: Mapping[str, Array]) -> None:
    report = judged(Deaf(results), "math/clock")
    assert {case.verdict.value for case in report.cases} == {"error"}
    assert report.exit_status == 1


class WithoutSolver(MathPort):
    """Leaves out an op that is not optional."""

    def __init__(self) -> None:
        super().__init__("without-solver", ())

    def math(self, request: MathRequest) -> Mapping[str, Array]:
        if request.op == "flow.solve":
            raise Unsupported("flow.solve")
        return super().math(request)


def test_an_op_of_the_profile_is_not_optional() -> None:
    report = judged(WithoutSolver(), "math/flow-sums", clause="WS-FLOW-6")
    assert report.exit_status == 1
    assert "claimed by the profile but missing" in report.cases[0].detail


@pytest.mark.parametrize("dtype", DTYPES)
def test_inputs_are_numbers_of_their_dtype(dtype: DType) -> None:
    values = drawn("dtype", (101,), dtype, 3.0)
    assert differs(rounded(values, dtype), Exact(values), dtype, "values") is None
    assert len(np.unique(values)) > 60


def test_bfloat16_rounds_half_to_even() -> None:
    below, above = 1.0 + 2.0**-8, 1.0 + 3 * 2.0**-8
    found = rounded(np.array([below, above, -below, 1e30]), "bfloat16")
    assert found[:3].tolist() == [1.0, 1.0 + 2.0**-6, -1.0]
    assert abs(found[3] / 1e30 - 1) < 2.0**-8


def test_an_unknown_op_is_unsupported() -> None:
    request = MathRequest(op="backbone.nothing", dtype="float32", arguments={}, tensors={})
    with pytest.raises(Unsupported, match=r"backbone\.nothing"):
        ReferencePort().math(request)


def test_a_case_is_found_by_its_clause_alone() -> None:
    report = judged(attrs.evolve(math_benign.VARIANTS[0]).factory(), clause="WS-CODEC-13")
    ops = {case.id.partition(":")[2].partition("-")[0] for case in report.cases}
    assert ops == {"patchify", "unpatchify"}


def test_the_page_of_formulas_is_up_to_date() -> None:
    """Run `python scripts/math_ops_page.py` when ops, signatures or clauses have changed."""
    place = ROOT / "scripts/math_ops_page.py"
    spec = importlib.util.spec_from_file_location("math_ops_page", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (ROOT / "docs/math-ops.md").read_text(encoding="utf-8") == module.page()
