"""The pytest plugin: one item a case, each verdict as pytest tells it (WS-CONFORMANCE-10,
WS-CONFORMANCE-21)."""

from __future__ import annotations

import attrs
import pytest
from port_judging import oracle

from conformance import pytest_cases, runner
from conformance.case import Case, Inconclusive
from conformance.checks.registry import CHECKS
from conformance.ports.reference import ReferencePort
from conformance.reporting import floors
from conformance.reporting.floors import ALL_CLAUSES, CheckFacts
from conformance.resolve import catalogue

# `pytester` forgets the modules that a run brings in; torch cannot be loaded twice.
LOADED = (pytest_cases, ReferencePort, catalogue("mutant"))

pytest_plugins = ["pytester"]

PORTS = """
from conformance.ports.reference import ReferencePort
from conformance.protocol import Hello
import attrs

class Good(ReferencePort):
    pass

class Claims(ReferencePort):
    "Claims everything: breaks WS-CONFORMANCE-3."
    def supports(self, feature):
        return True

class Crashes(ReferencePort):
    "Falls over when asked for a session that is not there: WS-CONFORMANCE-4."
    def step(self, session, unit):
        raise RuntimeError("\\x1b[31mgone")

class Mute(ReferencePort):
    def hello(self):
        raise RuntimeError("who?")

class NoDigest(ReferencePort):
    "Lacks an optional feature."
    def hello(self):
        hello = super().hello()
        return attrs.evolve(hello, features=tuple(f for f in hello.features if f != "kv_digest"))
"""

WAIVER = """
[[waiver]]
clause = "WS-CONFORMANCE-3"
case = "port/honest:unknown-feature"
reason = "known"
issue = "https://example.org/7"
expires = {expires}
"""
HONEST = CHECKS["port/honest"]
CLAUSE = "--wanstreamer-clause=WS-CONFORMANCE-3"


