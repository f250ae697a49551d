"""What a monitor says, once, of what is most likely a mistake; and what becomes of it where it is copied."""

from typing import TYPE_CHECKING, Any, Final, NoReturn, Self

from fastact.diagnosis.layer_types import likely_type
from fastact.errors import FastactError
from fastact.stats.channel import ChannelStats
from fastact.text import shown
from fastact.warn import warn

if TYPE_CHECKING:
    from fastact.monitor.layer import WatchedLayer
    from fastact.monitor.queue import StepQueue

#: Parts of one layer in a step that has never ended, as the monitor is closed: more than one looks at by hand.
_FORGOTTEN: Final = 10


class Guards:
    """What a monitor watches its user for."""

    _queue: "StepQueue"
    _told: frozenset[str] = frozenset()

    def _warn_once(self, what: str, message: str) -> None:
        if what not in self._told:
            self._told |= {what}
            warn(message)

    def _check_layer_type(self, layer_type: object) -> None:
        """Warns of a type that no rule knows and that is no class name of somebody's own."""
        if isinstance(layer_type, str) and (likely := likely_type(layer_type)) is not None:
            meant = f"; {likely!r} is one" if likely else ""
            self._warn_once(
                "type",
                f"fastact: layer_type: got {shown(layer_type)!r}, which is no type of layer that a rule knows{meant}. "
                "The layer is judged by its numbers alone",
            )

    def _check_axis(self, layer: "WatchedLayer", stats: object, axis: object) -> None:
        """Warns where the first axis is said to be that of the neurons, and has another size than before.

        Elsewhere the number of neurons may well change, as with images of several sizes.
        """
        before = layer.silence.size
        if axis == 0 and isinstance(stats, ChannelStats) and before not in (0, stats.neurons) and stats.neurons:
            self._warn_once(
                "axis",
                f"fastact: layer {shown(layer.info.name)!r} has {stats.neurons} neurons along axis 0 where it had "
                f"{before}: if that is the axis of the batch, give the axis of the neurons, such as axis=-1",
            )

    def _check_steps(self) -> None:
        """Warns, as the monitor is closed, where all parts of a run went into one step, which `step` never ended."""
        most = max((layer.parts for layer in self._queue.layers.values()), default=0)
        if self._queue.current == 0 and most >= _FORGOTTEN:
            self._warn_once(
                "step",
                f"fastact: monitor.step() was never called: {most} recorded parts of a layer became one row, and a "
                "diagnosis needs several; call it at the end of each training step",
            )

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # As with a logger: what holds it is copied, and goes on writing into the same run.
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise FastactError(
            "a monitor cannot be pickled: it holds its run's log and memory of this process; make one in each process, "
            "of the same path and with its own rank (fastact.ActivationMonitor(path, rank=...)), or send stats "
            "(fastact.summarize), which can be pickled and merged"
        )
