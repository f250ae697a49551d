"""How loops are compiled for the CPU: the compiler's flags, and entry points with explicit signatures.

Nothing here knows what is computed. `jit` and `exact_jit` compile a function for its callers; `kernel` builds an entry
point, whose machine code is kept on disk (`cpu.cache`).
"""

import contextlib
import functools
import re
from collections.abc import Callable
from typing import Any, Final

import numba
import numpy as np
from numba import types
from numba.core import config

from fastact.cpu.cache import code_file
from fastact.cpu.held import signals_held
from fastact.cpu.linking import linked_once
from fastact.cpu.notice import noticed
from fastact.cpu.objects import Loaded, entry_of, load
from fastact.cpu.prebuilt import host_features, prebuilt_entry

# Sums may be regrouped into vector lanes and multiply-adds fused; -0.0 counts as 0.0. NaN and Inf keep their meaning:
# with "nnan" or "ninf" the compiler deletes the test that finds them (a NaN count of 0 was seen with fastmath=True).
_FASTMATH: Final = {"reassoc", "contract", "nsz"}

jit: Final[Callable[..., Any]] = numba.njit(fastmath=_FASTMATH, error_model="numpy")
#: For code whose order of operations matters.
exact_jit: Final[Callable[..., Any]] = numba.njit(error_model="numpy")

#: Bytes of this CPU's vector registers.
VECTOR_BYTES: Final = 64 if "avx512f" in host_features() else 32 if "avx2" in host_features() else 16

#: False under NUMBA_DISABLE_JIT=1, which runs the same loops as plain Python.
COMPILED: Final = not config.DISABLE_JIT


def array_type(dtype: Any, ndim: int, layout: str = "A", *, readonly: bool = False) -> Any:
    """The Numba type of such arrays."""
    return types.Array(numba.from_dtype(np.dtype(dtype)), ndim, layout, readonly=readonly)


@signals_held()
def kernel(function: Callable[..., Any], name: str, signature: Any, *, nogil: bool) -> Callable[..., Any]:
    """Compiles an entry point for one Numba signature, or loads its machine code from disk.

    `name` is its name there, unique in the package. A call with other types raises TypeError and compiles nothing.
    `nogil` releases the interpreter lock while it runs, which costs a call 40 ns. Signals wait until it is done.
    """
    if not COMPILED:
        return function
    # By this name the compiler's library of it is known.
    function.__qualname__ = re.sub(r"\W", "_", name)
    dispatcher = numba.njit(error_model="numpy", nogil=nogil)(function)
    context = dispatcher.targetctx
    file = code_file(name, signature, context)
    for find in (functools.partial(prebuilt_entry, name), file.read if file else _nothing):
        # Whatever a damaged file raises, or another version of the compiler: it is compiled afresh.
        with contextlib.suppress(Exception):
            if entry := find():
                dispatcher.add_overload(load(entry, function, signature, context))
                break
    else:
        with noticed():
            # The shape's powers are scaled in an order that keeps them in range. Optimised once, with what it calls,
            # that order was lost: a skewness of 0 for float64 near 1e308.
            once: Any = contextlib.nullcontext()
            if not name.startswith("details"):
                once = linked_once(context, function.__qualname__)
            try:
                with once:
                    dispatcher.compile(signature)
            except Exception:  # noqa: BLE001 - a Numba that is made otherwise: as slowly as it does by itself
                dispatcher.compile(signature)
        (result,) = dispatcher.overloads.values()
        if file:
            file.write(entry_of(result))
    dispatcher.disable_compile()
    return dispatcher  # type: ignore[no-any-return]


def _nothing() -> None:
    return None


@signals_held()
def c_entry(entry: Callable[..., Any]) -> Any:
    """The address at which C finds what `kernel` made (it lives as long as that does); itself, if it is Python."""
    if not COMPILED:
        return entry
    result = next(iter(entry.overloads.values()))  # type: ignore[attr-defined]
    if isinstance(result, Loaded):
        return result.address
    return result.library.get_pointer_to_function(result.fndesc.llvm_cfunc_wrapper_name)
