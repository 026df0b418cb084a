"""Cases as files: what a port is judged by must not depend on how it was asked.

WS-VECTORS-1, WS-VECTORS-2, WS-VECTORS-3, WS-VECTORS-4, WS-VECTORS-5.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from port_judging import judged

from conformance.files import vectors
from conformance.files.folder import ACTUAL, REPLIES
from conformance.files.judging import report_of
from conformance.files.manifest import MANIFEST, Selection, read_manifest, write_manifest
from conformance.files.tape import Question, Said
from conformance.ports.reference import ReferencePort
from conformance.reporting.report import Report
from conformance.resolve import resolve
from conformance.stdio.message_schemas import problem
from conformance.verdicts import Verdict
from spec.errors import VectorError
from wanstreamer.cli import register, status_of

register()

SMALL = Selection(
    cases=(
        "port/honest:*",
        "exchange/exactly-once:m*",
        "session/modalities:voice-only",
        "codec/fresh-start:audio_encoder",
        "codec/geometry:audio_encoder-*",
    )
)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("vectors") / "small"
    vectors.write(root, SMALL, ReferencePort(), ReferencePort())
    return root


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "copy"))


def test_ws_vectors_1_a_case_folder_can_be_read_without_us(written: Path) -> None:
    manifest = json.loads((written / MANIFEST).read_text())
    assert manifest["format"] == "wanstreamer-vectors"
    for path in (written / "cases").iterdir():
        case = json.loads((path / "case.json").read_text())
        assert [r["id"] for r in case["requests"]] == list(range(1, len(case["requests"]) + 1))
        assert [r["id"] for r in case["expected"]] == [r["id"] for r in case["requests"]]
        for request, reply in zip(case["requests"], case["expected"], strict=True):
            assert problem(request["command"], "request", told(request, "in")) is None
            assert problem(request["command"], "reply", told(reply, "out")) is None
        for reference in references(case):
            assert (path / reference["path"]).is_file()


def told(data: Any, folder: str) -> Any:
    """A message with its references as they stand over a pipe, wherever the files are."""
    text = json.dumps(data)
    return json.loads(re.sub(r'"path": "[^"]*"', f'"path": "{folder}/1.safetensors"', text))


def references(data: object) -> list[dict[str, str]]:
    if isinstance(data, dict) and set(data) == {"tensor"}:
        return [data["tensor"]]
    inside = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    return [found for item in inside for found in references(item)]


def test_ws_vectors_1_no_tensor_is_written_twice(written: Path) -> None:
    """`fresh-start` runs one input twice, and `geometry` once more."""
    runs = list((written / "cases").glob("*-codec"))
    with_inputs = [run for run in runs if (run / "inputs.safetensors").exists()]
    assert 0 < len(with_inputs) < len(runs)


def verdicts(report: Report) -> dict[str, Verdict]:
    return {case.id: case.verdict for case in report.cases}


@pytest.mark.parametrize(
    "name", ["reference", "mutant:second-call-not-fresh", "mutant:missing-layer-accepted"]
)
def test_ws_vectors_5_files_and_calls_give_the_same_verdicts(folder: Path, name: str) -> None:
    vectors.answer(folder, resolve(name))
    by_files = verdicts(report_of(folder))
    narrow = vectors.claiming(resolve(name), SMALL)
    checks = {case.split(":")[0] for case in by_files}
    by_calls = verdicts(judged(narrow, *checks))
    assert by_files == {case: by_calls[case] for case in by_files}
    assert set(by_files) == set(read_manifest(folder).cases)


def test_ws_vectors_5_nothing_answered_is_inconclusive(folder: Path) -> None:
    report = report_of(folder)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert report.exit_status == 3


def test_ws_vectors_5_the_command_leaves_the_same_reports_as_a_run(
    folder: Path, tmp_path: Path
) -> None:
    vectors.answer(folder, ReferencePort())
    out = tmp_path / "report"
    assert status_of(["vectors", "judge", str(folder), "--report", str(out)]) == 0
    names = {path.name for path in out.iterdir()}
    assert {"log.ndjson", "report.json", "report.html", "junit.xml", "summary.md"} <= names


def test_ws_vectors_5_one_case_not_answered(folder: Path) -> None:
    vectors.answer(folder, ReferencePort())
    shutil.rmtree(next((folder / "cases").glob("*-exchange")) / ACTUAL)
    report = report_of(folder)
    assert report.counts["inconclusive"] == 1
    assert report.exit_status == 3


def spoil_json(replies: Path) -> None:
    replies.write_text("ready!\n" + replies.read_text())


def spoil_nan(replies: Path) -> None:
    replies.write_text(
        replies.read_text().replace('"id": 1', '"id": NaN').replace('"id":1', '"id":NaN')
    )


def too_few(replies: Path) -> None:
    replies.write_text("".join(replies.read_text().splitlines(keepends=True)[:-1]))


def too_many(replies: Path) -> None:
    lines = replies.read_text().splitlines(keepends=True)
    replies.write_text("".join([*lines, lines[-1]]))


def other_order(replies: Path) -> None:
    """Two steps of one session, by their ids; as they stand they are the right ones."""
    first, second, third, *rest = map(json.loads, replies.read_text().splitlines())
    second["id"], third["id"] = third["id"], second["id"]
    lines = (json.dumps(reply) + "\n" for reply in (first, second, third, *rest))
    replies.write_text("".join(lines))


def link_outside(replies: Path) -> None:
    replies.unlink()
    replies.symlink_to("/etc/passwd")


def a_pipe(replies: Path) -> None:
    replies.unlink()
    os.mkfifo(replies)


def other_tensor_file(replies: Path) -> None:
    for path in replies.parent.glob("*.safetensors"):
        data = path.read_bytes()
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


@pytest.mark.parametrize(
    "spoil",
    [
        spoil_json,
        spoil_nan,
        too_few,
        too_many,
        other_order,
        link_outside,
        a_pipe,
        other_tensor_file,
    ],
)
def test_ws_vectors_5_bad_answers_are_errors_of_the_port(
    folder: Path, spoil: Callable[[Path], None]
) -> None:
    vectors.answer(folder, ReferencePort())
    for case in (folder / "cases").glob("*-session"):
        spoil(case / ACTUAL / REPLIES)
    report = report_of(folder)
    assert report.counts["error"] > 0
    assert report.counts["pass"] > 0
    assert report.exit_status == 1
    assert all(c.blame == "port" for c in report.failures())


@pytest.mark.parametrize("what", ["changed", "missing", "more", "deeper", "oracle"])
def test_ws_vectors_3_a_folder_that_changed_is_refused(folder: Path, what: str) -> None:
    case = next((folder / "cases").glob("*-exchange"))
    if what == "changed":
        text = (case / "case.json").read_text()
        (case / "case.json").write_text(text.replace('"repeat": 0', '"repeat": 1'))
    elif what == "missing":
        (case / "case.json").unlink()
    elif what == "deeper":
        (case / "more").mkdir()
        (case / "more" / "file").write_text("")
    elif what == "oracle":
        case = next((folder / "oracle").iterdir())
        (case / "case.json").write_text((case / "case.json").read_text() + " ")
    else:
        (case / "more.txt").write_text("")
    with pytest.raises(VectorError, match=case.name):
        vectors.judge(folder)


def test_ws_vectors_3_the_first_of_several_is_named(folder: Path) -> None:
    first, *_, last = sorted(path.name for path in (folder / "cases").iterdir())
    for case in (last, first):
        (folder / "cases" / case / "case.json").unlink()
    with pytest.raises(VectorError, match=f"cases/{first}/case.json: got 'missing'"):
        vectors.judge(folder)


def test_ws_vectors_3_another_version_is_refused(folder: Path) -> None:
    write_manifest(folder, attrs.evolve(read_manifest(folder), version=2))
    with pytest.raises(VectorError, match="wanstreamer-vectors version 1"):
        vectors.judge(folder)


def test_ws_vectors_3_half_a_folder_is_refused(folder: Path) -> None:
    (folder / MANIFEST).unlink()
    with pytest.raises(VectorError, match="manifest"):
        vectors.judge(folder)


@pytest.mark.parametrize("bad", ["{", "[]", '{"format": "wanstreamer-vectors", "version": 99}'])
def test_ws_vectors_3_a_bad_manifest_is_one_line(
    folder: Path, bad: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / MANIFEST).write_text(bad)
    assert status_of(["vectors", "judge", str(folder)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert MANIFEST in said


def test_ws_vectors_3_nothing_is_overwritten(written: Path) -> None:
    with pytest.raises(VectorError, match="empty"):
        vectors.write(written, SMALL, ReferencePort(), ReferencePort())


def test_ws_vectors_4_verify_finds_expected_numbers_that_moved(tmp_path: Path) -> None:
    scratch = tmp_path / "again"
    tiny = attrs.evolve(SMALL, cases=("session/modalities:voice-only",))
    root = tmp_path / "root"
    vectors.write(root, tiny, ReferencePort(), ReferencePort())
    assert vectors.verify(root, scratch, ReferencePort(), ReferencePort())
    other = "mutant:softmax-scaled-twice"
    with pytest.raises(VectorError, match="budget"):
        vectors.verify(root, tmp_path / "other", resolve(other), resolve(other))


@pytest.mark.parametrize("limit", ["max", "rms"])
def test_ws_vectors_4_a_budget_that_moved_is_an_error_of_the_suite(
    folder: Path, limit: str
) -> None:
    vectors.answer(folder, ReferencePort())
    manifest = read_manifest(folder)
    case, budgets = next(iter(manifest.budgets.items()))
    half = {limit: getattr(budgets[0], limit) / 2}
    tighter = (attrs.evolve(budgets[0], **half), *budgets[1:])
    changed = attrs.evolve(manifest, budgets={**manifest.budgets, case: tighter})
    write_manifest(folder, changed)
    report = report_of(folder)
    assert report.counts["error"] == 1
    assert report.exit_status == 2
    assert report.failures()[0].blame == "suite"


def test_ws_vectors_4_every_case_says_where_its_truth_comes_from(written: Path) -> None:
    for path in (written / "cases").glob("*/case.json"):
        assert json.loads(path.read_text())["oracle"]


@pytest.mark.parametrize(
    ("command", "op", "label"),
    [
        ("math", "recipe.uniform", "analytic"),
        ("math", "backbone.rms_norm", "independent-float64"),
        ("exchange", "", "analytic"),
        ("codec", "", "reference-derived"),
        ("open", "", "reference-derived"),
    ],
)
def test_ws_vectors_4_formulas_and_numbers_are_told_apart(
    command: str, op: str, label: str
) -> None:
    question = Question(command=command, data={"op": op}, tensors={})
    assert vectors.label_of([Said(question=question, reply=None)]) == label
