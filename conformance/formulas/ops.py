"""The catalogue of the math profile: every formula that a port can be asked by name.

`OPS` holds the op records; what each takes and gives is its `Op.signature`, what it must give its
`Op.formula` (WS-CONFORMANCE-16). Source: CHOICE (design §12).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from conformance.formulas import backbone as math_backbone
from conformance.formulas import codec as math_codec
from conformance.formulas import encoder as math_encoder
from conformance.formulas import exchange as math_exchange
from conformance.formulas import flow as math_flow
from conformance.formulas import layout as math_layout
from conformance.formulas import media as math_media
from conformance.formulas import model as math_model
from conformance.formulas import planning as math_planning
from conformance.formulas import positions as math_positions
from conformance.formulas import recipe as math_recipe
from conformance.formulas import text as math_text
from conformance.formulas import training as math_training
from conformance.formulas import visibility as math_visibility
from conformance.formulas.case import Op, Question
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
    math_planning,
    math_training,
)
"""In the order in which a port is best built."""

OPS: Final[Mapping[str, Op]] = {op.name: op for topic in TOPICS for op in topic.OPS}

FEATURES: Final = tuple(dict.fromkeys(op.feature for op in OPS.values()))
"""What a port names that has formulas: "math" for those of the profile, first; the others are
optional."""


def questions(op: Op, dtypes: tuple[DType, ...]) -> Iterator[tuple[DType, Question]]:
    """Everything that a port with ``dtypes``, its main one first, is asked about ``op``."""
    for dtype in dtypes if op.per_dtype else dtypes[:1]:
        for question in op.questions(dtype):
            yield dtype, question
