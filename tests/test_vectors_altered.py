"""WS-VECTORS-2: states that were moved or altered, in files that any port can answer."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import numpy as np
import pytest

from conformance.checks.bad_state import DAMAGED
from conformance.files import vectors
from conformance.files.altered import applied, described
from conformance.files.answers import answer_case
from conformance.files.folder import CaseFolder
from conformance.files.kept import keep, kept_in
from conformance.files.manifest import Selection
from conformance.guard import Guard
from conformance.inputs import BARE, base
from conformance.mutants import BENIGN
from conformance.pairing import arrays_of, first_change
from conformance.ports.reference import ReferencePort
from conformance.protocol import KvExport, Port
from conformance.resolve import resolve
from conformance.verdicts import Verdict

MOVED = Selection(
    cases=(
        "transfer/continues:forked",
        "transfer/refused:a-head-less",
        "transfer/refused:not-a-number",
    )
)


def state(port: Port) -> KvExport:
    script = base(BARE, "overlapped", "float32", units=2, forced=True)
    session = port.open(script.open)
    for unit in script.units:
        port.step(session, unit)
    return port.export_kv(session)


@pytest.mark.parametrize("name", DAMAGED)
def test_ws_vectors_2_what_was_done_to_one_state_can_be_done_to_another(name: str) -> None:
    """The words of a damage, found on one port's state, damage another port's in the same way."""
    own, other = state(ReferencePort()), state(BENIGN["fused-attention"].factory())
    words = described(own, DAMAGED[name](own))
    assert words
    json.dumps(words)
    wanted, got = DAMAGED[name](other), applied(other, words)
    assert got.unit == wanted.unit
    assert set(arrays_of(got)) == set(arrays_of(wanted))
    assert first_change(wanted, got) is None


def test_ws_vectors_2_a_copy_needs_no_words_and_other_numbers_have_none() -> None:
    own = state(ReferencePort())
    assert described(own, applied(own, {})) == {}
    assert described(own, attrs.evolve(own, extra={})) == {"without": ["extra"]}
    for role in own.roles:
        doubled = attrs.evolve(own.roles[role], keys=2 * own.roles[role].keys)
        assert described(own, attrs.evolve(own, roles={**own.roles, role: doubled})) is None
    half = {name: np.array(array) for name, array in own.extra.items()}
    next(iter(half.values()))[...] = 0.5
    assert described(own, attrs.evolve(own, extra=half)) is None


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("vectors") / "moved"
    vectors.write(root, MOVED, ReferencePort(), ReferencePort())
    return root


def test_ws_vectors_2_no_case_holds_a_state_of_ours(written: Path) -> None:
    """WS-VECTORS-2: every import takes back what the answering port itself exported."""
    cases = [json.loads(path.read_text()) for path in (written / "cases").glob("*/case.json")]
    states = [r["state"] for c in cases for r in c["requests"] if r["command"] == "import_kv"]
    assert len(states) >= len(MOVED.cases)
    assert all("reply_of" in each for each in states)
    words = [each["altered"] for each in states if "altered" in each]
    assert len(words) == 2
    assert {"keys": 1, "values": 1} in words
    assert {"keys": "nan-in-the-middle"} in words


@pytest.mark.parametrize(
    ("port", "failing"),
    [
        ("benign:fused-attention", set()),
        ("mutant:bad-state-ignored", {case for case in MOVED.cases if "refused" in case}),
        ("mutant:import-keeps-own-decoder", {case for case in MOVED.cases if "continues" in case}),
    ],
)
def test_ws_vectors_5_other_ports_are_judged_by_their_own_states(
    written: Path, port: str, failing: set[str]
) -> None:
    """One that rounds otherwise passes; one that takes any state, or takes it wrong, fails."""
    vectors.answer(written, resolve(port))
    _, results = vectors.judge(written)
    assert {r.id for r in results} == {*MOVED.cases}
    assert {r.id for r in results if r.verdict is Verdict.FAIL} == failing
    assert {r.verdict for r in results} <= {Verdict.PASS, Verdict.FAIL}


def test_ws_vectors_1_a_move_that_was_kept_can_be_answered(tmp_path: Path) -> None:
    """Also when no session was open between the export and the import."""
    script = base(BARE, "overlapped", "float32", units=2, forced=True)

    def play(port: Guard) -> None:
        first = port.open(script.open)
        port.step(first, script.units[0])
        taken = port.export_kv(first)
        port.close(first)
        second = port.open(script.open)
        port.import_kv(second, taken)
        port.step(second, script.units[1])
        port.close(second)

    with kept_in(tmp_path):
        place = keep("session/random", ReferencePort(), play)
    assert place is not None
    folder = CaseFolder.read(place)
    assert [r["id"] for r in folder.requests] == list(range(1, 9))
    answer_case(folder, BENIGN["fused-attention"].factory())
    answered = folder.recorded(actual=True)
    replies = [answered.reply(index) for index in range(8)]
    assert not [reply for reply in replies if isinstance(reply, Exception)]
