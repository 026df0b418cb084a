"""The catalogue of the math profile: every formula that a port can be asked by name.

`OPS` holds the op records; what each takes and gives is its `Op.signature`, what it must give its
`Op.formula` (WS-CONFORMANCE-16). Source: CHOICE (design §12).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from conformance import (
    math_backbone,
    math_codec,
    math_encoder,
    math_exchange,
    math_flow,
    math_layout,
    math_media,
    math_model,
    math_positions,
    math_recipe,
    math_text,
    math_visibility,
)
from conformance.math_case import Op, Question
from conformance.protocol import DType

TOPICS: Final = (
    math_recipe,
    math_layout,
    math_visibility,
    math_positions,
    math_backbone,
    math_model,
    math_flow,
    math_codec,
    math_encoder,
    math_text,
    math_exchange,
    math_media,
)
"""In the order in which a port is best built."""

OPS: Final[Mapping[str, Op]] = {op.name: op for topic in TOPICS for op in topic.OPS}


def questions(op: Op, dtypes: tuple[DType, ...]) -> Iterator[tuple[DType, Question]]:
    """Everything that a port with ``dtypes``, its main one first, is asked about ``op``."""
    for dtype in dtypes if op.per_dtype else dtypes[:1]:
        for question in op.questions(dtype):
            yield dtype, question
