"""Why samples can hardly be told apart any more: the causes of vanishing, over depth and over steps."""

import math
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from fastact.diagnosis import layer_types
from fastact.diagnosis.causes import initial_weights, posterior
from fastact.diagnosis.causes.cause import Cause, Verdict, best
from fastact.diagnosis.causes.other_data import other_data
from fastact.diagnosis.causes.remedies import (
    LOWER_RATE,
    NORMALISE_INPUTS,
    ONE_ELEMENT,
    ONE_ELEMENT_REMEDIES,
    initialisation,
    normalisation,
)
from fastact.diagnosis.evidence import baselines, data_shift, facts
from fastact.diagnosis.evidence.learning_rate import reckless
from fastact.diagnosis.network import LayerView, Network
from fastact.fields import COLUMN
from fastact.text import number, percent

_MEAN, _STD, _NEURONS, _MAX = COLUMN["mean"], COLUMN["std"], COLUMN["neurons"], COLUMN["max"]

#: Causes that make all layers shrink at once, so that one finding of them follows from the earliest, wherever it is.
EVERYWHERE: Final = frozenset({"weight_decay", "posterior_collapse"})

#: Layers with weights from which on a network is deep, and the share of the spread below which a layer keeps little,
#: however many there are.
_DEEP: Final = 12
_LITTLE: Final = 0.1

#: Rows. What takes longer from half of its first signal to being lost has faded, what takes less was knocked out.
_SLOW: Final = 10
_FAST: Final = 3
#: Of its first size a layer has at most this when it has shrunk, and at least that when it has kept it.
_SHRUNK: Final = 0.5
_NEARLY: Final = 0.7
_KEPT: Final = 0.8
#: Share of a weight that decay takes away in each step, from which on it forgets faster than usual training learns.
_STRONG: Final = 0.01


_ONE: Final = "one layer with weights lies between"
#: Of the rms of what it is given: so little leaves no recurrent layer with gates of weights of usual size.
_SHUT: Final = 1e-9
#: Share of the spread that it is given. A layer without weights that keeps less has lost it by itself.
_AT_ONCE: Final = 0.02


def over_depth(layer: LayerView, network: Network, source: int) -> Verdict:
    """Why the signal of layer `source` does not reach `layer`, from the first row on."""
    between = network.layers[source : layer.place + 1]
    types = [each.info.layer_type for each in between]
    matrices = sum(layer_types.has_weights(name) and not layer_types.is_norm(name) for name in types[1:])
    flat = [name for name in types if name in layer_types.BOUNDED and name not in layer_types.RELU_FAMILY]
    sigmoids = sum(name in layer_types.GATES for name in flat)
    keeps = _kept_by_weights(network, source, layer.place)
    everywhere = network.distinct_types
    weighted = sum(map(layer_types.has_weights, network.layer_types))
    norm, residual = normalisation(everywhere), "add residual connections"
    relu = () if facts.uses_relu(network) else ("use an activation of the ReLU family",)
    slope = Cause(
        "activation_slope",
        "The slope of the activation is small (a sigmoid's is at most 1/4), so that each layer shrinks the differences "
        "between samples, and the gradient with them.",
        (*relu, initialisation(everywhere), *norm, residual),
        (f"{sigmoids} sigmoids lie between {facts.named(between[0])} and it",) if sigmoids > 1 else (),
        () if flat else ("no activation with bounds lies between",),
    )
    small = Cause(
        "initialisation",
        "Each layer shrinks the differences between samples, and the gradient with them: its weights are too small.",
        (initialisation(everywhere), residual, *norm),
        ((f"a layer with weights keeps {percent(keeps)} of the spread on average",) if keeps < 0.4 else ())
        + ((f"that is less than {percent(_LITTLE)}",) if keeps < _LITTLE else ()),
    )
    depth = Cause(
        "depth",
        "Each layer loses a part of the differences between samples, and the network is too deep for what is left.",
        (residual, *norm, initialisation(everywhere)),
        ((f"{len(between) - 1} layers lie between {facts.named(between[0])} and it",) if keeps >= 0.4 else ())
        + ((f"the network has {weighted} layers with weights",) if weighted >= _DEEP else ()),
        (_ONE,) if matrices == 1 and not layer_types.is_norm(types[-1]) else (),
    )
    return best([*_by_itself(layer, network), *_flattened(layer, network), slope, depth, small])


def _flattened(layer: LayerView, network: Network) -> list[Cause]:
    """Inputs so large that a sigmoid or a tanh, of whatever depth, lies at its ends for every sample."""
    known, scale = facts.inputs_not_normalised(network), facts.input_scale(network)
    flat = layer.info.layer_type in layer_types.BOUNDED and layer.info.layer_type not in layer_types.RELU_FAMILY
    if not (flat and known.speaks_for and not known.refuted_by and scale is not None and scale.large):
        return []
    says = "The inputs are not normalised: what they add up to lies where the activation is flat, for every sample."
    seen = f"a {layer.info.layer_type} is flat where its inputs are large"
    return [Cause("inputs_not_normalised", says, (NORMALISE_INPUTS,), (*known.speaks_for, seen))]


