"""Plots for papers, as axes of matplotlib: heat maps of layers by steps, curves of layers, findings over time.

    import matplotlib.pyplot as plt, fastact

    log = fastact.open_log("runs/a")
    fig, axes = plt.subplots(3, layout="constrained", figsize=(8, 12))
    log.plot("rms", ax=axes[0])                                       # layers by steps, findings marked
    log.plot("dead_ratio", kind="curves", layers=["fc1", "fc2"], ax=axes[1])
    log.diagnose().plot(ax=axes[2])                                   # each finding from its first step on
    fig.savefig("a.pdf")

`Log.plot` and `Diagnosis.plot` draw by what is here, which takes plain values: `heatmap.cells` of a log or of a
monitor's history, and findings. Each takes axes, by default those of a new figure, and returns them. Colours are safe
for the colour-blind (viridis, RdBu, Okabe and Ito), and what they tell is told by shape or text as well.
"""

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

import numpy as np

from fastact.checks import check_choice, check_type
from fastact.html.scales import ends_of, log_ends_of
from fastact.packages import needs_extra
from fastact.text import shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["curves", "heat_map", "timeline"]

#: How colours, or heights, follow values: "auto" takes logarithms where sizes differ by more than a factor of 30.
Scaling = Literal["auto", "linear", "log", "symlog"]
_SCALES: Final = ("auto", "linear", "log", "symlog")
_WIDE: Final = 30.0
#: Okabe and Ito (2008), "Color universal design".
_COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES: Final = ("-", "--", "-.", ":")
#: Colour, marker and name of each severity.
_SEVERITIES: Final = {"warning": ("#56B4E9", "o"), "serious": ("#E69F00", "D"), "critical": ("#D55E00", "^")}
#: Names on an axis, and in a legend.
_MOST_LABELS: Final = 40
_MOST_CURVES: Final = 14


class _Finding(Protocol):
    """What is drawn of a `fastact.Finding`."""

    @property
    def layer(self) -> str: ...
    @property
    def condition(self) -> str: ...
    @property
    def severity(self) -> Any: ...
    @property
    def first_step(self) -> int: ...
    @property
    def consequence_of(self) -> str | None: ...


class _Health(Protocol):
    """What is drawn of a `fastact.LayerHealth`."""

    @property
    def name(self) -> str: ...
    @property
    def first_step(self) -> int | None: ...
    @property
    def last_step(self) -> int | None: ...


class _Cells(Protocol):
    """What is drawn of `heatmap.Cells`."""

    @property
    def statistic(self) -> str: ...
    @property
    def layers(self) -> tuple[tuple[str, ...], ...]: ...
    @property
    def names(self) -> tuple[str, ...]: ...
    @property
    def merged(self) -> str: ...
    @property
    def steps(self) -> Any: ...
    @property
    def width(self) -> int: ...
    @property
    def last(self) -> int: ...
    @property
    def low(self) -> Any: ...
    @property
    def lower(self) -> Any: ...
    @property
    def median(self) -> Any: ...
    @property
    def upper(self) -> Any: ...
    @property
    def high(self) -> Any: ...


def heat_map(
    cells: _Cells,
    ax: "Axes | None" = None,
    *,
    findings: Iterable[_Finding] = (),
    scale: Scaling = "auto",
    colour_bar: bool = True,
) -> "Axes":
    """Layers by steps: the median of each cell as a colour, that of outliers the end's, as the colour bar's arrows say.

    Grey is where there was nothing to measure.

    Args:
        cells: `heatmap.cells` of a log or of a monitor's history.
        ax: where to draw; by default the axes of a new figure.
        findings: marked in their layer, at the step since which they hold; ``diagnosis.findings``.
        scale: how colours follow values.
        colour_bar: whether to draw one.

    Raises:
        ArgumentValueError: `scale` is unknown.
        MissingExtraError: matplotlib is not installed.

    Example:
        >>> import fastact, fastact.heatmap
        >>> monitor = fastact.ActivationMonitor()
        >>> for step in range(5):
        ...     for layer in ("fc1", "fc2"):
        ...         stats = monitor.record(layer, np.full(4, 1.0 + step))
        ...     monitor.step()
        >>> from matplotlib.figure import Figure
        >>> ax = heat_map(fastact.heatmap.cells(monitor.history, "rms"), Figure().add_subplot())
        >>> [label.get_text() for label in ax.get_yticklabels()], ax.images[0].get_array().shape
        (['fc1', 'fc2'], (2, 5))
    """
    ax = _axes(ax)
    values = np.ma.masked_invalid(cells.median)
    norm, colours = _norm(cells, scale)
    rows = len(cells.layers)
    begin, end = (cells.steps[0] - 0.5, cells.steps[-1] + cells.width - 0.5) if len(cells.steps) else (0, 1)
    ax.set_facecolor("0.8")
    image = ax.imshow(
        values if values.size else [[math.nan]], cmap=colours, norm=norm, aspect="auto",
        interpolation="nearest", extent=(begin, end, max(rows, 1) - 0.5, -0.5),
    )  # fmt: skip
    every = math.ceil(rows / _MOST_LABELS) or 1
    ax.set_yticks(range(0, rows, every), [_told(name) for name in cells.names[::every]])
    ax.set_xlabel("step" + (f" ({cells.merged})" if cells.merged else ""))
    ax.set_title(cells.statistic, loc="left")
    places = {name: place for place, names in enumerate(cells.layers) for name in names}
    _mark(ax, [(each, places[each.layer]) for each in findings if each.layer in places])
    if colour_bar:
        known = values.compressed()
        below, above = (known < norm.vmin).any(), (known > norm.vmax).any()
        extend = ("neither", "min", "max", "both")[below + 2 * above]
        ax.figure.colorbar(image, ax=ax, label=cells.statistic, extend=extend)
    return ax


