"""Rows of whole numbers on disk, and exact percentiles of a column in bounded memory.

Source: CHOICE (WS-SIMULATION-13); selection digit by digit is textbook (Knuth vol. 3, §5.2.5).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import Final, Self

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]

ROWS: Final = 4_096
"""Rows that are held at a time."""

DIGIT: Final = 16
"""Bits of a digit; a number has four."""


class Spool:
    """Rows of ``columns`` numbers from 0 to 2^63 - 1, kept in a file without a name
    (WS-SIMULATION-13)."""

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._file = tempfile.TemporaryFile("w+b")  # noqa: SIM115 - closed by __exit__
        self._new: list[tuple[int, ...]] = []
        self.count = 0
        """Rows so far."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, *row: int) -> None:
        """One more row."""
        self._new.append(row)
        self.count += 1
        if len(self._new) == ROWS:
            self._write()

    def _write(self) -> None:
        self._file.write(np.array(self._new, np.int64).tobytes())
        self._new.clear()

    def rows(self) -> Iterator[Rows]:
        """All rows in order, in blocks: int64 [at most `ROWS`, columns]."""
        self._write()
        self._file.seek(0)
        size = ROWS * self._columns * 8
        while block := self._file.read(size):
            yield np.frombuffer(block, np.int64).reshape(-1, self._columns)

    def ranked(self, column: int, rank: int) -> int:
        """The number of a column that has ``rank`` - 1 others before it in order, from 1.

        A pass over the file finds one digit, the highest first, among numbers with the digits that
        are known already.
        """
        found = 0
        for shift in range(3 * DIGIT, -1, -DIGIT):
            counts = np.zeros(1 << DIGIT, np.int64)
            for rows in self.rows():
                digits = rows[:, column] >> shift
                alike = digits[digits >> DIGIT == found]
                counts += np.bincount(alike & ((1 << DIGIT) - 1), minlength=1 << DIGIT)
            up_to = np.cumsum(counts)
            digit = int(np.searchsorted(up_to, rank))
            rank -= int(up_to[digit] - counts[digit])
            found = (found << DIGIT) + digit
        return found