def _by_itself(layer: LayerView, network: Network) -> list[Cause]:
    """What a layer loses all at once, whatever lies before it: a normalisation over one element, weights of zero."""
    feeder = network.feeder(layer)
    if (began := initial_weights.all_zero(network)).speaks_for:
        return [began._replace(proved=True)]
    if feeder is None or not network.signal[feeder.place] > 0.0:
        return []
    if layer.info.layer_type in layer_types.GATED and network.rms[layer.place] <= _SHUT * network.rms[feeder.place]:
        says = (
            "Its gates are shut, so that next to nothing passes: biases far below zero, or weights that are too large."
        )
        remedies = "look at the biases that its gates start with", initialisation({"Tanh"})
        size = f"the rms of its outputs is {number(network.rms[layer.place])}, that of what it is given "
        return [Cause("gates_shut", says, remedies, (size + number(network.rms[feeder.place]),), proved=True)]
    given = f"the samples of {facts.named(feeder)} differ"
    if layer_types.is_norm(layer.info.layer_type):
        shape = facts.norm_of_one_element(layer, network)
        if shape.speaks_for and not shape.refuted_by:
            said = *shape.speaks_for, given
            return [Cause("norm_of_one_element", ONE_ELEMENT, ONE_ELEMENT_REMEDIES, said, proved=True)]
    elif layer_types.has_weights(layer.info.layer_type):
        return _weights_zero(layer, network, layer.rows)
    elif not layer_types.is_activation(layer.info.layer_type):
        kept = network.signal[layer.place] / network.signal[feeder.place]
        if kept <= _AT_ONCE:
            zeros = float(layer.rows["zeros"].sum(dtype=float)) / max(float(layer.rows["count"].sum(dtype=float)), 1.0)
            says = (
                "It loses next to everything at once: its scale, its width or its threshold does not fit the size of "
                "what it is given."
            )
            remedies = (
                "look at the numbers that this layer is made with, next to the size of its inputs",
                NORMALISE_INPUTS,
            )
            share = percent(min(zeros, 1.0))
            lost = (
                f"it keeps {percent(kept)} of the spread that {facts.named(feeder)} gives it",
                f"{share} of its outputs are zero",
                "it was so in the first recorded row",
            )
            return [Cause("initialisation", says, remedies, lost)]
    return []


def _weights_zero(layer: LayerView, network: Network, rows: npt.NDArray[np.void]) -> list[Cause]:
    """Weights and biases of zero, where all rows of a layer with weights say so, and what it is given differs."""
    feeder = network.feeder(layer)
    if feeder is None or not network.signal[feeder.place] > 0.0 or not layer_types.has_weights(layer.info.layer_type):
        return []
    if layer.last[_MEAN] or layer.last[_STD] or not len(rows) or rows["mean"].any() or rows["std"].any():
        return []
    trained = "check that its weights were initialised or loaded, and that they are trained"
    said = f"the samples of {facts.named(feeder)} differ", "every output is exactly zero"
    return [Cause("weights_zero", "Its weights and biases are zero.", (trained,), said, proved=True)]


def _kept_by_weights(network: Network, source: int, place: int) -> float:
    """The geometric mean over the layers with weights of what each keeps of the signal before it."""
    logs, counts = network.once(_kept)
    count = counts[place] - counts[source]
    return math.exp((logs[place] - logs[source]) / count) if count else 1.0


def _kept(network: Network) -> tuple[list[float], list[int]]:
    """For each place the sum of the logarithms of what the layers with weights up to it keep, and their number."""
    logs, counts = [0.0], [0]
    for (before, after), layer_type in zip(pairwise(network.signal), network.layer_types[1:], strict=True):
        counted = layer_types.has_weights(layer_type) and 0.0 < before < math.inf and 0.0 < after < math.inf
        logs.append(logs[-1] + (math.log(after) - math.log(before) if counted else 0.0))
        counts.append(counts[-1] + counted)
    return logs, counts


