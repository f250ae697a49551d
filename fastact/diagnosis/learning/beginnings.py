"""Losses that begin far above that of a constant answer, since the first outputs are far too large."""

from typing import Final

import numpy as np

from fastact.diagnosis import layer_types
from fastact.diagnosis.causes.cause import Cause
from fastact.diagnosis.causes.inputs import targets_not_scaled
from fastact.diagnosis.causes.remedies import initialisation, normalisation
from fastact.diagnosis.evidence import facts
from fastact.diagnosis.evidence.supervised import of
from fastact.diagnosis.network import LayerView, Network, row_rms
from fastact.fields import COLUMN
from fastact.text import number

_MEAN: Final = COLUMN["mean"]
#: Factor of a constant answer's loss from which on a first loss is that of a network which is sure, and wrong.
_FAR: Final = 10.0
#: Factor by which first outputs are larger than the targets of a regression, and size of logits, that makes it so.
_LARGE: Final = 3.0
_LOGITS: Final = 10.0
#: Factor from one layer to the next that adds up, and layers in which it does.
_GROWS: Final = 1.5
_LAYERS: Final = 3


def began_large(loss: LayerView, network: Network, constant: float) -> str:
    """That the first outputs were too large, on inputs and for targets of a usual scale; else "".

    Args:
        loss: the rows of a loss.
        network: any.
        constant: what a constant answer gets.
    """
    s = of(loss, network)
    if not loss.first[_MEAN] > _FAR * constant or s.output is None or s.function is None:
        return ""
    if facts.inputs_not_normalised(network).speaks_for or targets_not_scaled(loss, network).speaks_for:
        return ""
    size = row_rms(s.output.first)
    if s.function.family == "regression":
        wanted = float(np.hypot(s.target_number("mean"), s.target_number("std")))
        return (
            f"its first outputs were {number(size / wanted)} times as large as the targets"
            if (size > _LARGE * wanted > 0.0)
            else ""
        )
    large = s.function.predictions == "logits" and size > _LOGITS
    return f"its first logits had a root mean square of {number(size)}" if large else ""


def grown(network: Network) -> str:
    """That outputs grew from layer to layer in the first step; else ""."""
    views = [
        view for view in network.everything.values()
        if layer_types.group_of(view.info.layer_type, view.info.mode) == layer_types.LAYERS
        and layer_types.has_weights(view.info.layer_type)
    ]  # fmt: skip
    sizes = [row_rms(view.first) for view in sorted(views, key=lambda view: view.info.order)]
    if len(sizes) < _LAYERS or not sizes[0] > 0.0:
        return ""
    factor = (sizes[-2] / sizes[0]) ** (1.0 / (len(sizes) - 2)) if len(sizes) > 2 else 1.0
    return (
        f"each layer's outputs were {number(factor)} times as large as those of the one before"
        if (factor > _GROWS)
        else ""
    )


def causes(loss: LayerView, network: Network, constant: float | None) -> list[Cause]:
    """An initialisation that makes first outputs too large, where they were."""
    large = "" if constant is None else began_large(loss, network, constant)
    if not large:
        return []
    types = {
        view.info.layer_type for view in network.everything.values()
        if layer_types.group_of(view.info.layer_type, view.info.mode) == layer_types.LAYERS
    }  # fmt: skip
    return [
        Cause(
            "initialisation",
            "The weights begin so large that the outputs are far off, and most of the training goes into their size.",
            (initialisation(types), *normalisation(types), "draw the last layer's weights a tenth as large"),
            (large, *filter(None, (grown(network),))),
        )
    ]
