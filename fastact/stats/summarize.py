"""The functions people call on buffers: `summarize` and what is built on it."""

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, overload

import numpy as np
import numpy.typing as npt

from fastact import arithmetic
from fastact.arithmetic.element_types import ELEMENT_TYPES
from fastact.arrays.host import (
    as_channels,
    as_flat,
    as_storage,
    channel_view,
    chunks,
    is_plain_tensor,
    on_gpu,
    pieces,
    slabs,
    tensor_view_type,
)
from fastact.checks import check_not_negative, check_saturation
from fastact.cpu.plan import Plan, plan_neurons
from fastact.cpu.sweep import SMALL, small_kernel, sweep
from fastact.cpu.workspace import NeuronWorkspace, sweep_neurons
from fastact.errors import ArgumentValueError
from fastact.stats.activation import (
    DEFAULT_BOUNDS,
    SATURATION,
    ActivationStats,
    Bounds,
    ChannelStats,
    merge,
    wrap,
    wrap_channels,
    wrap_swept,
)
from fastact.stats.detailed import DetailedStats, check_extras, detail

if TYPE_CHECKING:
    from fastact.cuda.arrays import DeviceArray

__all__ = [
    "Accumulator",
    "Sweeper",
    "check_options",
    "compute_activation_stats",
    "detect_dead_neurons",
    "detect_saturation",
    "gpu_view",
    "summarize",
    "sweep_any",
]


def check_options(saturation: Any, zero_tol: Any) -> Bounds:
    """The options of a sweep as floats; an error that names the one that is none, or out of range."""
    return *check_saturation(saturation), check_not_negative("zero_tol", zero_tol)


#: Entry points for `summarize`'s shortest ways, filled as dtypes are first seen: by NumPy dtype; the same where the
#: kernel sees another dtype (float16 as uint16); by torch dtype, with the type that shows it to NumPy, if it needs one;
#: and for per-neuron sweeps, which need no kernel from here, the kind's name by torch dtype.
_kernels: Final[dict[np.dtype[Any], Callable[..., arithmetic.State]]] = {}
_kernels_by_view: Final[dict[np.dtype[Any], tuple[Callable[..., arithmetic.State], np.dtype[Any]]]] = {}
_tensor_kernels: Final[dict[Any, tuple[Callable[..., arithmetic.State], Any]]] = {}
_tensor_storages: Final[dict[Any, str]] = {}
#: torch.Tensor and torch.nn.Parameter themselves, once one was seen; subclasses may be anything.
_tensor_types: Final[set[type]] = set()


#: No extras: the default, recognised by identity.
_NONE: Final[tuple[()]] = ()


@overload
def summarize(
    x: Any, *, axis: None = None, saturation: tuple[float, float] = SATURATION, zero_tol: float = 0.0
) -> ActivationStats: ...


@overload
def summarize(
    x: Any,
    *,
    axis: None = None,
    saturation: tuple[float, float] = SATURATION,
    zero_tol: float = 0.0,
    extras: str | Iterable[str],
) -> DetailedStats: ...


@overload
def summarize(
    x: Any, *, axis: int | Sequence[int], saturation: tuple[float, float] = SATURATION, zero_tol: float = 0.0
) -> ChannelStats: ...


@overload
def summarize(
    x: Any,
    *,
    axis: int | Sequence[int] | None,
    saturation: tuple[float, float] = SATURATION,
    zero_tol: float = 0.0,
    extras: str | Iterable[str] = (),
) -> ActivationStats | ChannelStats: ...


