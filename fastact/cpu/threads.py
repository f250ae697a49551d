"""Worker threads for sweeps that are long enough to share.

Not Numba's parallel loops: after one of those, a forked child that runs another is ended by GNU OpenMP (torch's
DataLoader forks), two Python threads at once abort the process under Numba's workqueue layer, and
`numba.set_num_threads` resets torch's. Kernels that release the interpreter lock on plain Python threads have none
of these troubles, on any machine; handing over costs some tens of microseconds, which `cpu.sweep` weighs.

A tensor that torch has just computed is another matter: see `cpu.openmp`.
"""

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from fastact.checks import check_integer


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


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


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
