"""The host's side of numba-cuda: devices, streams, memory and launches, and the same in Numba's simulator.

With `device`, which has the device's side, the one place that knows numba-cuda. There each function stands twice too:
in the simulator a device's memory is the host's, and a stream is nothing.
"""

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fastact.cuda.device import INSTALLED, SIMULATED

__all__ = [
    "DeviceMemory",
    "active",
    "device_of",
    "launcher",
    "pinned",
    "processors",
    "stream_at",
    "unusable",
]


@functools.cache
def unusable() -> str | None:
    """Why nothing can be swept on a GPU; None where it can."""
    if SIMULATED:
        return None
    if not INSTALLED:
        return "the extra fastact[cuda] is not installed"
    from numba import cuda
    from numba.cuda.cudadrv import nvvm
    from numba.cuda.cudadrv.error import CudaDriverError, CudaSupportError

    try:
        if not len(cuda.gpus):
            return "the CUDA driver finds no device"
        if not nvvm.is_available():
            return "numba-cuda finds no compiler (NVVM): install it with the extra fastact[cuda]"
    except (CudaDriverError, CudaSupportError) as error:
        return " ".join(str(error).split()).rstrip(" :.")
    return None


if SIMULATED or not INSTALLED:
    from contextlib import nullcontext

    #: Enough for the simulator to take several blocks a tensor.
    _PROCESSORS: Final = 1

    class DeviceMemory:
        """Memory of the current device; freed with the object."""

        def __init__(self, nbytes: int, stream: Any = None, *, zeroed: bool = False) -> None:
            self._words = np.full(nbytes // 8, 0 if zeroed else -1, np.int64)
            self.nbytes = nbytes
            self.address: int = self._words.ctypes.data

        def copy_to(self, host: npt.NDArray[np.int64], stream: Any) -> None:
            """Has the first bytes copied to `host`, pinned memory, when the stream comes to it."""
            host[:] = self._words[: host.size]

        def copy_from(self, host: npt.NDArray[np.int64], stream: Any) -> None:
            """Has the first bytes overwritten by `host`, pinned memory, when the stream comes to it."""
            self._words[: host.size] = host

    def active(device: int) -> AbstractContextManager[Any]:
        return nullcontext()

    def device_of(address: int) -> int | None:
        return 0

    def processors(device: int) -> int:
        return _PROCESSORS

    def stream_at(handle: int, device: int) -> Any:
        from numba import cuda

        return cuda.stream()

    def pinned(words: int) -> npt.NDArray[np.int64]:
        return np.empty(words, np.int64)

    def launcher(kernel: Any, device: int, threads: int) -> Callable[..., None]:
        from numba import cuda

        compiled = cuda.jit(kernel)

        def launch(blocks: int, stream: Any, *arguments: float) -> None:
            compiled[blocks, threads](*arguments)

        return launch

else:
    import inspect
    import warnings

    from numba import cuda, types
    from numba.cuda.cudadrv import driver

    def signature(kernel: Any) -> Any:
        """Of a kernel whose arguments say themselves that they are int or float: 64 bits wide."""
        kinds = {int: types.int64, float: types.float64}
        return types.void(*(kinds[each.annotation] for each in inspect.signature(kernel).parameters.values()))

    class DeviceMemory:  # type: ignore[no-redef]
        """Memory of the current device; freed with the object."""

        def __init__(self, nbytes: int, stream: Any = None, *, zeroed: bool = False) -> None:
            self._array = cuda.device_array(nbytes, np.uint8)
            self.nbytes = nbytes
            self.address: int = self._array.__cuda_array_interface__["data"][0]
            if zeroed:
                driver.device_memset(self._array, 0, nbytes, stream)

        def copy_to(self, host: npt.NDArray[np.int64], stream: Any) -> None:
            """Has the first bytes copied to `host`, pinned memory, when the stream comes to it."""
            driver.device_to_host(host, self._array, host.nbytes, stream)

        def copy_from(self, host: npt.NDArray[np.int64], stream: Any) -> None:
            """Has the first bytes overwritten by `host`, pinned memory, when the stream comes to it."""
            driver.host_to_device(self._array, host, host.nbytes, stream)

    def active(device: int) -> AbstractContextManager[Any]:
        """Makes a device the current one of this thread, for a while."""
        return cuda.gpus[device]  # type: ignore[no-any-return]

    def device_of(address: int) -> int | None:
        """The number of the device that memory belongs to; None for what is no device's."""
        attribute = driver.binding.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
        try:
            return int(driver.driver.cuPointerGetAttribute(attribute, address))
        except driver.CudaAPIError:
            return None

    @functools.cache
    def processors(device: int) -> int:
        """How many multiprocessors a device has."""
        return int(cuda.gpus[device].MULTIPROCESSOR_COUNT)

    @functools.lru_cache(maxsize=256)
    def stream_at(handle: int, device: int) -> Any:
        """The stream with this handle: 0 and 1 are the legacy default stream, 2 is the thread's default stream."""
        return cuda.external_stream(handle or 1)

    def pinned(words: int) -> npt.NDArray[np.int64]:
        """Memory of the host that the device copies to while the host goes on: int64[words]."""
        return cuda.pinned_array(words, np.int64)  # type: ignore[no-any-return]

    def launcher(kernel: Any, device: int, threads: int) -> Callable[..., None]:
        """`kernel` compiled for the current device, number `device`: called with blocks, a stream and its arguments."""
        compiled = cuda.jit(signature(kernel))(kernel)

        @functools.lru_cache(maxsize=1024)
        def configured(blocks: int, stream: Any) -> Any:
            with warnings.catch_warnings():
                # Few blocks are what few elements need.
                warnings.filterwarnings("ignore", "Grid size")
                return compiled[blocks, threads, stream]

        def launch(blocks: int, stream: Any, *arguments: float) -> None:
            configured(blocks, stream)(*arguments)

        return launch
