"""Two processes give what one process gives, and leave nothing behind."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs
import pytest
import torch
from samples import SMALL, WORDLESS, identical, noise_of, stream, users_of

from optimized.split import SplitEngine
from optimized.transport import IN_FLIGHT, PeerGoneError
from reference.units import AgentUnit, Latents, UserUnit
from spec.errors import ConfigError
from spec.layout import Modalities
from spec.session import SessionConfig
from spec.trace import Kind, TraceEvent
from spec.trace_check import check_trace
from spec.trace_reading import read_trace

UNITS = 5
DTYPES = {"float32": torch.float32, "float64": torch.float64}

OVERLAPPED = SessionConfig(preset=SMALL, schedule="overlapped", prompt=(72, 105))
SEQUENTIAL = attrs.evolve(OVERLAPPED, schedule="sequential", prompt=())
VOICE = attrs.evolve(
    OVERLAPPED, modalities=Modalities(user_text=False, user_video=False, agent_video=False)
)
SILENT = attrs.evolve(SEQUENTIAL, modalities=WORDLESS)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the engine puts its temporary folder: here, so that a leftover is seen."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def inputs_of(config: SessionConfig, dtype: str) -> tuple[list[UserUnit], list[Latents]]:
    noises = [noise_of(config, k, dtype=DTYPES[dtype]) for k in range(UNITS)]
    return users_of(config, UNITS), noises


def children() -> set[str]:
    """Processes whose parent is this one, zombies included."""
    command = ["ps", "-o", "pid=,comm=", "--ppid", str(os.getpid())]
    listing = subprocess.run(command, capture_output=True, text=True, check=True)
    return {line for line in listing.stdout.splitlines() if not line.endswith(" ps")}


def all_identical(ours: Sequence[AgentUnit], theirs: Sequence[AgentUnit]) -> bool:
    return all(identical(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize(
    ("config", "dtype", "asks"),
    [
        (OVERLAPPED, "float64", True),
        (SEQUENTIAL, "float32", False),
        (VOICE, "float32", False),
        (SILENT, "float64", True),
    ],
    ids=["overlapped", "sequential", "voice", "wordless"],
)
def test_split_equals_one_process(
    config: SessionConfig, dtype: str, asks: bool, temporary: Path
) -> None:
    """WS-STREAMING-11: text, logits, latents, audio and video are the same bits, one unit late,
    and both caches hold the same entries (WS-STREAMING-6).

    To ask for digests brings the processes into step, so half of the sessions do not.
    """
    users, noises = inputs_of(config, dtype)
    expected, _ = stream(config, users, noises, dtype=DTYPES[dtype])
    trace = io.StringIO()
    answers: list[list[AgentUnit]] = []
    with SplitEngine(config, dtype, trace) as engine:
        for user, noise in zip(users, noises, strict=True):
            answers.append(engine.step(user, noise))
            if asks:
                digests = engine.digests(user.unit - 1)
                assert digests["thinker"] == digests["performer"]
        # What was sent is let go, or memory would grow by more than the caches.
        assert len(engine._transport._sending) <= IN_FLIGHT
        with pytest.raises(ConfigError, match="digest up to unit"):
            engine.digests(UNITS)
        answers.append(engine.finish())
    assert [[agent.unit for agent in ready] for ready in answers] == [
        [], *([k] for k in range(UNITS))
    ]  # fmt: skip
    assert all_identical([agent for (agent,) in answers[1:]], expected)
    assert list(temporary.iterdir()) == []
    assert_traced(config, trace.getvalue())


def assert_traced(config: SessionConfig, text: str) -> None:
    """Every step of every unit is there once, and the trace keeps its own rules."""
    events = list(read_trace(io.StringIO(text)))
    report = check_trace(events)
    assert report.violations == ()
    assert report.clean
    # WS-TRACE-11: every queue with its limit.
    assert report.unstated == ()
    window = 1 + config.lag
    assert {name: limit for name, (_, limit) in report.queues.items()} == {
        "units in work": window + 1,
        "slices unanswered": window,
        "responses unacknowledged": window,
        "responses unread": window + 1,
    }
    counts = Counter((event.process, event.kind, event.unit) for event in events)
    performer_commits = 1 if config.schedule == "overlapped" else 0
    for k in range(UNITS):
        for process, kind, times in (
            ("thinker", Kind.OBSERVE, 1),
            ("thinker", Kind.UPDATE, 1),
            ("performer", Kind.APPEND, 1),
            ("performer", Kind.SOLVE, 1),
            ("performer", Kind.COMMIT, performer_commits),
            ("thinker", Kind.COMMIT, 1),
            ("thinker", Kind.DECODE, 1),
            ("thinker", Kind.EMIT, 1),
        ):
            assert counts[process, kind, k] == times, (process, kind, k)
    assert len({event.id for event in events}) == len(events)
    assert {process for process, kind, _ in counts if kind is Kind.END} == {"thinker", "performer"}
    assert set(crossings(events)) == {("thinker", "performer"), ("performer", "thinker")}


def crossings(events: list[TraceEvent]) -> Iterator[tuple[str, str]]:
    """(cause, effect) of every event that another process caused."""
    process_of = {event.id: event.process for event in events}
    for event in events:
        for cause in event.cause:
            if process_of[cause] != event.process:
                yield process_of[cause], event.process


def test_two_sessions_in_one_process(temporary: Path) -> None:
    """Sessions share nothing, and one that breaks does not disturb the other."""
    users, noises = inputs_of(SEQUENTIAL, "float32")
    expected, _ = stream(SEQUENTIAL, users, noises, dtype=torch.float32)
    before = children()
    answers = []
    with SplitEngine(SEQUENTIAL, "float32") as whole:
        error = None
        try:
            with SplitEngine(OVERLAPPED, "float32") as broken:
                broken.step(users_of(OVERLAPPED, 1)[0], noises[0])
                answers += [whole.step(users[0], noises[0]), whole.step(users[1], noises[1])]
                os.kill(broken._performer.pid, signal.SIGKILL)
                broken.finish()
        except PeerGoneError as caught:
            error = caught
        answers.append(whole.finish())
    assert "exit status -9" in str(error)
    assert all_identical([agent for (agent,) in answers[1:]], expected[:2])
    assert list(temporary.iterdir()) == []
    assert children() == before


def test_a_performer_that_cannot_start(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it said last is in the error."""
    before = children()
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    with pytest.raises(PeerGoneError, match=r"performer process: got 'exit status 1 \(.+\)'"):
        SplitEngine(OVERLAPPED, "float32")
    assert list(temporary.iterdir()) == []
    assert children() == before


ORPHAN = """
import sys, time
sys.path[:0] = [{tests!r}]
from test_split import OVERLAPPED, inputs_of
from optimized.split import SplitEngine
engine = SplitEngine(OVERLAPPED, "float32")
users, noises = inputs_of(OVERLAPPED, "float32")
engine.step(users[0], noises[0])
print(engine._performer.pid, engine._folder, flush=True)
time.sleep(60)
"""


def test_a_performer_leaves_with_its_thinker(tmp_path: Path) -> None:
    """A thinker that is killed can clean up nothing; its performer does, and goes."""
    script = ORPHAN.format(tests=str(Path(__file__).parent))
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    thinker = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=environment
    )
    with thinker:
        assert thinker.stdout is not None
        pid, folder = thinker.stdout.readline().split()
        assert Path(folder).parent == tmp_path
        thinker.kill()
    for _ in range(200):
        if not is_alive(int(pid)) and not Path(folder).exists():
            return
        time.sleep(0.1)
    os.kill(int(pid), signal.SIGKILL)
    raise AssertionError("the performer outlived its thinker by 20 s")


def is_alive(pid: int) -> bool:
    """True for a process that runs; an orphan may stay a zombie where nobody collects it."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
