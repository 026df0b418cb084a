"""``wanstreamer run``: what it prints and writes, that it streams, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Self

import av
import pytest
import torch
from media_clips import grey, noise, write_clip

from reference.units import AgentUnit, Latents, UserUnit
from spec.presets import TINY
from spec.trace import Kind
from spec.trace_check import check_trace
from spec.trace_reading import read_trace
from wanstreamer import cli, interrupts, run
from wanstreamer.engines import ENGINES

CLIP = Path(__file__).resolve().parents[1] / "examples" / "media" / "bigbuckbunny-160p.mp4"

KEYS = ["engine", "preset", "schedule", "dtype", "units", "fps", "frames_out", "samples_out",
        "text", "unit_ms", "outputs_sha256"]  # fmt: skip
"""Design §15: scripts depend on these."""

Said = pytest.CaptureFixture[str]


@pytest.fixture(scope="session", autouse=True)
def commands() -> None:
    cli.register()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two units each: of picture and sound, of picture only, of sound only."""
    made = tmp_path_factory.mktemp("clips")
    pictures, sound = grey(8), noise(1, 5_120)
    return {
        "both": write_clip(made / "both.mkv", pictures=pictures, sound=sound),
        "video": write_clip(made / "video.mkv", pictures=pictures),
        "audio": write_clip(made / "audio.mkv", sound=sound),
    }


def answer_of(capsys: Said, *arguments: str) -> dict[str, Any]:
    """The JSON object that ``run`` prints, once it is known to be all that it prints."""
    status = cli.status_of(["run", *arguments, "--json"])
    said = capsys.readouterr()
    assert (status, said.err) == (0, "")
    assert said.out.count("\n") == 1
    answer: dict[str, Any] = json.loads(said.out)
    assert list(answer) == KEYS
    assert list(answer["unit_ms"]) == ["p50", "p95", "max"]
    return answer


def streams_of(path: Path) -> dict[str, int]:
    """Frames of video and samples of audio that a player would show."""
    found: dict[str, int] = {}
    with av.open(str(path)) as container:
        for stream in container.streams.video:
            found["frames"] = sum(1 for _ in container.decode(stream))
            assert stream.average_rate == 25
        container.seek(0)
        for sound in container.streams.audio:
            assert sound.duration is not None
            assert sound.time_base is not None
            found["samples"] = round(sound.duration * sound.time_base * 24_000)
    return found


def test_the_sample_clip(folder: Path, capsys: Said) -> None:
    """33 units in, 132 frames and 126,720 samples out, with the text beside them."""
    answer = answer_of(capsys, str(CLIP), "-o", "out.mp4", "--trace", "trace.jsonl")
    assert (answer["units"], answer["fps"]) == (33, 25)
    assert (answer["frames_out"], answer["samples_out"]) == (132, 126_720)
    assert streams_of(folder / "out.mp4") == {"frames": 132, "samples": 126_720}
    assert (folder / "out.txt").read_text(encoding="utf-8") == answer["text"] + "\n"
    with (folder / "trace.jsonl").open(encoding="utf-8") as trace:
        assert check_trace(read_trace(trace)).clean
    assert sorted(path.name for path in folder.iterdir()) == ["out.mp4", "out.txt", "trace.jsonl"]


def test_an_older_output_is_replaced(folder: Path, capsys: Said, clips: dict[str, Path]) -> None:
    for name in ("out.mp4", "out.txt", "trace.jsonl"):
        (folder / name).write_text("old")
    answer_of(capsys, str(clips["both"]), "-o", "out.mp4", "--trace", "trace.jsonl")
    assert streams_of(folder / "out.mp4") == {"frames": 8, "samples": 7_680}
    assert all(path.read_bytes() != b"old" for path in folder.iterdir())


def test_the_seed_is_all_that_is_random(capsys: Said, clips: dict[str, Path]) -> None:
    first, again, other = (
        answer_of(capsys, str(clips["both"]), "--seed", seed)["outputs_sha256"]
        for seed in ("3", "3", "4")
    )
    assert first == again != other


