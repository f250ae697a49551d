"""Groups of ranks: those of one group hold the same layers; others hold other layers, or other parts of one.

What several groups have is told apart by the group's name before the layer's, ``tensor 1/encoder.0``, and never merged.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from fastact.history import LayerInfo
from fastact.log.reader import StoredBatch
from fastact.replay.blocks import Ints, LayerNumbers

#: Layers of a group come after all of the group before it.
_APART: Final = 1 << 32


def of_group(info: LayerInfo, group: str, place: int) -> LayerInfo:
    """A layer as one of a group, the groups of a run being counted from 0.

    Example:
        >>> of_group(LayerInfo("fc", 3, source="act"), "stage 1", 1).name
        'stage 1/fc'
    """
    source = f"{group}/{info.source}" if info.source else ""
    names = {field.name: getattr(info, field.name) for field in dataclasses.fields(info)}
    return LayerInfo(
        **{**names, "name": f"{group}/{info.name}", "order": info.order + place * _APART, "source": source}
    )


def places_of_groups(groups: Sequence[str]) -> dict[str, int]:
    """The groups in the order of their first ranks; {} where all are of one, which needs no telling apart."""
    found = list(dict.fromkeys(groups))
    return {group: place for place, group in enumerate(found)} if len(found) > 1 else {}


class _OfGroup(LayerNumbers):
    """The numbers of a group's layers among those of all."""

    def __init__(self, all_of_them: LayerNumbers, group: str, place: int) -> None:
        super().__init__()
        self._all, self._group, self._place = all_of_them, group, place
        self._among_all: list[int] = []

    def of_batch(self, stored: StoredBatch) -> Ints:
        """The layers' numbers for the rows of a batch, int64[rows]."""
        known = len(self.infos)
        own = super().of_batch(stored)
        for info in self.infos[known:]:
            self._among_all.append(len(self._all.infos))
            self._all.infos.append(of_group(info, self._group, self._place))
        numbers: Ints = np.array(self._among_all, np.int64)[own]
        return numbers


def grouped(layers: LayerNumbers, metadata: Sequence[Mapping[str, str]]) -> list[LayerNumbers]:
    """What numbers the layers of each rank, by the group in its log's metadata; all of them among `layers`."""
    groups = [each.get("group", "") for each in metadata]
    places = places_of_groups(groups)
    of = {group: _OfGroup(layers, group, place) for group, place in places.items()}
    return [of.get(group, layers) for group in groups]


def names_in_groups(ranks: Sequence[tuple[Mapping[str, str], Mapping[str, str]]]) -> dict[str, str]:
    """What is said by name on each rank, of all ranks together: of each its metadata, and what is said."""
    groups = [metadata.get("group", "") for metadata, _ in ranks]
    apart = bool(places_of_groups(groups))
    pairs = zip(groups, (names for _, names in ranks), strict=True)
    return {f"{group}/{name}" if apart else name: said for group, own in pairs for name, said in own.items()}
