"""What adapters and sinks tell the monitor, and ask of it, besides what they record."""

from collections.abc import Mapping
from typing import Any

from fastact.history import Mode
from fastact.monitor.delivery import Listener
from fastact.monitor.layer import WatchedLayer
from fastact.monitor.queue import StepQueue
from fastact.monitor.unseen import Unseen, Watcher


class Adapted:
    """The part of `ActivationMonitor` that adapters and sinks talk to."""

    _queue: StepQueue
    _layers: dict[str, WatchedLayer]
    _unseen: Unseen

    def describe(self, name: str, *, mode: Mode = "", source: str = "", facts: Mapping[str, Any] | None = None) -> None:
        """For adapters: what else is known of a layer, said before its first row; later it changes nothing.

        Args:
            name: the layer's name, as `record` gets it.
            mode: "evaluation" where its rows are those of a model in evaluation mode.
            source: the name of the layer whose output it is given.
            facts: what else is known and stays so, as `LayerInfo.facts` has it: of JSON's types.
        """
        if name not in self._layers:
            self._queue.declared.describe(name, mode, source, facts)

    def declare_sparse(self, *patterns: str) -> None:
        """Declares layers sparse by design, before they are recorded: those whose name one of the patterns matches.

        Args:
            patterns: names, with `*` for any number of characters and `?` for one: ``"*.features"``.

        Raises:
            ArgumentTypeError: a pattern is not a str.

        Example:
            >>> import numpy as np
            >>> from fastact import ActivationMonitor
            >>> with ActivationMonitor() as monitor:
            ...     monitor.declare_sparse("*.features")
            ...     _ = monitor.record("sae.features", np.eye(8, dtype=np.float32), axis=-1, layer_type="ReLU")
            ...     monitor.step()
            ...     monitor.history["sae.features"].info.sparse
            True
        """
        self._queue.declared.add_sparse(patterns)

    def add_watcher(self, watcher: Watcher) -> None:
        """Has what `watcher` was to record and did not listed in `unseen`, and keeps its names for it.

        It is held weakly. `remove_watcher` asks it for the last time.

        Raises:
            ArgumentValueError: one of its names belongs to another watcher.
        """
        self._unseen.add(watcher)

    def remove_watcher(self, watcher: Watcher) -> None:
        """Ends what `add_watcher` began; what was not seen until now stays in `unseen`."""
        self._unseen.remove(watcher)

    def listen(self, listener: Listener) -> None:
        """Has the rows of each recorded step handed to `listener` as the step ends; see `fastact.sinks.attach`."""
        self._queue.listeners.append(listener)
