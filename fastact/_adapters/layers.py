"""Layers by name: which of them the user wants, and what their outputs are called."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any


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
    return any(fnmatchcase(name, pattern) for pattern in ((layers,) if isinstance(layers, str) else layers))


def named_outputs(name: str, outputs: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    """The outputs of one layer and their names: the layer's own, or ``"lstm[0]"`` and so on where there are several.

    Example:
        >>> list(named_outputs("dense", ["x"])), list(named_outputs("lstm", ["y", "h"]))
        ([('dense', 'x')], [('lstm[0]', 'y'), ('lstm[1]', 'h')])
    """
    for place, output in enumerate(outputs):
        yield (name if len(outputs) == 1 else f"{name}[{place}]"), output
