"""The JSON Schemas of the stdio protocol, and what is wrong with a message (WS-STDIO-4)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

import jsonschema_rs
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from jsonschema.protocols import Validator

FOLDER: Final = Path(__file__).parent / "schemas"
Direction = Literal["request", "reply"]
OUTCOMES: Final = ("ok", "unsupported", "error")
SHOWN: Final = 200
"""Characters of an explanation that are shown; a value in it may be long."""


@cache
def schemas() -> Mapping[str, Any]:
    """All schemas by their ``$id``."""
    found = (json.loads(path.read_text(encoding="utf-8")) for path in FOLDER.glob("*.json"))
    return {schema["$id"]: schema for schema in found}


@cache
def validator(command: str, direction: Direction) -> Validator:
    """Of the requests, or of the replies, of one command."""
    return Draft202012Validator(_inlined(schemas()[f"{command}.{direction}.json"]))


@cache
def _quick(command: str, direction: Direction) -> jsonschema_rs.Draft202012Validator:
    """The same, compiled: it says yes or no much sooner, and the other says why."""
    return jsonschema_rs.Draft202012Validator(_inlined(schemas()[f"{command}.{direction}.json"]))


def _inlined(schema: Any) -> Any:
    """With the definition itself in the place of each reference to it: the library would look it up
    again for every message, in most of the time that it takes."""
    if isinstance(schema, list):
        return [_inlined(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        file, _, name = schema["$ref"].partition("#/$defs/")
        return _inlined(schemas()[file]["$defs"][name])
    return {key: _inlined(value) for key, value in schema.items() if key != "$id"}


def problem(command: str, direction: Direction, message: Any) -> str | None:
    """What is wrong with ``message``, in one line: where, and what; None when it is well formed."""
    if direction == "reply" and isinstance(message, dict):
        given = [outcome for outcome in OUTCOMES if outcome in message]
        if len(given) != 1:
            return f"the message: {' and '.join(given) or 'none'} of {', '.join(OUTCOMES)} in it"
    if _quick(command, direction).is_valid(message):
        return None
    error = best_match(validator(command, direction).iter_errors(message))
    if error is None:
        return None
    where = error.json_path.removeprefix("$").removeprefix(".") or "the message"
    line = f"{where}: {' '.join(error.message.split())}"
    return line if len(line) <= SHOWN else f"{line[:SHOWN]}…"
