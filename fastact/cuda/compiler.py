"""numba-cuda's compiler, as this folder uses it: with `driver`, all that has to change for numba-cuda's successor.

Without the extra fastact[cuda] nothing is compiled: the decorators leave functions as they are, so that every module
can be imported and read. The tests run the kernels in Numba's simulator: they put modules of their own in the place of
`driver`, `instructions` and `vectors` before the kernels are imported (tests/cuda/simulated.py).
"""

import importlib.util
from typing import Any, Final

from numba.core import config

__all__ = ["COMPILED", "INSTALLED", "SIMULATED", "device", "intrinsic", "models", "overload", "register_model"]

#: Whether the extra fastact[cuda] is there. Numba's own `numba.cuda` has none of the compiler.
INSTALLED: Final = importlib.util.find_spec("numba_cuda") is not None
#: Whether `numba.cuda` is Numba's simulator, which knows nothing of a device's memory (NUMBA_ENABLE_CUDASIM).
SIMULATED: Final = bool(config.ENABLE_CUDASIM)
#: Whether device code can be compiled.
COMPILED: Final = INSTALLED and not SIMULATED

if COMPILED:
    from numba import cuda
    from numba.cuda.extending import intrinsic, models, overload, register_model

    #: Decorates a function of the device. Inlined always: a call would pass its tuples through memory.
    device = cuda.jit(device=True, forceinline=True)
else:
    from numba.extending import models

    def device(function: Any) -> Any:
        """Leaves a function as it is."""
        return function

    def overload(*_: Any, **__: Any) -> Any:
        """Leaves the function that it decorates as it is."""
        return device

    intrinsic = device
    register_model = overload
