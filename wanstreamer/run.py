"""``wanstreamer run``: a clip in, an agent's answer out.

Everything is checked before any work starts; the output takes the place of an older one only when
it is whole. Source: design §15; PAPER §2.4 for what a step is.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import attrs
import click

from optimized.payloads import DTYPES
from reference import text
from reference.media.reader import Clip, open_clip
from reference.media.writer import ClipWriter
from reference.units import UserUnit
from spec.errors import ConfigError, MediaError
from spec.layout import Modalities
from spec.presets import preset_named
from spec.session import SessionConfig
from spec.sizes import LAG_OF_SCHEDULE, Preset
from wanstreamer.atomic import replacing
from wanstreamer.engines import ENGINES, open_engine
from wanstreamer.stream import report, stream

MODALITIES = ("text", "audio", "video")

ANSWER_UNITS = 25
"""Units a session without a clip goes on after the user's text, if the agent keeps talking."""

CHAT_UNITS = 64
"""Units that the agent has for its turn of a chat, if it does not end it (WS-PRESETS-6)."""


@click.command("run")
@click.argument("clip", required=False, type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="MP4 to write.")
@click.option(
    "--modalities", default="text,audio,video", show_default=True, help="Both sides' modalities."
)
@click.option("--engine", default="reference", show_default=True, help=f"One of {[*ENGINES]}.")
@click.option("--preset", default="tiny", show_default=True, help="Sizes of the model.")
@click.option("--schedule", help="overlapped or sequential; the preset's own if left out.")
@click.option("--dtype", default="float32", show_default=True, help="float32 or float64.")
@click.option("--text", "user_text", default="", help="What the user says, from unit 0 on.")
@click.option("--seed", default=0, show_default=True, help="Seed of the noise.")
@click.option("--trace", type=click.Path(path_type=Path), help="JSONL of every step.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def run_command(
    clip: Path | None,
    output: Path | None,
    modalities: str,
    engine: str,
    preset: str,
    schedule: str | None,
    dtype: str,
    user_text: str,
    seed: int,
    trace: Path | None,
    as_json: bool,
) -> None:
    """Run a session over CLIP (any clip with audio or video; optional if there is --text)."""
    sizes = preset_named(preset)
    wanted = parse_modalities(modalities)
    check_options(engine, dtype, schedule, seed, user_text)
    check_paths(clip, output, trace, wanted)
    if clip is None and not user_text:
        raise ConfigError("input", "no CLIP and no --text", "a clip, a text, or both")
    if user_text and "text" not in wanted:
        raise ConfigError("--text", user_text, "empty when --modalities leaves text out")

    with contextlib.ExitStack() as stack:
        media = None if clip is None else stack.enter_context(open_media(clip, sizes, wanted))
        chats = media is None and sizes.tokenizer.has_chat
        prompt = text.chat(sizes.tokenizer, user_text) if chats else ()
        said = () if chats else text.encode(sizes.tokenizer, user_text)
        config = configure(sizes, schedule, wanted, media, prompt)
        check_budget(said, config, media)
        # Left in the reverse order: the text is put beside a video that is in its place.
        caption = open_caption(stack, output)
        writer = open_writer(stack, output, config)
        events = None if trace is None else stack.enter_context(replacing(trace))
        session = stack.enter_context(open_engine(engine, config, dtype, events))
        users = silent_units() if chats else units_of(media, said, config)
        total = None if media is None else media.unit_count_hint
        turn_end = sizes.tokenizer.eos if chats else None
        result = stream(session, users, config, dtype, seed, writer, total, turn_end)
        if caption is not None:
            caption.write(text.decode(sizes.tokenizer, result.text) + "\n")
    report(result, engine, config, output, as_json)


def parse_modalities(value: str) -> tuple[str, ...]:
    """``text,audio,video`` or any part of it."""
    names = tuple(name.strip() for name in value.split(","))
    if not names or len(set(names)) != len(names) or not set(names) <= set(MODALITIES):
        raise ConfigError("--modalities", value, "some of text,audio,video, each once")
    return names


def check_options(engine: str, dtype: str, schedule: str | None, seed: int, user_text: str) -> None:
    """Refuse values outside their domain."""
    if engine not in ENGINES:
        raise ConfigError("--engine", engine, ", ".join(ENGINES))
    if dtype not in DTYPES:
        raise ConfigError("--dtype", dtype, ", ".join(DTYPES))
    if schedule is not None and schedule not in LAG_OF_SCHEDULE:
        raise ConfigError("--schedule", schedule, ", ".join(sorted(LAG_OF_SCHEDULE)))
    if seed < 0:
        raise ConfigError("--seed", seed, "0 or more")
    try:
        user_text.encode()
    except UnicodeEncodeError:
        raise ConfigError("--text", user_text, "text in UTF-8") from None


