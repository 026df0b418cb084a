"""Reading a trace fast, for the checker: plain rows instead of records (WS-TRACE-3).

A block of lines in the writer's own form is taken apart by one regular expression, column by
column; a block with any other line goes through the strict reader, which accepts each line or says
what is wrong. Both accept the same lines. Source: CHOICE (design §13).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Protocol

from spec.trace import MAX_LINE, PROCESSES, Detail, Kind, Source, TraceEvent
from spec.trace_reading import (
    NotPlainError,
    detail_of,
    event_of_line,
    header_of_line,
    integers,
    refuse_line,
)

BLOCK: Final = MAX_LINE
"""Characters read at a time."""

KEPT_TEXTS: Final = 4_096
"""Details repeat (a message of one kind, the same number of bytes), and so does what stands from
the kind to the session; so many texts of each are remembered with what they say."""

Causes = tuple[str, ...] | str | None
"""The causes of an event; most have one alone, which then stands for itself."""

Row = tuple[int, int, str, int, int, Causes, Detail, Source]
"""t_ns, number of the id, id, unit, dur_ns, causes, detail, source."""

_LINE: Final = re.compile(
    # What ends at a sign is found faster than what consists of some; it is looked at afterwards.
    # Integers of 18 digits are within every bound that a field has.
    r'^\{"cause":\[(?:"([^]]*)")?\],"detail":(\{[^}]*\}),"dur_ns":([0-9]{1,18})'
    r',"id":"(([a-z]+):([0-9]{1,18}))","kind":"([^"]*","process":"\5","session":"[^"]*)"'
    r',"t_ns":([0-9]{1,18}),"unit":(-?[0-9]{1,18})\}$',
    re.MULTILINE,
)
_SOURCE: Final = re.compile(
    # Printable ASCII without a backslash.
    rf'({"|".join(Kind)})","process":"({"|".join(PROCESSES)})","session":"([ !#-\[\]-~]*)'
)

COLUMNS: Final = 1 + _LINE.groups
"""Texts of a line: what stands before it, and its groups."""


class TextBlocks(Protocol):
    """All that is needed of a file. Opened with ``errors="surrogateescape"`` and ``newline="\\n"``,
    it lets a byte that is not UTF-8 reach the line it stands in, which is refused."""

    def read(self, size: int, /) -> str: ...


def row_of(event: TraceEvent) -> Row:
    """The same event as a row (WS-TRACE-1)."""
    number = int(event.id.rpartition(":")[2])
    cause = event.cause[0] if len(event.cause) == 1 else event.cause or None
    source = event.process, event.kind.value, event.session
    return (
        event.t_ns, number, event.id, event.unit, event.dur_ns, cause, event.detail, source
    )  # fmt: skip


def causes_of(row: Row) -> tuple[str, ...]:
    """All causes of an event (WS-TRACE-1)."""
    causes = row[5]
    return (causes,) if isinstance(causes, str) else causes or ()


def read_rows(stream: TextBlocks) -> Iterator[Row]:
    """Rows of a trace, one at a time; a block is held, never a longer line (WS-TRACE-3).

    Raises:
        TraceError: as `spec.trace_reading.read_trace`; the message names the line.
    """
    return itertools.chain.from_iterable(_row_blocks(stream))


def _row_blocks(stream: TextBlocks) -> Iterator[Iterable[Row]]:
    number, details, sources = 0, Details(), Sources()
    for block in _blocks(stream):
        text = block
        if number == 0:
            end = block.index("\n") + 1
            header_of_line(block[:end], 1)
            number, text = 1, block[end:]
        lines = text.count("\n")
        yield _fast(text, lines, details, sources) or _strict(text, number + 1)
        number += lines
    if number == 0:
        header_of_line("", 1)


class Details(dict[str, Detail]):
    """What texts of details say: each is read once."""

    def __missing__(self, text: str) -> Detail:
        if len(self) > KEPT_TEXTS:
            self.clear()
        self[text] = detail = detail_of(text)
        return detail


class Sources(dict[str, Source]):
    """What texts from the kind to the session say: each is read once."""

    def __missing__(self, text: str) -> Source:
        if len(self) > KEPT_TEXTS:
            self.clear()
        found = _SOURCE.fullmatch(text)
        if found is None:
            raise NotPlainError
        kind, process, session = found.groups()
        self[text] = source = process, kind, session
        return source


def _fast(text: str, lines: int, details: Details, sources: Sources) -> Iterable[Row] | None:
    """Rows of a block of lines in the writer's form; None if any is in another."""
    # Column after column, without a tuple a line. As many matches as lines are all whole lines.
    found = _LINE.split(text)
    if len(found) != COLUMNS * lines + 1 or not lines or "\\" in text:
        return None
    try:
        dur_ns, number, t_ns, unit = (integers(found[column::COLUMNS]) for column in (3, 6, 8, 9))
        return zip(
            t_ns, number, found[4::COLUMNS], unit, dur_ns, _causes(found[1::COLUMNS]),
            list(map(details.__getitem__, found[2::COLUMNS])),
            list(map(sources.__getitem__, found[7::COLUMNS])), strict=True,
        )  # fmt: skip
    except NotPlainError:
        return None


def _causes(texts: list[str | None]) -> Sequence[Causes]:
    """What lists of causes say, given what stands from the first to the last quote of each.

    Raises:
        NotPlainError: a character that JSON wants escaped, or not a list of texts.
    """
    joined = "".join(filter(None, texts))
    if not joined.isprintable():
        raise NotPlainError
    if '"' not in joined:
        return texts
    return [text if text is None or '"' not in text else _several(text) for text in texts]


def _several(text: str) -> tuple[str, ...]:
    causes = tuple(text.split('","'))
    if '"' in "".join(causes):
        raise NotPlainError
    return causes


def _strict(text: str, first: int) -> Iterator[Row]:
    """Rows of a block, line by line; ``first`` is the number of its first line."""
    for number, line in enumerate(text.split("\n")[:-1], first):
        yield row_of(event_of_line(line + "\n", number))


def _blocks(stream: TextBlocks) -> Iterator[str]:
    """The stream in blocks of whole lines.

    Raises:
        TraceError: a line that is too long, or the last one without its line feed.
    """
    number, rest = 1, ""
    while block := stream.read(BLOCK):
        whole, feed, tail = block.rpartition("\n")
        if feed:
            whole = rest + whole + feed
            # Only the first line of a block can have begun in an earlier one.
            if whole.index("\n") >= MAX_LINE:
                refuse_line(whole[: whole.index("\n")], number)
            yield whole
            number += whole.count("\n")
            rest = tail
        else:
            rest += block
        if len(rest) >= MAX_LINE:
            refuse_line(rest, number)
    if rest:
        refuse_line(rest, number)
