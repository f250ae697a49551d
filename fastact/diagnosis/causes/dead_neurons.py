"""Why neurons died: the hypotheses, each with what in the rows speaks for it and against it."""

import math
from itertools import accumulate
from typing import Final

import numpy as np

from fastact.diagnosis import layer_types
from fastact.diagnosis.causes import initial_weights
from fastact.diagnosis.causes.cause import Cause, Verdict, best, refuted
from fastact.diagnosis.causes.non_finite_layer import computed_zero
from fastact.diagnosis.causes.remedies import (
    LOWER_RATE,
    NORMALISE_INPUTS,
    ONE_ELEMENT,
    ONE_ELEMENT_REMEDIES,
    initialisation,
    normalisation,
)
from fastact.diagnosis.evidence import facts
from fastact.diagnosis.evidence.learning_rate import reckless
from fastact.diagnosis.network import LayerView, Network, row_rms
from fastact.fields import COLUMN
from fastact.text import number, percent, shown

_COUNT, _ZEROS, _MAX, _MEAN = COLUMN["count"], COLUMN["zeros"], COLUMN["max"], COLUMN["mean"]
_WITHIN, _NEURONS = COLUMN["within_std"], COLUMN["neurons"]

#: What the samples differ by in the first layer's first outputs: usual initialisations make about 1 of a normalised
#: input, so that ten times as much speaks of its scale, where the input itself was not recorded.
_LARGE: Final = 10.0
_USUAL: Final = 3.0
#: Standard deviations by which the inputs of an activation are below zero, or fall, to speak for a cause.
_FAR: Final = 1.0
#: What comes in has shrunk by weight decay when it is this share of what it was.
_SHRUNK: Final = 0.01
#: The share of elements other than zero in the first row below which a layer is sparse.
_SPARSE: Final = 0.05
#: Neurons of an output such as a density.
_HEAD: Final = 4

#: Times as many neurons as in the layer that follows: features of sparse autoencoders, where a block of a transformer
#: has four times as many.
_OVERCOMPLETE: Final = 8
#: The same where what comes before is the network's input, and what follows its output.
_DICTIONARY: Final = 2

_INIT: Final = initialisation({"ReLU"})
LESS_SPARSE: Final = "use a smaller sparsity penalty, and raise it slowly from zero"
_LEAKY: Final = "use leaky ReLU, which keeps a gradient below zero"
_SOFTPLUS: Final = "use softplus, or leaky ReLU, in its place: both keep a gradient where the output is small"


def units(layer: LayerView, network: Network) -> str:
    """What the neurons are called: filters in a convolution, and in what takes a convolution's outputs one by one."""
    return network.once(_units)[layer.place]


def _units(network: Network) -> list[str]:
    units = []
    unit = "neurons"
    for layer_type in network.layer_types:
        if layer_types.is_convolution(layer_type):
            unit = "filters"
        elif layer_type.startswith("Flatten") or not layer_types.follows_input(layer_type):
            unit = "neurons"
        units.append(unit)
    return units


def verdict(layer: LayerView, network: Network, step: int) -> Verdict:
    """The likeliest cause of a layer's dead neurons, which have been silent since `step`."""
    layer_type = layer.info.layer_type
    if layer_types.is_passing(layer_type):
        return best(_handed_on(layer, network), ("check what its input is made of",))
    weighs = layer_types.has_weights(layer_type) or layer_type == "MultiheadAttention"
    if weighs or layer_types.is_norm(layer_type) or layer_type.startswith("Embedding"):
        return best(_of_weights(layer, network, step), ("check that its input is not all zero",))
    if layer_type and not layer_types.is_activation(layer_type):
        given = _no_input(layer, network)
        own = [] if layer_types.is_known(layer_type) else [_multiplied(given), *computed_zero(layer, network, given)]
        return best([*own, given], ("check that its input is not all zero",))
    return best(_of_activation(layer, network, step), ("initialise the layer before it anew",))


