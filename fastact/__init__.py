"""fastact: every statistic of a network's activations in one pass, remembered, and diagnosed.

`summarize` sweeps a buffer, `ActivationMonitor` watches a training run, `open_log` reads what it left. Names are
loaded when first used, so that `import fastact` costs next to nothing and loads no framework.
"""

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastact.comparison.compare import compare
    from fastact.comparison.report import Comparison, LayerComparison, Parting
    from fastact.cpu.threads import get_num_threads, set_num_threads
    from fastact.diagnosis.accept import accept_from_toml
    from fastact.diagnosis.finding import Finding, FindingError
    from fastact.diagnosis.report import Accepted, Diagnosis, LayerHealth, Note
    from fastact.diagnosis.rules import Thresholds
    from fastact.errors import ArgumentTypeError, ArgumentValueError, FastactError, LogError, MissingExtraError
    from fastact.files.array import ArrayStats
    from fastact.files.found import FilesStats
    from fastact.files.sweep import sweep_files
    from fastact.history import History, LayerHistory, LayerInfo
    from fastact.log.options import LogOptions
    from fastact.monitor.monitor import ActivationMonitor
    from fastact.neurons import Neurons
    from fastact.pages import explain
    from fastact.replay.log import Log, open_log
    from fastact.replay.records import Record
    from fastact.stats.activation import ActivationStats
    from fastact.stats.channel import ChannelStats
    from fastact.stats.detailed import DetailedStats
    from fastact.stats.merge import Accumulator, merge
    from fastact.stats.merge_rows import merge_arrow
    from fastact.stats.rows import from_arrow, to_arrow
    from fastact.stats.summarize import compute_activation_stats, detect_dead_neurons, detect_saturation, summarize
    from fastact.stats.summarize_many import summarize_many

__version__ = "0.1.0"

#: The public names by the module of fastact that has them.
_HOMES = {
    "comparison.compare": "compare", "comparison.report": "Comparison LayerComparison Parting",
    "cpu.threads": "get_num_threads set_num_threads", "diagnosis.accept": "accept_from_toml",
    "diagnosis.finding": "Finding FindingError", "diagnosis.report": "Accepted Diagnosis LayerHealth Note",
    "diagnosis.rules": "Thresholds",
    "errors": "ArgumentTypeError ArgumentValueError FastactError LogError MissingExtraError",
    "files.array": "ArrayStats", "files.found": "FilesStats", "files.sweep": "sweep_files",
    "history": "History LayerHistory LayerInfo", "log.options": "LogOptions", "monitor.monitor": "ActivationMonitor",
    "neurons": "Neurons", "pages": "explain", "replay.log": "Log open_log", "replay.records": "Record",
    "stats.activation": "ActivationStats", "stats.channel": "ChannelStats", "stats.detailed": "DetailedStats",
    "stats.merge": "Accumulator merge", "stats.merge_rows": "merge_arrow", "stats.rows": "from_arrow to_arrow",
    "stats.summarize": "compute_activation_stats detect_dead_neurons detect_saturation summarize",
    "stats.summarize_many": "summarize_many",
}  # fmt: skip
_HOME = {name: f"fastact.{home}" for home, names in _HOMES.items() for name in names.split()}

__all__ = [
    "Accepted", "Accumulator", "ActivationMonitor", "ActivationStats", "ArgumentTypeError", "ArgumentValueError",
    "ArrayStats", "ChannelStats", "Comparison", "DetailedStats", "Diagnosis", "FastactError", "FilesStats", "Finding",
    "FindingError", "History", "LayerComparison", "LayerHealth", "LayerHistory", "LayerInfo", "Log", "LogError",
    "LogOptions", "MissingExtraError", "Neurons", "Note", "Parting", "Record", "Thresholds", "__version__",
    "accept_from_toml", "compare", "compute_activation_stats", "detect_dead_neurons", "detect_saturation", "explain",
    "from_arrow", "get_num_threads", "merge", "merge_arrow", "open_log", "set_num_threads", "summarize",
    "summarize_many", "sweep_files", "to_arrow",
]  # fmt: skip

#: What pickles of stats made by 0.1.0 name in modules that are gone, and where that is now.
_MOVED = {
    "fastact.extras": {"_Details": "fastact.stats.detailed._Details", "_wrap": "fastact.stats.detailed._wrap"},
    "fastact.sweep_channels": {"ChannelArrays": "fastact.cpu.workspace.NeuronStates"},
}


class _MovedModule(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        home, _, now = _MOVED[self.__name__].get(name, "").rpartition(".")
        if not home:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(home), now)


sys.modules.update({name: _MovedModule(name) for name in _MOVED})


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(importlib.import_module(_HOME[name]), name)
    elif name == "torch":  # the adapter; loads PyTorch
        try:
            value = importlib.import_module("fastact.torch")
        except ImportError as error:
            # So `hasattr` is false, and `help` and `inspect` leave it out.
            raise AttributeError(f"fastact.torch cannot be loaded: {error}; pip install 'fastact[torch]'") from error
    else:
        raise AttributeError(f"module 'fastact' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "torch"})
