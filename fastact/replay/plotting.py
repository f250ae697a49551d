"""A log as a plot, and in a notebook."""

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal

from fastact import heatmap, plots
from fastact.checks import check_choice
from fastact.diagnosis.report import Diagnosis
from fastact.text import shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes


#: Layers, and entries of the metadata, that a notebook shows.
_MOST_LAYERS: Final = 100


class Plots:
    """What a `Log` is to those who look at it."""

    def _repr_html_(self) -> str:
        """What is known without reading the rows."""
        from fastact.html.notebook import Card, Line, Table  # only a notebook pays for it

        log: Any = self
        layers = log.layers
        ranks = f"{len(log.ranks)} ranks, " if len(log.ranks) > 1 else ""
        own = [f"{shown(key)}: {shown(value, 200)}" for key, value in log.metadata.items()]
        lines = [
            Line((shown(info.name, 60), shown(info.layer_type, 24), shown(info.dtype, 24), shown(info.source, 40)))
            for info in layers[:_MOST_LAYERS]
        ]
        table = Table([(title, False) for title in ("layer", "type", "dtype", "input from")], lines)
        return Card(
            f"Log of {len(layers):,} layer{'s' * (len(layers) != 1)}, {ranks}{log.nbytes / 1e6:,.1f} MB",
            shown(str(log.path), 200),
            pairs=[("Next", "log.diagnose(), log.plot(), log.report('report.html'), log.to_pandas()")],
            table=replace(table, left_out=max(0, len(layers) - _MOST_LAYERS)) if lines else None,
            lines=[
                ("Metadata", own),
                ("Not recorded", [f"{shown(name)}: {shown(why, 200)}" for name, why in log.unseen.items()]),
            ],
        ).to_html()

    def plot(
        self,
        statistic: str = "rms",
        ax: "Axes | None" = None,
        *,
        kind: Literal["map", "curves"] = "map",
        layers: str | Iterable[str] | None = None,
        findings: Diagnosis | bool = True,
        scale: plots.Scaling = "auto",
        budget: int = 16_384,
    ) -> "Axes":
        """Draws a statistic of layers by steps, as a heat map or as curves with bands, with the findings marked.

        Args:
            statistic: a name of `heatmap.STATISTICS`, such as "rms", "mean", "absmax", "zero_ratio", "dead_ratio".
            ax: axes of matplotlib to draw on; by default those of a new figure.
            kind: "map" for a heat map, "curves" for a curve of each layer.
            layers: names of the layers to draw, or one name; all by default.
            findings: the diagnosis whose findings are marked; True is that of the log, for which it is read once more;
                False marks none.
            scale: "linear", "log", "symlog"; "auto" takes logarithms for sizes of several orders of magnitude.
            budget: the most cells (layers by columns of steps), from 64 on.

        Returns:
            The axes.

        Raises:
            ArgumentTypeError, ArgumentValueError: an argument is unusable, or names what the log does not have.
            MissingExtraError: matplotlib is not installed.

        Example:
            >>> import tempfile, fastact, numpy as np
            >>> from matplotlib.figure import Figure
            >>> run = tempfile.mkdtemp()
            >>> with fastact.ActivationMonitor(run) as monitor:
            ...     for step in range(5):
            ...         stats = monitor.record("encoder.0", np.full(4, 1.0 + step))
            ...         monitor.step()
            >>> ax = fastact.open_log(run).plot("rms", Figure().add_subplot(), kind="curves")
            >>> ax.lines[0].get_ydata().tolist()
            [1.0, 2.0, 3.0, 4.0, 5.0]
        """
        check_choice("kind", kind, ("map", "curves"))
        log: Any = self
        cells = heatmap.cells(log, statistic, layers, budget)
        if findings is True:
            findings = log.diagnose()
        marked = findings.findings if isinstance(findings, Diagnosis) else ()
        draw = plots.heat_map if kind == "map" else plots.curves
        return draw(cells, ax, findings=marked, scale=scale)