def test_both_engines_give_the_same_digest(
    folder: Path, capsys: Said, clips: dict[str, Path]
) -> None:
    """The two engines agree bit by bit, and so do their answers but for the time they took."""
    one, two = (
        answer_of(capsys, str(clips["both"]), "--engine", engine, "--dtype", "float64",
                  "--preset", "tiny-lag0", "--text", "hello", "--trace", f"{engine}.jsonl")
        for engine in ("reference", "split")
    )  # fmt: skip
    assert (one.pop("engine"), two.pop("engine")) == ("reference", "split")
    assert one.pop("unit_ms") != two.pop("unit_ms")
    assert one == two
    assert one["schedule"] == "sequential"
    with (folder / "split.jsonl").open(encoding="utf-8") as trace:
        events = list(read_trace(trace))
    assert check_trace(events).clean
    assert sum(event.kind is Kind.EMIT for event in events) == 2


@pytest.mark.parametrize(
    ("clip", "modalities", "expected"),
    [
        ("both", "text,audio,video", {"frames": 8, "samples": 7_680}),
        ("both", "audio", {"samples": 7_680}),
        ("both", "video", {"frames": 8}),
        ("both", " text , video ", {"frames": 8}),
        ("video", "audio,video", {"frames": 8, "samples": 7_680}),
        ("audio", "text,audio,video", {"frames": 8, "samples": 7_680}),
    ],
)
def test_modalities(
    clip: str, modalities: str, expected: dict[str, int],
    folder: Path, capsys: Said, clips: dict[str, Path],
) -> None:  # fmt: skip
    """The file holds what the agent has, whatever the user's clip lacks."""
    answer = answer_of(capsys, str(clips[clip]), "--modalities", modalities, "-o", "out.mp4")
    assert streams_of(folder / "out.mp4") == expected
    assert answer["frames_out"] == expected.get("frames", 0)
    assert answer["samples_out"] == expected.get("samples", 0)
    assert answer["units"] == 2
    assert (answer["text"] == "") == ("text" not in modalities)


