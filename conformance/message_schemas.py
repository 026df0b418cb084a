"""The JSON Schemas of the stdio protocol, and what is wrong with a message (WS-STDIO-4)."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from jsonschema.protocols import Validator
from referencing import Registry, Resource

FOLDER: Final = Path(__file__).parent / "schemas"
Direction = Literal["request", "reply"]
OUTCOMES: Final = ("ok", "unsupported", "error")
SHOWN: Final = 200
"""Characters of an explanation that are shown; a value in it may be long."""


@cache
def registry() -> Registry[Any]:
    """All schemas by their ``$id``, so that no reference leaves the folder."""
    schemas = [json.loads(path.read_text(encoding="utf-8")) for path in FOLDER.glob("*.json")]
    return Registry().with_resources((s["$id"], Resource.from_contents(s)) for s in schemas)


@cache
def validator(command: str, direction: Direction) -> Validator:
    """Of the requests, or of the replies, of one command."""
    schema = registry().contents(f"{command}.{direction}.json")
    return Draft202012Validator(schema, registry=registry())


def problem(command: str, direction: Direction, message: Any) -> str | None:
    """What is wrong with ``message``, in one line: where, and what; None when it is well formed."""
    if direction == "reply" and isinstance(message, dict):
        given = [outcome for outcome in OUTCOMES if outcome in message]
        if len(given) != 1:
            return f"the message: {' and '.join(given) or 'none'} of {', '.join(OUTCOMES)} in it"
    error = best_match(validator(command, direction).iter_errors(message))
    if error is None:
        return None
    where = error.json_path.removeprefix("$").removeprefix(".") or "the message"
    line = f"{where}: {' '.join(error.message.split())}"
    return line if len(line) <= SHOWN else f"{line[:SHOWN]}…"
