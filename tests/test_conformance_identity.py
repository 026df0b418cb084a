"""WS-CONFORMANCE-24: sessions with an identity or in chunks, and a wire that shows it only then."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import attrs
import pytest
from port_judging import judged

from conformance import wire
from conformance.files import vectors
from conformance.files.manifest import Selection
from conformance.guard import Guard
from conformance.inputs import BARE, Content, identity, script_of
from conformance.mutants import BENIGN, MUTANTS
from conformance.ports.reference import ReferencePort
from conformance.ports.split import SplitPort
from conformance.protocol import (
    Hello,
    OpenRequest,
    Port,
    Refusal,
    SamplingInput,
    UnitInput,
    Unsupported,
)
from conformance.recording import Recorder, Recording, Script
from conformance.relations import same
from conformance.stdio.limits import Limits
from conformance.stdio.port import StdioPort
from conformance.verdicts import Verdict

CHECKS = (
    "identity/sessions",
    "identity/entries",
    "identity/used",
    "identity/apart",
    "identity/refused",
    "prefill/chunks",
    "prefill/refused",
)
KILLERS = {
    "identity-picture-causal": "identity/sessions",
    "identity-takes-no-positions": "identity/sessions",
    "identity-embeddings-swapped": "identity/entries",
    "identity-picture-in-one-frame": "identity/sessions",
    "identity-kept-by-shape": "identity/apart",
    "identity-described-by-its-signals": "identity/refused",
    "chunks-see-only-themselves": "prefill/chunks",
    "picture-cut-accepted": "prefill/refused",
    "chunks-made-to-fit": "prefill/refused",
}


@pytest.mark.parametrize("name", KILLERS)
def test_ws_conformance_14_mutant_is_killed_by_its_clause(name: str) -> None:
    mutant = MUTANTS[name]
    report = judged(mutant.factory(), KILLERS[name], clause=mutant.clause)
    assert report.exit_status == 1
    (failed,) = (case for case in report.cases if case.verdict is Verdict.FAIL)
    assert failed.clause == mutant.clause


def test_a_port_that_prefills_in_chunks_of_its_own_passes() -> None:
    """WS-CONFORMANCE-15, WS-PREFILL-5."""
    report = judged(BENIGN["prefill-in-chunks"].factory(), "prefill/chunks", "prefill/refused")
    assert {case.verdict for case in report.cases} == {Verdict.PASS}


class Strict(ReferencePort):
    """Has none of the optional features, and breaks at the sight of their members."""

    def hello(self) -> Hello:
        hello = super().hello()
        new = {"identity", "prefill_chunks", "sampling"}
        kept = tuple(feature for feature in hello.features if feature not in new)
        return attrs.evolve(hello, features=kept)

    def open(self, request: OpenRequest) -> str:
        assert (request.identity, request.prefill_chunks, request.sampling) == (None,) * 3
        return super().open(request)


def test_who_lacks_the_features_is_never_asked() -> None:
    """WS-CONFORMANCE-24, WS-CONFORMANCE-3: all of it is unsupported, nothing is an error."""
    report = judged(Strict(), *CHECKS, "sampling/words", "sampling/depends", "sampling/refused")
    assert {case.verdict for case in report.cases} == {Verdict.UNSUPPORTED}


def test_the_wire_is_as_before_where_there_is_nothing_to_say() -> None:
    """WS-CONFORMANCE-24: absent members, not members that are null."""
    plain, _ = wire.encode(OpenRequest(preset="tiny", schedule="overlapped", dtype="float32"))
    assert sorted(plain) == ["dtype", "modalities", "preset", "prompt", "schedule", "weights"]
    unit, _ = wire.encode(UnitInput(unit=0))
    assert "uniform" not in unit
    full, tensors = wire.encode(whole().open)
    assert set(full) - set(plain) == {"identity", "prefill_chunks", "sampling"}
    assert sorted(tensors) == ["identity.picture", "identity.voice"]


def whole(chunks: tuple[int, ...] | None = (2, 7, 2)) -> Script:
    """Two units of a session that has everything: 2 tokens of text, 6 of picture, 3 of voice."""
    request = OpenRequest(
        preset=BARE,
        schedule="overlapped",
        dtype="float64",
        prompt=(72,),
        identity=identity(BARE, "float64", voice_ticks=3),
        prefill_chunks=chunks,
        sampling=SamplingInput(temperature=2.0, top_k=50, top_p=0.9),
    )
    return script_of(request, [Content(text=(97,))] * 2)


def without(signal: str, script: Script) -> OpenRequest:
    """The request without a signal that its description has."""
    assert script.open.identity is not None, "made with one"
    nothing: dict[str, Any] = {signal: None}
    missing = attrs.evolve(script.open.identity, **nothing)
    return attrs.evolve(script.open, identity=missing)


def record(port: Port, script: Script) -> Recording:
    return Recorder(Guard(port), port.hello().features)(script)


def test_a_program_gets_what_a_module_gets() -> None:
    """WS-CONFORMANCE-24: over standard input and output and back, every bit; a refusal too."""
    port = StdioPort((sys.executable, "-m", "conformance.stdio.server", "reference"), Limits())
    try:
        here, there = record(ReferencePort(), whole()), record(port, whole())
        assert same(here, there, range(2)) is None
        with pytest.raises(Refusal, match="an end outside the picture"):
            port.open(whole((3, 8)).open)
        with pytest.raises(Refusal, match="identity voice: got 'none'"):
            port.open(without("voice", whole()))
    finally:
        port.stop()


def test_two_processes_hold_identity_and_numbers() -> None:
    """WS-STREAMING-11: the split gives the bits of the single process; it takes no chunks."""
    script, port = whole(None), SplitPort()
    assert same(record(ReferencePort(), script), record(port, script), range(2)) is None
    with pytest.raises(Refusal, match="identity image: got 'none'"):
        Guard(port).open(without("picture", script))
    with pytest.raises(Unsupported, match="prefill_chunks"):
        port.open(whole().open)


def test_cases_of_the_new_features_can_be_kept_and_judged_from_files(tmp_path: Path) -> None:
    """WS-VECTORS-2, WS-VECTORS-5, WS-CONFORMANCE-24."""
    cases = ("identity/used:voice-tick0", "sampling/words:warm", "prefill/chunks:one-by-one")
    refused = ("identity/refused:nan-voice", "prefill/refused:picture-cut")
    root = tmp_path / "vectors"
    selection = Selection(cases=(*cases, *refused))
    vectors.write(root, selection, ReferencePort(), ReferencePort())
    for port in (ReferencePort(), MUTANTS["identity-nan-as-zero"].factory()):
        vectors.answer(root, port)
        _, results = vectors.judge(root)
        found = {result.id for result in results if result.verdict is not Verdict.PASS}
        assert found == (set() if port.hello().name == "reference" else {refused[0]})
