"""fastact: every statistic of a network's activations in one pass, remembered, and diagnosed.

`summarize` sweeps a buffer, `ActivationMonitor` watches a training run, `open_log` reads what it left. Names are
loaded when first used, so that `import fastact` costs next to nothing and loads no framework.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastact.diagnosis import Diagnosis, LayerHealth
    from fastact.errors import (
        ArgumentTypeError,
        ArgumentValueError,
        FastactError,
        FindingError,
        LogError,
        MissingExtraError,
    )
    from fastact.extras import DetailedStats
    from fastact.history import History, LayerHistory, LayerInfo
    from fastact.log.options import LogOptions
    from fastact.many import summarize_many
    from fastact.monitor import ActivationMonitor
    from fastact.pages import explain
    from fastact.replay import Log, Record, open_log
    from fastact.rules import Finding
    from fastact.stats import ActivationStats, ChannelStats, merge
    from fastact.summary import (
        Accumulator,
        compute_activation_stats,
        detect_dead_neurons,
        detect_saturation,
        summarize,
    )
    from fastact.threads import get_num_threads, set_num_threads
    from fastact.thresholds import Thresholds

__version__ = "0.1.0"

_HOMES = {
    "fastact.diagnosis": ("Diagnosis", "LayerHealth"),
    "fastact.errors": (
        "ArgumentTypeError",
        "ArgumentValueError",
        "FastactError",
        "FindingError",
        "LogError",
        "MissingExtraError",
    ),
    "fastact.extras": ("DetailedStats",),
    "fastact.history": ("History", "LayerHistory", "LayerInfo"),
    "fastact.log.options": ("LogOptions",),
    "fastact.many": ("summarize_many",),
    "fastact.monitor": ("ActivationMonitor",),
    "fastact.pages": ("explain",),
    "fastact.replay": ("Log", "Record", "open_log"),
    "fastact.rules": ("Finding",),
    "fastact.stats": ("ActivationStats", "ChannelStats", "merge"),
    "fastact.summary": (
        "Accumulator",
        "compute_activation_stats",
        "detect_dead_neurons",
        "detect_saturation",
        "summarize",
    ),
    "fastact.threads": ("get_num_threads", "set_num_threads"),
    "fastact.thresholds": ("Thresholds",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Accumulator",
    "ActivationMonitor",
    "ActivationStats",
    "ArgumentTypeError",
    "ArgumentValueError",
    "ChannelStats",
    "DetailedStats",
    "Diagnosis",
    "FastactError",
    "Finding",
    "FindingError",
    "History",
    "LayerHealth",
    "LayerHistory",
    "LayerInfo",
    "Log",
    "LogError",
    "LogOptions",
    "MissingExtraError",
    "Record",
    "Thresholds",
    "__version__",
    "compute_activation_stats",
    "detect_dead_neurons",
    "detect_saturation",
    "explain",
    "get_num_threads",
    "merge",
    "open_log",
    "set_num_threads",
    "summarize",
    "summarize_many",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is not None:
        value = getattr(importlib.import_module(home), name)
    elif name == "torch":  # the adapter; loads PyTorch
        value = importlib.import_module("fastact.torch")
    else:
        raise AttributeError(f"module 'fastact' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "torch"})
