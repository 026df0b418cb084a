"""A user's mistake ends in one line, exit status 2, and with everything as it was (WS-ERRORS-1)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import av
import pytest
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from media_clips import grey, noise, write_clip

from wanstreamer import cli

CLIP = Path(__file__).resolve().parents[1] / "examples" / "media" / "bigbuckbunny-160p.mp4"

Said = pytest.CaptureFixture[str]


@pytest.fixture(scope="session", autouse=True)
def commands() -> None:
    cli.register()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder, with files that may be mistaken for clips and one good output."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "note.mp4").write_text("not a clip")
    (tmp_path / "cut.mp4").write_bytes(CLIP.read_bytes()[:5_000])
    (tmp_path / "own.mp4").write_bytes(CLIP.read_bytes())
    (tmp_path / "symbolic.mp4").symlink_to("own.mp4")
    (tmp_path / "hard.mp4").hardlink_to(tmp_path / "own.mp4")
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "taken.txt").mkdir()
    (tmp_path / "good.mp4").write_bytes(b"a good output")
    (tmp_path / "good.txt").write_text("a good text")
    write_clip(tmp_path / "short.mkv", pictures=grey(2))
    write_clip(tmp_path / "half.mkv", pictures=grey(8), sound=noise(1, 5_120))
    return tmp_path


def contents(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


MISTAKES = {
    "nothing": ("", "a clip, a text, or both"),
    "missing clip": ("no.mp4", "no.mp4"),
    "folder as clip": ("folder.mp4", "folder.mp4"),
    "empty clip": ("empty.mp4", "empty.mp4"),
    "text as clip": ("note.mp4", "note.mp4"),
    "clip cut off": ("cut.mp4", "cut.mp4"),
    "link to itself": ("loop.mp4", "loop.mp4"),
    "clip below a file": ("note.mp4/clip.mp4", "clip.mp4"),
    "name too long": (f"{'x' * 300}.mp4", "xxx"),
    "short clip": ("short.mkv", "160 ms"),
    "no stream wanted": ("short.mkv --modalities audio", "audio"),
    "preset": ("own.mp4 --preset huge", "tiny"),
    "engine": ("own.mp4 --engine optimized", "reference, split"),
    "schedule": ("own.mp4 --schedule eager", "overlapped, sequential"),
    "dtype": ("own.mp4 --dtype float16", "float32, float64"),
    "modality": ("own.mp4 --modalities text,smell", "text,audio,video"),
    "no modality": ("own.mp4 --modalities=", "text,audio,video"),
    "modality twice": ("own.mp4 --modalities audio,audio", "each once"),
    "negative seed": ("own.mp4 --seed=-1", "0 or more"),
    "seed in words": ("own.mp4 --seed one", "--seed"),
    "no such option": ("own.mp4 --colour red", "--colour"),
    "option without value": ("own.mp4 --preset", "--preset"),
    "two clips": ("own.mp4 half.mkv", "half.mkv"),
    "output folder missing": ("own.mp4 -o no/out.mp4", "no"),
    "output below a file": ("own.mp4 -o note.mp4/out.mp4", "note.mp4"),
    "output in a folder of the kernel": ("own.mp4 -o /proc/out.mp4", "/proc"),
    "output is a folder": ("own.mp4 -o folder.mp4", "folder.mp4"),
    "output is the clip": ("own.mp4 -o own.mp4", "another file than CLIP"),
    "output is the clip, linked": ("own.mp4 -o symbolic.mp4", "another file than CLIP"),
    "output is the clip, twice": ("own.mp4 -o hard.mp4", "another file than CLIP"),
    "output without suffix": ("own.mp4 -o good", ".mp4"),
    "output of another kind": ("own.mp4 -o good.txt", ".mp4"),
    "output without name": ("own.mp4 -o .", ".mp4"),
    "output of text only": ("--text hi --modalities text -o out.mp4", "audio or video"),
    "text beside it is a folder": ("own.mp4 -o taken.mp4", "taken.txt"),
    "trace is the output": ("own.mp4 -o good.mp4 --trace good.mp4", "another file than --output"),
    "trace is the text": ("own.mp4 -o good.mp4 --trace good.txt", "another file than"),
    "trace is the clip": ("own.mp4 --trace hard.mp4", "another file than CLIP"),
    "trace folder missing": ("own.mp4 --trace no/trace.jsonl", "no"),
    "trace is a folder": ("own.mp4 --trace folder.mp4", "folder.mp4"),
    "trace is a device": ("own.mp4 --trace /dev/null", "plain file"),
    "clip for text only": ("own.mp4 --modalities text", "audio or video"),
    "text that is off": ("own.mp4 --text hi --modalities audio", "--text"),
    "text too long": (f"half.mkv --text {'x' * 7}", "at most 6"),
    "text that is no text": ("--text \udcff", "UTF-8"),
}
"""Arguments of ``run``, and what the line must say."""


@pytest.mark.parametrize("mistake", MISTAKES)
def test_one_line_and_nothing_changed(mistake: str, folder: Path, capsys: Said) -> None:
    """WS-ERRORS-1: what, which value, what is allowed; nothing is written, nothing is lost."""
    arguments, expected = MISTAKES[mistake]
    before = contents(folder)
    status = cli.status_of(["run", *arguments.split()])
    said = capsys.readouterr()
    assert status == 2
    assert said.out == ""
    assert said.err.startswith("wanstreamer: ")
    assert said.err.count("\n") == 1
    assert expected in said.err
    assert contents(folder) == before
    assert Path("/dev/null").is_char_device()


PORTS = {
    "unknown port": (["--port", "nope"], "nope"),
    "unknown mutant": (["--port", "mutant:nope"], "nope"),
    "module that is missing": (["--port", "no.such:factory"], "no.such"),
    "unknown profile": (["--profile", "nope"], "codec, session, split"),
    "unknown clause": (["--clause", "WS-NO-1"], "WS-NO-1"),
}


@pytest.mark.parametrize("mistake", PORTS)
def test_check_says_one_line(mistake: str, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What is judged has to exist (WS-ERRORS-1)."""
    arguments, expected = PORTS[mistake]
    before = contents(folder)
    assert cli.status_of(["check", *arguments]) == cli.USAGE_STATUS
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert expected in err
    assert contents(folder) == before


