"""How fast this machine reads memory: the ceiling that no sweep can pass.

A Numba kernel adds the buffer up as 64-bit integers, one load and one addition per vector, so that loads are all that
it waits for; each thread reads its share, four streams of it at once. With one stream it reached only 0.75 of what
four reach from the last-level cache, and 0.95 from memory. Beside a loop in C with AVX-512 intrinsics (Zen 5, two
threads) it is level from memory and from the larger caches; only where the buffer sits in the first-level cache was C
faster, twice, and there the cost of a call hides the reading anyway.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

_STREAMS = 4


@numba.njit(nogil=True, fastmath={"reassoc", "contract", "nsz"})
def _read(words: npt.NDArray[np.uint64], passes: int) -> Any:
    """The sum of all words, `passes` times over."""
    size = words.size // 4
    a, b = words[:size], words[size : 2 * size]
    c, d = words[2 * size : 3 * size], words[3 * size : 4 * size]
    even = odd = np.uint64(0)
    for i in range(passes):
        # The key differs from pass to pass, or the compiler reads once and multiplies.
        key = np.uint64(i)
        for j in range(a.size):
            even += (a[j] ^ key) + b[j]
            odd += c[j] + d[j]
    return even + odd


class Reader:
    """Reads a contiguous array `passes` times with each call, on `threads` threads, the calling one included.

    Each thread reads a share of its own; up to 63 bytes times `threads`, which do not divide, are left out. `nbytes` is
    what a call reads.
    """

    def __init__(self, buffer: npt.NDArray[Any], threads: int) -> None:
        raw = buffer.reshape(-1).view(np.uint8)
        share = raw.size // (8 * _STREAMS * threads) * 8 * _STREAMS
        self._shares = [raw[i * share : (i + 1) * share].view(np.uint64) for i in range(threads)]
        self._pool = ThreadPoolExecutor(max(1, threads - 1))
        self.passes = 1
        self.nbytes = share * threads
        self()  # compiles the kernel and starts the threads

    def __call__(self) -> int:
        """Reads, and returns a sum that depends on each word."""
        futures = [self._pool.submit(_read, share, self.passes) for share in self._shares[1:]]
        return int(_read(self._shares[0], self.passes)) + sum(int(future.result()) for future in futures)

    def fill(self, seconds: float, timed: Callable[[Callable[[], object], int], float]) -> None:
        """Sets the passes so that a call lasts at least `seconds`, or is one pass."""
        while (took := timed(self, 1)) < seconds:
            factor = max(2, int(np.ceil(seconds / max(took, 1e-9))))
            self.passes *= factor
            self.nbytes *= factor