def check_paths(
    clip: Path | None, output: Path | None, trace: Path | None, wanted: tuple[str, ...]
) -> None:
    """Refuse outputs that would take the place of an input or of each other."""
    named = {"CLIP": clip, "--output": output, "--trace": trace}
    if output is not None and output.suffix.lower() != ".mp4":
        raise MediaError("--output", str(output), "a file name that ends in .mp4")
    if output is not None:
        named["the text beside --output"] = output.with_suffix(".txt")
    paths = [(what, path) for what, path in named.items() if path is not None]
    for i, (what, path) in enumerate(paths):
        for other, earlier in paths[:i]:
            if os.path.realpath(path) == os.path.realpath(earlier):
                raise MediaError(what, str(path), f"another file than {other}")
            if path.exists() and earlier.exists() and path.samefile(earlier):
                raise MediaError(what, str(path), f"another file than {other}")
    for what, media in (("CLIP", clip), ("--output", output)):
        if media is not None and not {"audio", "video"} & set(wanted):
            raise ConfigError(what, str(media), "none unless --modalities has audio or video")


def open_media(clip: Path, preset: Preset, wanted: tuple[str, ...]) -> Clip:
    """The clip, with the streams that the session wants."""
    return open_clip(
        clip,
        frame_height=preset.frame_height,
        frame_width=preset.frame_width,
        audio="audio" in wanted,
        video="video" in wanted,
    )


def configure(
    preset: Preset,
    schedule: str | None,
    wanted: tuple[str, ...],
    media: Clip | None,
    prompt: tuple[int, ...],
) -> SessionConfig:
    """The session: what a clip does not have, the user does not have (WS-LAYOUT-5).

    Args:
        prompt: a whole chat, which opens with ``<bos>`` (WS-PRESETS-6); empty for none. A user
            whose text is in it says nothing more.
    """
    chosen = next((s for s in LAG_OF_SCHEDULE if s == schedule), preset.schedule)
    return SessionConfig(
        preset=preset,
        schedule=chosen,
        modalities=Modalities(
            user_text="text" in wanted and not prompt,
            user_audio=media is not None and media.has_audio,
            user_video=media is not None and media.has_video,
            agent_text="text" in wanted,
            agent_audio="audio" in wanted,
            agent_video="video" in wanted,
        ),
        prompt=prompt[1:],
    )


def check_budget(said: tuple[int, ...], config: SessionConfig, media: Clip | None) -> None:
    """Refuse a text that the clip is surely too short for, before any work.

    What a container says of its length may be a unit short; the last word is `units_of`'s.
    """
    slots = config.layout.user_text_slots
    if media is None or media.unit_count_hint is None:
        return
    if len(said) > slots * (media.unit_count_hint + 1):
        too_long(len(said), media.unit_count_hint, slots)


def too_long(tokens: int, units: int, slots: int) -> None:
    allowed = f"at most {units * slots} ({slots} a unit, {units} units in the clip)"
    raise ConfigError("--text", f"{tokens} tokens", allowed)


def open_caption(stack: contextlib.ExitStack, output: Path | None) -> TextIO | None:
    """The file for the agent's text, beside the MP4."""
    return None if output is None else stack.enter_context(replacing(output.with_suffix(".txt")))


def open_writer(
    stack: contextlib.ExitStack, output: Path | None, config: SessionConfig
) -> ClipWriter | None:
    """The MP4 writer, if there is something to write to."""
    if output is None:
        return None
    writer = ClipWriter(
        output,
        height=config.preset.frame_height,
        width=config.preset.frame_width,
        audio=config.modalities.agent_audio,
        video=config.modalities.agent_video,
    )
    return stack.enter_context(writer)


def silent_units() -> Iterator[UserUnit]:
    """A user who only listens, as long as the agent may speak (WS-PRESETS-6)."""
    return (UserUnit(unit=k) for k in range(CHAT_UNITS))


def units_of(
    media: Clip | None, said: tuple[int, ...], config: SessionConfig
) -> Iterator[UserUnit]:
    """The user's units: the clip's, with the text's tokens as they arrive (WS-LAYOUT-3)."""
    slots = config.layout.user_text_slots
    arriving = text.by_unit(said, slots) if slots else iter(())
    if media is None:
        for k in range(-(-len(said) // max(slots, 1)) + ANSWER_UNITS):
            yield UserUnit(unit=k, text=next(arriving, ()))
        return
    seen = 0
    for unit in media.units():
        seen += 1
        yield attrs.evolve(unit, text=next(arriving, ()))
    if next(arriving, None) is not None:
        too_long(len(said), seen, slots)
