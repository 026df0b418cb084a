"""WS-VECTORS-1: what the suite found by itself can be asked again from a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance import random_programs
from conformance.files.answers import answer_case
from conformance.files.folder import CaseFolder
from conformance.files.kept import keep, kept_in
from conformance.guard import Guard
from conformance.inputs import base
from conformance.ports.reference import ReferencePort

SCRIPT = base("tiny-bare", "sequential", "float32", units=2)


def play(port: Guard) -> None:
    session = port.open(SCRIPT.open)
    for unit in SCRIPT.units:
        port.step(session, unit)
    port.close(session)


def test_ws_vectors_1_a_script_is_kept_as_a_case_folder(tmp_path: Path) -> None:
    with kept_in(tmp_path):
        place = keep("session/random", ReferencePort(), play)
    assert place == tmp_path / "session-random"
    folder = CaseFolder.read(tmp_path / "session-random")
    assert [r["command"] for r in folder.requests] == ["open", "step", "step", "close"]
    answer_case(folder, ReferencePort())
    answered = folder.recorded(actual=True)
    for index in range(4):
        reply = answered.reply(index)
        assert not isinstance(reply, Exception), reply


def test_ws_vectors_1_a_script_kept_again_replaces_the_older_one(tmp_path: Path) -> None:
    with kept_in(tmp_path):
        keep("a/b", ReferencePort(), play)
        keep("a/b", ReferencePort(), play)
    assert [path.name for path in tmp_path.iterdir()] == ["a-b"]


def test_ws_vectors_1_nothing_is_kept_without_a_place() -> None:
    assert keep("a/b", ReferencePort(), play) is None


def test_ws_vectors_1_a_random_failure_says_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check itself, with a search that has found something."""
    from port_judging import judged

    lean = '[{"do":"open","session":"a","request":{"preset":"tiny-bare","schedule":"overlapped",'
    lean += '"dtype":"float32"}},{"do":"close","session":"a"}]'
    found = random_programs.from_json(lean), "it is off"
    monkeypatch.setattr(random_programs, "smallest_failure", lambda *_: found)
    with kept_in(tmp_path):
        report = judged(ReferencePort(), "session/random")
    detail = report.cases[0].detail
    assert f"kept as the case folder {tmp_path / 'session-random'}" in detail
    assert (tmp_path / "session-random" / "case.json").is_file()
