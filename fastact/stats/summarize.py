"""`summarize`: the statistics of any buffer. Which way a buffer takes to its kernel is decided here.

And the two questions that are asked most: how many neurons are dead, how many elements are saturated.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, overload

import numpy as np

from fastact import arithmetic
from fastact.arithmetic.in_python import merge_states
from fastact.arrays.host import as_storage, chunks, count_nulls, on_gpu
from fastact.arrays.shapes import as_channels, as_flat, pieces, slabs
from fastact.checks import check_not_negative
from fastact.cpu.sweep import SMALL, sweep
from fastact.cpu.workspace import sweep_neurons
from fastact.errors import ArgumentValueError
from fastact.stats.activation import ActivationStats, new_stats, set_bounds, set_state, wrap, wrap_with_nulls
from fastact.stats.channel import ChannelStats, wrap_channels, wrap_workspace
from fastact.stats.detailed import DetailedStats, detail
from fastact.stats.fast_path import (
    KNOWN,
    TENSOR_CLASSES,
    PlanCache,
    remember,
    sweep_tensor,
    sweep_tensor_neurons,
    sweep_whole,
)
from fastact.stats.gpu import sweep_gpu, sweep_gpu_neurons
from fastact.stats.options import DEFAULT_BOUNDS, NO_EXTRAS, SATURATION, ZERO_TOL, Bounds, check_extras, check_options

_ARRAY: Final = np.ndarray


@overload
def summarize(
    x: Any, *, axis: None = None, saturation: tuple[float, float] = SATURATION, zero_tol: float = 0.0
) -> ActivationStats: ...


@overload
def summarize(
    x: Any, *, axis: None = None, saturation: tuple[float, float] = SATURATION, zero_tol: float = 0.0,
    extras: str | Iterable[str],
) -> DetailedStats: ...  # fmt: skip


@overload
def summarize(
    x: Any, *, axis: int | Sequence[int], saturation: tuple[float, float] = SATURATION, zero_tol: float = 0.0
) -> ChannelStats: ...


@overload
def summarize(
    x: Any, *, axis: int | Sequence[int] | None, saturation: tuple[float, float] = SATURATION, zero_tol: float = 0.0,
    extras: str | Iterable[str] = (),
) -> ActivationStats | ChannelStats: ...  # fmt: skip


def summarize(
    x: Any,
    *,
    axis: int | Sequence[int] | None = None,
    saturation: tuple[float, float] = SATURATION,
    zero_tol: float = ZERO_TOL,
    extras: str | Iterable[str] = NO_EXTRAS,
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
            polars Series, memoryview, anything with `__array__`, `__array_interface__` or DLPack.
            Of a table of Arrow, or a data frame of pandas or polars, all columns. Nulls, those of pandas' nullable
            columns too, are left out and counted (`ActivationStats.nulls`); NaN is a number that is not one.
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
    # By identity first, the least that can be asked; then by its type: an array has no truth.
    given = zero_tol is not ZERO_TOL and (type(zero_tol) is not float or zero_tol != 0.0)
    if given or saturation is not SATURATION or extras is not NO_EXTRAS:
        bounds = check_options(saturation, zero_tol)
        if extras is not NO_EXTRAS and (asked := check_extras(extras)):
            return _detail_any(x, axis, bounds, asked)
    if axis is None:
        if type(x) is _ARRAY:
            # The shortest way stands here: a call more is 5% of it.
            if 0 < x.size <= SMALL and x.flags.carray:
                known = KNOWN.get(x.dtype)
                if known is not None:
                    kernel, shown_as, _ = known
                    flat = x if x.ndim == 1 else x.ravel()
                    if shown_as is not None:
                        flat = flat.view(shown_as)
                    lo, hi, tol = bounds  # a call of `*bounds` takes 50 ns more
                    stats = new_stats(ActivationStats)
                    set_state(stats, kernel(flat, lo, hi, tol))
                    set_bounds(stats, bounds)
                    return stats
        elif type(x) in TENSOR_CLASSES:
            state = sweep_tensor(x, bounds)
            if state is not None:
                return wrap(state, bounds)
        return wrap_with_nulls(sweep_any(x, bounds), bounds, count_nulls(x))
    if type(axis) is int and type(x) in TENSOR_CLASSES:
        workspace = sweep_tensor_neurons(x, axis, bounds)
        if workspace is not None:
            return wrap_workspace(workspace)
    if on_gpu(x):
        return sweep_gpu_neurons(x, axis, bounds)
    array, name = as_storage(x)
    remember(x, name)
    found = None
    for slab in slabs(array, axis):
        channels, shape = as_channels(slab, axis)
        part = wrap_channels(sweep_neurons(channels, name, *bounds), bounds, shape)
        found = part if found is None else found | part
    assert found is not None  # there is always a slab
    return found


def sweep_any(x: Any, bounds: Bounds) -> arithmetic.State:
    """The state of anything that `summarize` takes."""
    state: arithmetic.State | None = None
    for chunk in chunks(x):
        part = _sweep_chunk(chunk, bounds)
        state = part if state is None else merge_states(state, part)
    return arithmetic.EMPTY if state is None else state  # of a table without a column


def _sweep_chunk(x: Any, bounds: Bounds) -> arithmetic.State:
    if on_gpu(x):
        return sweep_gpu(x, bounds)
    array, name = as_storage(x)
    flat = as_flat(array)
    if flat is None:
        state = arithmetic.EMPTY
        for piece in pieces(array):
            state = merge_states(state, sweep(piece, name, *bounds))
        return state
    state = sweep(flat, name, *bounds)
    if 0 < flat.size <= SMALL:
        remember(x, name)
    return state


def _detail_any(x: Any, axis: Any, bounds: Bounds, extras: tuple[str, ...]) -> DetailedStats:
    if axis is not None:
        raise ArgumentValueError(
            f"extras: got {extras} with axis={axis!r}, want only one: extras are of the whole tensor; per neuron "
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


def detect_dead_neurons(x: Any, threshold: float = 0.01) -> tuple[int, float]:
    """How many neurons of [batch, ..., neurons] are silent in this buffer, and their share of all.

    Args:
        x: anything that `summarize` takes, of at least one dimension.
        threshold: a neuron is silent when at most this share of its elements differs from zero.

    Returns:
        (number, ratio); the ratio of no neurons is 0.0.

    Example:
        >>> import numpy as np
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
        >>> import numpy as np
        >>> detect_saturation(np.array([-1.0, 0.0, 0.5, 1.0]))
        (2, 0.5)
    """
    limit = check_not_negative("threshold", threshold)
    stats = summarize(x, saturation=(-limit, limit))
    return stats.saturated, stats.saturated / stats.count if stats.count else 0.0


compute_activation_stats = summarize


def swept_before(x: Any, axis: Any, plans: PlanCache) -> ActivationStats | ChannelStats | None:
    """The stats of a buffer like others before, by the shortest way; None for what `summarize` must have a look at."""
    if axis is None and (state := sweep_whole(x, plans.bounds)) is not None:
        return wrap(state, plans.bounds)
    workspace = plans.sweep(x, axis, [])
    return None if workspace is None else wrap_workspace(workspace)
