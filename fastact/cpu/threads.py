"""Worker threads for sweeps that are long enough to share.

Not Numba's parallel loops: after one of those, a forked child that runs another is ended by GNU OpenMP (torch's
DataLoader forks), two Python threads at once abort the process under Numba's workqueue layer, and
`numba.set_num_threads` resets torch's. Kernels that release the interpreter lock on plain Python threads have none
of these troubles, on any machine; handing over costs some tens of microseconds, which `sweep` weighs.

A tensor of torch's is another matter: the OpenMP threads that have just computed it are awake, spinning in wait of the
next layer, and have its parts in their caches. A sweep by this `Team` costs a few microseconds to begin, where a thread
of our own would first have to take a core from one that spins.
"""

import contextlib
import ctypes
import os
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, NamedTuple

from fastact.checks import check_integer

__all__ = ["Team", "get_num_threads", "run_on_threads", "set_num_threads", "torch_team"]


def _available() -> int:
    limit = os.environ.get("NUMBA_NUM_THREADS", "")
    if limit.isdigit() and int(limit) > 0:
        return int(limit)
    # The CPUs this process may use: a container's or a scheduler's share, not the whole machine.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_MAX_THREADS: Final = 4096
_threads = _available()
_pool: ThreadPoolExecutor | None = None


def get_num_threads() -> int:
    """How many threads a long sweep uses, the calling one included.

    Example:
        >>> get_num_threads() >= 1
        True
    """
    return _threads


def set_num_threads(threads: int) -> None:
    """Sets how many threads a long sweep uses, the calling one included. Answers do not depend on it.

    Args:
        threads: at least 1. The default is the number of CPUs that the process may use, or NUMBA_NUM_THREADS.

    Raises:
        ArgumentTypeError: `threads` is not an int.
        ArgumentValueError: `threads` is not between 1 and 4096.

    Example:
        >>> before = get_num_threads()
        >>> set_num_threads(1)
        >>> get_num_threads()
        1
        >>> set_num_threads(before)
    """
    global _threads
    _threads = check_integer("threads", threads, 1, _MAX_THREADS)
    _forget_pool()


def _forget_pool() -> None:
    # A forked child has the pool's object but none of its threads. Work that others gave the old pool is finished:
    # its threads end when nobody holds it any more.
    global _pool
    _pool = None


class Team(NamedTuple):
    """The OpenMP threads that torch computes with, as the addresses of C functions.

    Attributes:
        fork: ``GOMP_parallel(function, data, threads, 0)``, which has them all call ``function(data)`` and waits.
        place: ``omp_get_thread_num()``, which one of them the caller is.
        size: ``omp_get_num_threads()``, how many were called.
        most: how many torch wants to compute with, as a Python function.
    """

    fork: int
    place: int
    size: int
    most: Callable[[], int]


#: Once torch was looked for: its threads, or None where it has none that can be called.
_team: list[Team | None] = []


def torch_team() -> Team | None:
    """The threads that torch, which must be imported, computes with; None where they cannot be called."""
    if not _team:
        _team.append(_find_team())
    return _team[0]


def _find_team() -> Team | None:
    torch = sys.modules["torch"]
    # GNU's runtime has these names, and those of Intel and LLVM have them too, on Linux. Whichever one torch was
    # linked with is found through its own library, which is loaded already.
    with contextlib.suppress(AttributeError, OSError):
        library = ctypes.CDLL(torch._C.__file__)
        functions = (library.GOMP_parallel, library.omp_get_thread_num, library.omp_get_num_threads)
        fork, place, size = (ctypes.cast(function, ctypes.c_void_p).value or 0 for function in functions)
        return Team(fork, place, size, torch.get_num_threads)
    return None


def _after_fork() -> None:
    # The parent's OpenMP threads are not here, and its runtime would wait for them for ever.
    _forget_pool()
    _team[:] = [None] if "torch" in sys.modules else []


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def run_on_threads(work: Callable[[], None], threads: int) -> None:
    """Runs `work` on the calling thread and on up to `threads` - 1 others at once, and waits for all.

    `work` shares its parts out among its callers (an atomic counter), so a thread that starts late or never costs
    time only: where no thread can be started, the caller does it all.
    """
    global _pool
    futures: list[Future[None]] = []
    try:
        pool = _pool
        if pool is None:
            pool = _pool = ThreadPoolExecutor(max_workers=max(1, _threads - 1), thread_name_prefix="fastact")
        futures.extend(pool.submit(work) for _ in range(threads - 1))
    except RuntimeError:  # the interpreter is shutting down, or the system has no thread left
        # The pool has queued what it found no thread for, and would keep it, and the caller's buffer, for ever.
        _forget_pool()
    try:
        work()
    finally:
        for future in futures:
            if not future.cancel():
                future.result()
