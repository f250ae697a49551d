"""`fastact.cuda.driver` in Numba's simulator.

A device's memory is the host's, and a stream does at once what it is given, unless a test holds it back or captures it.
"""

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt


def unusable() -> str | None:
    return None


#: Enough for the simulator to take several blocks a tensor.
_PROCESSORS = 1


class Stream:
    """Does its work at once; held back, when it is released; captured, when it is replayed.

    Attributes:
        held: work that waits, in order; None while nothing is held back.
        captured: work of the graph that is being captured; None while none is.
    """

    def __init__(self) -> None:
        self.held: list[Callable[[], object]] | None = None
        self.captured: list[Callable[[], object]] | None = None

    def run(self, work: Callable[[], object]) -> None:
        for place in (self.captured, self.held):
            if place is not None:
                place.append(work)
                return
        work()

    def release(self) -> None:
        """Does what was held back, and holds no more."""
        while self.held:
            self.held.pop(0)()
        self.held = None

    def synchronize(self) -> None:
        assert self.held is None, "the host would wait for ever"


class DeviceMemory:
    """Memory of the current device; freed with the object."""

    def __init__(self, nbytes: int, stream: Any = None, *, zeroed: bool = False) -> None:
        self._words = np.full(nbytes // 8, 0 if zeroed else -1, np.int64)
        self.nbytes = nbytes
        self.address: int = self._words.ctypes.data

    def zero(self, stream: Any) -> None:
        """Has it set to zero when the stream comes to it."""
        stream.run(lambda: self._words.fill(0))

    def copy_to(self, host: npt.NDArray[np.int64], stream: Any, start: int = 0) -> None:
        """Has its bytes from `start` on copied to `host`, pinned memory, when the stream comes to it."""
        words = self._words[start // 8 :][: host.size]
        stream.run(lambda: np.copyto(host, words.reshape(host.shape)))

    def copy_from(self, host: npt.NDArray[np.int64], stream: Any) -> None:
        """Has its first bytes overwritten by `host`, pinned memory, when the stream comes to it."""
        stream.run(lambda: np.copyto(self._words[: host.size], host.reshape(-1)))


class Event:
    """Whether a stream has come to a place."""

    def __init__(self) -> None:
        self._done = False

    def record(self, stream: Any) -> None:
        """Sets the place to where the stream's work ends now."""
        self._done = False
        stream.run(lambda: setattr(self, "_done", True))

    def done(self) -> bool:
        """Whether the stream has come there."""
        return self._done


def active(device: int) -> AbstractContextManager[Any]:
    return nullcontext()


def relaxed() -> AbstractContextManager[Any]:
    return nullcontext()


def device_of(address: int) -> int | None:
    return 0


def processors(device: int) -> int:
    return _PROCESSORS


@functools.cache
def stream_at(handle: int, device: int) -> Any:
    return Stream()


@functools.cache
def side_stream(device: int) -> Any:
    return Stream()


def handle_of(stream: Any) -> int:
    """That of a stream of its own, which no test holds back."""
    return 99


def capture_of(stream: Any) -> int:
    return 0 if stream.captured is None else id(stream.captured)


def order(before: Any, after: Any) -> None:
    pass


def pinned(words: int) -> npt.NDArray[np.int64]:
    return np.empty(words, np.int64)


def launcher(kernel: Any, device: int, threads: int, at_once: int = 1) -> Callable[..., None]:
    from numba import cuda

    compiled = cuda.jit(kernel)

    def launch(blocks: int, stream: Any, *arguments: float) -> None:
        stream.run(lambda: compiled[blocks, threads](*arguments))

    return launch