def summarize(
    x: Any,
    *,
    axis: int | Sequence[int] | None = None,
    saturation: tuple[float, float] = SATURATION,
    zero_tol: float = 0.0,
    extras: str | Iterable[str] = _NONE,
) -> ActivationStats | ChannelStats:
    """Count, mean, std, min, max, zeros, saturated, NaN and Inf of a buffer, in one pass over its memory.

    Moments are over the finite elements: float32 and narrower types are summed relative to a running mean in blocks
    and joined in float64 by Chan's formula; float64 and wider integers are summed in float64. Counts, min and max are
    exact. The error of std is below 1e-6 of it for float32 and narrower types up to |mean| / std of 1e4, and below
    1e-13 for float64 and integers of 32 bits and more; that of the mean is below the same share of the larger of |mean|
    and std; that of abs_mean below 4e-6 and 1e-13 of it (`test_exact`). The answer is the same, bit for bit, for any
    number of threads.

    Args:
        x: anything that holds numbers: NumPy array, CPU torch tensor (read, never tracked), JAX array, Arrow array or
            polars Series (nulls are left out), memoryview, anything with `__array__`, `__array_interface__` or DLPack.
            float64, float32, float16, bfloat16, float8 (e4m3fn, e5m2), any integer type, bool; any shape, strides and
            byte order. Nothing is copied where the elements lie side by side in memory, elsewhere a few megabytes at a
            time. With fastact[cuda] also what lies on a CUDA device (torch, CuPy, JAX, Numba,
            `__cuda_array_interface__` or DLPack), side by side: it is swept there, on the owner's current stream, for
            which alone the call waits.
        axis: None for the whole tensor; the axis (or axes) of the neurons for one row per neuron: -1 for
            [batch, ..., neurons], 1 for NCHW.
        saturation: elements x < lo or x > hi count as saturated. tanh: (-0.99, 0.99), the default; sigmoid:
            (0.01, 0.99); ReLU6: (-inf, 5.99).
        zero_tol: elements with |x| <= zero_tol count as zeros.
        extras: what else to find in the same pass; what is not asked for costs nothing. Any of "shape" (skewness,
            kurtosis), "exponents" (their histogram; the shares that narrower types lose), "quantiles" and "outliers",
            one or several. Not per neuron; ChannelStats has `abs_mean`, `absmax` and `outliers` as it is.

    Returns:
        ActivationStats, DetailedStats with `extras`, or ChannelStats when `axis` is given.

    Raises:
        ArgumentTypeError: `x` holds no numbers, or complex, object or string ones; an option is of the wrong type.
        ArgumentValueError: `x` has no dense memory, or has gaps on a GPU, or there is no GPU that can be used; `axis`
            is out of range, an option is out of range, both `axis` and `extras` are given.
        MissingExtraError: `x` lies on a GPU, and the extra fastact[cuda] is not installed.

    Example:
        >>> s = summarize(np.array([[0.0, 1.0], [-1.0, np.inf]], np.float32))
        >>> s.mean, s.zeros, s.saturated, s.infs
        (0.0, 1, 3, 1)
    """
    bounds = DEFAULT_BOUNDS
    if saturation is not SATURATION or zero_tol != 0.0 or extras is not _NONE:
        bounds = check_options(saturation, zero_tol)
        asked = check_extras(extras)
        if asked:
            return _detail_any(x, axis, bounds, asked)
    if axis is None:
        if type(x) is np.ndarray and 0 < x.size <= SMALL and x.flags.carray:
            kernel = _kernels.get(x.dtype)
            if kernel is not None:
                return wrap(kernel(x if x.ndim == 1 else x.ravel(), *bounds), bounds)
            viewed = _kernels_by_view.get(x.dtype)
            if viewed is not None:
                return wrap(viewed[0](x.ravel().view(viewed[1]), *bounds), bounds)
        elif type(x) in _tensor_types:
            state = _sweep_tensor(x, bounds)
            if state is not None:
                return wrap(state, bounds)
        return wrap(sweep_any(x, bounds), bounds)
    if type(axis) is int and type(x) in _tensor_types:
        channels_stats = _sweep_tensor_channels(x, axis, bounds)
        if channels_stats is not None:
            return channels_stats
    if on_gpu(x):
        return _sweep_gpu_channels(x, axis, bounds)
    array, name = as_storage(x)
    if is_plain_tensor(x):
        _tensor_storages[x.dtype] = name
        _tensor_types.add(type(x))
    stats = None
    for slab in slabs(array, axis):
        channels, shape = as_channels(slab, axis)
        part = wrap_channels(sweep_neurons(channels, name, *bounds), bounds, shape)
        stats = part if stats is None else stats | part
    assert stats is not None  # there is always a slab
    return stats


