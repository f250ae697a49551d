"""The simulator that the tests run kernels in: it is strict, and the tests marked gpu pass in it."""

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from on_device import SIMULATED, in_simulator

from fastact.cuda.driver import unusable


def test_the_tests_marked_gpu_pass_in_the_simulator() -> None:
    if SIMULATED or unusable() is None:
        pytest.skip("the tests marked gpu run in this process")
    pytest.importorskip("numba.cuda.simulator", reason="this Numba has no CUDA simulator")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", Path(__file__).parent],
        capture_output=True,
        text=True,
        env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1"},
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) >= 120


USER = """
import pkgutil, importlib, fastact.cuda
for module in pkgutil.iter_modules(fastact.cuda.__path__):
    importlib.import_module(f"fastact.cuda.{module.name}")
owner = type("Owner", (), {"__cuda_array_interface__": {}})()
try:
    fastact.summarize(owner)
except fastact.ArgumentValueError as error:
    print(error)
"""


def test_who_turns_the_simulator_on_is_told_so() -> None:
    done = subprocess.run(
        [sys.executable, "-c", USER],
        capture_output=True,
        text=True,
        env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": str(Path(__file__).parents[2])},
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Numba's CUDA simulator is on (NUMBA_ENABLE_CUDASIM is set)" in done.stdout


def place() -> int:
    """A thread's number in its block, in the simulator."""
    return threading.current_thread().threadIdx.x  # type: ignore[attr-defined, no-any-return]


@in_simulator
@pytest.mark.parametrize("barriers", [0, 1, 2])
def test_a_barrier_that_is_missing_shows_in_the_simulator(barriers: int) -> None:
    from numba import cuda

    from fastact.cuda.instructions import barrier

    shared, right = np.zeros(4, np.int64), []

    @cuda.jit  # type: ignore[untyped-decorator]
    def kernel() -> None:
        for turn in range(3):
            shared[place()] = turn
            if barriers > 0:
                barrier()
            right.append(set(shared.tolist()) == {turn})
            if barriers > 1:
                barrier()

    kernel[5, 4]()
    assert len(right) == 60
    assert all(right) == (barriers == 2)


@in_simulator
def test_a_thread_that_fails_ends_its_block_in_the_simulator() -> None:
    from numba import cuda

    from fastact.cuda.instructions import barrier

    came: list[int] = []

    @cuda.jit  # type: ignore[untyped-decorator]
    def kernel() -> None:
        barrier()
        came.append(place())
        if place() == 2:
            raise ZeroDivisionError("not mine")
        barrier()
        came.append(-1)

    before = threading.active_count()
    with pytest.raises(ZeroDivisionError, match="not mine"):
        kernel[9, 4]()
    assert 2 in came
    assert -1 not in came
    assert threading.active_count() == before
