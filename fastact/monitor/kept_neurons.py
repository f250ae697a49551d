"""Which neurons are dead, kept of some steps: in memory, and in the log."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from fastact.arithmetic.silence import ROW_WEIGHT
from fastact.diagnosis.finding import Finding
from fastact.diagnosis.report import Diagnosis
from fastact.errors import ArgumentValueError
from fastact.fields import COLUMN
from fastact.log.writer import LogWriter
from fastact.monitor.layer import WatchedLayer
from fastact.neurons import MOST_LIVE, Neurons, Snapshot, snapshot, thinned
from fastact.text import shown

if TYPE_CHECKING:
    from fastact.monitor.queue import StepQueue

#: Rows of a layer between two snapshots, while it has few and later. At each `OFTEN` it is looked whether some died.
OFTEN, _FEW, _SELDOM = 10, 100, 100
_DEAD: Final = COLUMN["dead_neurons"]


class KeptNeurons:
    """Makes the snapshots of all layers of a monitor, a few microseconds each.

    A step has one at most, so that what an interrupt has left undone is done again. For who holds the monitor's lock.
    """

    def __init__(self, writer: LogWriter | None) -> None:
        self._writer = writer
        #: The layers and conditions of the findings that have one.
        self._found: set[tuple[str, str]] = set()

    def look(self, layer: WatchedLayer, row: tuple[Any, ...]) -> None:
        """Takes a look at each `OFTEN`-th row of a layer, once it is in its history."""
        rows = layer.history.total
        if rows <= _FEW or rows % _SELDOM == 0 or row[_DEAD] != layer.known_dead:
            self.keep(layer)
            layer.known_dead = row[_DEAD]

    def keep(self, layer: WatchedLayer) -> None:
        """Makes one of the layer's last step, if it has none."""
        known = layer.snapshots
        if not layer.silence.size or (known and known[-1].step >= layer.silence_step):
            return
        found = self._now(layer)
        if self._writer is not None:
            self._writer.append_neurons(layer.info.name, found)
        layer.snapshots = thinned([*known, found], MOST_LIVE)

    def _now(self, layer: WatchedLayer) -> Snapshot:
        return snapshot(layer.silence_step, layer.silence, layer.limits.rows * ROW_WEIGHT)

    def of(self, name: str, layers: dict[str, WatchedLayer]) -> Neurons:
        """What is kept of a layer's neurons, and how they are now; ArgumentValueError where there is no such layer."""
        layer = layers.get(name)
        if layer is None:
            some = ", ".join(shown(each, 40) for each in list(layers)[:20])
            raise ArgumentValueError(f"layer: got {name!r}, want one of {some or 'those that were recorded: none yet'}")
        now = [self._now(layer)] if layer.silence.size else []
        known = [each for each in layer.snapshots if each.step < layer.silence_step]
        return Neurons.of(name, layer.info.layer_type, [*known, *now])

    def keep_found(self, findings: Iterable[Finding], layers: dict[str, WatchedLayer]) -> None:
        """Makes one for each finding that is new."""
        for finding in findings:
            if (key := (finding.layer, finding.condition)) not in self._found:
                self._found.add(key)
                if finding.layer in layers:
                    self.keep(layers[finding.layer])


class TellsNeurons:
    """What a monitor tells of the neurons of its layers."""

    _queue: "StepQueue"

    def neurons(self, layer: str) -> Neurons:
        """Which neurons of a layer are dead now, and which were at earlier steps: at most 64 of these, thinned.

        What is kept takes two bits a neuron for each step. Of what is swept on a GPU nothing is.

        Args:
            layer: the layer's name.

        Raises:
            ArgumentValueError: there is no such layer.
        """
        self._queue.catch_up()
        return self._queue.neurons(layer)

    def _kept(self, diagnosis: Diagnosis) -> Diagnosis:
        """The diagnosis, of whose layers it is kept now which neurons are dead."""
        self._queue.keep_neurons(diagnosis.findings)
        return diagnosis
