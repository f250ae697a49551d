"""Where in a segment which steps are, so that a few steps of a long run are read without the rest.

A sealed segment of many batches ends with one more, which has no rows. Its metadata hold ``fastact.index``: for each
batch, or each few neighbouring ones, the byte at which it begins and the least and the largest step in it; and
``fastact.layers`` and ``fastact.unseen``, what its batches added to the header. Readers that do not know it see an
empty batch, and segments without it, of older versions and of writers that died, are read from front to end.
"""

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fastact.history import LayerInfo
from fastact.log.codec import NONSENSE, added, read_header
from fastact.log.frames import frames, last_frame
from fastact.log.index_entries import ENTRY
from fastact.log.sparing import SparingFile


class StepIndex(NamedTuple):
    """What is at the end of a segment.

    Attributes:
        places: where each stretch of batches begins, and where the last one ends: bytes, int64[stretches + 1].
        first, last: the least and the largest step of each stretch, int64[stretches].
        layers: the layers that its batches name and its header does not.
        unseen: what is unseen at its end, where its batches say so.
    """

    places: npt.NDArray[np.int64]
    first: npt.NDArray[np.int64]
    last: npt.NDArray[np.int64]
    layers: tuple[LayerInfo, ...]
    unseen: dict[str, str] | None

    def stretches(self, first: int | None, last: int | None) -> list[tuple[int, int]]:
        """The bytes (begin, end) that have rows of the steps from `first` to `last`; None is no bound."""
        wanted = np.ones(len(self.first), np.bool_)
        if first is not None:
            wanted &= self.last >= first
        if last is not None:
            wanted &= self.first <= last
        found: list[tuple[int, int]] = []
        for i in np.flatnonzero(wanted).tolist():
            begin, end = int(self.places[i]), int(self.places[i + 1])
            if found and found[-1][1] == begin:
                begin = found.pop()[0]
            found.append((begin, end))
        return found


def read_index(path: Path) -> StepIndex | None:
    """The index of a segment, None where it has none or cannot be read. Raises LogError as `SparingFile`."""
    with suppress(*NONSENSE), SparingFile(path) as file:
        ending, front = last_frame(file, file.size), next(frames(file, file.size), None)
        if ending is None or front is None or front.kind != "schema" or b"fastact.index" not in ending.message:
            return None
        _, metadata = read_header(front)[1].batch(ending)
        text = metadata.get(b"fastact.index", b"").decode()
        entries = [tuple(map(int, match.groups())) for match in map(ENTRY.fullmatch, text.split(",")) if match]
        places = np.array([*(entry[0] for entry in entries), ending.offset], np.int64)
        if len(entries) != text.count(",") + 1 or (np.diff(places) <= 0).any():
            return None
        layers, unseen = added(metadata)
        first, last = (np.array([entry[i] for entry in entries], np.int64) for i in (1, 2))
        return StepIndex(places, first, last, layers, unseen)
    return None