def _multiplied(given: Cause) -> Cause:
    """What a module of the user's own multiplies by is zero, such as a scale that nothing trains."""
    says = "What it multiplies by is zero: a scale or a weight of its own."
    trained = "check that its parameters were initialised or loaded, and that they are trained"
    against = given.speaks_for
    # That its input is alive does not tell what it does with it.
    return Cause("weights_zero", says, (trained,), (), against)


def _frozen(network: Network) -> dict[str, str]:
    """For each layer with a frozen parameter that is zero throughout, that parameter."""
    found: dict[str, str] = {}
    for name, view in network.everything.items():
        if view.info.layer_type != layer_types.PARAMETER or view.info.facts.get("trainable") is not False:
            continue
        if view.last[_ZEROS] >= view.last[_COUNT]:
            found.setdefault(str(view.info.facts.get("layer", "")), shown(name, 40))
    return found


def _handed_on(layer: LayerView, network: Network) -> list[Cause]:
    """Why a layer without weights, such as dropout or pooling, hands on zeros."""
    causes = [_no_input(layer, network)]
    if "Dropout" in layer.info.layer_type:
        live = "what it was given is not zero" if causes[0].refuted_by else ""
        drops = Cause(
            "dropout_of_everything", "It drops everything: its rate is 1.", ("use a dropout rate below 1",),
            speaks_for=(live,) if live else (), proved=bool(live),
        )  # fmt: skip
        causes.append(drops)
    return causes


def _no_input(layer: LayerView, network: Network, least: float = 0.0) -> Cause:
    """What comes in is zero already: as much of it as of what comes out, and at least the share `least`."""
    feeder = network.feeder(layer)
    says = "Its input is zero, and so is what it makes of it."
    remedies = "check that the data reaches this layer", "look at the layer before it"
    if feeder is None:
        return Cause("inputs_zero", says, remedies, *facts.inputs_zero(network))
    # What joins branches may be fed by more than was seen, so that a few zeros say nothing.
    share = _zeros(feeder)
    given = feeder.info.layer_type == layer_types.INPUT  # of which a few zeros, such as blank pixels, say nothing
    # Of so many elements that one more is lost in rounding, the counts themselves tell whether all are zero.
    whole = not math.isnan(feeder.last[_MEAN]) and feeder.last[_ZEROS] >= feeder.last[_COUNT]
    if whole or (not given and share > 0.0 and _zeros(layer) <= share >= least):
        name = "inputs_zero" if given else "handed_on"
        check = ("check what the data loader returns",) if given else remedies
        return Cause(name, says, check, (f"{percent(share)} of what {facts.named(feeder)} gave is zero",))
    live = f"{percent(1.0 - share)} of what {facts.named(feeder)} gave is not zero"
    return Cause("inputs_zero", says, remedies, refuted_by=(live,))


def _of_weights(layer: LayerView, network: Network, step: int) -> list[Cause]:
    """Why a layer with weights of its own puts out zeros."""
    layer_type = layer.info.layer_type
    no_input = _no_input(layer, network, least=1.0)
    trained = "check that its weights were initialised or loaded, and that they are trained"
    live = no_input.refuted_by
    which = "scale and shift" if layer_types.is_norm(layer_type) else "weights and biases"
    zero = Cause("weights_zero", f"Its {which} are zero.", (trained,), speaks_for=live)
    if step <= layer.start and (frozen := network.once(_frozen).get(layer.info.name)):
        zero = Cause(
            "weights_zero",
            f"Its {which} are zero, and frozen, so that they stay so.",
            (
                "load the numbers that it is meant to have, and look that they were found",
                "set requires_grad = True, for it to be learned",
            ),
            (*live, f"{frozen} is zero throughout and requires no gradient"),
        )
    if layer_types.is_norm(layer_type):
        return [_one_element(layer, network), zero, no_input]
    decay = _weight_decay(layer, layer, step)
    causes = [zero, no_input, decay]
    if layer_type in layer_types.GATED:
        shut = "Its gates are shut, so nothing passes: its inputs or its weights are too large."
        remedies = initialisation({"Tanh"}), *_normalise(network), *_lower_rate(layer, step)
        raw = facts.inputs_not_normalised(network)
        return [Cause("gates_shut", shut, remedies, raw.speaks_for), no_input]
    return causes


