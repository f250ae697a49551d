"""Watches JAX code: summaries that are computed on the device, within `jax.jit`, and a monitor that is handed them.

A `Recorder` goes into any function that JAX traces. In the graph the layer is summarised in plain JAX, and what
leaves the device is a dozen numbers (with `axis`, a dozen a neuron), through an ordered callback:

    import fastact.jax, jax

    recorder = fastact.jax.Recorder("runs/a")

    @jax.jit
    def train_step(params, x, y):
        def loss(params):
            hidden = recorder.record("hidden", jax.nn.relu(x @ params["w1"]), axis=-1, layer_type="ReLU")
            return loss_of(hidden @ params["w2"], y)
        return jax.tree.map(lambda p, g: p - 0.1 * g, params, jax.grad(loss)(params))

    for x, y in batches:
        params = train_step(params, x, y)
        recorder.step()
    print(recorder.monitor.diagnose())
    recorder.close()

`summarize` is the same summary as a value: return it from the function, and the host gives its ``stats()`` to
``monitor.record``. It goes wherever JAX goes, through `jax.lax.scan`, `jax.vmap` and `jax.checkpoint` too.
"""

import dataclasses
import functools
import math
import threading
import warnings
from collections.abc import Sequence
from typing import Any, Final, Self, TypeVar

import numpy as np
import numpy.typing as npt

from fastact import arithmetic
from fastact._adapters.attachment import Attachment, Run
from fastact.checks import check_saturation
from fastact.cpu.sweep import merge_kernel
from fastact.cpu.workspace import NeuronStates
from fastact.diagnosis.layer_types import BOUNDED
from fastact.errors import ArgumentTypeError, ArgumentValueError, MissingExtraError
from fastact.monitor.monitor import ActivationMonitor
from fastact.stats.activation import SATURATION, ActivationStats, ChannelStats, wrap_channels

try:
    import jax
    import jax.numpy as jnp
    from jax.experimental import io_callback
except ModuleNotFoundError as error:  # pragma: no cover - the tests need JAX; a subprocess test takes this branch
    if error.name not in {"jax", "jaxlib"}:
        raise
    raise MissingExtraError("fastact.jax needs JAX: pip install 'fastact[jax]'") from error

__all__ = ["Recorder", "Summary", "summarize"]

_T = TypeVar("_T")

#: JAX counts in int32 unless it is told otherwise.
_MOST: Final = 2**31 - 1


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["counts", "sums", "extremes"], meta_fields=["size", "saturation"]
)
@dataclasses.dataclass(frozen=True, slots=True)
class Summary:
    """What `summarize` found: a pytree of three small arrays, which stay on the device until `stats` is called.

    Attributes:
        counts: int32[5, *neurons]: elements that are NaN, +inf, -inf, zero, saturated.
        sums: float[5, *neurons], over the finite elements: an origin near the mean, a scale (a power of two), the
            means of d = (x - origin) / scale and of d^2, and the mean of |x|.
        extremes: float[2, *neurons]: min and max of the finite elements; inf and -inf without one.
        size: elements of each neuron; without `axis`, of the tensor.
        saturation: the interval outside which an element was counted as saturated.
    """

    counts: Any
    sums: Any
    extremes: Any
    size: int
    saturation: tuple[float, float]

    def stats(self) -> ActivationStats | ChannelStats:
        """The summary on the host: `ChannelStats` where it was made with `axis`, else `ActivationStats`.

        Waits for the device. A summary that `jax.lax.scan` or `jax.vmap` has stacked is one summary per entry:
        ``jax.tree.map(lambda leaf: leaf[i], summary)`` is the i-th.
        """
        counts, sums, extremes = (np.asarray(part) for part in (self.counts, self.sums, self.extremes))
        shape = counts.shape[1:]
        arrays = _arrays(counts.reshape(5, -1), sums.reshape(5, -1), extremes.reshape(2, -1), self.size)
        if shape:
            return wrap_channels(arrays, (*self.saturation, 0.0), shape)
        return ActivationStats.from_state(arrays.total[:11], saturation=self.saturation)


