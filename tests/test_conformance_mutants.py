"""WS-CONFORMANCE-14: the mutants as a set, and that none of them leaks into the others."""

from __future__ import annotations

import pytest
from port_judging import oracle

from conformance.checks.registry import CHECKS
from conformance.guard import Guard, PortFault
from conformance.inputs import base
from conformance.mutants import BENIGN, MUTANTS
from conformance.mutants.patching import PatchedPort
from conformance.recording import Recorder
from conformance.relations import same
from reference import flow
from spec.clauses import registry


def test_ws_conformance_14_every_check_has_a_mutant() -> None:
    named = {mutant.clause for mutant in MUTANTS.values()}
    unkilled = [check.id for check in CHECKS.values() if not named & set(check.clauses)]
    assert unkilled == []


def test_every_mutant_and_check_names_a_clause_of_the_specification() -> None:
    clauses = {clause for check in CHECKS.values() for clause in check.clauses}
    clauses |= {mutant.clause for mutant in MUTANTS.values()}
    assert sorted(clauses - set(registry())) == []


def test_names_are_unique_and_described() -> None:
    assert len(MUTANTS) >= 20
    assert len(BENIGN) >= 4
    for name, mutant in MUTANTS.items():
        assert mutant.name == name
        assert mutant.description


def test_ws_conformance_14_a_mutant_leaves_no_trace() -> None:
    script = base("tiny", "overlapped", "float32", units=2)
    euler_step = flow.euler_step
    Recorder(Guard(MUTANTS["velocity-sign-flipped"].factory()), ("session",))(script)
    assert flow.euler_step is euler_step
    fresh = oracle().record.stream(script)
    assert same(oracle().record(script), fresh, range(2)) is None


def test_a_patch_is_undone_when_the_command_raises() -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    euler_step = flow.euler_step
    port = Guard(PatchedPort("broken", ((flow, "euler_step", broken),)))
    with pytest.raises(PortFault, match="step 0: RuntimeError: broken"):
        Recorder(port, ("session",))(base("tiny", "overlapped", "float32", units=2))
    assert flow.euler_step is euler_step
