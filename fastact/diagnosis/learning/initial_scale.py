"""Losses that begin far above that of a constant answer, since the first outputs are far too large."""

import math
from typing import Final

import numpy as np

from fastact.diagnosis import layer_types
from fastact.diagnosis.causes.cause import Cause, best
from fastact.diagnosis.causes.inputs import targets_not_scaled
from fastact.diagnosis.causes.remedies import initialisation, normalisation
from fastact.diagnosis.evidence import facts
from fastact.diagnosis.evidence.baselines import constant, losses
from fastact.diagnosis.evidence.progress import rows_by_factors
from fastact.diagnosis.evidence.supervised import of
from fastact.diagnosis.finding import Evidence, Finding
from fastact.diagnosis.network import LayerView, Network, row_rms
from fastact.diagnosis.row_conditions import Row
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
#: Size of first outputs that is too large, how many times that of what the layer is given it is, and for how many rows
#: a loss is far above a constant answer's that does not get there soon.
_BIG: Final = 10.0
_LEAP: Final = 5.0
_PATIENCE: Final = 20
_ABOVE: Final = 2.0
_LAYERS: Final = 3
#: By so many times the largest of many layers is larger than the first of them.
_DEEPER: Final = 30.0


def began_large(loss: LayerView, network: Network, worth: float) -> str:
    """That the first outputs were too large, on inputs and for targets of a usual scale; else "".

    Args:
        loss: the rows of a loss.
        network: any.
        worth: what a constant answer gets.
    """
    s = of(loss, network)
    if not loss.first[_MEAN] > _FAR * worth or s.output is None or s.function is None:
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
    sizes = [row_rms(view.first) for view in network.outputs if layer_types.has_weights(view.info.layer_type)]
    if len(sizes) < _LAYERS or not sizes[0] > 0.0:
        return ""
    factor = (sizes[-2] / sizes[0]) ** (1.0 / (len(sizes) - 2)) if len(sizes) > 2 else 1.0
    return (
        f"each layer's outputs were {number(factor)} times as large as those of the one before"
        if (factor > _GROWS)
        else ""
    )


def place(network: Network) -> int:
    """The place of the layer of which `explosion` tells; -1 where there is none."""
    return network.once(_where)[0]


def explosion(layer: LayerView, network: Network) -> Finding | None:
    """The finding for the layer whose weights began so large that the loss is far off for long, at that layer alone."""
    at, large = network.once(_where)
    if at != layer.place:
        return None
    size = row_rms(layer.first)
    feeder = network.feeder(layer)
    given = row_rms(feeder.first) if feeder is not None else math.nan
    times = f", {number(size / given)} times what {facts.named(feeder)} gives it" if feeder and given > 0.0 else ""
    message = (
        f"{layer.name} has been exploding since step {layer.start}: the rms of its first outputs is "
        f"{number(size)}{times}."
    )
    types = network.distinct_types
    cause = Cause(
        "initialisation",
        "Its weights, or a factor of its own, begin so large that the outputs are far off, and most of the training "
        "goes into their size.",
        (initialisation(types), *normalisation(types), "draw these weights smaller, or take the factor back"),
        (large,),
    )
    evidence = Evidence(rms_first=size, rms_given=given if given > 0.0 else None)
    return best([cause]).finding(layer.info.name, "exploding", "serious", layer.start, evidence, message)


def _where(network: Network) -> tuple[int, str]:
    """The place of the layer at which outputs became far too large in the first step, and why that does harm; or -1."""
    for loss in losses(network):
        values = loss.rows["mean"]
        worth = constant(loss, network)
        later = values[len(values) // 2 :]
        # Far above a constant answer's, and nowhere better, however much batches differ.
        if len(values) < _PATIENCE or worth is None or not (np.median(later) > _ABOVE * worth and later.min() > worth):
            continue
        if rows_by_factors(values, worth) <= len(values) or not (large := began_large(loss, network, worth)):
            continue
        leaps = [view for view in network.layers if _leaps(view, network)]
        big = [view for view in leaps if row_rms(view.first) > _BIG]
        # Tables lie side by side, and are one place.
        tables = sum(layer_types.is_embedding(view.info.layer_type) for view in leaps)
        if big and len(leaps) - max(tables - 1, 0) < _LAYERS:
            return big[0].place, large
        # Where many layers do it, by a little each, the outputs grow with depth: the largest layer is the place.
        deep = [view for view in network.layers[: network.output] if layer_types.has_weights(view.info.layer_type)]
        largest = max(deep, key=lambda view: _size(view.first), default=None)
        if largest is None or len(deep) < _LAYERS or largest.place == deep[0].place:
            continue
        if _size(largest.first) > max(_BIG, _DEEPER * _size(deep[0].first)):
            return largest.place, large
    return -1, ""


def _size(row: Row) -> float:
    """A row's root mean square; 0 where it has none."""
    size = row_rms(row)
    return 0.0 if math.isnan(size) else size


def _leaps(view: LayerView, network: Network) -> bool:
    if view.info.layer_type == layer_types.INPUT:
        return False
    feeder = network.feeder(view)
    looked_up = feeder is None or layer_types.is_embedding(view.info.layer_type)
    return row_rms(view.first) > _LEAP * (1.0 if looked_up or feeder is None else row_rms(feeder.first))


def causes(loss: LayerView, network: Network, worth: float | None) -> list[Cause]:
    """An initialisation that makes first outputs too large, where they were."""
    large = "" if worth is None else began_large(loss, network, worth)
    if not large:
        return []
    types = {view.info.layer_type for view in network.outputs}
    return [
        Cause(
            "initialisation",
            "The weights begin so large that the outputs are far off, and most of the training goes into their size.",
            (initialisation(types), *normalisation(types), "draw the last layer's weights a tenth as large"),
            (large, *filter(None, (grown(network),))),
        )
    ]