def _one_element(layer: LayerView, network: Network) -> Cause:
    """A normalisation over one element, which takes that from itself."""
    shape = facts.norm_of_one_element(layer, network)
    feeder = network.feeder(layer)
    zero = feeder is not None and _zeros(feeder) >= 1.0
    against = shape.refuted_by or ((f"all that {facts.named(feeder)} gave is zero",) if zero and feeder else ())
    if not shape.speaks_for and not against:
        against = ("its shape does not show over how many elements it normalises",)
    return Cause("norm_of_one_element", ONE_ELEMENT, ONE_ELEMENT_REMEDIES, shape.speaks_for, against, not against)


def _of_activation(layer: LayerView, network: Network, step: int) -> list[Cause]:
    """Why an activation is zero for every sample: what comes in is below zero."""
    before = _before(layer, network)
    head, overcomplete = _is_head(layer, network), _is_overcomplete(layer, network)
    leaky = (_SOFTPLUS,) if head else (_LEAKY,)
    norm = () if head or overcomplete else network.once(_normalisation)
    below = "the inputs of these neurons are below zero for every sample, where the gradient is zero too"
    rate = (LOWER_RATE, LESS_SPARSE) if overcomplete else (LOWER_RATE,)
    init = _INIT

    zero = facts.inputs_zero(network)
    if zero.speaks_for and (before is None or not before.last[_WITHIN] > 0.0):
        says = "The input is zero, so that only biases are left, and none of them is above zero."
        return [Cause("inputs_zero", says, ("check what the data loader returns",), *zero)]

    # A head is cured by another function; elsewhere, what went wrong comes first.
    def cure(*own: str) -> tuple[str, ...]:
        return (*leaky, *own) if head else (*own, *leaky)

    causes = [_input_scale(layer, network, (NORMALISE_INPUTS, *norm, *leaky))]
    equal = facts.inputs_equal(network)
    if equal.speaks_for:
        says = f"All samples of the input are the same, so that a neuron is on for all of them or off for all: {below}."
        causes.append(Cause("inputs_equal", says, ("check that the data differs from sample to sample",), *equal))
    if (zeros := initial_weights.all_zero(network)).speaks_for:
        causes.append(zeros._replace(proved=True))
    if _is_given_to_a_loss(layer, network):
        says = f"The network ends in it: {below}, and no loss can bring them back."
        ends = ("no activation in the last layer; a sigmoid for yes and no, a softmax for classes", _SOFTPLUS)
        causes.append(Cause("relu_output", says, ends, ("it is what the loss is given", "it is zero throughout")))
    elif (layer.info.sparse or 0.0 < _share(layer) < _SPARSE) and step > layer.start:
        sparse = f"{percent(_share(layer))} of its outputs are not zero"
        says = f"The penalty on its outputs, or the learning rate, is too large: {below}."
        remedies = LESS_SPARSE, LOWER_RATE
        causes.append(Cause("sparsity_penalty", says, remedies, (sparse, "it was not so from the start")))
    early, late = facts.before_any_update(layer, step).refuted_by, facts.after_updates(layer, step).refuted_by
    if early:
        causes.append(refuted("learning_rate", *early))
    else:
        says = f"An update that was too large (the learning rate is too high) moved the weights or biases: {below}."
        # Whatever moved weights or biases made what comes in fall: alone it says nothing of the rate.
        speaks = reckless(network)
        fell = _fall(before, layer, step) if speaks else ()
        causes.append(Cause("learning_rate", says, cure(*rate, *norm, init), fell + speaks))
    if late:
        causes.append(refuted("initialisation", *late))
    else:
        says = f"The biases or the initialisation put them there before training: {below}."
        causes.append(Cause("initialisation", says, cure(init, *norm), _far_below(before, step)))
    if before is not None:
        causes.append(_weight_decay(layer, before, step))
    return causes


