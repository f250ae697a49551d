"""The recorder: hands the summaries of traced functions to a monitor, step by step."""

import functools
import threading
import warnings
from collections.abc import Sequence
from typing import Any, Self, TypeVar

import jax
import numpy as np
from jax.experimental import io_callback

from fastact._adapters.attachment import Attachment, Run
from fastact.checks import renamed
from fastact.diagnosis.layer_types import BOUNDED
from fastact.jax.summary import Summary, summarize
from fastact.monitor.monitor import ActivationMonitor
from fastact.stats.options import SATURATION

_T = TypeVar("_T")


class Recorder:
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
    ``ActivationMonitor(every=10)`` it also computes and hands over summaries in the other nine, which are dropped. The
    ``when`` of `record` avoids that.

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
        #: What has arrived in this step: layer, options of `ActivationMonitor.record`, summary.
        self._pending: list[tuple[str, dict[str, Any], Summary]] = []
        self._paused = False

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
            # The last trace counts: initialising a model may trace parts of it first.
            self._traced.pop(name, None)
            self._traced[name] = when is True
            options = {"layer_type": layer_type, "saturation": interval, "dtype": str(getattr(x, "dtype", ""))}

            def hand_over() -> None:
                summary = summarize(x, axis=axis, saturation=interval)
                receive = functools.partial(self._receive, name, options)
                if self._ordered:
                    io_callback(receive, None, summary, ordered=True)
                else:
                    jax.debug.callback(receive, summary)

            if not isinstance(when, bool | np.bool_):
                jax.lax.cond(when, hand_over, lambda: None)
            elif when:
                hand_over()
        return x

    def _receive(self, name: str, options: dict[str, Any], summary: Summary) -> None:
        """Runs on a thread of JAX while the device waits, so it only stores the numbers."""
        self._arrived.add(name)
        if not self._paused and self._attachment.active:
            summary = jax.tree.map(np.asarray, summary)
            with self._lock:
                self._pending.append((name, options, summary))

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

    def _collect(self) -> None:
        pending = self._drain()
        order = {name: place for place, name in enumerate(self._traced)}
        # Layers are ordered by their first rows, but callbacks that are not ordered may arrive in any order.
        for name, options, summary in sorted(pending, key=lambda item: order.get(item[0], len(order))):
            with self._attachment.failure_counter(f"record layer {name!r}"):
                self.monitor.record(name, summary.stats(), **options)
        self._checks += bool(pending)
        if self._checks == 2:
            missing = [name for name, always in self._traced.items() if always and name not in self._arrived]
            if missing:
                self._checks += 1
                problem = f"nothing has come of layer {missing[0]!r}, which was traced"
                cause = "JAX leaves ordered callbacks out of a scan that is differentiated; use Recorder(ordered=False)"
                warnings.warn(f"fastact.jax.Recorder: {problem}: {cause}", RuntimeWarning, stacklevel=3)

    def _drain(self) -> list[tuple[str, dict[str, Any], Summary]]:
        """Waits until everything under way has arrived, and removes and returns it."""
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
