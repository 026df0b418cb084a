"""The token table of `spec.layout` as integer columns, so that whole tables are compared at once.

Source: design §4; WS-LAYOUT-2.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

import attrs
import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int
from torch import Tensor

from spec.layout import Row

IntArray = npt.NDArray[np.int64]
"""An int64 array of NumPy."""


@attrs.frozen(eq=False)
class Columns:
    """One int64 array a column, [n, 1] or [1, n], with the names of `Row` (WS-LAYOUT-2):
    `spec.visibility.visible` takes two of these as it takes two rows.

    Of NumPy, because a mask takes seventy operations on a few numbers each.
    """

    unit: IntArray
    segment: IntArray
    modality: IntArray
    slot: IntArray
    t: IntArray
    h: IntArray
    w: IntArray
    pad: IntArray
    noisy: IntArray
    step: IntArray


COLUMNS = tuple(field.name for field in attrs.fields(Columns))
"""Order of the columns; the first eight travel in a KV slice (WS-EXCHANGE-4)."""


@attrs.frozen(eq=False)
class TokenTable:
    """Rows as columns: ``cells[:, c]`` is column ``COLUMNS[c]``; ``tau`` the flow time."""

    cells: Int[Tensor, "n 10"]
    tau: Float[Tensor, " n"]

    @classmethod
    def of(cls, rows: Sequence[Row]) -> TokenTable:
        """The table of ``rows`` (WS-LAYOUT-2)."""
        cells = list(map(attrgetter(*COLUMNS), rows))
        tau = torch.tensor([row.tau for row in rows], dtype=torch.float64)
        return cls(torch.tensor(cells, dtype=torch.int64).reshape(-1, len(COLUMNS)), tau)

    @classmethod
    def cat(cls, tables: Sequence[TokenTable]) -> TokenTable:
        """The rows of all ``tables``, one after the other."""
        return cls(torch.cat([t.cells for t in tables]), torch.cat([t.tau for t in tables]))

    def __len__(self) -> int:
        return self.cells.shape[0]

    def __getitem__(self, index: Int[Tensor, " m"] | slice) -> TokenTable:
        return TokenTable(self.cells[index], self.tau[index])

    def as_queries(self) -> Columns:
        """Columns of shape [n, 1]: broadcast along keys."""
        return Columns(*self._columns()[:, :, None])

    def as_keys(self) -> Columns:
        """Columns of shape [1, n]: broadcast along queries."""
        return Columns(*self._columns()[:, None, :])

    def _columns(self) -> IntArray:
        # A column in one piece is compared several times as fast.
        return self.cells.T.contiguous().numpy()

    @property
    def unit(self) -> Tensor:
        return self.cells[:, 0]

    @property
    def segment(self) -> Tensor:
        return self.cells[:, 1]

    @property
    def modality(self) -> Tensor:
        return self.cells[:, 2]

    @property
    def slot(self) -> Tensor:
        return self.cells[:, 3]

    @property
    def t(self) -> Tensor:
        return self.cells[:, 4]

    @property
    def h(self) -> Tensor:
        return self.cells[:, 5]

    @property
    def w(self) -> Tensor:
        return self.cells[:, 6]

    @property
    def pad(self) -> Tensor:
        return self.cells[:, 7]

    @property
    def noisy(self) -> Tensor:
        return self.cells[:, 8]

    @property
    def step(self) -> Tensor:
        return self.cells[:, 9]
