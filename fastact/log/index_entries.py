"""The entries of a segment's index of steps, while it is written (`step_index` reads them)."""

import re
from typing import Final

#: Batches from which on a segment gets an index: fewer are read as fast as it is.
LEAST: Final = 16
#: Entries at most: 40 bytes each, of a segment of 64 MB.
_MOST: Final = 1024
#: Where a stretch of batches begins, and its least and largest step.
ENTRY: Final = re.compile(r"(\d{1,18}):(\d{1,19}):(\d{1,19})")


class IndexEntries:
    """For each few batches of a segment where they begin, and the least and the largest step.

    Example:
        >>> entries = IndexEntries()
        >>> for place in range(LEAST):
        ...     entries.add(100 * place, place, place + 1)
        >>> entries.text()[:20]
        '0:0:1,100:1:2,200:2:'
    """

    def __init__(self) -> None:
        self._entries: list[tuple[int, int, int]] = []
        self._batches, self._each = 0, 1

    def add(self, place: int, first: int, last: int) -> None:
        """Adds a batch with rows: the byte at which it begins, and its least and largest step."""
        if self._batches % self._each:
            begin, least, largest = self._entries[-1]
            self._entries[-1] = begin, min(least, first), max(largest, last)
        else:
            self._entries.append((place, first, last))
        self._batches += 1
        if len(self._entries) == 2 * _MOST:
            pairs = zip(self._entries[::2], self._entries[1::2], strict=True)
            self._entries = [(a[0], min(a[1], b[1]), max(a[2], b[2])) for a, b in pairs]
            self._each *= 2

    def text(self) -> str:
        """The entries as the metadata have them; "" where they are not worth it."""
        known = self._batches >= LEAST and all(first >= 0 for _, first, _ in self._entries)
        return ",".join(f"{place}:{first}:{last}" for place, first, last in self._entries) if known else ""