@pytest.mark.parametrize("command", ["walk", "--loud"])
def test_no_such_command(command: str, capsys: Said) -> None:
    """WS-ERRORS-1"""
    assert cli.status_of([command]) == 2
    assert capsys.readouterr().err.startswith("wanstreamer: ")


@pytest.mark.parametrize(
    "arguments",
    [["run", "no\nsuch\r\n.mp4", "a second\u2028clip.mp4"], ["run", "--colour\n=red"], ["ru\nn"]],
)
def test_what_came_may_have_many_lines(arguments: list[str], capsys: Said) -> None:
    """WS-ERRORS-1: one line is said of it all the same."""
    assert cli.status_of(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert said.err.endswith("\n")


def test_a_picture_is_no_clip(folder: Path, capsys: Said) -> None:
    """WS-ERRORS-1: a still picture lasts less than a unit."""
    picture = folder / "still.png"
    with av.open(str(picture), "w", format="image2") as container:
        stream = container.add_stream("png", rate=25)
        assert isinstance(stream, VideoStream)
        stream.height, stream.width, stream.pix_fmt = 32, 48, "rgb24"
        frame = VideoFrame.from_ndarray(grey(1)[0], format="rgb24")
        container.mux([*stream.encode(frame), *stream.encode(None)])
    assert cli.status_of(["run", str(picture)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_text_that_turns_out_too_long(
    folder: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    """WS-ERRORS-1: in a clip that does not state its length, the end shows that the text is too
    long; by then an output has been begun, and it must not be left."""
    monkeypatch.setattr("wanstreamer.run.check_budget", lambda *_: None)
    before = contents(folder)
    assert cli.status_of(["run", "half.mkv", "-o", "good.mp4", "--text", "x" * 60]) == 2
    assert "at most 6" in capsys.readouterr().err
    assert contents(folder) == before


def test_no_command_shows_the_help(capsys: Said) -> None:
    assert cli.status_of([]) == 2
    assert "run" in capsys.readouterr().out


def test_errors_from_a_shell(tmp_path: Path) -> None:
    """WS-ERRORS-1: the same through the entry point, with nothing on stdout."""
    run = subprocess.run(
        [sys.executable, "-c", "from wanstreamer.cli import main; main()", "run", "no.mp4"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.count("\n") == 1
    assert "Traceback" not in run.stderr


def test_a_performer_that_cannot_start(
    folder: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    """WS-ERRORS-1: a broken environment, for one."""
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    before = contents(folder)
    assert cli.status_of(["run", "half.mkv", "--engine", "split", "-o", "good.mp4"]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("wanstreamer: performer process: got 'exit status 1")
    assert said.err.count("\n") == 1
    assert contents(folder) == before


def test_a_full_disk_keeps_the_good_output(
    folder: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    """WS-ERRORS-1: what fails while the session runs takes nothing with it either."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "good.mp4")

    monkeypatch.setattr("wanstreamer.stream.ClipWriter.write", full)
    before = contents(folder)
    assert cli.status_of(["run", "half.mkv", "-o", "good.mp4", "--trace", "good.jsonl"]) == 2
    assert capsys.readouterr().err == "wanstreamer: good.mp4: No space left on device\n"
    assert contents(folder) == before
