"""Neurons by steps: a picture of each layer that has dead ones, and which these are."""

import base64
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fastact.diagnosis.report import Diagnosis
from fastact.html.colours import png
from fastact.html.scales import label, round_numbers
from fastact.neurons import Neurons, ranges
from fastact.text import percent, shown

#: Layers that are drawn, and cells of a picture: neurons by steps.
MOST_MAPS: Final = 8
_ROWS, _COLUMNS = 256, 160
#: From a neuron that is silent to one that is dead: an orange and a red, on light and dark paper. Others are blank.
_COLOURS: Final = "f0b866b3261e"
#: How much a neuron counts that is silent and not dead, where several share a row.
_SILENT: Final = 0.25
#: Lines of text under a picture, and ranges of neurons in each.
_LINES, _RANGES = 6, 40


def with_dead_neurons(diagnosis: Diagnosis) -> list[str]:
    """The layers that had dead neurons in their last row, those with the largest share of them first."""
    sick = [layer for layer in diagnosis.layers if layer.dead]
    return [layer.name for layer in sorted(sick, key=lambda layer: -(layer.dead or 0.0))][:MOST_MAPS]


def neuron_maps(neurons: Sequence[Neurons], length: int) -> list[dict[str, Any]]:
    """What the page shows of layers' neurons, those without a dead one left out; names are cut to this length."""
    return [_map(each, length) for each in neurons[:MOST_MAPS] if len(each.dead_now)]


def _map(neurons: Neurons, length: int) -> dict[str, Any]:
    first, last = int(neurons.steps[0]), int(neurons.steps[-1])
    cells = _cells(neurons)
    height = round(min(220.0, max(48.0, 5.0 * len(cells))), 1)
    left, width = 190.0, 700.0
    span = max(1, last - first)
    ticks = [
        (round(left + width * (step - first) / span, 1), label(step))
        for step in round_numbers(float(first), float(first + span), 6)
    ]
    dead = neurons.dead_now
    of = f"{neurons.neurons:,}"
    of = of if neurons.covered == neurons.neurons else f"the first {neurons.covered:,} of {of}"
    many = f"{len(dead):,} of {of} neurons ({percent(len(dead) / neurons.covered)})"
    return {
        "layer": shown(neurons.layer, length),
        "type": shown(neurons.layer_type, 30),
        "said": f"{many} dead at step {last:,}",
        "lines": _since(neurons),
        "png": base64.b64encode(png(cells, _COLOURS)).decode(),
        "silent": base64.b64encode(png(np.full((1, 1), _SILENT), _COLOURS)).decode(),
        "dead": base64.b64encode(png(np.ones((1, 1)), _COLOURS)).decode(),
        "left": left, "width": width, "height": height, "full": height + 22.0,
        "names": [(7.0, "neuron 0"), (height - 4.0, f"{neurons.covered - 1:,}")],
        "ticks": ticks,
        "snapshots": len(neurons.steps),
    }  # fmt: skip


def _cells(neurons: Neurons) -> npt.NDArray[np.float64]:
    """The picture's cells, neurons by steps: NaN where all fire, 1 where all are dead.

    A column is of the last snapshot up to its steps; a row of one neuron, or of several side by side.
    """
    steps = neurons.steps
    columns = np.searchsorted(steps, np.linspace(steps[0], steps[-1], min(_COLUMNS, 4 * len(steps))), "right") - 1
    of_each = np.where(neurons.dead, 1.0, np.where(neurons.silent, _SILENT, 0.0))[columns].T
    starts = np.arange(0, neurons.covered, -(-neurons.covered // _ROWS))
    sizes = np.diff(starts, append=neurons.covered)
    cells: npt.NDArray[np.float64] = np.add.reduceat(of_each, starts) / sizes[:, None]
    cells[cells == 0.0] = np.nan
    return cells


def _since(neurons: Neurons) -> list[str]:
    dead, since = neurons.dead_now, neurons.dead_since
    steps = np.unique(since).tolist()
    lines = [f"dead at step {step:,} and since: {ranges(dead[since == step], _RANGES)}" for step in steps[:_LINES]]
    more = int(np.isin(since, steps[_LINES:]).sum())
    return lines if not more else [*lines, f"and {more:,} more, later"]
