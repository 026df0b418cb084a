"""Stage 1: the mixture of independent tasks, one row a task.

Source: PAPER §2.2 (understanding and generation data), §2.3 (first stage); the synthetic forms and
equal shares are CHOICE (WS-TRAINING-10).
"""

from __future__ import annotations

from typing import Final, Literal

import attrs

from reference.training import draws, signals
from reference.training.record import Record
from reference.training.script import Moment, play
from spec.layout import Modalities
from spec.session import SessionConfig
from spec.sizes import Preset

Timing = Literal["stream", "turns", "caption"]
"""``stream``: the agent answers every symbol in its own unit. ``turns``: the user has the first
half, the agent the second. ``caption``: one symbol in unit 0 stands for the whole clip."""


@attrs.frozen(kw_only=True)
class Task:
    """One kind of data: what comes in, what goes out, when, and what the answer is."""

    takes: tuple[str, ...]
    """The user's modalities."""
    gives: tuple[str, ...]
    """The agent's modalities."""
    timing: Timing
    answer: int = 0
    """Added to the symbol (modulo their number): 0 repeats, else the agent has to reply."""
    still: bool = False

    @property
    def modalities(self) -> Modalities:
        """Those of the session; what a task does not use has no slots (WS-LAYOUT-5)."""
        return Modalities(
            user_text="text" in self.takes,
            user_audio="audio" in self.takes,
            user_video="video" in self.takes,
            agent_text="text" in self.gives,
            agent_audio="audio" in self.gives,
            agent_video="video" in self.gives,
        )


TASKS: Final[dict[str, Task]] = {
    # Understanding: the loss is on text, and the user encoders learn from it.
    "image-understanding": Task(takes=("video",), gives=("text",), timing="caption", still=True),
    "video-understanding": Task(takes=("video",), gives=("text",), timing="stream"),
    "audio-understanding": Task(takes=("audio",), gives=("text",), timing="turns"),
    "asr": Task(takes=("audio",), gives=("text",), timing="stream"),
    "text-dialogue": Task(takes=("text",), gives=("text",), timing="turns", answer=1),
    "audio-dialogue": Task(takes=("audio",), gives=("text", "audio"), timing="turns", answer=1),
    # Generation: the loss is the flow loss.
    "tts": Task(takes=("text",), gives=("audio",), timing="stream"),
    "image-generation": Task(takes=("text",), gives=("video",), timing="caption", still=True),
    "audio-generation": Task(takes=("text",), gives=("audio",), timing="caption"),
    "video-generation": Task(takes=("text",), gives=("video",), timing="caption"),
    "joint-generation": Task(takes=("text",), gives=("audio", "video"), timing="stream"),
    "video-to-audio": Task(takes=("video",), gives=("audio",), timing="stream"),
    "audio-to-video": Task(takes=("audio",), gives=("video",), timing="stream"),
}
"""The mixture, in equal shares (WS-TRAINING-10)."""


def task_record(preset: Preset, name: str, task_name: str, units: int, drop: float) -> Record:
    """The record called ``name`` of one task (WS-TRAINING-10).

    Args:
        units: K; an image is one unit long.
        drop: share of generation records without their condition (WS-TRAINING-7).
    """
    task = TASKS[task_name]
    count = 1 if task.still else units
    symbols = [draws.integer(f"{name}/symbol{k}", signals.SYMBOLS) for k in range(count)]
    config = SessionConfig(preset=preset, schedule=preset.schedule, modalities=task.modalities)
    generates = "text" not in task.gives
    return play(
        name,
        task_name,
        config,
        [moment(task, symbols, k) for k in range(count)],
        still=task.still,
        conditional=not (generates and draws.fraction(f"{name}/drop") < drop),
    )


def moment(task: Task, symbols: list[int], k: int) -> Moment:
    """Unit ``k`` of a task's script."""
    half = len(symbols) // 2
    asked: int | None = symbols[k]
    reply: int | None = symbols[k]
    if task.timing == "turns":
        asked = symbols[k] if k < half else None
        reply = symbols[k - half] if half <= k < 2 * half else None
    if task.timing == "caption":
        asked = symbols[0] if k == 0 else None
        reply = symbols[0]
    said = None if reply is None else (reply + task.answer) % signals.SYMBOLS
    return Moment(heard=asked, seen=asked, typed=asked, said=said)
