"""`fastact.cuda.instructions` in Numba's simulator, which has a thread of Python for each thread of a block."""

import threading

import numpy as np
from simulated_words import memory

THREADS = 16
WARP = 4


def divide(a: int, b: int) -> int:
    return a // b


def barrier() -> None:
    # What `cuda.syncthreads` does within the simulated kernel's own module, and there alone.
    threading.current_thread().syncthreads()  # type: ignore[attr-defined]


def fence() -> None:
    pass


def ticket(address: int) -> int:
    counter = memory(address, np.int64, 1)
    counter[0] += 1
    return int(counter[0]) - 1
