"""A Python port for the example server that knows the formulas of the recipe, and is killed by one
of them. What it knows it has from the suite itself: only its death is judged."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping

from conformance.base_port import BasePort
from conformance.formulas.case import Exact
from conformance.formulas.ops import OPS
from conformance.protocol import Array, Hello, MathRequest, Unsupported


class Port(BasePort):
    """See `conformance.protocol.Port`."""

    def hello(self) -> Hello:
        return Hello(
            name="dying",
            version="1",
            profiles=("math",),
            dtypes=("float32",),
            deterministic=True,
            features=("math",),
        )

    def math(self, request: MathRequest) -> Mapping[str, Array]:
        if request.op == "recipe.gaussian":
            os.kill(os.getpid(), signal.SIGKILL)
        if not request.op.startswith("recipe."):
            raise Unsupported(request.op)
        outcomes = OPS[request.op].formula(request.arguments, request.tensors)
        return {name: o.value for name, o in outcomes.items() if isinstance(o, Exact)}
