"""The split engine as a port: WS-STREAMING-6 over two real processes."""

from __future__ import annotations

from port_judging import judged

from conformance.ports.split import SplitPort


def test_ws_streaming_6_split_passes() -> None:
    report = judged(SplitPort(), "port/honest", "streaming/kv-digest")
    assert report.failures() == ()
    assert report.exit_status == 0


def test_split_claims_what_it_answers() -> None:
    port = SplitPort()
    assert port.hello().profiles == ("split",)
    assert not port.supports("codec")