def _arrays(counts: npt.NDArray[Any], sums: npt.NDArray[Any], extremes: npt.NDArray[Any], size: int) -> NeuronStates:
    """What a sweep on the host would have yielded; the last steps are taken in float64."""
    all_counts = np.concatenate([np.full((1, counts.shape[1]), size), counts]).astype(np.int64)
    origin, scale, first, second, absolute = sums.astype(np.float64)
    finite = size - counts[:3].sum(axis=0) > 0
    mean = origin + scale * first
    std = scale * np.sqrt(np.maximum(second - first * first, 0.0))
    # Equal elements have no spread: what is left of one is rounding.
    same = extremes[0] == extremes[1]
    mean, std = np.where(same, extremes[0], mean), np.where(same, 0.0, std)
    moments = np.where(finite, np.stack([mean, std, absolute, np.zeros_like(mean)]), np.nan)
    moments[3] = 0.0
    ends = extremes.astype(np.float64)
    total = arithmetic.EMPTY
    if all_counts.shape[1]:
        total = merge_kernel(ends.dtype)(*(part[:, None].copy(order="C") for part in (all_counts, moments, ends)))
    return NeuronStates(all_counts, moments, ends, total)


def summarize(
    x: Any, *, axis: int | Sequence[int] | None = None, saturation: tuple[float, float] = SATURATION
) -> Summary:
    """What `fastact.summarize` finds, in plain JAX: within `jax.jit`, on the device, and out of any gradient.

    Two passes over `x`: counts, extremes and an origin near the mean; then the moments about it, relative to the
    largest distance from it, so that no square leaves the range of float32. Elements are summed in float32, float64
    ones in float64: the mean is off by less than 1e-6 of the larger of abs(mean) and std, std and abs_mean by less than
    1e-5 of themselves (`test_jax_adapter`). Counts, min and max are exact, with two exceptions: integers beyond
    2^24 are rounded to float32, and where the device takes subnormal numbers for zeros, so do min, max and moments.

    Args:
        x: array of floats, integers or bools, of any shape.
        axis: None for the whole tensor; the neurons' axis (or axes) for one entry per neuron.
        saturation: elements x < lo or x > hi count as saturated.

    Raises:
        ArgumentTypeError: `x` is complex.
        ArgumentValueError: a neuron has 2^31 elements or more, or `axis` is out of range.

    Example:
        >>> import jax
        >>> summary = jax.jit(lambda x: summarize(jax.nn.relu(x)))(np.array([[-1.0, 2.0], [-3.0, 4.0]]))
        >>> summary.stats().zeros, summary.stats().mean
        (2, 1.5)
    """
    x = jax.lax.stop_gradient(jnp.asarray(x))
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        raise ArgumentTypeError(f"x: got dtype {x.dtype}, want real numbers")
    rest = _others(axis, x.ndim)
    size = math.prod(x.shape[a] for a in rest)
    if size > _MOST:
        raise ArgumentValueError(f"x: got {size} elements a neuron, want less than 2^31: JAX counts in int32")
    work = np.float64 if x.dtype == np.float64 else np.float32
    x = x.astype(work)
    saturation = check_saturation(saturation)
    low, high = _ends(*saturation, work)

    def count(which: Any) -> Any:
        return jnp.sum(which, axis=rest, dtype=jnp.int32)

    def spread(values: Any) -> Any:
        return jnp.expand_dims(values, rest)

    finite = jnp.isfinite(x)
    counts = jnp.stack(
        [
            count(jnp.isnan(x)),
            count(x == jnp.inf),
            count(x == -jnp.inf),
            count(_is_zero(x)),
            count((x < low) | (x > high)),
        ]
    )
    n = jnp.maximum(size - counts[:3].sum(axis=0), 1).astype(work)
    smallest = jnp.min(x, axis=rest, initial=jnp.inf, where=finite)
    largest = jnp.max(x, axis=rest, initial=-jnp.inf, where=finite)
    # Divided first, so that a sum of large elements stays in range. Where a tiny quotient vanishes, the second pass
    # makes up for it. Rounding may carry the sum past the extremes.
    origin = jnp.sum(jnp.where(finite, x, 0) / spread(n), axis=rest)
    origin = jnp.where(largest >= smallest, jnp.clip(origin, smallest, largest), 0)
    reach = jnp.maximum(0.5 * largest - 0.5 * origin, 0.5 * origin - 0.5 * smallest)
    scale, inverse = _powers(reach)
    d = jnp.where(finite, x * spread(inverse) - spread(origin * inverse), 0)
    top, shrink = _powers(jnp.maximum(jnp.abs(smallest), jnp.abs(largest)))
    absolute = top * (jnp.sum(jnp.where(finite, jnp.abs(x) * spread(shrink), 0), axis=rest) / n)
    sums = jnp.stack([origin, scale, jnp.sum(d, axis=rest) / n, jnp.sum(d * d, axis=rest) / n, absolute])
    return Summary(counts, sums, jnp.stack([smallest, largest]), size, saturation)


