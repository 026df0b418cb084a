"""WS-VECTORS-1: what the suite found by itself can be asked again from a file."""

from __future__ import annotations

from pathlib import Path

from port_judging import judged

from conformance.files.answers import answer_case
from conformance.files.folder import CaseFolder
from conformance.files.kept import kept_in
from conformance.ports.reference import ReferencePort
from conformance.resolve import resolve
from conformance.verdicts import Verdict


def test_ws_vectors_1_a_random_failure_is_kept_as_a_case_folder(tmp_path: Path) -> None:
    with kept_in(tmp_path):
        report = judged(resolve("mutant:second-session-not-fresh"), "session/random")
    (case,) = report.cases
    assert case.verdict is Verdict.FAIL
    assert "kept as the case folder" in case.detail
    folder = CaseFolder.read(tmp_path / "session-random")
    commands = [request["command"] for request in folder.requests]
    assert {"open", "step", "close"} <= set(commands)
    # A good port gives what is expected of it, up to the bits that another process may round.
    answer_case(folder, ReferencePort())
    answered = folder.recorded(actual=True)
    for index, command in enumerate(commands):
        reply = answered.reply(index)
        assert not isinstance(reply, Exception), f"{command}: {reply}"


def test_ws_vectors_1_nothing_is_kept_without_a_place() -> None:
    report = judged(resolve("mutant:second-session-not-fresh"), "session/random")
    assert "kept" not in report.cases[0].detail.partition("the smallest program found")[2]
