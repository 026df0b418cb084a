"""One line of JSON, read more strictly than most libraries do (WS-STDIO-3).

What two parsers may read differently is refused: a name twice in an object, numbers that are not
finite, unpaired surrogates, nesting without an end. Source: CHOICE (RFC 8259 leaves them open).
"""

from __future__ import annotations

import json
import math
from typing import Any, Final, NoReturn

DEPTH: Final = 32
"""Deepest nesting of arrays and objects in a message."""

FINITE_DIGITS: Final = 308
"""An integer of no more digits is never beyond a double."""


class NotJson(ValueError):  # noqa: N818 - a verdict on the text, one line
    """A text that is not the JSON of this protocol; says why in one line."""


def parse(text: bytes) -> Any:
    """The value that ``text`` stands for.

    Raises:
        NotJson: not UTF-8, not JSON, or JSON that two readers may take for different things.
    """
    try:
        value = json.loads(
            text.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_float=_float,
            parse_int=_integer,
        )
    except NotJson:
        raise
    except UnicodeDecodeError as error:
        raise NotJson(f"not UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise NotJson(f"not JSON: {error.msg} at character {error.pos}") from error
    except RecursionError as error:
        raise NotJson(f"nested deeper than {DEPTH}") from error
    except ValueError as error:
        # More digits than the interpreter is willing to read.
        raise NotJson("an integer beyond all bounds") from error
    # An unpaired surrogate stands in UTF-8 as an escape only.
    _check(value, texts=b"\\ud" in text.lower())
    return value


def line(value: Any) -> bytes:
    """``value`` as one line of ASCII, the line break included.

    Raises:
        ValueError: a number in it is not finite.
    """
    return json.dumps(value, allow_nan=False, separators=(", ", ": ")).encode() + b"\n"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise NotJson(f"the name {twice[:40]!r} stands twice in one object")
    return found


def _constant(text: str) -> NoReturn:
    raise NotJson(f"{text} is no JSON number")


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise NotJson(f"the number {text[:40]} is beyond a double")
    return number


def _integer(text: str) -> int:
    number = int(text)
    if len(text) > FINITE_DIGITS:
        _float(text)
    return number


def _check(value: Any, *, texts: bool) -> None:
    """Depth and strings, without recursion: nesting may be as deep as the interpreter reads.

    Args:
        texts: whether a string may have an unpaired surrogate at all.
    """
    level, depth = [value], 0
    while level:
        below: list[Any] = []
        for item in level:
            kind = type(item)
            if kind is str:
                if texts:
                    _check_text(item)
            elif kind is dict or kind is list:
                if depth == DEPTH:
                    raise NotJson(f"nested deeper than {DEPTH}")
                if kind is dict:
                    below += item if texts else ()
                    below += item.values()
                else:
                    below += item
        level, depth = below, depth + 1


def _check_text(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise NotJson(f"an unpaired surrogate in {text[:40]!a}") from error
