"""The earliest of many findings that may explain another one, found without asking each.

Where thousands of layers are sick, most have the same condition for the same reason. What a finding explains is asked
of its condition, severity and cause, and of what `Rule.asked` says of its evidence; and where it is and since when only
as before, after, near or the same (`Circumstances`). So of findings that are alike in the former (`Alike`), a few stand
for all: the earliest one; the earliest one in a layer before the effect's; and the same of those that began near it. In
the effect's own layer, and in the one that gives it its input, each is asked.
"""

import math
from bisect import bisect_left
from typing import Final

from fastact.diagnosis.finding import Finding

#: The expert that a layer is a part of, as `experts.expert_of` has it.
Expert = tuple[str, str] | None
#: What no layer's mixture is called.
_NO_MIXTURE: Final = "\0"
_FAR: Final = 1 << 62


class Line:
    """Findings in the order of time, each in a layer with a place.

    Example:
        >>> line = Line()
        >>> for step, place in enumerate((7, 5, 2)):
        ...     line.append(step, place, None)
        >>> line.first_before(6, None), line.first_before(6, None, since=2), line.first_before(2, None)
        (1, 2, None)
    """

    def __init__(self) -> None:
        self.steps: list[int] = []
        self._places: list[int] = []
        self._mixtures: list[str | None] = []
        #: Those that are parts of an expert, by it.
        self._experts: dict[tuple[str, str], list[int]] = {}
        self._tree = _Tree()

    def append(self, step: int, place: int, expert: Expert) -> None:
        """Adds one: since which step, the place of its layer, and the expert that this is a part of."""
        if expert is not None:
            self._experts.setdefault(expert, []).append(len(self.steps))
        self.steps.append(step)
        self._places.append(place)
        self._mixtures.append(None if expert is None else expert[0])

    def first_near(self, step: int, near: float) -> int:
        """The first that began no more than `near` steps before a step, or later; the length where there is none."""
        steps = self.steps
        index = bisect_left(steps, step - near)
        while index and step - steps[index - 1] <= near:
            index -= 1
        while index < len(steps) and step - steps[index] > near:
            index += 1  # what rounding has lost
        return index

    def first_before(self, place: int, expert: Expert, since: int = 0) -> int | None:
        """The first, from number `since` on, in a layer before a place whose outputs can reach that layer."""
        if since >= len(self.steps):
            return None
        apart = _NO_MIXTURE if expert is None else expert[0]
        if self._places[since] < place and self._mixtures[since] != apart:
            return since
        found = self._tree.first(self._places, self._mixtures, since, place, apart)
        if expert is not None:
            own = self._experts.get(expert, [])
            mine = next((i for i in own[bisect_left(own, since) :] if self._places[i] < place), None)
            if mine is not None and (found is None or mine < found):
                return mine
        return found


class _Tree:
    """For each half, quarter, ... of a line the least place, its mixture, and the least place of any other mixture."""

    def __init__(self) -> None:
        self._size = self._filled = 0
        self._nodes: list[tuple[int, str | None, int]] = []

    def first(
        self, places: list[int], mixtures: list[str | None], since: int, below: int, apart: str | None
    ) -> int | None:
        """The first number from `since` on whose place is below `below` and whose mixture is not `apart`."""
        self._fill(places, mixtures)
        size, nodes = self._size, self._nodes
        at = size + since
        while True:
            least, mixture, other = nodes[at]
            if (other if mixture == apart else least) < below:
                break
            while at & 1:
                at >>= 1
            if not at:
                return None
            at += 1
        while at < size:
            at *= 2
            least, mixture, other = nodes[at]
            if (other if mixture == apart else least) >= below:
                at += 1
        return at - size

    def _fill(self, places: list[int], mixtures: list[str | None]) -> None:
        """Takes in what was added to the line."""
        count = len(places)
        if count > self._size:
            self._size, self._filled = 1 << (2 * count - 1).bit_length(), 0
            self._nodes = [(_FAR, None, _FAR)] * (2 * self._size)
        if count == self._filled:
            return
        size, nodes = self._size, self._nodes
        begin, end = size + self._filled, size + count - 1
        nodes[begin : end + 1] = [(places[i], mixtures[i], _FAR) for i in range(self._filled, count)]
        self._filled = count
        while begin > 1:
            begin, end = begin // 2, end // 2
            for at in range(begin, end + 1):
                left, right = nodes[2 * at], nodes[2 * at + 1]
                low, high = (left, right) if left[0] <= right[0] else (right, left)
                other = min(low[2], high[2] if high[1] == low[1] else high[0])
                nodes[at] = low[0], low[1], other


class Alike:
    """Findings of one sort, in the order of time: members of an `Line` with the findings that they are."""

    __slots__ = ("findings", "line", "orders")

    def __init__(self) -> None:
        self.line = Line()
        self.findings: list[Finding] = []
        #: The number of each among all findings.
        self.orders: list[int] = []

    def append(self, finding: Finding, order: int, place: int, expert: Expert) -> None:
        """Adds a finding, which began no earlier than those before it."""
        self.line.append(finding.first_step, place, expert)
        self.findings.append(finding)
        self.orders.append(order)

    def standing_for_all(self, effect: Finding, place: int, expert: Expert, near: float) -> list[int]:
        """The few of them that are to be asked whether they explain a finding, by their numbers here.

        `place` and `expert` are those of the effect's layer; `near` is in steps.
        """
        line, findings = self.line, self.findings
        asked: list[int] = []
        start = 0
        while start < len(findings):
            asked.append(start)
            # A layer has a condition once: the next one is in another layer.
            if findings[start].layer == effect.layer and start + 1 < len(findings):
                asked.append(start + 1)
            before = line.first_before(place, expert, start)
            if before is not None and before != start:
                asked.append(before)
            if start or not (near < math.inf and effect.first_step - line.steps[0] > near):
                break
            start = line.first_near(effect.first_step, near)
            if not start:
                break
        return asked
