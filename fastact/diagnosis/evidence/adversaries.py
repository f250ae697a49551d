"""Adversarial training: which layer ends a discriminator, by its name, by its calls, or by what it is given."""

import re
from typing import Final, NamedTuple

import numpy as np

from fastact.diagnosis import layer_types
from fastact.diagnosis.network import LayerView, Network
from fastact.fields import COLUMN

#: Names by which the two players of an adversarial training go, a component of a layer's name or the beginning of one;
#: a prefix that ends without a dot runs into the number of a layer.
_DISCRIMINATOR: Final = re.compile(r"(^|[._/])(d|net_?d|disc\w*|critic\w*|adversar\w*)([._/\d]|$)", re.IGNORECASE)
_GENERATOR: Final = re.compile(r"(^|[._/])(g|net_?g|gen|generator\w*)([._/\d]|$)", re.IGNORECASE)

#: Rows over which a discriminator wins, by losses: the generator's is at least the one, its own at most the other.
#: A discriminator that knows nothing has 0.69; one that still teaches the generator has 0.1 and more.
_LONG: Final = 30
_FOOLED: Final = 5.0
_TOLD: Final = 0.05

#: How near to 0 and to 1 a discriminator is, on average, that is sure.
_SURE: Final = 0.1

_COUNT, _NEURONS = COLUMN["count"], COLUMN["neurons"]
_MEAN, _MIN, _MAX = COLUMN["mean"], COLUMN["min"], COLUMN["max"]


def discriminates(layer: LayerView, network: Network) -> bool:
    """Whether it is the last sigmoid of a discriminator, trained beside a generator."""
    if layer.info.layer_type not in layer_types.GATES:
        return False
    if _tells_two_apart(layer, network) or _is_given_more(layer, network):
        return True
    if not _DISCRIMINATOR.search(layer.info.name):
        return False
    names = [view.info.name for view in network.layers]
    own = [name for name in names if _DISCRIMINATOR.search(name)]
    base = layer.info.name.partition(":")[0]
    return own[-1].partition(":")[0] == base and any(map(_GENERATOR.search, names))


class Flat(NamedTuple):
    """A discriminator without a sigmoid whose scores are so sure that the loss of its sigmoid is flat.

    Attributes:
        layer: the one that makes the scores.
        fooled: the generator's loss: of what it makes, called real.
        told: the larger of the discriminator's losses.
        step: since when.
    """

    layer: LayerView
    fooled: LayerView
    told: float
    step: int


def flat_scores(network: Network) -> Flat | None:
    """The scores of a discriminator that tells real samples from made ones perfectly, by the losses of both players."""
    return network.once(_flat_scores)


def _flat_scores(network: Network) -> Flat | None:
    named = [
        view for view in network.everything.values()
        if view.info.layer_type == layer_types.LOSS and not view.info.mode
        and view.info.facts.get("function") == "binary_cross_entropy_with_logits"
    ]  # fmt: skip
    if len(named) < 3 or min(len(view.rows) for view in named) < _LONG:
        return None
    fooled: list[LayerView] = []
    told: list[LayerView] = []
    for view in named:
        labels = network.everything.get(view.info.name + layer_types.TARGET_SUFFIX)
        if labels is None or (labels.rows["std"] != 0.0).any():
            return None
        high = bool((view.rows["mean"][-_LONG:] >= _FOOLED).all()) and float(labels.last[_MEAN]) >= 0.5
        low = bool((view.rows["mean"][-_LONG:] <= _TOLD).all())
        if not high and not low:
            return None
        (fooled if high else told).append(view)
    ends = [v for v in network.layers if v.last[_NEURONS] == 1 and layer_types.has_weights(v.info.layer_type)]
    if len(fooled) != 1 or len(told) < 2 or not ends:
        return None
    rows = fooled[0].rows
    below = np.flatnonzero(rows["mean"] < _FOOLED)
    step = int(rows["step"][int(below[-1]) + 1]) if len(below) else int(rows["step"][0])
    return Flat(ends[-1], fooled[0], max(float(view.rows["mean"][-_LONG:].max()) for view in told), step)


def _tells_two_apart(layer: LayerView, network: Network) -> bool:
    """Whether it ends a model that is called for two kinds of samples and is sure of both, beside one called once.

    That is a discriminator by what it does, whatever it is called: what the other model makes goes the same way as the
    real samples, in a call of its own. Two calls of a whole network (siamese) leave no model that is called once.
    """
    base, own = layer.info.name.partition(":")[0], _model(layer)
    places = [view for view in network.layers if view.info.name.partition(":")[0] == base]
    members = [view for view in network.layers if _model(view) == own]
    others = [view for view in network.layers if layer_types.has_weights(view.info.layer_type) and view not in members]
    if len(places) < 2 or not others or members[-1].info.name.partition(":")[0] != base:
        return False
    means = [view.last[_MEAN] for view in places]
    once = not any(":" in view.info.name for view in others)
    return once and max(means) > 1.0 - _SURE and min(means) < _SURE


def _is_given_more(layer: LayerView, network: Network) -> bool:
    """Whether it ends a model that is sure of both kinds, and was given more samples than another model of its width.

    That one makes some of them, and the rest are real ones. Calls of a model from outside of any other are rows of one
    place, so that two kinds of samples show in the counts alone.
    """
    low, high = layer.info.saturation
    ended = layer.place + 1 == len(network.layers) or _model(network.layers[layer.place + 1]) != _model(layer)
    if not ended or not (layer.last[_MIN] < low and high < layer.last[_MAX]):
        return False
    own = _model(layer)
    given = next((v for v in network.layers if v.info.layer_type == layer_types.INPUT and _model(v) == own), None)
    if given is None or not given.last[_NEURONS]:
        return False
    made = {_model(view): view for view in network.layers if _model(view) != own}.values()  # the last of each model
    return any(view.last[_NEURONS] == given.last[_NEURONS] and view.last[_COUNT] < given.last[_COUNT] for view in made)


def _model(layer: LayerView) -> str:
    """The model, or the part of one, that a layer belongs to, as its name tells."""
    return layer.info.name.partition(":")[0].partition(".")[0]
