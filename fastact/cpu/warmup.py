"""Compiles every entry point ahead of time: what `fastact warmup` does for each element type."""

import logging
from typing import Final

import numpy as np

from fastact.arithmetic.element_types import ELEMENT_TYPES
from fastact.cpu.bit_sum import bits_kernel
from fastact.cpu.extras import details_kernel
from fastact.cpu.neuron_kernels import fold_kernel, row_kernel, run_kernel, summary_kernel
from fastact.cpu.numpy_headers import headers_kernel
from fastact.cpu.openmp import share_kernel, team_kernel
from fastact.cpu.sweep import merge_kernel, parts_kernel, small_kernel
from fastact.cpu.sweep_many import many_kernel

#: What networks compute in, and data comes in: compiled ahead unless told otherwise, and shipped with the package.
DEFAULT: Final = ("float32", "bfloat16", "float16", "float64")


def quietly() -> None:
    """For processes that compile because they were asked to: nobody need be told how to avoid it."""
    logging.getLogger("fastact").setLevel(logging.ERROR)


def entry_points(name: str) -> frozenset[str]:
    """The names of the entry points that `warmup` makes for an element type."""
    extreme = ELEMENT_TYPES[name].extreme
    typed = [f"{kind}-{name}" for kind in ("small", "parts", "details", "many", "columns", "runs")]
    by_extreme = [f"{kind}-{extreme}" for kind in ("merge", "run", "row", "summary")]
    by_extreme.append(f"merge-{ELEMENT_TYPES[name].wide_extreme}")
    by_extreme.append(f"bits-{np.dtype(ELEMENT_TYPES[name].storage).itemsize}")
    return frozenset([*typed, *by_extreme, f"headers-{object.__basicsize__}", "team-share", "team-fold"])


def warmup(name: str) -> None:
    """Compiles, or loads from disk, every entry point of all sweeps for the element type `name`."""
    for make in (small_kernel, parts_kernel, details_kernel, many_kernel):
        make(name)
    for runs in (False, True):
        fold_kernel(name, runs=runs)
    merge_kernel(ELEMENT_TYPES[name].wide_extreme)
    for make_for in (merge_kernel, run_kernel, row_kernel, summary_kernel):
        make_for(ELEMENT_TYPES[name].extreme)
    bits_kernel(np.dtype(ELEMENT_TYPES[name].storage).itemsize)
    for make_any in (headers_kernel, share_kernel, team_kernel):
        make_any()