def _sweep_tensor(x: Any, bounds: Bounds) -> arithmetic.State | None:
    """The shortest way for small torch tensors; None for all that `as_storage` must have a look at."""
    found = _tensor_kernels.get(x.dtype)
    if found is None:
        return None
    kernel, shown_as = found
    array = _shown(x, shown_as)
    if array is None or not (array.size <= SMALL and array.flags.carray):
        return None
    return kernel(array if array.ndim == 1 else array.ravel(), *bounds)


def _shown(x: Any, shown_as: Any) -> npt.NDArray[Any] | None:
    """A plain tensor's memory; None where it is empty or `as_storage` must have a look."""
    try:
        if x.requires_grad:
            x = x.detach()
        # torch itself refuses to show what is sparse, on a GPU, meta, or lazily negated.
        array: npt.NDArray[Any] = x.numpy() if shown_as is None else x.view(shown_as).numpy()
        return array if array.size and x.data_ptr() else None
    except (RuntimeError, TypeError, ValueError):
        return None


def _sweep_tensor_channels(x: Any, axis: int, bounds: Bounds) -> ChannelStats | None:
    """The shortest way per neuron: contiguous tensors of a type and dtype seen before; None for all others.

    NumPy is not asked for, and what a shape tells is kept: in a training step, whose data drive all code out of the
    caches, the way through `as_storage` and `as_channels` takes longer than the sweep of a small layer.
    """
    try:
        plan = _tensor_plan(x.dtype, x.shape, axis, bounds)
    except KeyError:
        return None
    swept = None if plan is None else _sweep_as_planned(x, plan, [])
    return None if swept is None else wrap_swept(swept)


def _sweep_as_planned(x: Any, plan: Plan, free: list[NeuronWorkspace]) -> NeuronWorkspace | None:
    """The same where it is known how, in memory that is `free`, if there is such."""
    try:
        if not (x.is_cpu and x.is_contiguous()) or x.is_neg():
            return None
        address = x.data_ptr()  # torch itself refuses to show what is sparse, fake or transformed
    except (RuntimeError, TypeError, ValueError):
        return None
    if not address or address % plan.itemsize:
        return None
    try:
        swept = free.pop()  # no two threads get the same
    except IndexError:
        swept = NeuronWorkspace(plan)
    if swept.plan is not plan:
        swept = NeuronWorkspace(plan)
    swept.sweep(address, x, tensor=True)
    return swept


class Sweeper:
    """`summarize` for what one layer gives at every step: what its type and shape tell is found out once.

    Args:
        saturation: as in `summarize`.

    Attributes:
        free: where the memory of a sweep may be put that nobody looks at any more.
    """

    __slots__ = ("_bounds", "_last", "free")

    def __init__(self, saturation: tuple[float, float]) -> None:
        self._bounds: Bounds = (*saturation, 0.0)
        #: dtype, shape and axis of the tensor before, and its plan; replaced as a whole, for there are other threads.
        self._last: tuple[Any, Any, Any, Plan | None] = (None, None, None, None)
        self.free: list[NeuronWorkspace] = []

    def quick(self, x: Any, axis: Any, free: list[NeuronWorkspace]) -> NeuronWorkspace | None:
        """Sweeps a tensor like the one before, in memory that is `free` or new; None for any other."""
        dtype, shape, along, plan = self._last
        if plan is None or type(x) not in _tensor_types or x.dtype is not dtype or x.shape != shape or axis != along:
            return None
        return _sweep_as_planned(x, plan, free)

    def sweep(self, x: Any, axis: Any) -> ActivationStats | ChannelStats:
        """The stats of anything that `summarize` takes; raises what that raises."""
        stats: ActivationStats | ChannelStats = summarize(x, axis=axis, saturation=self._bounds[:2])
        if type(axis) is int and type(x) in _tensor_types and x.dtype in _tensor_storages:
            self._last = (x.dtype, x.shape, axis, _tensor_plan(x.dtype, x.shape, axis, self._bounds))
        return stats


