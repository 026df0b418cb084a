"""What holds for every test: fixed examples, one thread, and checked shapes in ``reference`` unless
``WANSTREAMER_SHAPES`` is ``unchecked``."""

from __future__ import annotations

import os

import torch
from hypothesis import settings
from jaxtyping import install_import_hook

# Installed before any test imports `reference`: its shape annotations become checks here, and
# cost nothing elsewhere.
if os.environ.get("WANSTREAMER_SHAPES") != "unchecked":
    install_import_hook("reference", "beartype.beartype")

settings.register_profile("wanstreamer", derandomize=True, deadline=None, max_examples=25)
settings.load_profile("wanstreamer")

# The machines that run this have few cores, and one thread makes reductions repeatable.
torch.set_num_threads(1)
