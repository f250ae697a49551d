"""The host's side of numba-cuda: devices, streams, memory and launches.

Nothing here but `unusable` may be called where `unusable` names a reason.
"""

import functools
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fastact.cuda.choice import choice
from fastact.cuda.compiler import COMPILED, INSTALLED, SIMULATED

if COMPILED:
    from numba import cuda, types
    from numba.cuda.cudadrv import driver, nvvm
    from numba.cuda.cudadrv.error import CudaDriverError, CudaSupportError


#: Registers of a multiprocessor, on every machine since 2012.
_REGISTERS: Final = 1 << 16


@functools.cache
def unusable() -> str | None:
    """Why nothing can be swept on a GPU; None where it can."""
    if choice() == "off":
        return "FASTACT_GPU=off turns it off"
    if SIMULATED:
        return "Numba's CUDA simulator is on (NUMBA_ENABLE_CUDASIM is set)"
    if not INSTALLED:
        return "the extra fastact[cuda] is not installed"
    try:
        if not len(cuda.gpus):
            return "the CUDA driver finds no device"
        if not nvvm.is_available():
            return "numba-cuda finds no compiler (NVVM): install it with the extra fastact[cuda]"
    except (CudaDriverError, CudaSupportError) as error:
        return " ".join(str(error).split()).rstrip(" :.")
    return None


def signature(kernel: Any) -> Any:
    """The types of a kernel's arguments, addresses and numbers all, as its annotations have them."""
    given = [one for name, one in kernel.__annotations__.items() if name != "return"]
    return types.void(*(types.float64 if one is float else types.int64 for one in given))


class DeviceMemory:
    """Memory of the current device; freed with the object."""

    def __init__(self, nbytes: int, stream: Any = None, *, zeroed: bool = False) -> None:
        self._array = cuda.device_array(nbytes, np.uint8)
        self.nbytes = nbytes
        self.address: int = self._array.__cuda_array_interface__["data"][0]
        if zeroed:
            driver.device_memset(self._array, 0, nbytes, stream)

    def zero(self, stream: Any) -> None:
        """Sets the memory to zero, in the order of the stream."""
        driver.device_memset(self._array, 0, self.nbytes, stream)

    def copy_to(self, host: npt.NDArray[np.int64], stream: Any, start: int = 0) -> None:
        """Copies the bytes from `start` on to `host`, pinned memory, in the order of the stream."""
        source = self.address + start
        driver.driver.cuMemcpyDtoHAsync(host.ctypes.data, source, host.nbytes, int(stream.handle))

    def copy_from(self, host: npt.NDArray[np.int64], stream: Any) -> None:
        """Overwrites the first bytes with `host`, pinned memory, in the order of the stream."""
        driver.driver.cuMemcpyHtoDAsync(self.address, host.ctypes.data, host.nbytes, int(stream.handle))


class Event:
    """A place in a stream's work, and whether the stream has reached it."""

    def __init__(self) -> None:
        self._event = cuda.event(timing=False)

    def record(self, stream: Any) -> None:
        """Moves the place to the end of what the stream has been given so far."""
        self._event.record(stream)

    def done(self) -> bool:
        """Whether the stream has reached the place."""
        # Numba's own `query` turns each "not yet" into an exception and a line of its log.
        (code,) = driver.binding.cuEventQuery(self._event.handle)
        if code == driver.binding.CUresult.CUDA_ERROR_NOT_READY:
            return False
        if code != driver.binding.CUresult.CUDA_SUCCESS:
            raise driver.CudaAPIError(code, f"Call to cuEventQuery results in {code.name}")
        return True


def active(device: int) -> AbstractContextManager[Any]:
    """Makes a device the current one of this thread, for a while."""
    return cuda.gpus[device]  # type: ignore[no-any-return]


@contextmanager
def relaxed() -> Iterator[None]:
    """Lets this thread allocate memory and ask for events while a stream is being captured."""
    mode = driver.binding.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED
    before = driver.driver.cuThreadExchangeStreamCaptureMode(mode)
    try:
        yield
    finally:
        driver.driver.cuThreadExchangeStreamCaptureMode(before)


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


def handle_of(stream: Any) -> int:
    """The handle by which `stream_at` finds the stream again."""
    return int(stream.handle)


@functools.cache
def side_stream(device: int) -> Any:
    """A stream of our own on the current device, number `device`; it waits for no other, and none waits for it."""
    # Numba's own would wait for the legacy default stream, where torch works, and be waited for by it.
    handle = driver.driver.cuStreamCreate(driver.binding.CUstream_flags.CU_STREAM_NON_BLOCKING.value)
    return cuda.external_stream(int(handle))


def capture_of(stream: Any) -> int:
    """The number of the graph that a stream is being captured into; 0 for none."""
    status, number, *_ = driver.driver.cuStreamGetCaptureInfo(int(stream.handle))
    capturing = driver.binding.CUstreamCaptureStatus.CU_STREAM_CAPTURE_STATUS_ACTIVE
    return int(number) if status == capturing else 0


def order(before: Any, after: Any) -> None:
    """Has whatever is given to the stream `after` from now on wait for what the stream `before` was given."""
    event = cuda.event(timing=False)
    event.record(before)
    event.wait(after)


def pinned(words: int) -> npt.NDArray[np.int64]:
    """Memory of the host that the device copies to while the host goes on: int64[words]."""
    return cuda.pinned_array(words, np.int64)  # type: ignore[no-any-return]


def launcher(kernel: Any, device: int, threads: int, at_once: int = 1) -> Callable[..., None]:
    """`kernel` compiled for the current device, number `device`: called with blocks, a stream and its arguments.

    A multiprocessor has registers for `at_once` blocks of so many threads.
    """
    registers = min(255, _REGISTERS // (threads * at_once))
    compiled = cuda.jit(signature(kernel), max_registers=registers)(kernel)

    @functools.lru_cache(maxsize=1024)
    def configured(blocks: int, stream: Any) -> Any:
        with warnings.catch_warnings():
            # Few blocks are what few elements need.
            warnings.filterwarnings("ignore", "Grid size")
            return compiled[blocks, threads, stream]

    def launch(blocks: int, stream: Any, *arguments: float) -> None:
        configured(blocks, stream)(*arguments)

    return launch