@functools.lru_cache(maxsize=4096)
def _tensor_plan(dtype: Any, shape: tuple[int, ...], axis: int, bounds: Bounds) -> Plan | None:
    """How to sweep tensors of this shape; None where there is nothing to sweep, or no such axis.

    A dtype that was not seen before raises KeyError, so that it may be another time.
    """
    name = _tensor_storages[dtype]
    if not -len(shape) <= axis < len(shape) or 0 in shape:
        return None
    axis %= len(shape)
    return plan_neurons(name, math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :]), *bounds)


def _remember(x: Any, name: str) -> None:
    """Lets the next small buffer of this type take the shortest way."""
    if type(x) is np.ndarray:
        if x.dtype == ELEMENT_TYPES[name].storage:
            _kernels[x.dtype] = small_kernel(name)
        elif x.dtype.isnative:
            _kernels_by_view[x.dtype] = small_kernel(name), ELEMENT_TYPES[name].storage
    elif is_plain_tensor(x):
        _tensor_kernels[x.dtype] = small_kernel(name), tensor_view_type(name)
        _tensor_types.add(type(x))


def sweep_any(x: Any, bounds: Bounds) -> arithmetic.State:
    """The state of anything that `summarize` takes."""
    state: arithmetic.State | None = None
    for chunk in chunks(x):
        part = _sweep_chunk(chunk, bounds)
        state = part if state is None else arithmetic.merge(state, part)
    assert state is not None  # there is always a chunk
    return state


def _sweep_chunk(x: Any, bounds: Bounds) -> arithmetic.State:
    if on_gpu(x):
        return _sweep_gpu(x, bounds)
    array, name = as_storage(x)
    flat = as_flat(array)
    if flat is None:
        state = arithmetic.EMPTY
        for piece in pieces(array):
            state = arithmetic.merge(state, sweep(piece, name, *bounds))
        return state
    state = sweep(flat, name, *bounds)
    if 0 < flat.size <= SMALL:  # its kernel is loaded
        _remember(x, name)
    return state


def gpu_view(x: Any, axis: int | Sequence[int] | None) -> tuple["DeviceArray", tuple[int, ...] | None]:
    """What `x` has on its GPU, as a 1-D array, or with an axis as [outer, neurons, inner] and the neurons' shape.

    Raises what `summarize` raises.
    """
    # numba.cuda takes a third of a second to load.
    from fastact.cuda.arrays import device_array

    found = device_array(x)
    if axis is None:
        view, shape, remedy = as_flat(found.array), None, ""
    else:
        view, shape = channel_view(found.array, axis)
        remedy = ", and the neurons' axes side by side"
    if view is None:
        raise ArgumentValueError(
            f"x: got elements on a GPU with shape {found.array.shape} and strides {found.array.strides} bytes, want "
            "them without gaps and aligned, since nothing is copied there: use x.contiguous() (of CuPy or JAX, a copy)"
            f"{remedy}"
        )
    return found._replace(array=view), shape


def _sweep_gpu(x: Any, bounds: Bounds) -> arithmetic.State:
    found, _ = gpu_view(x, None)
    if not found.array.size:
        return arithmetic.EMPTY
    from fastact.cuda.sweep import sweep

    return sweep(found, bounds)


def _sweep_gpu_channels(x: Any, axis: int | Sequence[int], bounds: Bounds) -> ChannelStats:
    found, shape = gpu_view(x, axis)
    assert shape is not None
    if not found.array.size:
        return wrap_channels(sweep_neurons(found.array, found.name, *bounds), bounds, shape)
    from fastact.cuda.sweep import sweep_channels as sweep_gpu_channels

    return wrap_channels(sweep_gpu_channels(found, bounds), bounds, shape)


