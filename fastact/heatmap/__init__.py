"""Layers by steps in a fixed number of cells, for any statistic: the data of heat maps.

`cells` reads a log or a monitor's history in one pass, in memory that does not grow with the number of steps.
"""

from fastact.heatmap.cells import Cells, cells
from fastact.heatmap.statistics import STATISTICS, Statistic

__all__ = ["STATISTICS", "Cells", "Statistic", "cells"]
