"""The JSON Schemas of the stdio protocol, and what is wrong with a message (WS-STDIO-4)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

import jsonschema
from jsonschema.exceptions import ValidationError, best_match
from jsonschema.protocols import Validator
from referencing import Registry, Resource

FOLDER: Final = Path(__file__).parent / "schemas"
Direction = Literal["request", "reply"]
OUTCOMES: Final = ("ok", "unsupported", "error")
SHOWN: Final = 200
"""Characters of an explanation that are shown; a value in it may be long."""


def _pattern(
    _: Validator, pattern: str, value: Any, __: dict[str, Any]
) -> Iterator[ValidationError]:
    """``$`` is the end, as in ECMA 262; Python's own ``$`` would let a line break follow."""
    if isinstance(value, str) and not re.search(re.sub(r"\$$", r"\\Z", pattern), value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


Strict: Final = jsonschema.validators.extend(jsonschema.Draft202012Validator, {"pattern": _pattern})


@cache
def registry() -> Registry[Any]:
    """All schemas by their ``$id``, so that no reference leaves the folder."""
    schemas = [json.loads(path.read_text(encoding="utf-8")) for path in FOLDER.glob("*.json")]
    return Registry().with_resources((s["$id"], Resource.from_contents(s)) for s in schemas)


@cache
def validator(command: str, direction: Direction) -> Validator:
    """Of the requests, or of the replies, of one command."""
    schema = registry().contents(f"{command}.{direction}.json")
    return Strict(schema, registry=registry())


def problem(command: str, direction: Direction, message: object) -> str | None:
    """What is wrong with ``message``, in one line: where, and what; None when it is well formed."""
    if direction == "reply" and isinstance(message, dict):
        given = [outcome for outcome in OUTCOMES if outcome in message]
        if len(given) != 1:
            return f"has {' and '.join(given) or 'none'} of {', '.join(OUTCOMES)}, not exactly one"
    error = best_match(validator(command, direction).iter_errors(message))
    if error is None:
        return None
    where = error.json_path.removeprefix("$").removeprefix(".") or "the message"
    line = " ".join(error.message.split())
    return f"{where}: {line if len(line) <= SHOWN else line[:SHOWN] + '…'}"
