"""Cards: what a notebook shows of a value. Small, without scripts, light and dark as the notebook is.

The colours are those of the report: its style sheet is the one place that names them.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from fastact.html.page import asset, declared, environment

#: Units of a small curve's picture.
_WIDTH: Final = 120.0
_HEIGHT: Final = 18.0
#: Points of a small curve.
_MOST_POINTS: Final = 120


@dataclass(frozen=True)
class Line:
    """A line of a table.

    Attributes:
        cells: its text, one for each column but the last where there is a curve.
        severity: "critical", "serious", "warning", "healthy", "unknown"; "" for none.
        curve: the path of a small curve, as `small_curve` gives it.
    """

    cells: Sequence[str]
    severity: str = ""
    curve: str = ""


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        head: the columns: a title, and whether they are numbers, which stand on the right.
        lines: what is in it.
        curves: the title of the column of small curves; "" without one.
        left_out: how many lines more there are than are shown.
        marked: the place of the column that has the mark of the line's severity.
    """

    head: Sequence[tuple[str, bool]]
    lines: Sequence[Line]
    curves: str = ""
    left_out: int = 0
    marked: int = -1


@dataclass(frozen=True)
class Told:
    """A finding: its severity, the sentence, and why and what to try as pairs of what a line is and the line."""

    severity: str
    text: str
    advice: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Card:
    """What a notebook shows of a value.

    Attributes:
        title: the one sentence.
        above: a few words above it: what it is of.
        severity: as in `Line`.
        pairs: pairs of what a line is and the line, below the title.
        findings: further ones.
        table: numbers.
        lines: what else there is to say: pairs of a head, and its lines.
    """

    title: str
    above: str = ""
    severity: str = ""
    pairs: Sequence[tuple[str, str]] = ()
    findings: Sequence[Told] = ()
    table: Table | None = None
    lines: Sequence[tuple[str, Sequence[str]]] = ()

    def to_html(self) -> str:
        """The card as HTML: one element with its style in it; whatever is text is escaped.

        Example:
            >>> "&lt;script&gt;" in Card("<script>").to_html(), "<script>" in Card("<script>").to_html()
            (True, False)
        """
        size = {"width": _WIDTH, "height": _HEIGHT}
        text: str = environment().get_template("notebook.html").render(card=self, style=style(), **size)
        return text


def small_curve(values: npt.ArrayLike) -> str:
    """The path of a small curve through values in order, from the least to the largest; a gap where one is not finite.

    Example:
        >>> small_curve([0.0, 1.0, float("nan"), 0.5])
        'M1 17L40.3 1M119 9h.1'
        >>> small_curve([float("nan")])
        ''
    """
    numbers = np.asarray(values, np.float64)
    if len(numbers) > _MOST_POINTS:
        numbers = numbers[np.linspace(0, len(numbers) - 1, _MOST_POINTS).astype(np.int64)]
    finite = np.isfinite(numbers)
    if not finite.any():
        return ""
    halves = numbers / 2.0  # whose differences do not overflow
    low, high = halves[finite].min(), halves[finite].max()
    # Noise is no drama: what differs by less than a tenth of the largest fills a part of the height alone.
    more = 0.5 * max(0.1 * max(abs(low), abs(high), 1e-300) - (high - low), 0.0)
    low, high = low - more, high + more
    x = 1.0 + np.arange(len(numbers)) * ((_WIDTH - 2.0) / max(len(numbers) - 1, 1))
    y = _HEIGHT - 1.0 - (halves - low) / (high - low) * (_HEIGHT - 2.0)
    path = ""
    for place in np.flatnonzero(finite):
        before = place > 0 and finite[place - 1]
        alone = not before and not (place + 1 < len(numbers) and finite[place + 1])
        path += f"{'L' if before else 'M'}{_short(x[place])} {_short(y[place])}{'h.1' * alone}"
    return path


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


@functools.cache
def style() -> str:
    """The style sheet of a card: the report's colours, by the theme of the notebook, and `notebook.css`."""
    report = asset("report.css")
    light, dark = (declared(report, head) for head in (r":root", r':root\[data-theme="dark"\]'))
    of_theme = ", ".join(
        f"{theme} .fastact" for theme in ('[data-jp-theme-light="false"]', ".vscode-dark", 'html[theme="dark"]')
    )
    # Where the notebook names its theme, the system's does not count.
    unnamed = ".fastact:not([data-jp-theme-light] *, .vscode-light *, .vscode-dark *, html[theme] *)"
    colours = (
        f".fastact {{{light}}}\n{of_theme} {{{dark}}}\n@media (prefers-color-scheme: dark) {{ {unnamed} {{{dark}}} }}\n"
    )
    return colours + asset("notebook.css")
