"""What tests of a monitor's rows on a GPU share: data, comparison with the CPU, and a stream that can lag."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from on_device import normal

from fastact import ActivationMonitor

__all__ = ["relu", "same_rows", "small_ring", "soon", "step_and_wait", "timers"]


def relu(*shape: int, dtype: Any = np.float32, seed: int = 0) -> Any:
    """[..., neurons]: neuron 0 is silent, 1 is constant."""
    x = np.maximum(normal(*shape, seed=seed), 0)
    x[..., 0] = 0
    x[..., 1] = 2
    return np.ascontiguousarray(x).astype(dtype)


def same_rows(got: ActivationMonitor, want: ActivationMonitor) -> None:
    assert list(got.history) == list(want.history)
    for name, layer in want.history.items():
        ours, theirs = got.history[name].rows, layer.rows
        for field in theirs.dtype.names or ():
            if field == "time":
                continue
            message = f"{name}: {field}"
            if theirs[field].dtype.kind == "i" or field in ("min", "max"):
                np.testing.assert_array_equal(ours[field], theirs[field], message)
            else:
                np.testing.assert_allclose(ours[field], theirs[field], rtol=1e-6, atol=1e-6, err_msg=message)


timers: list[threading.Timer] = []


def soon(work: Callable[[], object]) -> None:
    """Has it done while this thread waits for it."""
    timers.append(threading.Timer(0.2, work))
    timers[-1].start()


def step_and_wait(monitor: ActivationMonitor) -> None:
    monitor.step()
    monitor.diagnose()


def small_ring(monitor: ActivationMonitor, slots: int) -> None:
    from fastact.cuda.deferred import DeferredRows

    monitor._queue.deferred = DeferredRows(slots)
