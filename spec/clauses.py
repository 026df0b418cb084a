"""The clause registry: every numbered clause, read out of the Markdown that is the specification.

The text is the source; nothing about a clause is repeated in code. A topic file reads::

    # Title

    ### WS-TOPIC-n

    - level: MUST
    - provenance: PAPER §2.1, or DERIVED, or CHOICE with its reason
    - shapes: optional
    - rounding: optional
    - verified-by: test:tests/test_x.py check:some_check

    The statement, up to the next heading.

A long field goes on in lines indented by two spaces. Reading is strict, because a clause that
is silently dropped is a clause that nobody checks (WS-CLAUSES-1). Source: CHOICE (design §12).
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Literal, cast, get_args

import attrs

from spec.errors import ConfigError

Level = Literal["MUST", "SHOULD", "MAY"]

ID_PATTERN: Final = re.compile(r"WS-([A-Z][A-Z0-9_]*)-([1-9][0-9]*)")
"""A clause id: its topic and its number (WS-CLAUSES-1)."""

REQUIRED_FIELDS: Final = ("level", "provenance", "verified-by")
OPTIONAL_FIELDS: Final = ("shapes", "rounding")

_FIELD: Final = re.compile(r"- ([a-z-]+):(?: +(.*))?")
_PROVENANCE: Final = re.compile(r"(PAPER|DERIVED|CHOICE)\b")
_VERIFIER: Final = re.compile(r"(test|check):[^\s:]\S*")


@attrs.frozen(kw_only=True)
class Clause:
    """One numbered clause (WS-CLAUSES-1).

    ``verified_by`` holds ``test:PATH`` and ``check:ID`` entries; ``file`` is relative to the
    checkout and ``line`` is that of the heading, from 1.
    """

    id: str
    topic: str
    number: int
    level: Level
    provenance: str
    shapes: str | None
    rounding: str | None
    verified_by: tuple[str, ...]
    statement: str
    file: str
    line: int

    @property
    def text_sha256(self) -> str:
        """Digest of what the clause demands, in hex: neither its reason nor who verifies it
        (WS-CLAUSES-2)."""
        demand = (self.id, self.level, self.shapes or "", self.rounding or "", self.statement)
        return hashlib.sha256("\n".join(demand).encode()).hexdigest()


@functools.cache
def registry() -> Mapping[str, Clause]:
    """Every clause of ``spec/*.md`` by its id, topics in alphabetical order (WS-CLAUSES-1).

    Raises:
        ConfigError: a file breaks the form; the message names the file and the line.
    """
    return {
        clause.id: clause
        for path in sorted(Path(__file__).parent.glob("*.md"))
        for clause in parse(path.read_text(encoding="utf-8"), f"spec/{path.name}")
    }


def parse(text: str, file: str) -> tuple[Clause, ...]:
    """The clauses of one topic file, numbered 1, 2, 3, ... without a gap (WS-CLAUSES-1).

    Args:
        text: the Markdown.
        file: its path, for messages; its stem in upper case is the topic.

    Raises:
        ConfigError: the text breaks the form; the message names the file and the line.
    """
    lines = text.splitlines()
    if not lines or not lines[0].startswith("# "):
        raise ConfigError(f"{file}:1: title", lines[0] if lines else "", "# Title")
    clauses: list[Clause] = []
    for start, block in _clause_blocks(lines, file):
        clause = _clause(block, file, start)
        if any(earlier.id == clause.id for earlier in clauses):
            raise ConfigError(f"{file}:{start}: clause", clause.id, "each id once")
        if clause.number != len(clauses) + 1:
            raise ConfigError(
                f"{file}:{start}: clause", clause.id, f"WS-{clause.topic}-{len(clauses) + 1} next"
            )
        clauses.append(clause)
    return tuple(clauses)


def _clause_blocks(lines: list[str], file: str) -> Iterator[tuple[int, list[str]]]:
    """Each clause's lines with the number of its heading's line."""
    start, block = 0, list[str]()
    for number, line, heading in _with_headings(lines, file):
        if not heading:
            block.append(line)
            continue
        if start:
            yield start, block
        # A heading that only resembles a clause's would hide the clause from the registry.
        is_clause = line.lstrip(" ").startswith("###") or ID_PATTERN.search(line) is not None
        if is_clause and not (
            line.startswith("### ") and ID_PATTERN.fullmatch(line.removeprefix("### "))
        ):
            raise ConfigError(f"{file}:{number}: heading", line, "### WS-TOPIC-n")
        start, block = (number, [line]) if is_clause else (0, [])
    if start:
        yield start, block


def _with_headings(lines: list[str], file: str) -> Iterator[tuple[int, str, bool]]:
    """Line numbers, lines and whether each is a heading; code blocks have none."""
    fence = 0
    for number, line in enumerate(lines, start=1):
        if line.startswith("```"):
            fence = 0 if fence else number
        # Markdown takes an indented heading too; it is refused, not overlooked.
        yield number, line.rstrip(), line.lstrip(" ").startswith("#") and not fence
    if fence:
        raise ConfigError(f"{file}:{fence}: code block", "no end", "a closing ``` line")


def _clause(block: list[str], file: str, line: int) -> Clause:
    clause_id = block[0].removeprefix("### ")
    match = ID_PATTERN.fullmatch(clause_id)
    assert match is not None
    topic, number = match.groups()
    if topic != Path(file).stem.upper():
        raise ConfigError(f"{file}:{line}: topic", topic, Path(file).stem.upper())

    fields, statement = _fields(block, file, line)
    for name in {**dict.fromkeys(REQUIRED_FIELDS), **fields}:
        if not fields.get(name):
            raise ConfigError(f"{file}:{line}: {clause_id}", f"no {name}", f"- {name}: ...")
    if fields["level"] not in get_args(Level):
        raise ConfigError(f"{file}:{line}: level", fields["level"], ", ".join(get_args(Level)))
    if not _PROVENANCE.match(fields["provenance"]):
        raise ConfigError(
            f"{file}:{line}: provenance", fields["provenance"], "PAPER, DERIVED or CHOICE first"
        )
    verified_by = tuple(fields["verified-by"].split())
    for entry in verified_by:
        if not _VERIFIER.fullmatch(entry):
            raise ConfigError(f"{file}:{line}: verified-by", entry, "test:PATH or check:ID")
    if not statement:
        raise ConfigError(f"{file}:{line}: {clause_id}", "no statement", "prose after the fields")
    return Clause(
        id=clause_id,
        topic=topic,
        number=int(number),
        level=cast("Level", fields["level"]),
        provenance=fields["provenance"],
        shapes=fields.get("shapes"),
        rounding=fields.get("rounding"),
        verified_by=verified_by,
        statement=statement,
        file=file,
        line=line,
    )


def _fields(block: list[str], file: str, line: int) -> tuple[dict[str, str], str]:
    """The fields of a clause, unwrapped, and the statement after them."""
    fields: dict[str, str] = {}
    name = ""
    body = 1
    while body < len(block) and not block[body]:
        body += 1
    while body < len(block) and block[body]:
        at, text = f"{file}:{line + body}", block[body]
        if match := _FIELD.fullmatch(text):
            name, value = match.group(1), match.group(2) or ""
            if name not in REQUIRED_FIELDS + OPTIONAL_FIELDS:
                allowed = ", ".join(REQUIRED_FIELDS + OPTIONAL_FIELDS)
                raise ConfigError(f"{at}: field", name, allowed)
            if name in fields:
                raise ConfigError(f"{at}: field", name, "each field once")
            fields[name] = value
        elif name and text.startswith("  "):
            fields[name] = f"{fields[name]} {text.strip()}".strip()
        else:
            raise ConfigError(f"{at}: field", text, "- name: value")
        body += 1
    return fields, "\n".join(block[body:]).strip("\n")
