"""Which steps are recorded: one in so many, or as many as a stated share of the training's time pays for.

`Auto` keeps an account in seconds. It begins with an allowance, earns its share of the time that the training itself
takes, and pays for what watching takes: what is measured around our own work, or what recorded steps take longer than
others, whichever is more. While nothing changes, half of what is earned is spent, and of what is left as much as
would be used up if the run went on for as long again; what is saved pays for recording each step once something
changes. So a run costs at most its share of the training's time, and the allowance.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

from fastact.checks import check_integer, check_number
from fastact.errors import ArgumentValueError
from fastact.fields import COLUMN

T = TypeVar("T")

#: Seconds that a run may cost beyond its share: it is recorded densely at first, and short ones throughout.
ALLOWANCE: Final = 1.0
#: One in so many steps is recorded, whatever it costs.
LONGEST: Final = 1000
#: Recorded steps that are not paid for: code is compiled in the first ones. Nor is what takes longer than so many usual
#: ones, such as to compile for another type.
_FREE, _MOST = 2, 20.0
#: Intervals between two steps that are compared, of recorded ones and of others; and so many at least.
_KEPT, _LEAST = 32, 6
#: A step that takes longer than so many usual ones is a pause, and earns no more than these.
_PAUSE: Final = 10.0
#: Recorded steps that are dense after something has changed.
_DENSE: Final = 20
#: A layer has changed where its size is off its usual one by so many times its usual deviation, and by this factor.
_OFF, _FACTOR = 6.0, 1.5
#: The weight of a row in what is usual.
_WEIGHT: Final = 0.1
#: Rows after which it is known what is usual.
_USUAL_AFTER: Final = 8

_MEAN, _STD, _NANS = (COLUMN[name] for name in ("mean", "std", "nans"))
_POS, _NEG, _ORDER = (COLUMN[name] for name in ("pos_infs", "neg_infs", "layer"))
_SILENT, _NEURONS = COLUMN["silent_neurons"], COLUMN["neurons"]


class Pace:
    """One step in `every`.

    Attributes:
        name: what the log says of it.
        measured: whether it has to know how long watching takes.
    """

    name: str
    measured = False
    #: The last step that is recorded out of turn.
    _opened = -1

    def __init__(self, every: int) -> None:
        self._every, self.name = every, str(every)

    def records(self, step: int) -> bool:
        """Whether a step is recorded."""
        return step % self._every == 0 or step == self._opened

    def open(self, step: int) -> None:
        """Has the step under way recorded out of turn."""
        self._opened = step

    def worked(self, seconds: float) -> None:
        """Takes note of time that watching took, outside of what `timed` calls."""

    def took(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Takes the rows of a step."""

    def ended(self, step: int, findings: int) -> None:
        """A step has ended; `findings` is how often what was found has changed."""


