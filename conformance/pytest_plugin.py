"""A port through the suite under pytest: ``pytest --wanstreamer-port=NAME``, one test item a case.

Without that option the plugin does nothing, and loads neither the suite nor torch. A failed or
erroneous case fails, an unsupported one is skipped, an inconclusive one fails or, if so chosen, is
expected to; a waived one is an expected failure, and each waiver has an item of its own that fails
when the waiver has expired or is not needed (WS-CONFORMANCE-10, WS-CONFORMANCE-20).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conformance.pytest_cases import Port
    from conformance.verdicts import CaseResult

NAME = "wanstreamer"


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
        self.user_properties.append(("clause", result.clause))
        verdict = result.verdict.value
        if verdict == "unsupported":
            pytest.skip(result.detail)
        expected = self.config.getoption("wanstreamer_inconclusive") == "xfail"
        if verdict == "waived" or (verdict == "inconclusive" and expected):
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
