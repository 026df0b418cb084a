"""A port through the suite under pytest: ``pytest --wanstreamer-port=NAME``, one test item a case.

Without that option the plugin does nothing, and loads neither the suite nor torch. A failed or
erroneous case fails, an unsupported one is skipped, an inconclusive one fails or, if so chosen, is
expected to; a waived one is an expected failure, and each waiver has an item of its own that fails
when the waiver has expired or is not needed (WS-CONFORMANCE-10, WS-CONFORMANCE-20). A run that
executed too little fails, unless its cases were picked by name (WS-CONFORMANCE-21).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from conformance.pytest_cases import Port
    from conformance.verdicts import CaseResult

NAME = "wanstreamer"
PICKING = ("keyword", "markexpr", "deselect", "lf", "stepwise", "collectonly", "maxfail")
"""Options of pytest with which not every case is run: whoever uses them knows that."""
ALL: Final = ("", False, 0, list[str](), NAME)
"""Values of theirs with which every case is; the last is that of ``-m wanstreamer``."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup(NAME, "Wan-Streamer conformance suite")
    group.addoption(
        "--wanstreamer-port",
        metavar="NAME",
        help="judge this port: reference, split, MODULE:FACTORY, ... (see wanstreamer check -h)",
    )
    group.addoption("--wanstreamer-profile", metavar="PROFILE", help="one profile; else all")
    group.addoption("--wanstreamer-clause", metavar="ID", help="one clause, e.g. WS-VISIBILITY-2")
    group.addoption("--wanstreamer-waivers", metavar="FILE", help="failures accepted for a while")
    group.addoption(
        "--wanstreamer-inconclusive",
        choices=("fail", "xfail"),
        default="fail",
        help="what an inconclusive case is (default: fail)",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "wanstreamer(clause): a case of the conformance suite")
    if config.getoption("wanstreamer_port") is not None:
        config.pluginmanager.register(Enough(config), f"{NAME}-enough")


class Enough:
    """Counts what was executed where the reports come together, under pytest-xdist too."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.verdicts: dict[str, str] = {}
        self.reasons: tuple[str, ...] = ()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        found = dict(report.user_properties)
        if report.when == "call" and "verdict" in found:
            self.verdicts[str(found["case"])] = str(found["verdict"])

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        picked = any(self.config.getoption(name, None) not in (None, *ALL) for name in PICKING)
        if picked or not self.verdicts or hasattr(self.config, "workerinput"):
            return
        from conformance.reporting.floors import floors
        from conformance.verdicts import CaseResult, Verdict, too_few, wanted

        clause = self.config.getoption("wanstreamer_clause")
        results = [
            CaseResult(id=case, clause="", verdict=Verdict(verdict))
            for case, verdict in self.verdicts.items()
        ]
        required = wanted(tuple(dict.fromkeys(r.check for r in results)), results)
        self.reasons = too_few(results, required, floors(required, clause))
        allowed = self.config.getoption("wanstreamer_inconclusive") == "xfail"
        if self.reasons and not allowed and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for reason in self.reasons:
            terminalreporter.line(f"{NAME}: inconclusive: {reason}", red=True)


class Suite(pytest.Collector):
    """All cases of one port."""

    port: Port

    def collect(self) -> list[pytest.Item]:
        items: list[pytest.Item] = [
            Judged.from_parent(self, name=case_id, case_id=case_id) for case_id in self.port.ids
        ]
        return items


class Judged(pytest.Item):
    """One case, or the judgement on one waiver."""

    def __init__(self, *, case_id: str, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.case_id = case_id
        self.add_marker(pytest.mark.wanstreamer(self._port.clause_of(case_id)))

    @property
    def _port(self) -> Port:
        assert isinstance(self.parent, Suite)
        return self.parent.port

    def runtest(self) -> None:
        result = self._port.result(self.case_id)
        verdict = result.verdict.value
        told = (("clause", result.clause), ("case", result.id), ("verdict", verdict))
        self.user_properties.extend(told)
        if verdict == "unsupported":
            # The port lacks an optional feature and says so: its case, not the verdict
            # (WS-CONFORMANCE-3). A run that executed too little fails all the same.
            pytest.skip(result.detail)
        expected = self.config.getoption("wanstreamer_inconclusive") == "xfail"
        if verdict == "waived" or (verdict == "inconclusive" and expected):
            # The user's own waiver file, or `--wanstreamer-inconclusive=xfail`, asks for it.
            pytest.xfail(f"{verdict}: {result.detail}")
        if verdict != "pass":
            raise NotConformantError(result)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, NotConformantError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        return self.path, None, f"{self.case_id} [{self._port.clause_of(self.case_id)}]"


class NotConformantError(Exception):
    """A case that speaks against the port, told as the suite tells it."""

    def __init__(self, result: CaseResult) -> None:
        from conformance.stdio.untrusted import visible

        verdict = result.verdict.value
        super().__init__(f"{verdict} {result.id} [{result.clause}]\n{visible(result.detail)}")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Add the suite's cases, before ``-k`` and ``-m`` choose."""
    name = config.getoption("wanstreamer_port")
    if name is None:
        return
    from conformance.pytest_cases import Port
    from spec.errors import WanStreamerError

    waivers = config.getoption("wanstreamer_waivers")
    try:
        port = Port(
            name,
            config.getoption("wanstreamer_profile"),
            config.getoption("wanstreamer_clause"),
            None if waivers is None else Path(waivers),
        )
    except WanStreamerError as error:
        raise pytest.UsageError(str(error)) from error
    suite = Suite.from_parent(session, name=f"{NAME}:{name}", nodeid=f"{NAME}:{name}")
    suite.port = port
    items.extend(suite.collect())
