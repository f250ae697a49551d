"""What was said of layers before their first rows: their mode, whose output they are given, which are sparse."""

from fnmatch import fnmatchcase

from fastact.checks import check_type
from fastact.history import LayerInfo, Mode


class Declared:
    """What adapters and users have declared of layers that have no row yet."""

    def __init__(self) -> None:
        self._described: dict[str, tuple[Mode, str]] = {}
        self._sparse: list[str] = []

    def describe(self, name: str, mode: Mode, source: str) -> None:
        """Notes the mode of a layer's rows, and the layer whose output it is given."""
        self._described[name] = mode, source

    def add_sparse(self, patterns: tuple[str, ...]) -> None:
        """Notes that the layers whose name matches one of these patterns are sparse by design."""
        self._sparse += [check_type("patterns", pattern, str, "a str") for pattern in patterns]

    def info(
        self, name: str, order: int, layer_type: str, dtype: str, saturation: tuple[float, float], sparse: bool
    ) -> LayerInfo:
        """What is known of a layer when its first row comes, with what was declared of it."""
        mode, source = self._described.pop(name, ("", ""))
        return LayerInfo(name, order, layer_type, dtype, saturation, mode, sparse or self._is_sparse(name), source)

    def _is_sparse(self, name: str) -> bool:
        places = name, name.partition(":")[0]  # its second place, and its rows in evaluation, are those of the layer
        return any(fnmatchcase(place, pattern) for pattern in self._sparse for place in places)
