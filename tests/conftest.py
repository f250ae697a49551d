"""Settings that every test shares."""

import gc
import os
import sys
from types import CodeType
from typing import Any

import pytest
from hypothesis import settings
from numba.core.dispatcher import Dispatcher

# Keras asks for TensorFlow unless it is told otherwise.
os.environ.setdefault("KERAS_BACKEND", "jax")

# No test is timed: these machines are shared.
settings.register_profile("fastact", deadline=None)
settings.load_profile("fastact")

#: Files that take longest, in that order: begun first, none is left to one process at the end.
LONGEST = (
    "test_cuda_kernels", "test_channels", "test_extras", "test_keras_adapter", "test_trainer_callbacks",
    "test_jax_adapter", "test_cold_start", "test_summarize", "test_examples", "test_crash",
    "test_torch_compiled", "test_hostile", "test_demo", "test_imports", "test_cuda", "test_pages", "test_many",
    "test_cuda_record", "test_engine",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


def pytest_collection_finish() -> None:
    # What the frameworks have loaded is for ever: it need not be looked at, nor be copied in a forked child.
    gc.collect()
    gc.freeze()


_compile = Dispatcher.compile
#: The entry points that take longest to compile, and those of which coverage has seen one kind of element.
_LONGEST_TO_COMPILE = ("fold_tasks", "sweep_parts")
_traced: set[CodeType] = set()


def _compile_mostly_untraced(self: Any, signature: Any) -> Any:
    # Coverage traces each call in the compiler, a third of the time. Of that it keeps our part, which is the same for
    # each kind of element, but for a few lines of `lanes`: those it shows as missed.
    tracer: Any = sys.gettrace()
    code = self.py_func.__code__
    if code.co_name not in _LONGEST_TO_COMPILE or code not in _traced or type(tracer).__module__ != "coverage":
        _traced.add(code)
        return _compile(self, signature)
    tracer.stop()
    try:
        return _compile(self, signature)
    finally:
        tracer.start()


pytest.MonkeyPatch().setattr(Dispatcher, "compile", _compile_mostly_untraced)
