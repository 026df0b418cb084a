"""WS-STDIO-4: a schema for each message, as strict as the records behind the messages.

The records of `conformance.stdio.messages` are the second source: what is made of them is valid,
and one small change anywhere is not.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from conformance.protocol import Array
from conformance.stdio import messages, strict_json
from conformance.stdio.message_schemas import FOLDER, OUTCOMES, Direction, problem, schemas
from conformance.stdio.messages import COMMANDS
from conformance.stdio.tensor_files import Reference

MESSAGES: list[tuple[str, Direction]] = [(c, d) for c in COMMANDS for d in ("request", "reply")]
FREE = {
    ("math.request.json", "arguments"),
    ("exchange.request.json", "script"),
    ("common.json", "sent"),
}
"""JSON of which only the clauses say what is in it."""

WORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=9)
OPTIONAL = {
    ("common.json", "open"): {"identity", "prefill_chunks", "sampling"},
    ("open.request.json", None): {"identity", "prefill_chunks", "sampling"},
    ("common.json", "unit_input"): {"uniform"},
}
"""Members of which a message without the feature has none (WS-CONFORMANCE-24)."""

HEX = st.binary(min_size=32, max_size=32).map(bytes.hex)
COUNTS = st.integers(0, 2**40)
DIGESTS = ("digest", "roles", "cache")
PERFORMER = {
    "sent": [{"type": "hello"}],
    "commit": [1],
    "closed": False,
    "failed": False,
    "appended": [0],
    "solve": [],
    "kv_len": 3,
    "cache": "0" * 64,
}
THINKER = {
    "sent": [],
    "commit": [],
    "closed": True,
    "failed": False,
    "decode": [0],
    "refused": [],
    "export": [[0, -1]],
}


def values(kind: Any, name: str) -> st.SearchStrategy[Any]:
    """Good values of a field."""
    if attrs.has(kind):
        return records(kind)
    if get_origin(kind) is Literal:
        return st.sampled_from(get_args(kind))
    if isinstance(kind, UnionType):
        return st.one_of([values(each, name) for each in get_args(kind)])
    if kind is type(None):
        return st.none()
    if get_origin(kind) is np.ndarray:
        return st.builds(np.zeros, st.integers(0, 3))
    if get_origin(kind) is tuple:
        if name == "replies":
            return st.lists(st.sampled_from([PERFORMER, THINKER]), max_size=2).map(tuple)
        unique = name in ("features", "profiles", "dtypes")
        each = values(get_args(kind)[0], name)
        return st.lists(each, max_size=3, unique=unique).map(tuple)
    if get_origin(kind) in (Mapping, dict):
        inner = get_args(kind)[1]
        return st.dictionaries(WORDS, WORDS if inner is Any else values(inner, name), max_size=2)
    scalars = {
        bool: st.booleans(),
        int: COUNTS,
        float: st.floats(0, 4),
        str: HEX if name in DIGESTS else WORDS,
    }
    return scalars[kind]


@functools.cache
def records(kind: Any) -> st.SearchStrategy[Any]:
    """Good records of a class."""
    hints = get_type_hints(kind)
    fields = {a.name: values(hints[a.name], a.name) for a in attrs.fields(kind)}
    if "protocol" in fields and len(fields) == 1:
        fields["protocol"] = st.just(1)
    return st.builds(kind, **fields)


def written(command: str, direction: Direction, record: Any) -> dict[str, Any]:
    """The message of a record."""
    folder = "in" if direction == "request" else "out"

    def write(arrays: Mapping[str, Array]) -> Mapping[str, Reference]:
        return {n: Reference(path=f"{folder}/7", name="x", sha256="0" * 64) for n in arrays}

    fields = messages.encode(record, write)
    if direction == "request":
        return {"id": 7, "command": command, **fields}
    return {"id": 7, "ok": fields}


def kind_of(command: str, direction: Direction) -> Any:
    return COMMANDS[command][0 if direction == "request" else 1]


def places(record: Any, data: Any) -> Iterator[tuple[dict[str, Any], str]]:
    """Every field of every record in a message: the object that it stands in, and its name."""
    if isinstance(record, np.ndarray):
        yield data, "tensor"
        yield from ((data["tensor"], name) for name in data["tensor"])
    elif attrs.has(type(record)):
        for a in attrs.fields(type(record)):
            if not a.metadata.get("absent_when_none"):
                yield data, a.name
            if a.name in data:
                yield from places(getattr(record, a.name), data[a.name])
    elif isinstance(record, Mapping) and record not in (PERFORMER, THINKER):
        for name, value in record.items():
            yield from places(value, data[name])
    elif isinstance(record, tuple):
        for value, each in zip(record, data, strict=True):
            yield from places(value, each)


def removed(place: dict[str, Any], name: str) -> None:
    del place[name]


def renamed(place: dict[str, Any], name: str) -> None:
    place[f"{name}s"] = place.pop(name)


def added(place: dict[str, Any], _: str) -> None:
    place["comment"] = "fine"


def mistyped(place: dict[str, Any], name: str) -> None:
    """A fraction where none belongs, a word where one does."""
    place[name] = "1.5" if isinstance(place[name], float) else 1.5


CHANGES = (removed, renamed, added, mistyped)


@pytest.mark.parametrize(("command", "direction"), MESSAGES)
def test_records_make_valid_messages(command: str, direction: Direction) -> None:
    """WS-STDIO-4: in both directions, also after the way through JSON and back into a record."""

    @given(records(kind_of(command, direction)))
    def check(record: Any) -> None:
        message = strict_json.parse(strict_json.line(written(command, direction, record)))
        assert problem(command, direction, message) is None
        fields = message["ok"] if direction == "reply" else message
        own = {
            n: v for n, v in fields.items() if direction == "reply" or n not in ("id", "command")
        }
        decode = messages.decoder(lambda _: np.zeros(1))
        again = decode(own, kind_of(command, direction))
        assert written(command, direction, again) == message

    check()


@pytest.mark.parametrize(("command", "direction"), MESSAGES)
def test_one_change_makes_a_message_invalid(command: str, direction: Direction) -> None:
    """WS-STDIO-4: a member less, another name, a member more, another type; anywhere."""

    @given(records(kind_of(command, direction)), st.sampled_from(CHANGES), st.data())
    def check(
        record: Any, change: Callable[[dict[str, Any], str], None], data: st.DataObject
    ) -> None:
        message = written(command, direction, record)
        fields = message["ok"] if direction == "reply" else message
        chosen = [(message, "id"), *places(record, fields)]
        change(*chosen[data.draw(st.integers(0, len(chosen) - 1))])
        assert problem(command, direction, message) is not None

    check()


def objects(schema: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every schema of an object in a schema, with the names that lead to it."""
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield path, schema
        for name, value in schema.items():
            yield from objects(value, (*path, name))
    elif isinstance(schema, list):
        for value in schema:
            yield from objects(value, path)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_schemas_leave_nothing_open(path: Any) -> None:
    """WS-STDIO-4: JSON Schema 2020-12; every member required, every object closed or a mapping of
    names to one kind of value."""
    schema = json.loads(path.read_text(encoding="utf-8"))
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == path.name
    Draft202012Validator.check_schema(schema)
    for where, each in objects(schema):
        if any((path.name, name) in FREE for name in where):
            continue
        if "propertyNames" in each:
            assert isinstance(each["additionalProperties"], dict), where
            continue
        assert each["additionalProperties"] is False, where
        optional = {*OUTCOMES} if not where and path.name.endswith(".reply.json") else set()
        optional |= OPTIONAL.get((path.name, where[-1] if where else None), set())
        assert {*each["required"]} == {*each["properties"]} - optional, where


def test_there_is_a_schema_for_each_message_and_for_nothing_else() -> None:
    """WS-STDIO-4."""
    names = {path.name for path in FOLDER.iterdir()}
    assert names == {"common.json"} | {f"{c}.{d}.json" for c, d in MESSAGES}
    assert {*schemas()} == names


def test_replies_of_both_sides_of_the_exchange() -> None:
    """WS-STDIO-4, WS-CONFORMANCE-8: a reply of a performer or of a thinker, none in between."""
    mixed = {**THINKER, **PERFORMER}
    for reply, good in ((PERFORMER, True), (THINKER, True), (mixed, False), ({}, False)):
        wrong = problem("exchange", "reply", {"id": 1, "ok": {"replies": [reply]}})
        assert (wrong is None) == good


def test_a_digest_ends_with_its_last_digit() -> None:
    """WS-STDIO-4: Python's ``$`` would let a line break follow."""
    for digest, good in (("0" * 64, True), ("0" * 64 + "\n", False), ("A" * 64, False)):
        wrong = problem("load", "reply", {"id": 1, "ok": {"digest": digest}})
        assert (wrong is None) == good
