"""The recorder: hands the summaries of traced functions to a monitor, step by step."""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Self, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import io_callback

from fastact._adapters.attachment import Attachment, Run
from fastact._adapters.layers import Outputs
from fastact.checks import renamed
from fastact.diagnosis.layer_types import BOUNDED, INPUT
from fastact.jax.kept import Keeper
from fastact.jax.returned import Collecting, Collector, Returned, Returning
from fastact.jax.samples import MOST, Layout, sampled
from fastact.jax.summary import check_array, summarize
from fastact.monitor.monitor import ActivationMonitor
from fastact.stats.options import SATURATION
from fastact.warn import warn

_T = TypeVar("_T")


class Recorder(Returning):
    """Records the layers of traced functions into a monitor.

    Args:
        run: an `ActivationMonitor`; or the path of a log, which is opened at once and which `close` closes.
        ordered: True: summaries leave the device by an ordered `jax.experimental.io_callback`: each layer once, in
            order. JAX allows that in ``jit``, ``grad`` and ``cond``, on one device and on sharded arrays, but not
            within `jax.vmap`, `jax.pmap` and `jax.checkpoint`, and drops it from a ``scan`` that is differentiated
            (`step` warns of layers that never arrive). False: by `jax.debug.callback`, which works in all of these,
            but runs again where `jax.checkpoint` does: the row then counts those elements twice.
        strict: raise what goes wrong: in `record` while the function is traced, otherwise in `step`. By default it is
            counted and warned of once.

    Attributes:
        monitor: the monitor.

    A traced function keeps the recorder that it was traced with. A graph cannot see which steps are recorded: with
    ``ActivationMonitor(every=10)`` it also computes and hands over summaries in the other nine, which are dropped. A
    function that is compiled by `jit` in place of `jax.jit` does not, and takes far less time in the tenth as well.

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
        #: The layers in the order in which they were traced, each with whether it must arrive in every step.
        self._traced: dict[str, bool] = {}
        self._arrived: set[str] = set()
        self._checks = 0
        #: What has arrived in this step: the layer, what records it, and its numbers.
        self._pending: list[tuple[str, Callable[[Any], None], Any]] = []
        self._outputs = Outputs()
        self._keeper = Keeper(self._attachment)
        self._paused = False
        self._collecting = Collecting()
        #: Whether anything comes by callbacks, for which one has to wait.
        self._calls_back = False

    @property
    def monitor(self) -> ActivationMonitor:
        """The monitor."""
        return self._attachment.monitor

    @property
    def failures(self) -> int:
        """How often something could not be recorded; the first failure was warned of."""
        return self._attachment.failure_counter.failures

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
        """Records `x` as the output of layer `name` each time that the traced function runs. Also works outside of jit.

        Args:
            name: the layer's name; tensors recorded under one name in one step are merged.
            x: the activations.
            axis: the neurons' axis, -1 for [batch, ..., neurons]; None for none.
            layer_type: the layer's type, such as "ReLU"; see `ActivationMonitor.record`.
            saturation: by default that of the type's ends.
            when: a bool or a traced boolean scalar, such as ``step % 10 == 0``; where it is false, nothing is computed.
            kind: another name of `layer_type`, older.

        Returns:
            `x` itself, for use within an expression.
        """
        layer_type = renamed("layer_type", layer_type, "kind", kind)
        with self._attachment.failure_counter(f"record layer {name!r}"):
            interval = BOUNDED.get(layer_type, SATURATION) if saturation is None else saturation
            options = {"layer_type": layer_type, "saturation": interval, "dtype": str(getattr(x, "dtype", ""))}

            keep = partial(self._keeper.layer, name, options, axis, _layout(x))
            units = -1 if axis is None else axis
            check_array(x, axis)

            def parts(into: Collector | None) -> Any:
                if into is not None and into.takes_whole(x):
                    return jax.lax.stop_gradient(x)
                summary = summarize(x, axis=axis, saturation=interval)
                if layer_type == INPUT and isinstance(units, int):
                    return summary, sampled(x, None, units, summary=False)[1]
                return summary, None

            self._hand_over({name: keep}, when, (x,), lambda into: {name: parts(into)})
            self._outputs.add(name, x)
        return x

    def record_many(
        self, tensors: Mapping[str, Any], *, layer_type: str, axes: Mapping[str, int | None], when: Any = True
    ) -> None:
        """Records tensors of one layer type together, such as all weights: what leaves the device does so at once.

        Those of up to 16 384 elements leave it as they are and are swept on the host, which takes far less to compile
        than a summary of each.

        Args:
            tensors: by the names of their rows.
            layer_type: the type of them all, as in `record`.
            axes: the axis of each one's neurons; of those that are left out None.
            when: as in `record`.

        Example:
            >>> recorder = Recorder(ActivationMonitor())
            >>> weights = {"w": np.eye(3, dtype=np.float32), "b": np.zeros(3, np.float32)}
            >>> recorder.record_many(weights, layer_type="Parameter", axes={"w": 1})
            >>> recorder.step()
            >>> [(name, len(rows)) for name, rows in recorder.monitor.history.items()]
            [('w', 1), ('b', 1)]
        """
        with self._attachment.failure_counter(f"record {len(tensors)} tensors"):
            keeps: dict[str, Callable[[Any], None]] = {}
            for name, x in tensors.items():
                options = {"layer_type": layer_type, "dtype": str(getattr(x, "dtype", ""))}
                keeps[name] = partial(self._keeper.tensor, name, options, axes.get(name))

            def parts(into: Collector | None) -> dict[str, Any]:
                whole = {name: jax.lax.stop_gradient(jnp.asarray(x)) for name, x in tensors.items()}
                stay = {n for n, x in whole.items() if x.size > MOST and not (into and into.takes_whole(x))}
                return {n: summarize(x, axis=axes.get(n)) if n in stay else x for n, x in whole.items()}

            self._hand_over(keeps, when, tensors.values(), parts)

    def record_loss(
        self,
        value: _T,
        *,
        predictions: Any = None,
        targets: Any = None,
        function: str = "",
        name: str = "loss",
        source: str = "",
        axis: int = -1,
        facts: Mapping[str, Any] | None = None,
        when: Any = True,
    ) -> _T:
        """Records the loss each time that the traced function runs, and what goes with it. Also works outside of jit.

        Small batches of predictions and targets leave the device as they are; of large ones their summaries do, and
        16 384 elements, which the facts of the first batch and the constant answer come from.

        Args:
            value: the loss: a scalar, or an array of any shape, whose mean counts.
            predictions: what the loss is given, of shape (samples, ...). Where it is the very array that `record` was
                given or returned, that layer's row stands for it.
            targets: what it is compared with, of shape (samples, ...).
            function: the loss function by any framework's name, such as optax's
                "softmax_cross_entropy_with_integer_labels".
            name: the name of its rows.
            source: the layer that has recorded the predictions, where that is another array than they are.
            axis: the axis of the classes or units in `predictions`.
            facts: what else is known of the loss, as in `ActivationMonitor.record_loss`.
            when: as in `record`.

        Returns:
            `value` itself.

        Example:
            >>> import jax
            >>> recorder = Recorder(ActivationMonitor())
            >>> def loss(x, y):
            ...     error = ((x - y) ** 2).mean()
            ...     return recorder.record_loss(error, predictions=x, targets=y, function="squared_error")
            >>> loss = jax.jit(loss)
            >>> for scale in (3.0, 2.0):
            ...     _ = loss(np.full((4, 1), scale, np.float32), np.array([[0], [1], [0], [1]], np.float32))
            ...     recorder.step()
            >>> history = recorder.monitor.history
            >>> history["loss"]["mean"].tolist(), history["loss:baseline"]["mean"].tolist()
            ([6.5, 2.5], [0.25, 0.25])
        """
        with self._attachment.failure_counter(f"record {name!r}"):
            source = source or ("" if predictions is None else self._outputs.name_of(predictions))
            known = {"framework": "jax", **(facts or {})}
            given = {"predictions": predictions, "targets": targets}
            layouts = {key: _layout(x) for key, x in given.items() if x is not None}
            options = {"function": function, "name": name, "source": source, "axis": axis, "facts": known}
            keep = partial(self._keeper.loss, options, layouts)

            def parts(_: Collector | None) -> dict[str, Any]:
                loss = jax.lax.stop_gradient(jnp.asarray(value))
                handed: dict[str, Any] = {"value": summarize(loss) if loss.ndim else loss}
                if predictions is not None:
                    neurons = axis if len(layouts["predictions"][0]) > 1 else None
                    handed["predictions"] = sampled(predictions, neurons, axis, summary=not source)
                if targets is not None:
                    handed["targets"] = sampled(targets, None, -1)
                return {name: handed}

            read = [x for x in (value, predictions, targets) if x is not None]
            self._hand_over({name: keep}, when, read, parts)
        return value

    def take(self, returned: Returned) -> None:
        """Takes what a function has returned that `returning` made; the device may still be computing it."""
        with self._attachment.failure_counter("take the rows"):
            if self._pending:  # what earlier calls of a step have returned is not to pile up
                self._keep_all()
            for keeps, parts, flag in zip(returned.keeps, returned.parts, returned.flags, strict=True):
                self._arrived.update(keeps)
                self._pending += [
                    (name, keep if flag is None else partial(_if, flag, keep), parts[name])
                    for name, keep in keeps.items()
                ]

    def _hand_over(
        self,
        keeps: Mapping[str, Callable[[Any], None]],
        when: Any,
        given: Iterable[Any],
        parts: Callable[[Collector | None], Mapping[str, Any]],
    ) -> None:
        """Lets the graph give the numbers that `parts` computes of what is `given` to `keeps`, by name, in its step."""
        for name in keeps:
            # The last trace counts: initialising a model may trace parts of it first.
            self._traced.pop(name, None)
            self._traced[name] = when is True
        plain = isinstance(when, bool | np.bool_)
        if plain and not when:
            return
        into = self._collecting.collector
        if into is not None and into.reaches([*given, when]):
            if not into.rows:
                return
            if plain:
                into.add(keeps, parts(into))
            else:
                shapes = jax.eval_shape(lambda: parts(None))
                nothing = lambda: jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)  # noqa: E731
                into.add(keeps, jax.lax.cond(when, lambda: parts(None), nothing), when)
            return

        def hand_over() -> None:
            receive = partial(self._receive, keeps)
            if self._ordered:
                io_callback(receive, None, parts(None), ordered=True)
            else:
                jax.debug.callback(receive, parts(None))

        self._calls_back = True
        if plain:
            hand_over()
        else:
            jax.lax.cond(when, hand_over, lambda: None)

    def _receive(self, keeps: Mapping[str, Callable[[Any], None]], parts: Mapping[str, Any]) -> None:
        """Runs on a thread of JAX while the device waits, so it only stores the numbers."""
        self._arrived.update(keeps)
        if self.recording:
            parts = jax.tree.map(np.asarray, parts)
            with self._lock:
                self._pending += [(name, keep, parts[name]) for name, keep in keeps.items()]

    def step(self) -> None:
        """Ends a training step: waits for its layers to arrive from the device, and ends the monitor's step.

        It waits only in recorded steps and in the steps before them; in all others JAX runs ahead.
        """
        recorded = self._attachment.active
        if recorded:
            self._collect()
        self._attachment.step()
        if not recorded and self._attachment.active:
            self._drain()

    def pause(self) -> None:
        """Records nothing until `resume`: for a validation or a ``model.init``."""
        if self._attachment.active:
            self._collect()
        self._paused = True

    def resume(self) -> None:
        """Ends a `pause`."""
        self._drain()
        self._paused = False

    def close(self) -> None:
        """Ends the step under way and closes a log that the recorder opened."""
        if self._attachment.active:
            self._collect()
        self._attachment.close()

    def _keep_all(self) -> bool:
        """Hands what has arrived to the monitor; whether there was anything."""
        pending = self._drain()
        if self._calls_back:
            order = {name: place for place, name in enumerate(self._traced)}
            # Layers are ordered by their first rows, but callbacks that are not ordered may arrive in any order.
            pending.sort(key=lambda item: order.get(item[0], len(order)))
        for _, keep, parts in pending:
            keep(parts)
        return bool(pending)

    def _collect(self) -> None:
        pending = self._keep_all()
        self._checks += pending
        if self._checks == 2 and self._ordered:  # one that is not ordered stays out of branches that were not taken
            missing = [name for name, always in self._traced.items() if always and name not in self._arrived]
            if missing:
                self._checks += 1
                problem = f"nothing has come of layer {missing[0]!r}, which was traced"
                cause = "JAX leaves ordered callbacks out of a scan that is differentiated; use Recorder(ordered=False)"
                warn(f"fastact.jax.Recorder: {problem}: {cause}")

    def _drain(self) -> list[tuple[str, Callable[[Any], None], Any]]:
        """Waits until everything under way has arrived, and removes and returns it."""
        if self._calls_back:
            with self._attachment.failure_counter("wait for the device"):
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


def _if(flag: Any, keep: Callable[[Any], None], parts: Any) -> None:
    """Hands numbers on, if they are there."""
    if flag:
        keep(parts)


def _layout(x: Any) -> Layout:
    return tuple(np.shape(x)), str(getattr(x, "dtype", ""))
