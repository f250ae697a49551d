"""What the tests of several adapters need."""

import os
import re
import subprocess
import sys
from typing import Any

import pytest

from fastact import explain


def linear_net() -> Any:
    """Three layers, for those tests that have PyTorch."""
    from torch import nn

    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))


def environment() -> dict[str, str]:
    """The environment of a process that chooses its own JAX devices."""
    return {name: value for name, value in os.environ.items() if name not in {"XLA_FLAGS", "JAX_PLATFORMS"}}


def run_keras(program: str, backend: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs a Keras program to its end, in a process with this backend."""
    pytest.importorskip("keras", reason="Keras is not installed")
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**environment(), "KERAS_BACKEND": backend, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done


def run_example(guide: str, name: str) -> None:
    """Runs the one example of a guide that names `name`."""
    every = re.findall(r"^```py\n(.*?)^```", explain(guide), re.DOTALL | re.MULTILINE)
    (code,) = [block for block in every if name in block]
    exec(compile(code, f"{guide}.md", "exec"), {})
