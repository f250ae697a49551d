"""The few operations of a framework that `framework_sweep` computes a sweep by: those of torch, and of CuPy or NumPy.

They are given raw elements as signed integers, which every framework can hold, and say what those mean by themselves:
no framework need know an element type. Nothing here waits for a device.
"""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from fastact.cuda.arrays import DeviceArray

_LEGACY_STREAM = 1


class OnItsWay:
    """Numbers that a device copies to the host: `done` asks without waiting, `numbers` may be called when they are."""

    def __init__(self, numbers: npt.NDArray[np.int64], done: Callable[[], bool], keep: object = None) -> None:
        self.numbers, self.done, self._keep = numbers, done, keep


class Framework(Protocol):
    """What `framework_sweep` needs; `xp` has NumPy's names for what they share."""

    name: str
    xp: Any

    def raw(self, x: "DeviceArray") -> Any:
        """The elements where they lie, as signed integers of their size."""

    def at_work(self, x: "DeviceArray") -> AbstractContextManager[Any]:
        """Within it operations go to the stream on which the elements are ready."""

    def capturing(self) -> bool:
        """Whether a graph is being captured, in which none of this can be."""

    def cast(self, a: Any, dtype: str) -> Any:
        """Converts to another dtype."""

    def view(self, a: Any, dtype: str) -> Any:
        """The same bits as another dtype of the same size."""

    def look_up(self, table: npt.NDArray[np.float64], places: Any) -> Any:
        """The numbers of the table at these places."""

    def to_host(self, a: Any) -> OnItsWay:
        """Begins to copy an int64 array to the host."""


class _View:
    """Memory of a device as `__cuda_array_interface__` shows it, in signed integers."""

    def __init__(self, x: "DeviceArray") -> None:
        self._owner = x.array
        self.__cuda_array_interface__ = {
            "version": 3, "typestr": f"<i{x.array.itemsize}", "shape": x.array.shape, "strides": None,
            "data": (x.array.ctypes.data, False), "stream": None,
        }  # fmt: skip


def _signed(x: "DeviceArray") -> npt.NDArray[Any]:
    return x.array.view(f"i{x.array.itemsize}")


class TorchFramework:
    """torch, on a CUDA device; with `on_host` on memory of the host, for tests."""

    name = "torch"

    def __init__(self, torch: Any, *, on_host: bool = False) -> None:
        self.xp = self._torch = torch
        self._on_host = on_host

    def raw(self, x: "DeviceArray") -> Any:
        """The elements where they lie, as signed integers of their size."""
        if self._on_host:
            return self._torch.from_numpy(np.array(_signed(x)))
        return self._torch.as_tensor(_View(x), device=f"cuda:{x.device}")

    def at_work(self, x: "DeviceArray") -> AbstractContextManager[Any]:
        """Within it operations go to the stream on which the elements are ready."""
        if self._on_host:
            return nullcontext()
        cuda = self._torch.cuda
        if x.stream in (0, _LEGACY_STREAM):
            return cuda.stream(cuda.default_stream(x.device))  # type: ignore[no-any-return]
        return cuda.stream(cuda.ExternalStream(x.stream, device=x.device))  # type: ignore[no-any-return]

    def capturing(self) -> bool:
        """Whether a graph is being captured, in which none of this can be."""
        return not self._on_host and bool(self._torch.cuda.is_current_stream_capturing())

    def cast(self, a: Any, dtype: str) -> Any:
        """Converts to another dtype."""
        return a.to(getattr(self._torch, dtype))

    def view(self, a: Any, dtype: str) -> Any:
        """The same bits as another dtype of the same size."""
        return a.view(getattr(self._torch, dtype))

    def look_up(self, table: npt.NDArray[np.float64], places: Any) -> Any:
        """The numbers of the table at these places."""
        there = self._torch.from_numpy(table)
        if not self._on_host:
            there = there.pin_memory().to(places.device, non_blocking=True)
        return there[places]

    def to_host(self, a: Any) -> OnItsWay:
        """Begins to copy an int64 array to the host."""
        if self._on_host:
            return OnItsWay(a.numpy(), lambda: True)
        host = self._torch.empty(a.shape, dtype=a.dtype, pin_memory=True)
        host.copy_(a, non_blocking=True)
        event = self._torch.cuda.Event()
        event.record()
        return OnItsWay(host.numpy(), event.query, (host, a))


class ArrayFramework:
    """CuPy; or NumPy, for tests, on memory of the host."""

    def __init__(self, xp: Any) -> None:
        self.xp, self.name = xp, xp.__name__
        self._on_host = xp is np

    def raw(self, x: "DeviceArray") -> Any:
        """The elements where they lie, as signed integers of their size."""
        return _signed(x) if self._on_host else self.xp.asarray(_View(x))

    def at_work(self, x: "DeviceArray") -> AbstractContextManager[Any]:
        """Within it operations go to the stream on which the elements are ready."""
        if self._on_host:
            return nullcontext()
        return self.xp.cuda.ExternalStream(x.stream, x.device)  # type: ignore[no-any-return]

    def capturing(self) -> bool:
        """Whether a graph is being captured, in which none of this can be."""
        return not self._on_host and bool(self.xp.cuda.get_current_stream().is_capturing())

    def cast(self, a: Any, dtype: str) -> Any:
        """Converts to another dtype."""
        return a.astype(dtype)

    def view(self, a: Any, dtype: str) -> Any:
        """The same bits as another dtype of the same size."""
        return a.view(dtype)

    def look_up(self, table: npt.NDArray[np.float64], places: Any) -> Any:
        """The numbers of the table at these places."""
        return self.xp.asarray(table)[places]

    def to_host(self, a: Any) -> OnItsWay:
        """Begins to copy an int64 array to the host."""
        if self._on_host:
            return OnItsWay(a, lambda: True)
        cupyx = sys.modules["cupyx"]
        host = cupyx.empty_pinned(a.shape, a.dtype)
        a.get(out=host, blocking=False)
        event = self.xp.cuda.Event(disable_timing=True)
        event.record()
        return OnItsWay(host, lambda: bool(event.done), a)


def framework() -> Framework | None:
    """The framework that is imported and has a CUDA device, torch before CuPy; None where there is none."""
    torch, cupy = sys.modules.get("torch"), sys.modules.get("cupy")
    if torch is not None and torch.cuda.is_available() and not getattr(torch.version, "hip", None):
        return TorchFramework(torch)
    if cupy is not None and cupy.cuda.runtime.getDeviceCount():
        return ArrayFramework(cupy)
    return None
