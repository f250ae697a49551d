"""Fixtures. In the simulator the stand-ins have to be in their places before any test imports a kernel."""

import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import simulated

if simulated.SIMULATED:
    simulated.install()
    # Each kernel would first prove itself, which takes the simulator a second.
    os.environ.setdefault("FASTACT_GPU", "native")
else:
    # Only there they can be imported.
    collect_ignore_glob = ["simulated_*.py"]


@pytest.fixture
def stream() -> Iterator[Any]:
    """The stream of all `OnDevice` that say no other; what is held back is released in the end."""
    from deferred_rows import timers

    from fastact.cuda.driver import side_stream, stream_at

    def release() -> None:
        for some in (stream_at(1, 0), stream_at(7, 0), side_stream(0)):
            some.captured = None
            some.release()

    # A test that fails while a stream is held back closes its monitor, which would wait for ever.
    last = threading.Timer(100, release)
    last.start()
    yield stream_at(1, 0)
    last.cancel()
    while timers:
        timers.pop().join()
    release()


@pytest.fixture
def torch() -> Any:
    if simulated.SIMULATED:
        pytest.skip("the simulator has no torch tensors")
    return pytest.importorskip("torch", reason="makes CUDA tensors, streams and graphs")
