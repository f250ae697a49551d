"""The one place with names of fastact that are not public: change these lines when modules move."""

import sys
from pathlib import Path
from typing import Any

from fastact.cli import app
from fastact.diagnosis import Diagnoser
from fastact.fields import NEURON, ROW
from fastact.log import LogWriter
from fastact.report_schema import report_schema

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
    folder = str(Path(__file__).parent.parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    from test_cuda_kernels import ptx_histograms as compiled

    return compiled()
