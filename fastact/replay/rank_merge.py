"""Several ranks as one network: the rows that they have of the same layer in the same step, merged step by step."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np

from fastact.fields import ROW
from fastact.log.reader import StoredBatch
from fastact.log.schema import numbers_of, to_columns
from fastact.replay.beside import Beside, count_before
from fastact.replay.blocks import BLOCK_ROWS, Block, Ints, LayerNumbers, Rows
from fastact.replay.keyed import Alike, Column, Keyed, Tree, merge_two

#: Merged rows that a round aims at: each level of the tree holds as many, 6 MB.
_ROUND: Final = 1 << 15
#: Rows of all ranks in a round, where they are compared with each other: some 100 MB.
_BESIDE: Final = 1 << 19


class _Rank:
    """One rank, read batch by batch."""

    def __init__(self, batches: Iterable[StoredBatch], layers: LayerNumbers, alike: Alike) -> None:
        self._batches = iter(batches)
        self._layers, self._alike = layers, alike
        self._session = ""
        #: (pass, step) of the last row read, and whether that was the last one.
        self.last, self.ended = (-1, 0), False

    def read(self, until: tuple[int, int] | None, most: int) -> Keyed | None:
        """Reads on until a (pass, step), or until so many rows are read; None where there was nothing to read."""
        parts: list[tuple[Ints, Ints, dict[str, Column]]] = []
        count = 0
        while count < most and not self.ended and (until is None or self.last < until):
            stored = next(self._batches, None)
            if stored is None:
                self.ended = True
            elif stored.batch.num_rows:
                parts.append((self._passes(stored), self._layers.of_batch(stored), to_columns(stored.batch)))
                count += stored.batch.num_rows
        if not parts:
            return None
        passes, numbers, columns = parts[0]
        if len(parts) > 1:
            passes, numbers = np.concatenate([each[0] for each in parts]), np.concatenate([each[1] for each in parts])
            columns = {field.name: np.concatenate([each[2][field.name] for each in parts]) for field in ROW}
        return self._alike.table((passes, columns["step"], numbers), columns)

    def _passes(self, stored: StoredBatch) -> Ints:
        """Which pass through the steps each row is of: before schema 1.5 a resumed run had some of its steps twice."""
        steps, session = numbers_of(stored.batch.column("step")), stored.frame.session
        back = np.zeros(len(steps), np.int64)
        back[1:] = steps[1:] < steps[:-1]
        goes_on = self._session and stored.header is not None and stored.header.start_step is not None
        back[0] = (session != self._session and not goes_on) or steps[0] < self.last[1]
        passes: Ints = self.last[0] + np.cumsum(back)
        self._session = session
        self.last = int(passes[-1]), int(steps[-1])
        return passes


def merge_ranks(
    ranks: Iterable[Iterable[StoredBatch]], layers: Sequence[LayerNumbers], beside: Beside | None = None
) -> Iterator[Block]:
    """Merges the rows that several ranks have of the same layer in the same step, step by step.

    Each rank's batches come in written order, with their writer's session: a rank that was resumed before schema 1.5
    begins its next pass through the steps with its next writer, and passes of the same number belong together.

    In each round the rank that lags is read on, then every other one up to the same step, and what all have passed is
    given out. What is read is merged at once, so memory holds the rows of a round as often as the logarithm of the
    number of ranks, and the last batch of each rank only as far as no other one has the same layers in it. `beside`
    gets them before they are merged, and keeps of a round what is compared of each row. `layers` are those of each
    rank, the same for all that may be merged.
    """
    alike = Alike()
    reading = list(every := [_Rank(*each, alike) for each in zip(ranks, layers, strict=True)])
    column = {rank: place for place, rank in enumerate(every)}
    ahead: Keyed | None = None
    #: The rows that the rank that lags reads: as many as make a round, merged with what others have beside it.
    share = 1
    done: list[tuple[Ints, Rows]] = []
    while reading:
        tree = Tree()
        slowest = min(reading, key=lambda rank: rank.last)
        table = slowest.read(None, share)
        own = 0 if table is None else len(table)
        # Where it has ended, the others that end there are read to their ends in the same round.
        mark = (slowest.last[0], slowest.last[1] + 1) if slowest.ended else slowest.last
        for rank in reading:
            # Of a rank that is recorded more often, not more than a few times as much.
            part = table if rank is slowest else rank.read(mark, max(4 * share, own))
            if part is not None:
                if beside is not None:
                    beside.add(column[rank], part)
                tree.add(part)
        reading = [rank for rank in reading if not rank.ended]
        if len(tree):
            whole = tree.whole()
            share = max(1, min(_ROUND, BLOCK_ROWS) * max(own, 1) // max(len(whole), 1))
            if beside is not None:  # which holds the rows of a round of all ranks
                share = min(share, max(1, _BESIDE // max(len(reading), 1)))
            ahead = whole if ahead is None else merge_two(ahead, whole)
        past = min((rank.last for rank in reading), default=None)
        if beside is not None:
            beside.give(past)
        if ahead is not None:
            count = len(ahead) if past is None else count_before(ahead.keys, past)
            if count:
                done.append((ahead.keys[2][:count], ahead.take(slice(count)).rows()))
                ahead = ahead.take(slice(count, None))
        if done and (not reading or sum(len(rows) for _, rows in done) >= BLOCK_ROWS):
            yield Block(np.concatenate([numbers for numbers, _ in done]), np.concatenate([rows for _, rows in done]))
            done = []
