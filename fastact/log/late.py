"""Layers that come late: names without end are a mistake, and a header names no more than readers take."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from fastact.history import LayerInfo
from fastact.log.schema import layers_to_json

#: So few layers are never too many to be named.
_FEW = 300
#: A layer that comes this many steps after the first one was not there from the beginning; so many are a mistake.
_LATE_STEPS, _MANY_LATE = 100, 1000


class LateNames:
    """Counts the layers that came long after the first step."""

    def __init__(self) -> None:
        self._count = 0
        self._warned = False

    def count(self, late: tuple[LayerInfo, ...], step: int, first_step: int | None) -> str | None:
        """Takes in layers that are new in a step; the text of a warning, once, where they keep coming."""
        if not late or first_step is None or step - first_step < _LATE_STEPS:
            return None
        self._count += len(late)
        if self._count < _MANY_LATE or self._warned:
            return None
        self._warned = True
        return (
            f"fastact: {self._count:,} names of layers came new after the first {_LATE_STEPS} steps, the last "
            f"one {late[-1].name[:200]!r}: each takes memory, and none gets the history that a diagnosis "
            "needs; give a layer the same name in each step"
        )


def within(size: int, layers: Iterable[LayerInfo]) -> tuple[LayerInfo, ...]:
    """The first of the layers, as many as take `size` characters."""
    # At once, since nearly always all of them do: one by one, 10,000 layers kept the first batch waiting for 0.6 s.
    layers = tuple(layers)
    if len(layers_to_json(layers)) <= size:
        return layers
    found = []
    for info in layers:
        size -= len(layers_to_json((info,)))
        if size < 0:
            break
        found.append(info)
    return tuple(found)


def fitting(rows: npt.NDArray[np.void], late: tuple[LayerInfo, ...], size: int) -> npt.NDArray[np.void]:
    """The first of the rows, as many as have layers among the `late` ones of `size` characters: nearly always all."""
    if len(late) > _FEW and len(few := within(size, late)) < len(late):
        beyond = np.isin(rows["layer"], [info.order for info in late[max(1, len(few)) :]])
        rows = rows[: max(1, int(np.argmax(beyond)))]
    return rows
