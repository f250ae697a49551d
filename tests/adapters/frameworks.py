"""What the tests of several adapters need."""

import os
from typing import Any


def linear_net() -> Any:
    """Three layers, for those tests that have PyTorch."""
    from torch import nn

    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))


def environment() -> dict[str, str]:
    """The environment of a process that chooses its own JAX devices."""
    return {name: value for name, value in os.environ.items() if name not in {"XLA_FLAGS", "JAX_PLATFORMS"}}
