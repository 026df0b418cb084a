"""The causal contract: which token may attend to which (design §5).

One pure predicate over two rows of the token table. Masks, KV slices and what a port is tested
for all follow from it. It is written with ``&`` and ``|`` on comparisons, so that the same lines
serve two rows of integers and, by broadcasting, two tables of integer arrays.
Source: PAPER Eq. (1), §2.1 (block-causal attention), §2.4 (schedule of Fig. 2).
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from spec.layout import Modality, Segment

# Plain integers: NumPy takes four times as long for a comparison with a member of an enumeration.
P: Final = int(Segment.P)
O: Final = int(Segment.O)  # noqa: E741 - the paper's observation segment
L: Final = int(Segment.L)
Z: Final = int(Segment.Z)
TEXT: Final = int(Modality.TEXT)
VIDEO: Final = int(Modality.VIDEO)


class RowLike(Protocol):
    """A row of the token table, or arrays of its columns that broadcast against each other."""

    @property
    def unit(self) -> Any: ...
    @property
    def segment(self) -> Any: ...
    @property
    def modality(self) -> Any: ...
    @property
    def slot(self) -> Any: ...
    @property
    def pad(self) -> Any: ...
    @property
    def noisy(self) -> Any: ...
    @property
    def step(self) -> Any: ...


def visible(q: RowLike, k: RowLike, lag: int) -> Any:
    """True where query ``q`` attends to key ``k`` under feedback lag ``lag`` = λ (WS-VISIBILITY-1).

    Args:
        q: the query's row, or arrays of rows.
        k: the key's row, or arrays of rows.
        lag: λ, 0 (sequential) or 1 (overlapped); WS-VISIBILITY-2.

    Returns:
        A bool, or an array of bools of the broadcast shape.
    """
    return (k.pad == 0) & (
        prefill_visible(q, k)
        | observation_visible(q, k)
        | language_visible(q, k)
        | committed_response_visible(q, k, lag)
        | own_response_visible(q, k)
    )


def prefill_visible(q: RowLike, k: RowLike) -> Any:
    """P is causal in itself, its picture both ways, and seen by every unit (WS-VISIBILITY-3)."""
    picture = (q.modality == VIDEO) & (k.modality == VIDEO)
    return (k.segment == P) & ((q.segment != P) | (k.slot <= q.slot) | picture)


def observation_visible(q: RowLike, k: RowLike) -> Any:
    """O_k sees O_{<k}; L_k and Z_k see O_{≤k} (WS-VISIBILITY-4, WS-VISIBILITY-5)."""
    av_q = q.modality != TEXT
    av_k = k.modality != TEXT
    # Inside O_k: audio and video jointly and both ways; text after them, in its own order.
    inside = (q.segment == O) & (av_k | ((av_q == 0) & (k.slot <= q.slot)))
    later_segment = (q.segment == L) | (q.segment == Z)
    return (k.segment == O) & ((k.unit < q.unit) | ((k.unit == q.unit) & (inside | later_segment)))


def language_visible(q: RowLike, k: RowLike) -> Any:
    """L_k slot i sees L_{<k} and L_k up to i; Z_k sees L_{≤k}; O_k L_{<k} (WS-VISIBILITY-6)."""
    inside = (q.segment == Z) | ((q.segment == L) & (k.slot <= q.slot))
    return (k.segment == L) & ((k.unit < q.unit) | ((k.unit == q.unit) & inside))


def committed_response_visible(q: RowLike, k: RowLike, lag: int) -> Any:
    """O_k and L_k see clean Z_{≤ k-1-λ}; Z_k sees clean Z_{<k} (WS-VISIBILITY-7)."""
    newest = ((q.segment == Z) & (k.unit <= q.unit - 1)) | (
        ((q.segment == O) | (q.segment == L)) & (k.unit <= q.unit - 1 - lag)
    )
    return (k.segment == Z) & (k.noisy == 0) & newest


def own_response_visible(q: RowLike, k: RowLike) -> Any:
    """Z_k sees its own block in its own state: clean sees clean, noisy the same solver step
    (WS-VISIBILITY-8). Nothing else sees a noisy token (WS-VISIBILITY-9)."""
    both = (q.segment == Z) & (k.segment == Z) & (q.unit == k.unit)
    return both & (q.noisy == k.noisy) & (q.step == k.step)
