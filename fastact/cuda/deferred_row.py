"""One row that a monitor recorded on a GPU: launched, and filled when the device has come so far."""

import struct
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from fastact.arithmetic import State
from fastact.cuda.ring_rows import FORM, FORMS, NEURONS, PART, STATE
from fastact.cuda.rows import state_format
from fastact.errors import FastactError
from fastact.fields import NEURON

if TYPE_CHECKING:
    from fastact.cuda.deferred import DeferredRows

__all__ = ["DeferredRow"]

_NEURONS: Final = struct.Struct("".join("q" if field.kind == "int64" else "d" for field in NEURON))


class DeferredRow:
    """A row that was recorded.

    Attributes:
        layer: the layer's number.
        device: the number of the device that computes it; -1 where a graph was replayed.
        state: that of the elements, once the row is here; None before.
        neurons: the numbers of `fields.NEURON` over the step so far.
        part: how many rows with neurons its layer has had in the step by then.
        lost: why it will never be here; None while it may.
        captured: whether it went into a graph, whose replays give rows of their own.
    """

    __slots__ = ("_keep", "_rows", "captured", "device", "layer", "lost", "neurons", "part", "state")

    def __init__(self, rows: "DeferredRows", layer: int, device: int, keep: object = None) -> None:
        self._rows = rows
        self._keep = keep
        self.layer = layer
        self.device = device
        self.state: State | None = None
        self.neurons: tuple[Any, ...] = ()
        self.part = 0
        self.lost: str | None = None
        self.captured = False

    @property
    def done(self) -> bool:
        """Whether nothing more is to be waited for."""
        if self.state is None and self.lost is None and self._rows.broken is not None:
            self.lose(self._rows.broken)
        return self.state is not None or self.lost is not None

    def wait(self) -> State:
        """The state, once it is here.

        Raises:
            FastactError: the row is lost.
        """
        if self.state is None:
            self._rows.wait_until(lambda: self.done)
            if self.state is None:
                raise FastactError(f"the stats of this record are not known: {self.lost}")
        return self.state

    def fill(self, words: npt.NDArray[np.int64]) -> None:
        """Takes the row's words from the ring, int64[RING_WORDS]."""
        self.part = int(words[PART])
        self.neurons = _NEURONS.unpack(words[NEURONS].tobytes())
        self._keep = None
        self.state = state_format(FORMS[words[FORM]]).unpack(words[STATE].tobytes())

    def lose(self, why: str) -> None:
        """Notes that it will never come."""
        self._keep = None
        self.lost = why
