"""Worker threads for sweeps that are long enough to share.

Not Numba's parallel loops: after one of those, a forked child that runs another is ended by GNU OpenMP (torch's
DataLoader forks), two Python threads at once abort the process under Numba's workqueue layer, and
`numba.set_num_threads` resets torch's. Kernels that release the interpreter lock on plain Python threads have none
of these troubles, on any machine; handing over costs some tens of microseconds, which `cpu.sweep` weighs.

Not `concurrent.futures` either: its futures have a lock whose taking is Python code, and an interrupt (Ctrl-C, or a
signal handler that sweeps) may come between taking it and knowing that it is taken: 5 of 9,600 interrupted sweeps left
the next one, and the exit, waiting for ever. Here nothing has a lock but `queue.SimpleQueue`, which is one call into C
and may be entered again; the rest are lists that only grow and a flag.

A tensor that torch has just computed is another matter: see `cpu.openmp`.
"""

import _thread
import os
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
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
    _forget_crew()


class _Here(threading.local):
    """How many threads the sweeps that this thread makes may use; None: `get_num_threads`."""

    threads: int | None = None


_here: Final = _Here()


def threads_here() -> int:
    """How many threads a long sweep of the calling thread uses: fewer than `get_num_threads` within `at_most`."""
    return _here.threads or _threads


@contextmanager
def at_most(threads: int) -> Iterator[None]:
    """Within it long sweeps of the calling thread use so many threads: where others sweep beside it, as tasks do."""
    before, _here.threads = _here.threads, threads
    try:
        yield
    finally:
        _here.threads = before


class _Job:
    """Work that is shared out once: who has begun with it, who has ended, and whether it is closed to others."""

    __slots__ = ("begun", "closed", "ended", "errors", "told", "work")

    def __init__(self, work: Callable[[], None]) -> None:
        self.work = work
        self.closed = False
        self.begun: list[None] = []
        self.ended: list[None] = []
        self.errors: list[BaseException] = []
        self.told: queue.SimpleQueue[None] = queue.SimpleQueue()

    def take_part(self) -> None:
        """For a worker. First it begins, then it looks, while `finish` first closes and then counts who has begun."""
        self.begun.append(None)
        try:
            if not self.closed:
                self.work()
        except BaseException as error:  # noqa: BLE001 - raised by whoever waits
            self.errors.append(error)
        finally:
            self.ended.append(None)
            self.told.put(None)

    def finish(self) -> None:
        """Waits until nobody is at work any more, whatever interrupts: the memory that is swept may be freed then."""
        interrupt: BaseException | None = None
        while True:
            try:
                self.closed = True
                if len(self.ended) >= len(self.begun):
                    break
                # An interrupt may lose what `get` has got, so it looks again now and then.
                with suppress(queue.Empty):
                    self.told.get(timeout=_LOOK_AGAIN)
            except BaseException as error:  # noqa: BLE001 - raised below
                interrupt = error
        if interrupt is not None:
            raise interrupt
        if self.errors:
            raise self.errors[0]


class _Crew:
    """Threads that wait for jobs. They are not joined at exit: they have nothing of their own to lose."""

    def __init__(self) -> None:
        self.jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self.hired: list[None] = []

    def offer(self, job: _Job, threads: int) -> None:
        """Asks so many threads to take part; RuntimeError where the system has no thread left."""
        while len(self.hired) < threads:
            _thread.start_new_thread(self._serve, (self.jobs,))
            self.hired.append(None)
        for _ in range(threads):
            self.jobs.put(job)

    @staticmethod
    def _serve(jobs: "queue.SimpleQueue[_Job | None]") -> None:
        while (job := jobs.get()) is not None:
            job.take_part()
            del job  # it has the buffer

    def __del__(self) -> None:
        for _ in self.hired:
            self.jobs.put(None)


#: Seconds after which who waits for others looks again.
_LOOK_AGAIN: Final = 0.05
_crew: _Crew | None = None


def _forget_crew() -> None:
    # A forked child has the object but none of the threads. Elsewhere they end when nobody holds it any more.
    global _crew
    _crew = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_crew)


def run_on_threads(work: Callable[[], None], threads: int) -> None:
    """Runs `work` on the calling thread and on up to `threads` - 1 others at once, and waits for all.

    `work` shares its parts out among its callers (an atomic counter), so a thread that starts late or never costs
    time only: where no thread can be started, the caller does it all.
    """
    global _crew
    job = _Job(work)
    try:
        crew = _crew = _crew or _Crew()
        with suppress(RuntimeError):  # the interpreter is shutting down, or the system has no thread left
            crew.offer(job, threads - 1)
        work()
    finally:
        job.finish()
