"""The rows of several ranks as those of one network: what they have of the same layer in the same step is merged."""

from collections.abc import Iterable, Iterator

import numpy as np

from fastact.log.reader import StoredBatch
from fastact.log.schema import to_rows
from fastact.replay.blocks import BLOCK_ROWS, Block, Ints, LayerNumbers, Rows, sort_into_groups
from fastact.replay.merge_rows import merge_rows

__all__ = ["merge_ranks"]


class _Rank:
    """What has been read of one rank and not been merged yet."""

    def __init__(self, batches: Iterable[StoredBatch], layers: LayerNumbers) -> None:
        self._batches = iter(batches)
        self._layers = layers
        self._session = ""
        #: For each batch: the passes of its rows, their layers' numbers, the rows.
        self._waiting: list[tuple[Ints, Ints, Rows]] = []
        #: (pass, step) of the last row read; None at the end.
        self.last: tuple[int, int] | None = (-1, 0)

    def read(self) -> int:
        """Reads one batch more; returns the number of its rows."""
        stored = next(self._batches, None)
        if stored is None:
            self.last = None
            return 0
        if not stored.batch.num_rows:
            return 0
        assert self.last is not None
        rows, session = to_rows(stored.batch), stored.frame.session
        steps = rows["step"]
        back = np.zeros(len(rows), np.int64)
        back[1:] = steps[1:] < steps[:-1]
        # A resumed run goes through some of its steps again: that is another pass, for each rank.
        back[0] = session != self._session or steps[0] < self.last[1]
        passes = self.last[0] + np.cumsum(back)
        self._session = session
        self.last = int(passes[-1]), int(steps[-1])
        self._waiting.append((passes, self._layers.of_batch(stored), rows))
        return len(rows)

    def take(self, before: tuple[int, int] | None) -> list[tuple[Ints, Ints, Rows]]:
        """Gives out what came before a (pass, step); everything before None."""
        taken, self._waiting = self._waiting, []
        if before is not None:
            for i, (passes, numbers, rows) in enumerate(taken):
                early = (passes < before[0]) | ((passes == before[0]) & (rows["step"] < before[1]))
                count = int(np.count_nonzero(early))
                if count < len(rows):
                    self._waiting = [(passes[count:], numbers[count:], rows[count:]), *taken[i + 1 :]]
                    return [*taken[:i], (passes[:count], numbers[:count], rows[:count])] if count else taken[:i]
        return taken


def merge_ranks(ranks: Iterable[Iterable[StoredBatch]], layers: LayerNumbers) -> Iterator[Block]:
    """Merges the rows that several ranks have of the same layer in the same step, step by step.

    Each rank's batches come with their writer's name: a rank that was resumed begins its next pass through the steps
    with its next writer, and passes of the same number belong together. No rank is read further ahead than the one
    that lags requires: what waits in memory is a block, or two batches of each rank.

    Args:
        ranks: for each rank its batches in written order, steps rising within a writer.
        layers: numbers the layers.
    """
    every = [_Rank(batches, layers) for batches in ranks]
    reading = list(every)
    waiting, enough = 0, BLOCK_ROWS
    while reading:
        slowest = min(reading, key=lambda rank: rank.last or (0, 0))
        waiting += slowest.read()
        if slowest.last is None:
            reading.remove(slowest)
        if waiting < enough and reading:
            continue
        mark = min((rank.last for rank in reading if rank.last), default=None)
        taken = [waiting_rows for rank in every for waiting_rows in rank.take(mark)]
        if taken:
            passes, numbers, rows = (np.concatenate(parts) for parts in zip(*taken, strict=True))
            waiting -= len(rows)
            order, starts = sort_into_groups(passes, rows["step"], numbers)
            yield Block(numbers[order][starts], merge_rows(rows.take(order), starts))
        enough = max(BLOCK_ROWS, 2 * waiting)
