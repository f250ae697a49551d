"""Heat maps as pictures for dashboards: layers by steps so far, drawn again and again in bounded memory."""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fastact import plots
from fastact.diagnosis.finding import Finding
from fastact.fields import ROW_DTYPE
from fastact.heatmap.cells import Cells, columns_within, of_grid
from fastact.heatmap.grid import Grid
from fastact.heatmap.statistics import statistic_of
from fastact.history import LayerInfo
from fastact.packages import needs_extra

if TYPE_CHECKING:
    from fastact.monitor.monitor import ActivationMonitor

#: Cells of a picture: as many as its pixels can tell apart.
_BUDGET: Final = 16_384


def png(cells: Cells, findings: Sequence[Finding] = ()) -> bytes:
    """A heat map as a PNG file, high enough for the names of its layers; needs matplotlib, and no display."""
    with needs_extra("fastact.plots", "matplotlib", "matplotlib", extra="plot"):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    figure = Figure(figsize=(10.0, 2.0 + 0.2 * min(len(cells.layers), 40)), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    plots.heat_map(cells, figure.add_subplot(), findings=findings)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


class GrowingMap:
    """The heat map of a monitor's rows, as they come.

    Args:
        monitor: whose layers they are.
        statistic: a name of `heatmap.STATISTICS`.
        layers: how many are expected; more are taken in.

    Raises:
        ArgumentValueError: there is no such statistic.
        MissingExtraError: matplotlib is not installed.
    """

    def __init__(self, monitor: "ActivationMonitor", statistic: str, layers: int = 64) -> None:
        with needs_extra("fastact.plots", "matplotlib", "matplotlib", extra="plot"):
            import matplotlib as mpl  # noqa: F401 - to say at once what is missing
        self._monitor = monitor
        self._grid = Grid([statistic_of(statistic)], columns_within(_BUDGET, layers), layers)
        self._numbers: dict[str, int] = {}
        self._infos: list[LayerInfo] = []

    def add(self, rows: Mapping[str, tuple[Any, ...]]) -> None:
        """Takes in the rows of a step."""
        history = self._monitor._diagnoser.history  # that of the steps that were handed over: without a wait
        for name in rows:
            if name not in self._numbers:
                self._numbers[name] = len(self._infos)
                self._infos.append(history[name].info)
        numbers = np.array([self._numbers[name] for name in rows], np.int64)
        self._grid.add(numbers, np.array(list(rows.values()), ROW_DTYPE))

    def png(self) -> bytes:
        """The picture of the rows so far, with the findings marked."""
        findings = self._monitor._diagnoser.diagnose().findings
        return png(of_grid(self._grid, 0, self._infos, _BUDGET), findings)
