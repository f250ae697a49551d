"""Layers by name: which of them the user wants, what their outputs are called, and whose output a tensor is."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any
from weakref import WeakValueDictionary

from fastact.text import matches


def is_selected(layers: str | Iterable[str] | Callable[[str, Any], bool] | None, name: str, layer: Any) -> bool:
    """Whether the user's `layers` select a layer: None selects all, a function is asked, patterns are `fnmatch`'s.

    Example:
        >>> is_selected(None, "act1", ...), is_selected("act*", "act1", ...), is_selected(["hidden*"], "act1", ...)
        (True, True, False)
    """
    if layers is None:
        return True
    if callable(layers):
        return layers(name, layer)
    return any(matches(name, pattern) for pattern in ((layers,) if isinstance(layers, str) else layers))


def named_outputs(name: str, outputs: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    """The outputs of one layer and their names: the layer's own, or ``"lstm[0]"`` and so on where there are several.

    Example:
        >>> list(named_outputs("dense", ["x"])), list(named_outputs("lstm", ["y", "h"]))
        ([('dense', 'x')], [('lstm[0]', 'y'), ('lstm[1]', 'h')])
    """
    for place, output in enumerate(outputs):
        yield (name if len(outputs) == 1 else f"{name}[{place}]"), output


class Outputs:
    """Which layer's output a tensor is: the very object, which is not kept alive."""

    def __init__(self) -> None:
        self._tensors: WeakValueDictionary[str, Any] = WeakValueDictionary()

    def __reduce__(self) -> tuple[type["Outputs"], tuple[()]]:
        return Outputs, ()  # a copy has seen none of the tensors

    def add(self, name: str, x: Any) -> None:
        """Notes that `x` is the output that has just been recorded as `name`."""
        with contextlib.suppress(TypeError):  # such as a plain number, which has no weak references
            self._tensors[name] = x

    def name_of(self, x: Any) -> str:
        """The name of the row that has the numbers of `x`; "" where none has.

        Example:
            >>> import numpy as np
            >>> outputs, x = Outputs(), np.zeros(3)
            >>> outputs.add("act1", x)
            >>> outputs.name_of(x), outputs.name_of(np.zeros(3))
            ('act1', '')
        """
        # The last one is asked for most often: what the loss is given is the output of the last layer.
        return next((name for name, tensor in reversed(list(self._tensors.items())) if tensor is x), "")
