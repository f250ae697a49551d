"""What retention does next: which segments are merged, and into how many steps a row.

Rows of the newest `keep_steps` steps stay as they are. Rows older than that are merged by `merge_steps`, those older
than ``keep_steps * merge_steps`` by its square, and so on: a layer has at most some `keep_steps` rows of each kind, so
that a log grows with the logarithm of its steps. Segments that were thinned are joined with their neighbours, so that
their number, too, grows with the logarithm.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Final, NamedTuple

from fastact.log.thin import SegmentFacts

#: So many thinned segments beside each other are joined.
_JOINED: Final = 8
#: At most so many segments are read for one: what is thinned at once is given up when its oldest is removed.
_AT_ONCE: Final = 64
#: What is kept as it is, or merged alike, spans at least so many segments, so that it can go on in small steps.
_PARTS: Final = 4
_LARGEST: Final = 1 << 62


@dataclass(slots=True, eq=False)
class KeptSegment:
    """One segment that is no longer written to: a ".live" one was left by a writer that died, or whose disk refused.

    `facts` are None before it was read (`known`), or where they cannot be told. `tried` is with how many others, itself
    included, it was tried to be merged last.
    """

    number: int
    name: str
    size: int
    facts: SegmentFacts | None = None
    known: bool = False
    tried: int = 0


class Job(NamedTuple):
    """Segments that follow each other and become one, with `k` steps a row."""

    sources: list[KeptSegment]
    k: int
    facts: SegmentFacts

    @property
    def next_row(self) -> int:
        """As in `schema.Header`."""
        return self.facts.next_row


def ages(kept: Sequence[KeptSegment], session: str, first_step: int, last_step: int) -> list[int]:
    """How many steps lie after the last one of each segment. A segment without facts is as old as its neighbour.

    `session` is the writer's, `first_step` and `last_step` are the first and last step that it wrote. The steps that a
    resumed run repeats count again.
    """
    # For each writer, from the newest on: its last step, and the steps that later writers recorded.
    last, later, first, age = last_step, 0, first_step, 0
    found = []
    for each in reversed(kept):
        facts = each.facts
        if facts is not None:
            if facts.session != session:
                later += last - first + 1
                session, last = facts.session, facts.last_step
            first = facts.first_step
            age = max(age, later + last - facts.last_step)
        found.append(age)
    return found[::-1]


def repeated(kept: Sequence[KeptSegment]) -> Iterator[KeptSegment]:
    """Segments whose rows are all in an earlier one that was made from them."""
    covered: dict[str, int] = {}
    for each in kept:
        if each.facts is not None:
            facts = each.facts
            if facts.next_row <= covered.get(facts.session, 0):
                yield each
            elif facts.merged_steps > 1:
                covered[facts.session] = facts.next_row


def next_job(
    kept: Sequence[KeptSegment], old: Sequence[int], keep_steps: int, merge_steps: int, segment_bytes: int
) -> Job | None:
    """The next segments to merge, the oldest first; None where nothing is due. `old` has their `ages`."""
    wanted = [_steps_a_row(age, keep_steps, merge_steps) for age in old]
    runs = list(_runs(kept, wanted))
    for k, run in runs:
        # What is due together is merged together; where that saved nothing, once there are twice as many.
        for is_due, group in groupby(run, partial(_is_due, k)):
            some = list(group)[:_AT_ONCE]
            if is_due and len(some) >= 2 * max(each.tried for each in some):
                return _job(some, k)
    for k, run in runs:
        most = max(1, keep_steps * k // _PARTS)
        for some in _alike(run, k, most, segment_bytes):
            return _job(some, k)
    return None


def _is_due(k: int, each: KeptSegment) -> bool:
    return each.facts is not None and each.facts.merged_steps < k


def _steps_a_row(age: int, keep_steps: int, merge_steps: int) -> int:
    k, bound = 1, keep_steps
    while age >= bound and k < _LARGEST // merge_steps:
        k, bound = k * merge_steps, bound * merge_steps
    return k


def _runs(kept: Sequence[KeptSegment], wanted: Sequence[int]) -> Iterator[tuple[int, list[KeptSegment]]]:
    """Neighbours of one writer that are to have as many steps a row."""

    def key(pair: tuple[KeptSegment, int]) -> tuple[str | None, int]:
        facts = pair[0].facts
        return None if facts is None else facts.session, pair[1]

    for (session, k), pairs in groupby(zip(kept, wanted, strict=True), key):
        if session is not None and k > 1:
            yield k, [each for each, _ in pairs]


def _alike(run: list[KeptSegment], k: int, most: int, segment_bytes: int) -> Iterator[list[KeptSegment]]:
    """Neighbours that are thinned already and small beside each other, so that nothing is copied often."""
    length = _JOINED
    while length <= len(run):
        for begin in range(len(run) - length + 1):
            some = run[begin : begin + length]
            facts = [each.facts for each in some if each.facts is not None and each.facts.merged_steps == k]
            sizes = [each.size for each in some]
            if (
                len(facts) == length
                and 2 * max(sizes) <= sum(sizes) <= segment_bytes
                and facts[-1].last_step - facts[0].first_step <= most
                and length >= 2 * max(each.tried for each in some)
            ):
                yield some
        length *= 2


def _job(some: list[KeptSegment], k: int) -> Job:
    facts = [each.facts for each in some if each.facts is not None]
    return Job(
        some, k, facts[-1]._replace(first_step=facts[0].first_step, first_row=facts[0].first_row, merged_steps=k)
    )