def _is_given_to_a_loss(layer: LayerView, network: Network) -> bool:
    """Whether a ReLU that is zero throughout is the network's last layer, and what a loss is given."""
    name = layer.info.name
    losses = network.typed(layer_types.LOSS)
    return _zeros(layer) >= 1.0 and any(view.info.source == name for view in losses)


def _input_scale(layer: LayerView, network: Network, remedies: tuple[str, ...]) -> Cause:
    """The input's scale; by the first layer's first outputs where the input itself was not recorded."""
    says = "The inputs are not normalised, so that the first updates, or the initial weights, throw neurons below zero."
    norm = network.once(_last_norms)[layer.place]
    if norm >= 0:
        between = f"{facts.named(network.layers[norm])} normalises what it is given"
        return Cause("inputs_not_normalised", says, remedies, refuted_by=(between,))
    return Cause("inputs_not_normalised", says, remedies, *network.once(_not_normalised))


def _not_normalised(network: Network) -> facts.For:
    """What speaks for an input that is not normalised, and what against it: the same for all layers."""
    scale = facts.input_scale(network)
    if scale is not None:
        known = facts.inputs_not_normalised(network)
        if scale.large or known.refuted_by:
            return known
        return facts.For(refuted_by=("the recorded input is not large",))
    first = next((view for view in network.layers if not layer_types.is_passing(view.info.layer_type)), None)
    size = math.nan if first is None else _spread(first)
    if first is None or not size > _USUAL:
        return facts.For(refuted_by=("the first layer's outputs are no larger than a normalised input makes them",))
    if size < _LARGE:
        return facts.For(refuted_by=("the first outputs are not that large",))
    large = f"{facts.named(first)}'s first outputs differ by {number(size)}, where a normalised input makes it about 1"
    return facts.For((large,))


def _normalisation(network: Network) -> tuple[str, ...]:
    return normalisation(network.distinct_types)


def _before(layer: LayerView, network: Network) -> LayerView | None:
    """The layer whose outputs the activation is applied to; None where they were not recorded."""
    feeder = network.feeder(layer)
    if feeder is None or layer_types.is_activation(feeder.info.layer_type) or not feeder.info.layer_type:
        return None
    return None if feeder.info.layer_type == layer_types.INPUT else feeder


def _far_below(before: LayerView | None, step: int) -> tuple[str, ...]:
    """What of the first row says that what comes in began below zero."""
    if before is None or int(before.first[COLUMN["step"]]) > step:
        return ()
    mean, top, spread = (float(before.first[place]) for place in (_MEAN, _MAX, _WITHIN))
    name = facts.named(before)
    if top <= 0.0:
        return (f"all outputs of {name} are below zero in the first row ({number(mean)} on average)",)
    if mean < -_FAR * spread:
        return (
            f"the outputs of {name} are {number(mean)} on average in the first row, and differ by {number(spread)}",
        )
    return ()


def _fall(before: LayerView | None, layer: LayerView, step: int) -> tuple[str, ...]:
    """What says that what comes in fell when the neurons died."""
    if before is None or step <= layer.start:
        return ()
    later = before.since(step)
    earlier = before.rows[: len(before.rows) - len(later)]
    first = float(earlier["mean"][-min(len(earlier), 10)]) if len(earlier) else float(before.first[_MEAN])
    if not len(later):
        return ()
    last = float(np.fmin.reduce(later["mean"]))
    spread = _spread(before)
    if first - last > _FAR * spread:
        return (f"the outputs of {facts.named(before)} fell from {number(first)} to {number(last)} on average",)
    return ()