def _others(axis: int | Sequence[int] | None, ndim: int) -> tuple[int, ...]:
    """The axes that are summed over."""
    if axis is None:
        return tuple(range(ndim))
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    if not axes or not all(-ndim <= a < ndim for a in axes):
        raise ArgumentValueError(f"axis: got {axis!r}, want axes of an array of {ndim} dimensions")
    neurons = {a % ndim for a in axes}
    return tuple(a for a in range(ndim) if a not in neurons)


def _ends(lo: float, hi: float, work: Any) -> tuple[Any, Any]:
    """The interval in the elements' precision, rounded inwards: x < lo holds there when it holds in float64."""
    with np.errstate(over="ignore"):
        low, high = work(lo), work(hi)
    # float(): NumPy would compare in the elements' precision.
    if float(low) < lo:
        low = np.nextafter(low, work(np.inf))
    if float(high) > hi:
        high = np.nextafter(high, work(-np.inf))
    return low, high


def _is_zero(x: Any) -> Any:
    """By the bits: devices that flush subnormal numbers take them for zeros where they compare."""
    bits = jax.lax.bitcast_convert_type(x, jnp.uint64 if x.dtype == jnp.float64 else jnp.uint32)
    return bits << 1 == 0


def _powers(most: Any) -> tuple[Any, Any]:
    """Powers of two of at least twice `most`, and their inverses; all of them normal numbers, 1 for 0 and inf."""
    limit = np.finfo(most.dtype).maxexp - 2
    usable = (most > 0) & jnp.isfinite(most)
    exponent = jnp.clip(jnp.where(usable, jnp.frexp(jnp.where(usable, most, 1))[1] + 1, 0), -limit, limit)
    one = jnp.ones_like(most)
    return jnp.ldexp(one, exponent), jnp.ldexp(one, -exponent)