def _detail_any(x: Any, axis: Any, bounds: Bounds, extras: tuple[str, ...]) -> DetailedStats:
    if axis is not None:
        raise ArgumentValueError(
            f"extras: got {extras} with axis={axis!r}, want one of both: extras are of the whole tensor; per neuron "
            "there are abs_mean, absmax and outliers() without them"
        )
    if on_gpu(x):
        raise ArgumentValueError(
            f"extras: got {extras} for elements on a GPU, where there are none yet; want memory that the CPU can read: "
            "copy it with .cpu() or .get() first"
        )
    stats: DetailedStats | None = None
    for chunk in chunks(x):
        array, name = as_storage(chunk)
        flat = as_flat(array)
        part = detail(pieces(array) if flat is None else [flat], name, bounds, extras)
        stats = part if stats is None else stats | part
    assert stats is not None  # there is always a chunk
    return stats


compute_activation_stats = summarize


class Accumulator:
    """Sweeps a stream chunk by chunk, in memory that does not grow: for data out of core, or many batches.

    Args:
        axis: as in `summarize`: None, or the neurons' axis of every chunk.
        saturation: as in `summarize`.
        zero_tol: as in `summarize`.
        extras: as in `summarize`.

    Example:
        >>> acc = Accumulator()
        >>> for chunk in np.split(np.arange(12.0), 3):
        ...     acc.update(chunk)
        >>> acc.stats.count, acc.stats.mean
        (12, 5.5)
    """

    __slots__ = ("_axis", "_bounds", "_extras", "_stats")

    def __init__(
        self,
        *,
        axis: int | Sequence[int] | None = None,
        saturation: tuple[float, float] = SATURATION,
        zero_tol: float = 0.0,
        extras: str | Iterable[str] = _NONE,
    ) -> None:
        self._axis = axis
        self._bounds = check_options(saturation, zero_tol)
        self._extras = check_extras(extras)
        self._stats: Any = None

    def update(self, chunk: Any) -> None:
        """Adds a buffer, or stats of one that was swept elsewhere with the same options.

        Raises what `summarize` and `merge` raise; what was added before stays as it was.
        """
        if not isinstance(chunk, (ActivationStats, ChannelStats)):
            lo, hi, tol = self._bounds
            chunk = summarize(chunk, axis=self._axis, saturation=(lo, hi), zero_tol=tol, extras=self._extras)
        self._stats = chunk if self._stats is None else merge([self._stats, chunk])

    @property
    def stats(self) -> Any:
        """What `summarize` would return for all chunks so far; the plain stats of no elements before the first."""
        if self._stats is not None:
            return self._stats
        return (
            detail((), "float64", self._bounds, self._extras) if self._extras else wrap(arithmetic.EMPTY, self._bounds)
        )

    def __repr__(self) -> str:
        return f"Accumulator({self.stats!r})"


def detect_dead_neurons(x: Any, threshold: float = 0.01) -> tuple[int, float]:
    """How many neurons of [batch, ..., neurons] are silent in this buffer, and their share of all.

    Args:
        x: anything that `summarize` takes, of at least one dimension.
        threshold: a neuron is silent when at most this share of its elements differs from zero.

    Returns:
        (number, ratio); the ratio of no neurons is 0.0.

    Example:
        >>> detect_dead_neurons(np.array([[0.0, 1.0], [0.0, 2.0]]))
        (1, 0.5)
    """
    dead = summarize(x, axis=-1).dead(threshold)
    number = int(dead.sum())
    return number, number / dead.size if dead.size else 0.0


def detect_saturation(x: Any, threshold: float = 0.99) -> tuple[int, float]:
    """How many elements lie beyond ±`threshold`, and their share of all.

    Args:
        x: anything that `summarize` takes.
        threshold: at least 0; the default is a tanh's end.

    Returns:
        (number, ratio); the ratio of no elements is 0.0. Inf is saturated, NaN is not.

    Example:
        >>> detect_saturation(np.array([-1.0, 0.0, 0.5, 1.0]))
        (2, 0.5)
    """
    limit = check_not_negative("threshold", threshold)
    stats = summarize(x, saturation=(-limit, limit))
    return stats.saturated, stats.saturated / stats.count if stats.count else 0.0