def _spread(layer: LayerView) -> float:
    """What the samples of a layer's first row differ by; NaN where there is one sample alone."""
    row = layer.first
    if row[_NEURONS] and row[_COUNT] <= row[_NEURONS]:
        return math.nan
    return float(row[_WITHIN] if row[_NEURONS] else row[COLUMN["std"]])


def _weight_decay(layer: LayerView, before: LayerView, step: int) -> Cause:
    """Weights that decay to nothing leave nothing to put out."""
    says = "Its weights decayed to nothing: the weight decay outweighs the gradient."
    remedies = "use less weight decay", "exclude this layer from it"
    start, now = row_rms(before.first), row_rms(before.last)
    if step <= layer.start or not now < _SHRUNK * start:
        return Cause("weight_decay", says, remedies, refuted_by=("its outputs did not shrink",))
    shrank = f"{facts.named(before)}'s outputs shrank from {number(start)} to {number(now)}"
    return Cause("weight_decay", says, remedies, (shrank,))


def _widest_before(network: Network) -> list[int]:
    """For each place the neurons of the widest layer before it."""
    neurons = (view.last[_NEURONS] for view in network.layers[:-1])
    return list(accumulate(neurons, max, initial=0))


def _last_norms(network: Network) -> list[int]:
    """For each place that of the last normalisation before it; -1 where there is none."""
    norms = (place if layer_types.is_norm(kind) else -1 for place, kind in enumerate(network.layer_types[:-1]))
    return list(accumulate(norms, max, initial=-1))


def _is_head(layer: LayerView, network: Network) -> bool:
    """Whether it is an output, such as a density: the last layer, or one of few neurons after wider ones."""
    neurons = layer.last[_NEURONS]
    widest = network.once(_widest_before)[layer.place]
    last = layer.place > 0 and layer.place in (network.output, len(network.layers) - 1)
    return last or 0 < neurons <= _HEAD < widest


def is_features(layer: LayerView, network: Network) -> bool:
    """Whether the neurons are features that are meant to be sparse, rather than width."""
    return layer.info.sparse or _is_overcomplete(layer, network)


def _is_overcomplete(layer: LayerView, network: Network) -> bool:
    """Whether the layers before and after are far narrower, as those of a sparse autoencoder's features are.

    Where they are the whole network, a dictionary of twice as many is one; a block of a transformer has four times.
    What comes out of a dictionary is what went in, and as wide; a hidden layer that is wider than both is width.
    """
    neurons = layer.last[_NEURONS]
    encoder = network.feeder(layer) if layer_types.is_activation(layer.info.layer_type) else layer
    given = network.feeder(encoder) if encoder is not None else None
    others = [view.last[_NEURONS] for view in network.layers[layer.place + 1 : layer.place + 2]]
    others += [given.last[_NEURONS]] if given is not None else []
    whole = encoder is not None and facts.is_first(encoder, network) and layer.place + 1 == network.output
    if len(others) > 1 and others[0] != others[1]:
        return False
    factor = _DICTIONARY if whole else _OVERCOMPLETE
    return bool(others) and all(0 < factor * other <= neurons for other in others)


def _share(layer: LayerView) -> float:
    """The share of elements other than zero in the layer's first row."""
    return 1.0 - float(layer.first[_ZEROS]) / max(float(layer.first[_COUNT]), 1.0)


def _zeros(layer: LayerView) -> float:
    """The share of zeros in the layer's last row."""
    return float(layer.last[_ZEROS]) / max(float(layer.last[_COUNT]), 1.0)


def _normalise(network: Network) -> tuple[str, ...]:
    """Whether the inputs may still have to be normalised."""
    return () if facts.inputs_not_normalised(network).refuted_by else (NORMALISE_INPUTS,)


def _lower_rate(layer: LayerView, step: int) -> tuple[str, ...]:
    return (LOWER_RATE,) if step > layer.start else ()
