"""Small charts as SVG that is read without a script: a curve with its quantile bands, a threshold, the first step."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fastact.html.scales import Scale, label, round_numbers, scale_of
from fastact.text import number

Floats = npt.NDArray[np.float64]
#: Room above and below the curves.
_TOP, _BOTTOM = 14, 24


@dataclass(frozen=True, eq=False)
class Curve:
    """One line of a chart, and the bands around it.

    Attributes:
        name: what it is of.
        steps: shape (columns,): the step of each value.
        parts: the least value, the lower quartile, the median, the upper quartile and the largest, each of shape
            (columns,); or the values alone.
    """

    name: str
    steps: npt.NDArray[np.int64]
    parts: tuple[Floats, ...]

    @property
    def values(self) -> Floats:
        """Its line."""
        return self.parts[len(self.parts) // 2]


@dataclass(frozen=True, eq=False)
class Chart:
    """A small chart.

    Attributes:
        title: what is drawn, in a sentence: it is read aloud in place of the picture.
        statistic: the name of what is drawn.
        kind: "share", "size" or "signed".
        curve: the curve that it is about.
        others: further ones, drawn lightly.
        limits: threshold lines: a value, and what it is.
        since: the step that is marked, None for none.
        last: the last step on the axis.
        width, height: the picture's.
        left, right: room at its sides.
    """

    title: str
    statistic: str
    kind: str
    curve: Curve
    others: Sequence[Curve] = ()
    limits: Sequence[tuple[float, str]] = ()
    since: int | None = None
    last: int | None = None
    width: int = 560
    height: int = 150
    left: int = 52
    right: int = 12

    def drawn(self) -> dict[str, Any]:
        """What the template puts into SVG elements: numbers and paths, no markup."""
        left, right, bottom = self.left, self.width - self.right, self.height - _BOTTOM
        curves = [self.curve, *self.others]
        first = min(int(curve.steps[0]) for curve in curves)
        last = max(int(curve.steps[-1]) for curve in curves) if self.last is None else max(self.last, first)
        across = Scale("linear", first, last if last > first else first + 1)
        limits = np.array([value for value, _ in self.limits], np.float64)
        up, _, _ = scale_of([part for curve in curves for part in curve.parts] + [limits], self.kind, exact=True)

        def x(steps: Any) -> Floats:
            found: Floats = left + across(np.asarray(steps, np.float64)) * (right - left)
            return found

        def y(values: Any) -> Floats:
            found: Floats = bottom - up(np.asarray(values, np.float64)) * (bottom - _TOP)
            return found

        parts = self.curve.parts
        bands = [(parts[0], parts[-1]), (parts[1], parts[-2])] if len(parts) == 5 else []
        own = x(self.curve.steps)
        since = None
        if self.since is not None and first <= self.since <= last:
            since = round(float(x(self.since)), 1)
        return {
            "width": self.width, "height": self.height, "left": left, "right": right, "top": _TOP, "bottom": bottom,
            "title": self.title,
            "statistic": self.statistic,
            "bands": [area(own, y(low), y(high)) for low, high in bands if (high > low).any()],
            "line": line(own, y(self.curve.values)),
            "others": [line(x(curve.steps), y(curve.values)) for curve in self.others],
            "names": [curve.name for curve in self.others],
            "limits": [(round(float(y(value)), 1), what, number(value)) for value, what in self.limits],
            "since": since,
            "step": self.since,
            "xticks": [
                (round(float(x(step)), 1), label(step))
                for step in round_numbers(first, last if last > first else first + 1, 5)
            ],
            "yticks": [(round(float(y(value)), 1), label(value)) for value in up.ticks()],
            "logarithmic": up.shape != "linear",
        }  # fmt: skip


def line(xs: Floats, ys: Floats) -> str:
    """A path through points, interrupted where there is no value; a value alone is a short stroke."""
    said: list[str] = []
    known = np.isfinite(ys)
    for i in np.flatnonzero(known):
        point = f"{xs[i]:.1f} {ys[i]:.1f}"
        if i > 0 and known[i - 1]:
            said.append(f"L{point}")
        else:
            said.append(f"M{point}h.1" if i + 1 == len(ys) or not known[i + 1] else f"M{point}")
    return "".join(said)


def area(xs: Floats, low: Floats, high: Floats) -> str:
    """The path around what lies between two curves, a piece for each run of values."""
    known = np.isfinite(low) & np.isfinite(high)
    edges = np.flatnonzero(np.diff(np.concatenate(([0], known.astype(np.int8), [0]))))
    said = []
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        there = [f"{xs[i]:.1f} {high[i]:.1f}" for i in range(begin, end)]
        back = [f"{xs[i]:.1f} {low[i]:.1f}" for i in range(end - 1, begin - 1, -1)]
        said.append("M" + "L".join(there + back) + "Z")
    return "".join(said)