class Auto(Pace):
    """As many steps as a share of the training's time pays for, more of them where something changes.

    Args:
        share: of the training's time, above 0.
        step: the first step.
        clock: seconds since whenever.

    Attributes:
        account: what is in the account, in seconds.
    """

    measured = True

    def __init__(self, share: float, step: int = 0, clock: Callable[[], float] = time.perf_counter) -> None:
        self.name = "auto"
        self._share, self._clock = share, clock
        self._next = self._first = step
        self._last = step - 1
        self.account = ALLOWANCE
        #: What the step under way took of us so far; what a recorded one takes as a rule, and what ends one.
        self._own = self._cost = self._step_cost = 0.0
        self._was_recorded, self._times = False, 0
        self._end = math.nan
        #: How long steps took, from the end of one to that of the next: those that are recorded, and the others.
        self._recorded: deque[float] = deque(maxlen=_KEPT)
        self._others: deque[float] = deque(maxlen=_KEPT)
        self._changes = Changes()
        self._findings, self._dense = 0, _USUAL_AFTER

    def records(self, step: int) -> bool:
        """Whether a step is recorded."""
        return step >= self._next or step == self._opened

    def timed(self, call: Callable[..., T], *arguments: Any, **options: Any) -> T:
        """Calls something that is watching, and takes note of how long it takes."""
        begin = self._clock()
        try:
            return call(*arguments, **options)
        finally:
            self._own += self._clock() - begin

    def stepping(self, call: Callable[[], T]) -> T:
        """Calls what ends a step, and pays for it."""
        begin = self._clock()
        try:
            return call()
        finally:
            taken = self._clock() - begin
            if self._times > _FREE:
                self.account -= min(taken, _MOST * (self._cost + self._step_cost) or taken)
                if self._was_recorded:
                    self._step_cost = taken if not self._step_cost else 0.7 * self._step_cost + 0.3 * taken

    def worked(self, seconds: float) -> None:
        """Takes note of time that watching took, outside of what `timed` calls."""
        self._own += seconds

    def pause(self) -> None:
        """The time from the end of the last step to that of the next one is no step's."""
        self._end = math.nan

    def took(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Takes the rows of a step."""
        if self._changes.in_rows(rows):
            self._dense = _DENSE
            if self.account > 0.0:
                self._next = min(self._next, self._last + 1)

    def ended(self, step: int, findings: int) -> None:
        """A step has ended; `findings` is how often what was found has changed."""
        if step <= self._last:  # an interrupt came in between
            return
        self._was_recorded = recorded = self.records(step)
        self._last = step
        now = self._clock()
        taken, self._end = now - self._end, now
        own, self._own = self._own, 0.0
        if not math.isnan(taken):
            (self._recorded if recorded else self._others).append(taken)
        self._times += recorded
        spent = max(own, self._longer()) if recorded else own
        spent = min(spent, _MOST * self._cost or spent) if self._times > _FREE else 0.0
        if recorded and spent:
            self._cost = spent if not self._cost else 0.7 * self._cost + 0.3 * spent
        usual = self.usual
        earning = 0.0 if math.isnan(taken) else min(max(taken - spent, 0.0), _PAUSE * usual)
        self.account += self._share * earning - spent
        if findings != self._findings:
            self._findings, self._dense = findings, _DENSE
        if recorded:
            self._dense = max(self._dense - 1, 0)
            self._next = step + self._gap(step, usual)

    @property
    def usual(self) -> float:
        """Seconds that a step takes as a rule, without what watching takes as far as that is known."""
        if self._others:
            return _median(self._others)
        return max(_median(self._recorded) - self._cost, 0.0) if self._recorded else 0.0

    def _longer(self) -> float:
        """Seconds that recorded steps take longer than others."""
        if len(self._recorded) < _LEAST or len(self._others) < _LEAST:
            return 0.0
        return _median(self._recorded) - _median(self._others)

    def _gap(self, step: int, usual: float) -> int:
        """Steps to the next one that is recorded."""
        earned = self._share * usual
        if self.account <= 0.0:  # until it is paid
            if not self._recorded and not self._others:  # it is not known yet how long a step takes
                return 1
            return LONGEST if earned <= 0.0 else min(LONGEST, 1 + math.ceil(-self.account / earned))
        if self._dense:
            return 1
        spent = 0.5 * earned + self.account / (step - self._first + 1)
        return max(1, min(LONGEST, round((self._cost + self._step_cost) / spent)))


def _median(values: Iterable[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


def pace_of(every: object, cost: object, ranks: int, step: int) -> Pace:
    """The pace for the arguments `every` and `cost` of `ActivationMonitor`, which it checks."""
    check_number("cost", cost, 0.0001, 1.0)
    if every != "auto":
        return Pace(check_integer("every", every, 1, words='an int or "auto"'))
    if ranks > 1:
        got = f"{every!r} in a run of {ranks} ranks"
        raise ArgumentValueError(f"every: got {got}, want a number: all ranks have to record the same steps")
    return Auto(float(cost), step)  # type: ignore[arg-type] # a number, as was checked


class Changes:
    """Whether rows are other than they usually were: a layer's size, what it has of NaN and Inf, how much is silent."""

    def __init__(self) -> None:
        #: By layer: rows, log2 of its size as it usually is, what it usually is off by, not finite, silent share.
        self._usual: dict[int, list[float]] = {}

    def in_rows(self, rows: Iterable[tuple[Any, ...]]) -> bool:
        """Takes the rows of a step; whether one of them is unusual."""
        changed = False
        for row in rows:
            size = math.hypot(row[_MEAN], row[_STD])
            broken = float(row[_NANS] + row[_POS] + row[_NEG] > 0)
            level = math.log2(size) if 0.0 < size < math.inf else math.nan
            silent = row[_SILENT] / row[_NEURONS] if row[_NEURONS] else 0.0
            usual = self._usual.get(row[_ORDER])
            if usual is None:
                self._usual[row[_ORDER]] = [1.0, level, 0.0, broken, silent]
                changed = changed or broken > 0.0
                continue
            seen, before, off, was_broken, was_silent = usual
            distance = abs(level - before)
            unusual = broken != was_broken or abs(silent - was_silent) > 0.2
            if seen >= _USUAL_AFTER:
                unusual = unusual or distance > max(_OFF * off, math.log2(_FACTOR))
            changed = changed or unusual
            if math.isnan(level) or math.isnan(before):
                usual[:] = [seen + 1.0, before if math.isnan(level) else level, off, broken, silent]
                continue
            weight = max(_WEIGHT, 1.0 / (seen + 1.0))
            usual[:] = [
                seen + 1.0, before + weight * (level - before), off + weight * (min(distance, 4.0) - off), broken,
                was_silent + weight * (silent - was_silent),
            ]  # fmt: skip
        return changed
