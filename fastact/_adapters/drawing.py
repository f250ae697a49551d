"""Which samples of a batch are swept, where only a share of them is: `watch(..., sample=0.1)`.

A batch is cut into strata of neighbours, as many samples in each as there are parts, and a part takes one sample of
each stratum, by a random order of the stratum. So every part is a fair cross-section whatever the order of the batch
(sorted by class, two halves that were joined, every other sample of another kind), every sample is as likely to be
drawn as any other, and the parts together are the batch: after as many draws as there are parts each place of the batch
was looked at, once. What estimates vary by is what samples vary by within a stratum, which is at most what they vary by
in all.

Fewer than `LEAST` samples tell little of what samples differ by, so that no rule judges them (`vanish_samples`). Of a
small batch that many are drawn, in fewer steps: the share holds on average. A batch of fewer than twice as many is
taken whole, now and then.

Everything follows from the step's number and that of the pass in it, and nobody else's random numbers are used.
"""

from fractions import Fraction
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fastact.checks import check_share
from fastact.errors import ArgumentValueError

#: Samples of a draw, at least, where the batch has as many.
LEAST: Final = 8
#: Sets the random orders apart from those of anybody else who counts steps.
_SEED: Final = 0xFA57AC7
#: Tables that are kept: one for each pass of a step.
_MOST_TABLES: Final = 64

Ints = npt.NDArray[np.int64]


def checked_share(share: Any) -> float:
    """The argument `sample`."""
    check_share("sample", share)
    if not share:
        raise ArgumentValueError(f"sample: got {share}, want a share of the samples above 0")
    return float(share)


class Drawing:
    """Draws from the batches of a run.

    Args:
        share: of the samples that are drawn, on average over steps; above 0 and below 1.

    Example:
        >>> drawing = Drawing(0.25)
        >>> [drawing.samples(step, 0, 32).size for step in range(4)]
        [8, 8, 8, 8]
        >>> np.sort(np.concatenate([drawing.samples(step, 0, 32) for step in range(4)])).tolist() == list(range(32))
        True
        >>> [step for step in range(12) if drawing.due(step, 8)]  # too few to draw from
        [0, 4, 8]
    """

    def __init__(self, share: float) -> None:
        self._share = Fraction(share).limit_denominator(1 << 20)
        #: By the pass of a step and the size of its batch: the round of draws, and the samples of each part.
        self._tables: dict[tuple[int, int], tuple[int, list[Ints]]] = {}
        #: By the size of a batch its parts, and in which share of the steps one is drawn, as a fraction.
        self._rates: dict[int, tuple[int, int, int]] = {}

    def parts(self, batch: int) -> int:
        """Into how many parts a batch of so many samples is cut; 1 where it is taken whole."""
        return self._rate(batch)[0]

    def due(self, step: int, batch: int) -> bool:
        """Whether something is drawn in this step."""
        return self._draws(step + 1, batch) > self._draws(step, batch)

    def _draws(self, step: int, batch: int) -> int:
        """The draws before a step: so many that each takes one part, and all of them the share. The first is due."""
        _, numerator, denominator = self._rate(batch)
        return -(-step * numerator // denominator)

    def _rate(self, batch: int) -> tuple[int, int, int]:
        known = self._rates.get(batch)  # fractions take as long as all else that is done in a step without a draw
        if known is None:
            least = max(self._share * batch, Fraction(min(LEAST, batch)))
            parts = max(1, int(batch // least)) if batch else 1
            rate = min(self._share * parts, Fraction(1))
            if len(self._rates) >= _MOST_TABLES:
                self._rates.clear()
            known = self._rates[batch] = parts, rate.numerator, rate.denominator
        return known

    def samples(self, step: int, number: int, batch: int) -> Ints:
        """The samples that are drawn in a pass, int64[samples], rising; all of them where the batch is taken whole.

        Args:
            step: the step, in which something is due.
            number: of the pass, in the step, from 0.
            batch: how many samples there are.
        """
        parts = self.parts(batch)
        if parts == 1:
            return np.arange(batch)
        turn, part = divmod(self._draws(step, batch), parts)
        number %= _MOST_TABLES
        known = self._tables.get((number, batch))
        if known is None or known[0] != turn:
            if known is None and len(self._tables) >= _MOST_TABLES:
                self._tables.clear()
            known = self._tables[number, batch] = turn, _table(turn, number, batch, parts)
        return known[1][part]


def _table(turn: int, number: int, batch: int, parts: int) -> list[Ints]:
    """A batch cut into parts, each with one sample of each stratum."""
    random = np.random.Generator(np.random.PCG64((_SEED, turn, number, batch)))
    strata = -(-batch // parts)
    order = random.random((strata, parts)).argsort(axis=1)
    table = np.arange(0, strata * parts, parts)[:, None] + order
    return [column[column < batch] for column in table.T]
