"""A sweep per neuron by the OpenMP threads that torch computes with.

The threads that have just computed a tensor are awake, spinning in wait of the next layer, and have its parts in their
caches. A sweep by this `Team` costs a few microseconds to begin, where a thread of our own would first have to take a
core from one that spins. Nothing else depends on this file: `cpu.workspace` calls `fold_by_team`, in one place, and
shares the work out among plain threads where that declines.
"""

import contextlib
import ctypes
import functools
import os
import sys
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
from numba import types

from fastact.cpu.intrinsics import array_at, call_c, call_c_for_int
from fastact.cpu.jit import c_entry, kernel
from fastact.cpu.neuron_kernels import HEAD_WORDS, SPARE, TASKS, begin
from fastact.cpu.threads import get_num_threads

#: Bytes from which a sweep is shared with the team that has computed the tensor: they are awake, it costs some 3 µs.
_TEAM_FROM: Final = 1 << 17

_I8: Final = types.int64
#: Where in a workspace's memory the addresses are that a thread of the team needs.
_FOLD, _PLACE, _SIZE = SPARE, SPARE + 1, SPARE + 2


class Team(NamedTuple):
    """The OpenMP threads that torch computes with, as the addresses of C functions."""

    fork: int  # ``GOMP_parallel(function, data, threads, 0)``: has them all call ``function(data)`` and waits
    place: int  # ``omp_get_thread_num()``: which one of them the caller is
    size: int  # ``omp_get_num_threads()``: how many were called
    most: Callable[[], int]  # how many torch wants to compute with, as a Python function


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
    _team[:] = [None] if "torch" in sys.modules else []


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@functools.cache
def share_kernel() -> Any:
    """What each thread of a team is called with: it does the share of the tasks that is its own by its place.

    torch has its threads compute a tensor in the same shares, so that each finds its own in its cache.
    """

    def fold_share(address: int) -> None:
        head = array_at(address, (HEAD_WORDS,), 0)
        place, size, tasks = call_c_for_int(head[_PLACE]), call_c_for_int(head[_SIZE]), head[TASKS]
        call_c(head[_FOLD], (address, place * tasks // size, (place + 1) * tasks // size))

    return kernel(fold_share, "team-share", types.void(_I8), nogil=True)


@functools.cache
def team_kernel() -> Callable[..., None]:
    """The entry point that begins the memory and has a team do the tasks."""

    def fold_by_threads(
        address: int, template: int, x: int, scratch: int, share: Any, threads: int, fork: int, fold: Any, place: int,
        size: int,
    ) -> None:  # fmt: skip
        begin(address, template, x, scratch)
        head = array_at(address, (HEAD_WORDS,), 0)
        head[_FOLD], head[_PLACE], head[_SIZE] = fold, place, size
        call_c(fork, (share, address, np.uint32(threads), np.uint32(0)))

    return kernel(fold_by_threads, "team-fold", types.void(*[_I8] * 10), nogil=True)


def fold_by_team(address: int, x: int, scratch: int, template: int, entry: Any, tasks: int, nbytes: int) -> bool:
    """Has torch's threads fold an array of `nbytes` at the address `x`; False where it is not worth it.

    `address` is a workspace's memory, `scratch` what to work in, `template` its plan's head; `entry` is the fold, which
    does so many `tasks`.
    """
    if nbytes < _TEAM_FROM or (team := torch_team()) is None:
        return False
    threads = min(team.most(), get_num_threads(), tasks)
    if threads <= 1:
        return False
    share = c_entry(share_kernel())
    team_kernel()(address, template, x, scratch, share, threads, team.fork, entry, team.place, team.size)
    return True
