"""Numba's simulator, faster and stricter: a block's threads run by turns, in an order that changes at each barrier."""

import functools
import random
import sys
import threading
from typing import Any

import numpy as np
from numba.cuda.simulator import kernel, kernelapi

__all__ = ["install"]


class _Shared(kernelapi.FakeCUDAShared):  # type: ignore[misc]
    """A block's shared arrays. Numba's own reads source files to tell places apart: half of the time."""

    def array(self, shape: Any, dtype: Any) -> Any:
        caller = sys._getframe(1)
        place = caller.f_code.co_filename, caller.f_lineno
        return self._allocations.setdefault(place, np.empty(shape, dtype))


class _Thread(kernel.BlockThread):  # type: ignore[misc]
    """A thread of a block, which runs when it is its turn."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.turn = threading.Lock()
        self.turn.acquire()

    def run(self) -> None:
        self.turn.acquire()
        if not self.abort:
            super().run()
        self._manager.ended(self)

    def syncthreads(self) -> None:
        self._manager.waits(self)
        self.turn.acquire()
        if self.abort:
            raise RuntimeError("another thread of the block has failed")


class _Block(kernel.BlockManager):  # type: ignore[misc]
    """Runs a block's threads by turns: each to the next barrier, in another order after each barrier.

    So a barrier that is missing shows. Numba's own lets them all run at once, and polls them: most of the time.
    """

    _chance = random.Random(0)

    def run(self, block: Any, *arguments: Any) -> None:
        run = functools.partial(self._f, *arguments)
        threads = [_Thread(run, self, block, place, self._debug) for place in np.ndindex(*self._block_dim)]
        self._waiting, self._next = list(threads), list[_Thread]()
        self._failed: _Thread | None = None
        self._over = threading.Event()
        for thread in threads:
            thread.start()
        self._pass_on()
        self._over.wait()
        if self._failed is not None:
            error, trace = self._failed.exception
            raise error.with_traceback(trace)

    def waits(self, thread: _Thread) -> None:
        """A thread has come to a barrier: another goes on."""
        self._waiting.append(thread)
        self._pass_on()

    def ended(self, thread: _Thread) -> None:
        """A thread is through, or has failed: then the others end where they are."""
        if thread.exception is not None and self._failed is None:
            self._failed = thread
            for other in self._waiting + self._next:
                other.abort = True
        self._pass_on()

    def _pass_on(self) -> None:
        if not self._next:
            self._next, self._waiting = self._waiting, self._next
            self._chance.shuffle(self._next)
        if self._next:
            self._next.pop().turn.release()
        else:
            self._over.set()


def install() -> None:
    """Has kernels that are launched from now on run this way."""
    kernelapi.FakeCUDAShared = _Shared
    kernel.BlockManager = _Block