class Recorder:
    """Records the layers of traced functions into a monitor.

    Args:
        run: an `ActivationMonitor`; or the path of a log, which is opened at once and which `close` closes.
        ordered: hand over by an ordered `jax.experimental.io_callback`: each layer once, in order. JAX takes that in
            ``jit``, ``grad`` and ``cond``, on one device and on sharded arrays, but not within `jax.vmap`, `jax.pmap`
            and `jax.checkpoint`, and it leaves it out of a ``scan`` that is differentiated (`step` warns of layers
            that never come). False: by `jax.debug.callback`, which goes into all of these, and which runs again where
            `jax.checkpoint` does; the row then counts those elements twice.
        strict: raise what goes wrong, in `record` while the function is traced, else in `step`. By default it is
            counted and warned of once.

    Attributes:
        monitor: the monitor.

    The function keeps the recorder that it was traced with. Graphs can't see which steps are recorded: with
    ``ActivationMonitor(every=10)`` they compute and hand over summaries in the nine others too, which are dropped;
    ``when`` of `record` spares that.

    Example:
        >>> import jax
        >>> recorder = Recorder(ActivationMonitor())
        >>> double = jax.jit(lambda x: recorder.record("twice", 2 * x, axis=-1))
        >>> for _ in range(3):
        ...     _ = double(np.ones((4, 2)))
        ...     recorder.step()
        >>> recorder.monitor.history["twice"]["mean"].tolist()
        [2.0, 2.0, 2.0]
    """

    def __init__(self, run: Run, *, ordered: bool = True, strict: bool = False) -> None:
        self._attachment = Attachment("fastact.jax.Recorder", run, strict=strict)
        self._attachment.open()
        self._ordered = ordered
        self._lock = threading.Lock()
        #: The layers in the order in which they were traced, each with whether it must come in every step.
        self._traced: dict[str, bool] = {}
        self._arrived: set[str] = set()
        self._checks = 0
        #: What has come in this step: layer, options of `ActivationMonitor.record`, and the numbers.
        self._pending: list[tuple[str, dict[str, Any], Summary]] = []
        self._paused = False

    @property
    def monitor(self) -> ActivationMonitor:
        """The monitor."""
        return self._attachment.monitor

    @property
    def failures(self) -> int:
        """How often something could not be recorded; the first time was warned of."""
        return self._attachment.guard.failures

    def record(
        self,
        name: str,
        x: _T,
        *,
        axis: int | Sequence[int] | None = None,
        layer_type: str = "",
        saturation: tuple[float, float] | None = None,
        when: Any = True,
        kind: str | None = None,
    ) -> _T:
        """Records `x` as the output of layer `name` each time that the traced function runs; outside of jit as well.

        Args:
            name: the layer's name; what is recorded under one name in one step is merged.
            x: the activations.
            axis: the neurons' axis, -1 for [batch, ..., neurons]; None for none.
            layer_type: the layer's type, such as "ReLU"; see `ActivationMonitor.record`.
            saturation: by default that of the type's ends.
            when: a bool or a traced boolean scalar, such as ``step % 10 == 0``; where it is false nothing is computed.
            kind: another name of `layer_type`, older.

        Returns:
            `x` itself, for use within an expression.
        """
        with self._attachment.guard(f"record layer {name!r}"):
            layer_type = layer_type if kind is None else kind
            interval = BOUNDED.get(layer_type, SATURATION) if saturation is None else saturation
            # The last trace counts: a model that is initialised may come by in parts first.
            self._traced.pop(name, None)
            self._traced[name] = when is True
            options = {"layer_type": layer_type, "saturation": interval, "dtype": str(getattr(x, "dtype", ""))}

            def hand_over() -> None:
                summary = summarize(x, axis=axis, saturation=interval)
                take = functools.partial(self._take, name, options, summary.size, summary.saturation)
                parts = (summary.counts, summary.sums, summary.extremes)
                if self._ordered:
                    io_callback(take, None, *parts, ordered=True)
                else:
                    jax.debug.callback(take, *parts)

            if isinstance(when, bool | np.bool_):
                if when:
                    hand_over()
            else:
                jax.lax.cond(when, hand_over, lambda: None)
        return x

    def _take(
        self, name: str, options: dict[str, Any], size: int, saturation: tuple[float, float], *parts: Any
    ) -> None:
        """Runs on a thread of JAX, while the device waits: so it only keeps the numbers."""
        self._arrived.add(name)
        if not self._paused and self._attachment.active:
            counts, sums, extremes = (np.asarray(part) for part in parts)
            with self._lock:
                self._pending.append((name, options, Summary(counts, sums, extremes, size, saturation)))

    def step(self) -> None:
        """Ends a training step: waits for its layers to come from the device, and ends the monitor's step.

        It waits in recorded steps and in those before them; JAX runs ahead in all others.
        """
        recorded = self._attachment.active
        if recorded:
            self._collect()
        self._attachment.step()
        if not recorded and self._attachment.active:
            self._discard()

    def pause(self) -> None:
        """Leaves out what comes until `resume`, such as a validation or a ``model.init``."""
        if self._attachment.active:
            self._collect()
        self._paused = True

    def resume(self) -> None:
        """Ends a `pause`."""
        self._discard()
        self._paused = False

    def close(self) -> None:
        """Ends the step under way and closes a log that the recorder opened."""
        if self._attachment.active:
            self._collect()
        self._attachment.close()

    def _collect(self) -> None:
        pending = self._discard()
        order = {name: place for place, name in enumerate(self._traced)}
        # A layer's place is that of its first row; a callback that is not ordered may come before an earlier one's.
        for name, options, summary in sorted(pending, key=lambda item: order.get(item[0], len(order))):
            with self._attachment.guard(f"record layer {name!r}"):
                self.monitor.record(name, summary.stats(), **options)
        self._checks += bool(pending)
        if self._checks == 2:
            missing = [name for name, always in self._traced.items() if always and name not in self._arrived]
            if missing:
                self._checks += 1
                warnings.warn(
                    f"fastact.jax.Recorder: nothing has come of layer {missing[0]!r}, which was traced: JAX leaves"
                    " ordered callbacks out of a scan that is differentiated; want Recorder(ordered=False)",
                    RuntimeWarning,
                    stacklevel=3,
                )

    def _discard(self) -> list[tuple[str, dict[str, Any], Summary]]:
        """Waits until all has come that is under way, and takes it away."""
        with self._attachment.guard("wait for the device"):
            jax.effects_barrier()  # type: ignore[no-untyped-call]
        with self._lock:
            pending, self._pending = self._pending, []
        return pending

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Recorder(layers={len(self._traced)}, failures={self.failures})"