def cases_of_clause() -> int:
    """How many cases that clause has for our ports here."""
    selected = runner.select(None, "WS-CONFORMANCE-3")
    return len(runner.plan(ReferencePort(), oracle(), selected, None, "WS-CONFORMANCE-3").todo)


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder with the ports above and no tests of its own."""
    pytester.makepyfile(ports=PORTS)
    monkeypatch.syspath_prepend(pytester.path)
    return pytester


def outcomes(run: pytest.Pytester, *arguments: str) -> dict[str, int]:
    result = run.runpytest_inprocess("-p", "no:cacheprovider", *arguments)
    found: dict[str, int] = result.parseoutcomes()
    # That our packages were imported before is this process's affair, not the plugin's.
    found.pop("warnings", None)
    return found


def test_a_good_port_passes_with_one_item_a_case(run: pytest.Pytester) -> None:
    result = run.runpytest_inprocess("-v", "--wanstreamer-port=ports:Good", CLAUSE)
    result.assert_outcomes(passed=cases_of_clause())
    result.stdout.fnmatch_lines(
        ["*wanstreamer:ports:Good::port/honest:unknown-feature PASSED*", "*:claims PASSED*"]
    )


def test_a_bad_port_fails_and_says_what_and_how_to_see_it_again(run: pytest.Pytester) -> None:
    result = run.runpytest_inprocess("--wanstreamer-port=ports:Claims", CLAUSE)
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "fail port/honest:unknown-feature [[]WS-CONFORMANCE-3[]]",
            "*which does not exist*",
            "*reproduce: wanstreamer check --port ports:Claims --clause WS-CONFORMANCE-3*",
        ]
    )


def test_a_crash_is_a_failure_and_cannot_steer_the_terminal(run: pytest.Pytester) -> None:
    result = run.runpytest_inprocess(
        "--color=no", "--wanstreamer-port=ports:Crashes", "--wanstreamer-clause=WS-CONFORMANCE-4",
        "-k", "unknown-session",
    )  # fmt: skip
    assert result.parseoutcomes()["failed"] == 1
    text = result.stdout.str()
    assert "error port/honest:unknown-session" in text
    assert "\\x1b[31mgone" in text
    assert "\x1b" not in text


def test_a_missing_optional_feature_is_a_skip_with_its_reason(run: pytest.Pytester) -> None:
    result = run.runpytest_inprocess(
        "-rs", "--wanstreamer-port=ports:NoDigest", "--wanstreamer-clause=WS-STREAMING-6",
        "-k", "kv-digest",
    )  # fmt: skip
    assert result.parseoutcomes()["skipped"] == 4
    result.stdout.fnmatch_lines(["*no kv_digest*"])


def test_a_waived_failure_is_expected_and_the_waiver_is_judged(run: pytest.Pytester) -> None:
    file = run.path / "waivers.toml"
    options = (CLAUSE, f"--wanstreamer-waivers={file}")
    file.write_text(WAIVER.format(expires="2099-12-31"))
    bad = outcomes(run, "--wanstreamer-port=ports:Claims", *options)
    cases = cases_of_clause()
    # Of the cases one is waived and one fails; the waiver is an item that passes.
    assert bad == {"xfailed": 1, "passed": cases - 1, "failed": 1}
    good = outcomes(run, "--wanstreamer-port=ports:Good", *options)
    assert good == {"passed": cases, "failed": 1}
    file.write_text(WAIVER.format(expires="2020-01-01"))
    assert outcomes(run, "--wanstreamer-port=ports:Claims", *options) == {
        "passed": cases - 2,
        "failed": 3,
    }


def test_an_inconclusive_case_fails_unless_it_may_not(
    run: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsure() -> str | None:
        raise Inconclusive("too short")

    check = attrs.evolve(
        CHECKS["port/honest"], cases=lambda _: (Case(name="unsure", judge=unsure),)
    )
    monkeypatch.setattr(runner, "CHECKS", {check.id: check})
    port = "--wanstreamer-port=ports:Good"
    assert outcomes(run, port, CLAUSE) == {"failed": 1}
    assert outcomes(run, port, CLAUSE, "--wanstreamer-inconclusive=xfail") == {"xfailed": 1}


def test_ws_conformance_21_a_run_that_executed_too_little_fails(
    run: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the reports come from another process; not where cases were picked."""
    made = len(runner.plan(ReferencePort(), oracle(), (HONEST,), None, None).todo)
    known = {HONEST.id: CheckFacts(oracle="", made=made, floors={ALL_CLAUSES: made + 1})}
    monkeypatch.setattr(floors, "facts", lambda: known)
    monkeypatch.setattr(runner, "CHECKS", {HONEST.id: HONEST})
    port = "--wanstreamer-port=ports:Good"
    for whole in ((), ("-m", "wanstreamer")):
        result = run.runpytest_inprocess(port, *whole)
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        result.assert_outcomes(passed=made)
        line = (
            f"wanstreamer: inconclusive: {HONEST.id}: {made} cases executed, at least {made + 1}*"
        )
        result.stdout.fnmatch_lines([line])
    for picked in (("-k", "honest"), ("-x",), ("--wanstreamer-inconclusive=xfail",)):
        assert run.runpytest_inprocess(port, *picked).ret == pytest.ExitCode.OK


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--wanstreamer-port=nobody",), "port: got 'nobody'"),
        (("--wanstreamer-port=ports:Mute",), "answers hello"),
        (("--wanstreamer-port=ports:Good", "--wanstreamer-clause=WS-X-1"), "clause: got"),
        (("--wanstreamer-port=ports:Good", "--wanstreamer-profile=maths"), "profile: got"),
        (("--wanstreamer-port=ports:Good", "--wanstreamer-waivers=none.toml"), "--waivers: got"),
    ],
)
def test_a_mistake_is_one_line_and_exit_4(
    run: pytest.Pytester, arguments: tuple[str, ...], says: str
) -> None:
    result = run.runpytest_inprocess(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: *{says.replace('[', '[[]')}*"])


def test_cases_are_chosen_like_tests(run: pytest.Pytester) -> None:
    """By ``-k`` and by marker, beside the folder's own tests."""
    run.makepyfile(test_own="def test_own(): pass")
    port = ("--wanstreamer-port=ports:Good", CLAUSE)
    cases = cases_of_clause()
    assert outcomes(run, *port) == {"passed": cases + 1}
    assert outcomes(run, *port, "-k", "honest") == {"passed": 2, "deselected": cases - 1}
    assert outcomes(run, *port, "-m", "wanstreamer") == {"passed": cases, "deselected": 1}


def test_junit_has_the_clause_of_each_case(run: pytest.Pytester) -> None:
    outcomes(run, "--wanstreamer-port=ports:Good", CLAUSE, "--junitxml=junit.xml")
    assert 'name="clause" value="WS-CONFORMANCE-3"' in (run.path / "junit.xml").read_text()


def test_unused_it_loads_neither_the_suite_nor_torch(pytester: pytest.Pytester) -> None:
    """Installed as an entry point, in a process of its own."""
    pytester.makepyfile(
        """
        import sys

        def test_nothing_is_loaded(pytestconfig):
            assert pytestconfig.pluginmanager.has_plugin("wanstreamer")
            heavy = {"torch", "conformance.runner", "matplotlib", "reference", "spec"}
            assert heavy & set(sys.modules) == set()
        """
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=1)