def curves(
    cells: _Cells,
    ax: "Axes | None" = None,
    *,
    findings: Iterable[_Finding] = (),
    scale: Scaling = "auto",
    bands: bool = True,
) -> "Axes":
    """A curve for each layer: the median of each cell, with bands from quartile to quartile and from least to largest.

    Args:
        cells: `heatmap.cells` of a log or of a monitor's history, of a few layers: each row becomes a curve.
        ax: where to draw; by default the axes of a new figure.
        findings: marked on the curve of their layer, at the step since which they hold; ``diagnosis.findings``.
        scale: how heights follow values.
        bands: whether to draw the bands, where a cell has more than one row.

    Raises:
        ArgumentValueError: `scale` is unknown.
        MissingExtraError: matplotlib is not installed.
    """
    check_choice("scale", scale, _SCALES)
    ax = _axes(ax)
    middle = cells.steps + (cells.width - 1) / 2
    rows = len(cells.layers)
    if scale == "auto" and _is_size(cells):
        scale = "log" if _span(cells.median) > _WIDE else "linear"
    if scale in ("log", "symlog"):
        ax.set_yscale(scale)
    of: dict[str, tuple[int, str]] = {}
    drawn = []
    for place, name in enumerate(cells.names):
        if rows <= len(_COLOURS) * len(_DASHES):
            colour, dash = _COLOURS[place % len(_COLOURS)], _DASHES[place // len(_COLOURS)]
        else:  # in forward order, from dark to light
            colour, dash = _of_map("viridis", place / (rows - 1)), "-"
        drawn += ax.plot(middle, cells.median[place], color=colour, linestyle=dash, label=_told(name), linewidth=1.5)
        if bands and cells.width > 1:
            ax.fill_between(middle, cells.lower[place], cells.upper[place], color=colour, alpha=0.3, linewidth=0)
            ax.fill_between(middle, cells.low[place], cells.high[place], color=colour, alpha=0.12, linewidth=0)
        of |= dict.fromkeys(cells.layers[place], (place, colour))
    marks = []
    positive = cells.median[cells.median > 0.0]
    floor = float(positive.min()) if scale == "log" and len(positive) else -math.inf  # zero has no logarithm
    for finding in findings:
        if finding.layer in of and len(cells.steps):
            column = int(np.clip((finding.first_step - cells.steps[0]) // cells.width, 0, len(cells.steps) - 1))
            height = cells.median[of[finding.layer][0], column]
            if np.isfinite(height):
                marks.append((finding, max(float(height), floor)))
    _mark(ax, marks)
    ax.set_xlabel("step" + (f" ({cells.merged})" if cells.merged else ""))
    ax.set_ylabel(cells.statistic)
    if 0 < rows <= _MOST_CURVES:
        kept = ax.get_legend()
        ax.legend(handles=drawn, fontsize="small", loc="best")
        if kept is not None:  # that of the severities
            ax.add_artist(kept)
    return ax


def timeline(findings: Sequence[_Finding], layers: Sequence[_Health], ax: "Axes | None" = None) -> "Axes":
    """Each finding as a bar from the step since which it holds to the last step, in the line of its layer.

    What another finding explains is hollow. Shape and text say the severity, as the colour does.

    Args:
        findings: ``diagnosis.findings``.
        layers: ``diagnosis.layers``, for the order of the layers and their last steps.
        ax: where to draw; by default the axes of a new figure.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    ax = _axes(ax)
    sick = {finding.layer for finding in findings}
    names = [layer.name for layer in layers if layer.name in sick]
    first = min((layer.first_step for layer in layers if layer.first_step is not None), default=0)
    last = max((layer.last_step for layer in layers if layer.last_step is not None), default=0)
    lines = {name: [each for each in findings if each.layer == name] for name in names}
    for place, name in enumerate(names):
        for i, finding in enumerate(lines[name]):
            colour, _ = _SEVERITIES[finding.severity]
            tall = 0.8 / len(lines[name])
            top = place - 0.4 + i * tall
            hollow = finding.consequence_of is not None
            ax.broken_barh(
                [(finding.first_step - 0.5, max(last + 0.5 - (finding.first_step - 0.5), 1))], (top, 0.9 * tall),
                facecolors="none" if hollow else colour, edgecolors=colour, hatch="///" if hollow else None,
            )  # fmt: skip
            if len(names) <= _MOST_LABELS:
                said = f" {finding.condition} ({finding.severity})"
                # On the side where there is more room.
                late = finding.first_step - first > (last - first) / 2
                ax.text(
                    finding.first_step - 0.5, top + 0.45 * tall, said.strip() + " " if late else said, va="center",
                    ha="right" if late else "left", fontsize="small", clip_on=True,
                )  # fmt: skip
    if not names:
        ax.text(0.5, 0.5, "no problems found", ha="center", va="center", transform=ax.transAxes)
    every = math.ceil(len(names) / _MOST_LABELS) or 1
    ax.set_yticks(range(0, len(names), every), [_told(name) for name in names[::every]])
    ax.set_ylim(max(len(names), 1) - 0.5, -0.5)
    ax.set_xlim(first - 0.5, max(last + 0.5, first + 0.5))
    ax.set_xlabel("step")
    ax.set_title("findings", loc="left")
    return ax


def _told(name: str) -> str:
    """A name as text that is drawn as it is: no formula between dollars, and nothing that a legend leaves out."""
    text = shown(name, 40).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def _axes(ax: "Axes | None") -> "Axes":
    """The axes given, or those of a new figure."""
    with needs_extra("fastact.plots", "matplotlib", "matplotlib", extra="plot"):
        import matplotlib as mpl  # noqa: F401 - to say what is missing
    if ax is not None:
        from matplotlib.axes import Axes

        # An array of axes is what `plt.subplots(2)` gives; what is drawn on needs a single one.
        return check_type("ax", ax, Axes, "matplotlib's Axes, a single one")
    import matplotlib.pyplot as plt

    return plt.subplots(layout="constrained")[1]


def _mark(ax: "Axes", marks: Sequence[tuple[_Finding, float]]) -> None:
    """A marker for each finding at its first step; hollow where another one explains it; with a legend."""
    from matplotlib.lines import Line2D

    handles = []
    for severity, (colour, marker) in _SEVERITIES.items():
        for hollow in (True, False):  # what is drawn last is on top
            found = [
                (each.first_step, height)
                for each, height in marks
                if each.severity == severity and (each.consequence_of is not None) == hollow
            ]
            if found:
                ax.plot(
                    *zip(*found, strict=True), linestyle="none", marker=marker, markersize=8, color=colour,
                    markerfacecolor="white" if hollow else colour, markeredgecolor=colour if hollow else "white",
                    clip_on=False, zorder=5,
                )  # fmt: skip
        if any(each.severity == severity for each, _ in marks):
            handles.append(Line2D([], [], linestyle="none", marker=marker, color=colour, label=severity))
    if any(each.consequence_of is not None for each, _ in marks):
        hollow_mark = Line2D([], [], linestyle="none", marker="s", color="0.4", markerfacecolor="white")
        hollow_mark.set_label("follows from another")
        handles.append(hollow_mark)
    if handles:
        ax.legend(
            handles=handles, fontsize="small", ncols=4, frameon=False, handletextpad=0.2, columnspacing=1,
            loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2,
        )  # fmt: skip


def _is_size(cells: _Cells) -> bool:
    known = cells.low[~np.isnan(cells.low)]
    return bool(len(known) and known.min() >= 0.0) and not cells.statistic.endswith("_ratio")


def _span(values: Any) -> float:
    """How many times larger the largest is than the smallest, zeros left out."""
    positive = values[np.isfinite(values) & (values > 0.0)]
    return float(positive.max() / positive.min()) if len(positive) else 1.0


def _norm(cells: _Cells, scale: Scaling) -> tuple[Any, Any]:
    """How values become colours: a norm of matplotlib's, and its colour map."""
    from matplotlib import colormaps, colors

    check_choice("scale", scale, _SCALES)
    values = cells.median[np.isfinite(cells.median)]
    least, most = log_ends_of(values[values > 0.0])
    signed = bool((values < 0.0).any()) and scale != "log"
    if scale == "auto":
        scale = "log" if _is_size(cells) and most > _WIDE * least else "linear"
    colours = colormaps["RdBu_r" if signed else "viridis"]
    if scale == "log":
        return colors.LogNorm(least, most if most > least else 2.0 * least, clip=True), colours
    if scale == "symlog":
        sizes = np.abs(values[values != 0.0])
        linear, reach = log_ends_of(sizes)
        return colors.SymLogNorm(max(linear, 1e-6 * reach), vmin=-reach, vmax=reach), colormaps["RdBu_r"]
    low, high = ends_of(values) if len(values) else (0.0, 1.0)
    if low == high:
        low, high = low - 0.5 * (abs(low) or 1.0), high + 0.5 * (abs(high) or 1.0)
    reach = max(abs(low), abs(high))
    return (colors.Normalize(-reach, reach) if signed else colors.Normalize(low, high)), colours


def _of_map(name: str, place: float) -> Any:
    from matplotlib import colormaps

    return colormaps[name](place)
