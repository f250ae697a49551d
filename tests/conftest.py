"""What every test shares: settings, the order of files, and compiling and importing without a tracer."""

import gc
import os
import random
import signal
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from numba.core.dispatcher import Dispatcher

# Keras imports TensorFlow unless it is told otherwise.
os.environ.setdefault("KERAS_BACKEND", "jax")
# As in CI, whether or not a set was built here.
os.environ.setdefault("FASTACT_PREBUILT", "off")

# A script's background job ignores it, and so would every process that a test starts and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

#: Mixed into what every test draws: ``FASTACT_TEST_SEED=7`` has all of them try other numbers.
SEED = os.environ.get("FASTACT_TEST_SEED", "")
# No limits of time: test machines are shared, and a first call compiles. The same examples each time, without a seed.
settings.register_profile("fastact", deadline=None, derandomize=not SEED, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("fastact")

#: The files that take longest, in that order. They are begun first, so that no process is left with one at the end.
LONGEST = (
    "test_cuda_kernels", "test_neurons", "test_extras", "test_keras_adapter", "test_trainer_callbacks",
    "test_jax_adapter", "test_cache", "test_summarize", "test_examples", "test_crash",
    "test_torch_compiled", "test_hostile", "test_demo", "test_imports", "test_cuda_simulator", "test_pages",
    "test_many", "test_ray_engine", "test_many_ranks", "test_dask_engine", "test_threads", "test_cuda_framework",
    "test_prebuilt", "test_kills_and_resumes", "test_browser",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


def _seed(name: str) -> None:
    """Has the generators of all frameworks begin anew, so that what a test draws hangs on no other test.

    With a process for each core, which tests came before in one is a matter of time.
    """
    number = zlib.crc32(f"{SEED}{name}".encode())
    random.seed(number)
    np.random.seed(number)
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(number)
    if (keras := sys.modules.get("keras")) is not None:
        keras.utils.set_random_seed(number)


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any]) -> None:
    _seed(f"{fixturedef.baseid} {fixturedef.argname}")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    _seed(item.nodeid)


def pytest_collection_finish() -> None:
    # The frameworks' objects live to the end. Frozen, they are neither searched for garbage nor, since that writes to
    # them, copied in forked children.
    gc.collect()
    gc.freeze()


@contextmanager
def _untraced() -> Iterator[None]:
    """Without coverage's tracer, under which all of Python is half as fast, and not only what it keeps lines of."""
    tracer: Any = sys.gettrace()
    if type(tracer).__module__ != "coverage":
        yield
        return
    tracer.stop()
    try:
        yield
    finally:
        tracer.start()


_compile = Dispatcher.compile
#: What coverage has seen compiled for one element type.
_traced: set[CodeType] = set()


def _compile_mostly_untraced(self: Any, signature: Any) -> Any:
    # A third of a compilation is the tracer's. Coverage keeps of it what is in fastact, which is alike for all element
    # types but for a few lines of `cpu.simd`: those it shows as missed.
    code = self.py_func.__code__
    if code not in _traced:
        _traced.add(code)
        return _compile(self, signature)
    with _untraced():
        return _compile(self, signature)


_ROOT = str(Path(__file__).parents[1])
_import = SourceFileLoader.exec_module


def _import_mostly_untraced(self: Any, module: Any) -> None:
    # The frameworks are 17 seconds of imports in each process, and twice as many under the tracer.
    if self.path.startswith(_ROOT) and "site-packages" not in self.path:
        _import(self, module)
        return
    with _untraced():
        _import(self, module)


_patch = pytest.MonkeyPatch()
_patch.setattr(Dispatcher, "compile", _compile_mostly_untraced)
_patch.setattr(SourceFileLoader, "exec_module", _import_mostly_untraced)
