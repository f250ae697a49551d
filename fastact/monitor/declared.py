"""What was said of layers before their first rows: their mode, whose output they are given, which are sparse."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from fastact.checks import check_type
from fastact.history import LayerInfo, Mode
from fastact.text import matches


class _Described(NamedTuple):
    """What `describe` was told of a layer."""

    mode: Mode = ""
    source: str = ""
    facts: Mapping[str, Any] | None = None


_NOTHING: Final = _Described()


class Declared:
    """What adapters and users have declared of layers that have no row yet."""

    def __init__(self) -> None:
        self._described: dict[str, _Described] = {}
        self._sparse: list[str] = []

    def describe(self, name: str, mode: Mode, source: str, facts: Mapping[str, Any] | None) -> None:
        """Notes the mode of a layer's rows, the layer whose output it is given, and what else is known of it.

        What was said before holds where nothing is said now.
        """
        before = self._described.get(name, _NOTHING)
        known = {**(before.facts or {}), **facts} if facts else before.facts
        self._described[name] = _Described(mode or before.mode, source or before.source, known)

    def add_sparse(self, patterns: tuple[str, ...]) -> None:
        """Notes that the layers whose name matches one of these patterns are sparse by design."""
        self._sparse += [check_type("patterns", pattern, str, "a str") for pattern in patterns]

    def info(
        self, name: str, order: int, layer_type: str, dtype: str, saturation: tuple[float, float], sparse: bool
    ) -> LayerInfo:
        """What is known of a layer when its first row comes, with what was declared of it."""
        told = self._described.pop(name, _NOTHING)
        sparse = sparse or self._is_sparse(name)
        return LayerInfo(name, order, layer_type, dtype, saturation, told.mode, sparse, told.source, told.facts)

    def _is_sparse(self, name: str) -> bool:
        places = name, name.partition(":")[0]  # its second place, and its rows in evaluation, are those of the layer
        return any(matches(place, pattern) for pattern in self._sparse for place in places)
