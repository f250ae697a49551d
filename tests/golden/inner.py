"""The one place with names of fastact that are not public: change these lines when modules move."""

import sys
from pathlib import Path
from typing import Any

from fastact.cli.app import app
from fastact.diagnosis.diagnoser import Diagnoser
from fastact.diagnosis.schema import report_schema
from fastact.fields import NEURON, ROW
from fastact.log import LogWriter

__all__ = [
    "NEURON_NAMES",
    "ROW_NAMES",
    "Diagnoser",
    "LogWriter",
    "app",
    "nothing_of_neurons",
    "ptx_histograms",
    "report_schema",
]

#: The numbers of a row of the log, and of the part of it that tells of neurons, in their order.
ROW_NAMES: tuple[str, ...] = tuple(field.name for field in ROW)
NEURON_NAMES: tuple[str, ...] = tuple(field.name for field in NEURON)


def nothing_of_neurons() -> dict[str, Any]:
    """What a row holds of neurons where the layer was not swept per neuron."""
    return {field.name: field.nothing for field in NEURON}


def ptx_histograms() -> dict[str, dict[str, int | str]]:
    """The instructions of each CUDA kernel, from the test that compiles them."""
    tests = Path(__file__).parents[1]
    sys.path[:0] = [str(folder) for folder in (tests, tests / "cuda") if str(folder) not in sys.path]
    from test_cuda_kernels import ptx_histograms as compiled

    return compiled()
