"""Reading a trace fast, for the checker: plain rows instead of records (WS-TRACE-3).

A block of lines in the writer's own form is taken apart by one regular expression, column by
column; a block with any other line goes through the strict reader, which accepts each line or says
what is wrong. Both accept the same lines. Source: CHOICE (design §13).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from typing import Final, Protocol

from spec.trace import MAX_LINE, MAX_NS, PROCESSES, Detail, Kind, TraceEvent
from spec.trace_reading import detail_of, event_of_line, header_of_line, refuse_line

BLOCK: Final = MAX_LINE
"""Characters read at a time."""

KEPT_DETAILS: Final = 4_096
"""Details repeat (a message of one kind, the same number of bytes); so many are remembered."""

Row = tuple[int, str, int, str, str, str, int, int, tuple[str, ...], Detail]
"""t_ns, process, number of the id, id, session, kind, unit, dur_ns, cause, detail."""

_INTEGER: Final = "(0|[1-9][0-9]{0,18})"
_CAUSE: Final = "[a-z]{1,16}:[0-9]{1,18}"
_LINE: Final = re.compile(
    # Printable ASCII without a backslash; the bounds keep a whole line far below MAX_LINE.
    rf'^\{{"cause":\[(?:"({_CAUSE}(?:","{_CAUSE}){{0,99}})")?\]'
    rf',"detail":(\{{[ !-\[\]-|~]{{0,4096}}\}}),"dur_ns":{_INTEGER}'
    rf',"id":"(({"|".join(PROCESSES)}):(0|[1-9][0-9]{{0,17}}))","kind":"({"|".join(Kind)})"'
    rf',"process":"\5","session":"([ !#-\[\]-~]{{0,512}})","t_ns":{_INTEGER}'
    r',"unit":(-1|0|[1-9][0-9]{0,17})\}$',
    re.MULTILINE,
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
    return (
        event.t_ns, event.process, number, event.id, event.session,
        event.kind.value, event.unit, event.dur_ns, event.cause, event.detail,
    )  # fmt: skip


def read_rows(stream: TextBlocks) -> Iterator[Row]:
    """Rows of a trace, one at a time; a block is held, never a longer line (WS-TRACE-3).

    Raises:
        TraceError: as `spec.trace_reading.read_trace`; the message names the line.
    """
    return itertools.chain.from_iterable(_row_blocks(stream))


def _row_blocks(stream: TextBlocks) -> Iterator[Iterable[Row]]:
    number, known = 0, dict[str, Detail]()
    for block in _blocks(stream):
        text = block
        if number == 0:
            end = block.index("\n") + 1
            header_of_line(block[:end], 1)
            number, text = 1, block[end:]
        lines = text.count("\n")
        yield _fast(text, lines, known) or _strict(text, number + 1)
        number += lines
    if number == 0:
        header_of_line("", 1)


def _fast(text: str, lines: int, known: dict[str, Detail]) -> Iterable[Row] | None:
    """Rows of a block of lines in the writer's form; None if any is in another."""
    # Column after column, without a tuple a line. As many matches as lines are all whole lines.
    found = _LINE.split(text)
    if len(found) != COLUMNS * lines + 1 or not lines:
        return None
    causes, details, durs, ids, processes, numbers, kinds, sessions, starts, units = (
        found[column::COLUMNS] for column in range(1, COLUMNS)
    )
    t_ns, dur_ns = list(map(int, starts)), list(map(int, durs))
    if max(t_ns) > MAX_NS or max(dur_ns) > MAX_NS:
        return None
    if len(known) > KEPT_DETAILS:
        known.clear()
    for detail in set(details).difference(known):
        value = detail_of(detail)
        if value is None:
            return None
        known[detail] = value
    return zip(
        t_ns, processes, map(int, numbers), ids, sessions, kinds, map(int, units), dur_ns,
        [
            () if text is None else (text,) if "," not in text else tuple(text.split('","'))
            for text in causes
        ],
        map(known.__getitem__, details), strict=True,
    )  # fmt: skip


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