def over_steps(layer: LayerView, network: Network, rows: int, step: int) -> Verdict:
    """Why the samples of `layer` differed once and no longer do; `rows` as for `heads`."""
    if spoilt := _weights_zero(layer, network, layer.since(step)):
        return best(spoilt)
    size = facts.size(layer, network)
    halved, faded = layer.streaks.get("halved"), layer.streaks.get("faded")
    took = halved.rows - faded.rows if halved is not None and faded is not None else None
    by_data = data_shift.not_by_an_update(layer, network, step).refuted_by
    name, says, remedies = network.once(_alike)
    alike = Cause(
        name, says, remedies,
        (f"its outputs are {number(size)} times as large as at first, but alike",) if size >= _KEPT else (),
        ((f"its outputs have shrunk to {percent(size)} of their first size",) if size < _SHRUNK else ())
        + (by_data if name == "learning_rate" else ()),
    )  # fmt: skip
    causes = [
        posterior.collapse(layer, network, rows),
        network.once_for(_decay, took, layer_types.is_recurrent(layer.info.layer_type)),
        alike,
        network.once_for(_rate, took, by_data),
        network.once_for(_smaller_data, step, step - layer.start),
        network.once_for(other_data, step),
    ]
    return best(causes, ("use less weight decay", LOWER_RATE))


def _decay(network: Network, took: int | None, recurrent: bool) -> Cause:
    """Weights that decay; `took` is how many rows a layer took from half of its signal to next to none."""
    shrunk, layers, most = shrunk_layers(network)
    slow, fast, strong = _is_slow(took), _is_fast(took), decays(network)
    kept = (f"the outputs of {layers - shrunk} of {layers} layers with weights have not shrunk",)
    return Cause(
        "weight_decay",
        "The weights shrink with every update, until only the biases are left: there is too much weight decay.",
        ("use less weight decay", "leave biases and normalisations out of it, and use AdamW in place of an L2 term"),
        (
            (f"the outputs of {shrunk} of {layers} layers with weights have shrunk, to half or so",) if most else ()
        ) + ((f"it took {took} rows from one half to this",) if most and slow else ()) + strong,
        (() if most or layers < 2 else kept)
        + ((("it came at once" if took == 0 else f"it took {took} rows, not many"),) if fast and not strong else ())
        + (("how far a recurrence comes down is no matter of its weights' size alone",) if recurrent else ()),
    )  # fmt: skip


def _alike(network: Network) -> tuple[str, str, tuple[str, ...]]:
    """The name of what maps all samples to one point, the sentence, and what to try."""
    norm = normalisation(network.distinct_types)
    if baselines.are_told_apart(network):
        says = "All samples are mapped to nearly the same point: updates that were too large drove them together."
        return "learning_rate", says, (LOWER_RATE, *norm)
    says = "All samples are mapped to nearly the same point: nothing in the loss keeps them apart."
    apart = "add what keeps samples apart: a stop-gradient, negative samples or a variance term"
    return "representation_collapse", says, (apart, *norm)


def _rate(network: Network, took: int | None, by_data: tuple[str, ...]) -> Cause:
    """An update; `took` as for `_decay`, and what says that the data changed instead."""
    return Cause(
        "learning_rate",
        "An update that was too large has spoilt the weights.",
        (LOWER_RATE,),
        (("it came at once" if took == 0 else f"it took {took} rows",) if _is_fast(took) else ()) + reckless(network),
        ((f"it came little by little, over {took} rows",) if _is_slow(took) else ()) + by_data,
    )


def _smaller_data(network: Network, step: int, slack: int) -> Cause:
    data = facts.data_changed(network, step, slack)
    return Cause(
        "data_changed",
        "The data has become smaller.",
        ("check what the data loader returns since then",),
        data.speaks_for,
        data.refuted_by if facts.model_input(network) is not None else ("its input was not recorded",),
    )


def _is_slow(took: int | None) -> bool:
    return took is not None and took >= _SLOW


def _is_fast(took: int | None) -> bool:
    return took is not None and took <= _FAST


def decays(network: Network) -> tuple[str, ...]:
    """That an optimiser takes so much of each weight in each step that it is forgotten faster than it is learned."""
    for view in network.typed(layer_types.OPTIMISER):
        decay = view.info.facts.get("weight_decay")
        taken = decay * float(view.last[_MAX]) if isinstance(decay, float) else 0.0
        if taken >= _STRONG:
            return (f"weight decay takes {percent(min(taken, 1.0))} of each weight in each step",)
    return ()


def shrunk_layers(network: Network) -> tuple[int, int, bool]:
    """How many hidden layers with weights have shrunk, how many there are, and whether that is the network as a whole.

    It is where most have at most half of the size of their first row, or all of them have come near to that.
    """
    return network.once(_shrunk)


def _shrunk(network: Network) -> tuple[int, int, bool]:
    sizes = [
        facts.size(layer, network)
        for layer in network.layers[: network.output]
        if layer_types.has_weights(layer.info.layer_type) and not layer_types.is_recurrent(layer.info.layer_type)
    ]
    half, nearly = (sum(size <= limit for size in sizes) for limit in (_SHRUNK, _NEARLY))
    most = len(sizes) > 1 and (2 * half > len(sizes) or nearly == len(sizes))
    return half if 2 * half > len(sizes) else nearly, len(sizes), most