def test_text_alone(capsys: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    """No clip: the agent goes on for a while after the user's text."""
    monkeypatch.setattr(run, "ANSWER_UNITS", 3)
    answer = answer_of(capsys, "--text", "hello", "--modalities", "text")
    assert answer["units"] == 2 + 3
    assert (answer["frames_out"], answer["samples_out"]) == (0, 0)


def test_text_in_sound_out(folder: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "ANSWER_UNITS", 3)
    answer = answer_of(capsys, "--text", "hi", "--modalities", "text,audio", "-o", "out.mp4")
    assert answer["units"] == 1 + 3
    assert streams_of(folder / "out.mp4") == {"samples": 4 * 3_840}


@pytest.mark.usefixtures("folder")
def test_what_a_person_reads(capsys: Said, clips: dict[str, Path]) -> None:
    assert cli.status_of(["run", str(clips["both"]), "-o", "out.mp4"]) == 0
    said = capsys.readouterr()
    assert "2 units = 0.32 s at 25 fps: 8 frames, 7680 samples" in said.out
    assert said.out.endswith("wrote out.mp4 and out.txt\n")


class Echo:
    """An engine that keeps nothing and counts how many units are alive beside it."""

    alive: ClassVar[weakref.WeakSet[UserUnit | AgentUnit]] = weakref.WeakSet()
    most = 0
    steps = 0

    def __init__(self, *_: object) -> None:
        pass

    def step(self, user: UserUnit, noise: Latents) -> list[AgentUnit]:
        agent = AgentUnit(
            unit=user.unit,
            text=(65, 66, 67),
            logits=torch.zeros(3, 1),
            latents=noise,
            audio=torch.zeros(3_840),
            video=torch.zeros(4, 3, TINY.frame_height, TINY.frame_width),
        )
        Echo.alive.update((user, agent))
        Echo.most = max(Echo.most, len(Echo.alive))
        Echo.steps += 1
        return [agent]

    def finish(self) -> list[AgentUnit]:
        return []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def test_a_long_clip_is_streamed(
    folder: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the clip, only the units at hand are in memory."""
    monkeypatch.setitem(ENGINES, "echo", Echo)
    clip = write_clip(folder / "long.mkv", pictures=grey(240), sound=noise(1, 153_600))
    answer = answer_of(capsys, str(clip), "--engine", "echo", "-o", "out.mp4")
    assert answer["units"] == Echo.steps == 60
    assert answer["text"] == "ABC" * 60
    assert Echo.most <= 5


def start(*arguments: str, **more: Any) -> subprocess.Popen[str]:
    """The command in a process group of its own, as a shell starts it."""
    return subprocess.Popen(
        [sys.executable, "-c", "from wanstreamer.cli import main; main()", "run", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, **more,
    )  # fmt: skip


def group_of(process: subprocess.Popen[str]) -> list[int]:
    """Everything that the command started and that still runs, itself left out."""
    listing = subprocess.run(
        ["ps", "-o", "pid=,stat=", "--sid", str(process.pid)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    rows = [line.split() for line in listing.stdout.splitlines()]
    return [int(pid) for pid, state in rows if int(pid) != process.pid and state[0] != "Z"]


@pytest.fixture
def endless(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A split session that would go on for minutes, once its first units are written."""
    folder = tmp_path / "out"
    temporary = tmp_path / "temporary"
    for made in (folder, temporary):
        made.mkdir()
    (folder / "out.mp4").write_text("a good output")
    clip = write_clip(tmp_path / "long.mkv", sound=noise(1, 16_000 * 240))
    process = start(str(clip), "--engine", "split", "-o", "out.mp4", "--trace", "trace.jsonl",
                    cwd=folder, env={**os.environ, "TMPDIR": str(temporary)})  # fmt: skip
    try:
        wait_for_output(process, folder)
        yield process, tmp_path
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for_output(process: subprocess.Popen[str], folder: Path) -> None:
    """Until the temporary output has grown, so that units are on their way."""
    while process.poll() is None:
        if any(path.stat().st_size > 4_000 for path in folder.glob(".wanstreamer-*.part")):
            return
        time.sleep(0.05)


def assert_ended(process: subprocess.Popen[str], status: int, line: str, below: Path) -> None:
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (status, "")
    # click ends the line of a terminal's ^C first.
    (said,) = err.strip().splitlines()
    assert line in said
    assert group_of(process) == []
    assert [path.name for path in (below / "out").iterdir()] == ["out.mp4"]
    assert (below / "out" / "out.mp4").read_text() == "a good output"
    assert list((below / "temporary").iterdir()) == []


def test_a_performer_that_dies(endless: tuple[subprocess.Popen[str], Path]) -> None:
    """One line, another status than 0, nothing left behind, nothing good lost (WS-ERRORS-1)."""
    process, below = endless
    (performer,) = group_of(process)
    os.kill(performer, signal.SIGKILL)
    assert_ended(process, 2, "performer process: got 'exit status -9'", below)


def test_an_interrupt(endless: tuple[subprocess.Popen[str], Path]) -> None:
    """Ctrl-C reaches both processes; the thinker cleans up for both."""
    process, below = endless
    os.killpg(process.pid, signal.SIGINT)
    assert_ended(process, 130, "wanstreamer: interrupted", below)


def test_a_polite_end_is_an_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a supervisor sends cleans up as Ctrl-C does."""
    handlers: dict[int, object] = {}
    monkeypatch.setattr(signal, "signal", handlers.__setitem__)
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    assert handlers == dict.fromkeys((signal.SIGINT, signal.SIGTERM), interrupts.on_signal)


def test_an_interrupt_that_was_swallowed_still_ends_the_run(
    monkeypatch: pytest.MonkeyPatch, clips: dict[str, Path]
) -> None:
    """A finaliser may swallow the exception; the loop asks again."""
    monkeypatch.setattr(interrupts, "_noted", threading.Event())
    interrupts.check()
    with pytest.raises(KeyboardInterrupt):
        interrupts.on_signal(signal.SIGINT, None)
    arguments = ["run", str(clips["audio"]), "--modalities", "audio", "--json"]
    assert cli.status_of(arguments) == cli.INTERRUPTED_STATUS


def test_a_reader_that_leaves(clips: dict[str, Path], tmp_path: Path) -> None:
    """A broken pipe on stdout is no reason for a traceback, and the output is there."""
    process = start(str(clips["audio"]), "--modalities", "audio", "-o", str(tmp_path / "out.mp4"))
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.wait() == 1
    assert streams_of(tmp_path / "out.mp4") == {"samples": 7_680}
