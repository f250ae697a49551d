"""Why an activation is zero for every sample: the hypotheses, each with what in the rows speaks for it and against."""

import math
from itertools import accumulate
from typing import Final, NamedTuple

import numpy as np

from fastact.diagnosis import layer_types
from fastact.diagnosis.causes import initial_weights
from fastact.diagnosis.causes.cause import Cause, Verdict, best, refuted
from fastact.diagnosis.causes.remedies import (
    LOWER_RATE,
    NORMALISE_INPUTS,
    initialisation,
    normalisation,
)
from fastact.diagnosis.evidence import facts
from fastact.diagnosis.evidence.learning_rate import reckless
from fastact.diagnosis.network import LayerView, Network, row_rms
from fastact.fields import COLUMN
from fastact.text import number, percent

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


class _Asked(NamedTuple):
    """All that is asked of an activation that is zero for every sample: where it is the same, so are the causes.

    Attributes:
        step: since when.
        early, late: what speaks against causes that need updates, and against those that need none.
        head, overcomplete, ends: whether it is an output; a dictionary of features; given to a loss.
        before: whether what the activation is applied to was recorded.
        blank: whether it may differ from sample to sample no more than its biases do.
        norm: the place of the last normalisation before it; -1 where there is none.
        sparse: what says that it was meant to be sparse, and was not so from the start; else "".
        fell, below, shrank: what says that what comes in fell; began far below zero; decayed.
    """

    step: int
    early: tuple[str, ...]
    late: tuple[str, ...]
    head: bool
    overcomplete: bool
    ends: bool
    before: bool
    blank: bool
    norm: int
    sparse: str
    fell: tuple[str, ...]
    below: tuple[str, ...]
    shrank: tuple[str, ...]


def _asked(layer: LayerView, network: Network, step: int) -> _Asked:
    before, share = _before(layer, network), _share(layer)
    sparse = step > layer.start and (layer.info.sparse or 0.0 < share < _SPARSE)
    return _Asked(
        step,
        facts.before_any_update(layer, step).refuted_by,
        facts.after_updates(layer, step).refuted_by,
        _is_head(layer, network),
        _is_overcomplete(layer, network),
        _is_given_to_a_loss(layer, network),
        before is not None,
        before is None or not before.last[_WITHIN] > 0.0,
        network.once(_last_norms)[layer.place],
        f"{percent(share)} of its outputs are not zero" if sparse else "",
        # Whatever moved weights or biases made what comes in fall: alone it says nothing of the rate.
        _fall(before, layer, step) if reckless(network) else (),
        _far_below(before, step),
        () if before is None else shrank(layer, before, step),
    )


def verdict(layer: LayerView, network: Network, step: int) -> Verdict:
    """The likeliest cause of what has been zero since `step`."""
    return network.once_for(_verdict, _asked(layer, network, step))


def _verdict(network: Network, asked: _Asked) -> Verdict:
    """Why an activation is zero for every sample: what comes in is below zero."""
    return best(_causes_of_activation(network, asked), ("initialise the layer before it anew",))


def _causes_of_activation(network: Network, asked: _Asked) -> list[Cause]:
    head, overcomplete = asked.head, asked.overcomplete
    leaky = (_SOFTPLUS,) if head else (_LEAKY,)
    norm = () if head or overcomplete else network.once(_normalisation)
    below = "the inputs of these neurons are below zero for every sample, where the gradient is zero too"
    rate = (LOWER_RATE, LESS_SPARSE) if overcomplete else (LOWER_RATE,)
    init = _INIT

    zero = facts.inputs_zero(network)
    if zero.speaks_for and asked.blank:
        says = "The input is zero, so that only biases are left, and none of them is above zero."
        return [Cause("inputs_zero", says, ("check what the data loader returns",), *zero)]

    # A head is cured by another function; elsewhere, what went wrong comes first.
    def cure(*own: str) -> tuple[str, ...]:
        return (*leaky, *own) if head else (*own, *leaky)

    causes = [_input_scale(network, asked.norm, (NORMALISE_INPUTS, *norm, *leaky))]
    equal = facts.inputs_equal(network)
    if equal.speaks_for:
        says = f"All samples of the input are the same, so that a neuron is on for all of them or off for all: {below}."
        causes.append(Cause("inputs_equal", says, ("check that the data differs from sample to sample",), *equal))
    if (none := initial_weights.all_zero(network)).speaks_for:
        causes.append(none._replace(proved=True))
    if asked.ends:
        says = f"The network ends in it: {below}, and no loss can bring them back."
        ends = ("no activation in the last layer; a sigmoid for yes and no, a softmax for classes", _SOFTPLUS)
        causes.append(Cause("relu_output", says, ends, ("it is what the loss is given", "it is zero throughout")))
    elif asked.sparse:
        says = f"The penalty on its outputs, or the learning rate, is too large: {below}."
        remedies = LESS_SPARSE, LOWER_RATE
        causes.append(Cause("sparsity_penalty", says, remedies, (asked.sparse, "it was not so from the start")))
    if asked.early:
        causes.append(refuted("learning_rate", *asked.early))
    else:
        says = f"An update that was too large (the learning rate is too high) moved the weights or biases: {below}."
        causes.append(Cause("learning_rate", says, cure(*rate, *norm, init), asked.fell + reckless(network)))
    if asked.late:
        causes.append(refuted("initialisation", *asked.late))
    else:
        says = f"The biases or the initialisation put them there before training: {below}."
        causes.append(Cause("initialisation", says, cure(init, *norm), asked.below))
    if asked.before:
        causes.append(weight_decay(asked.shrank))
    return causes


def _is_given_to_a_loss(layer: LayerView, network: Network) -> bool:
    """Whether a ReLU that is zero throughout is the network's last layer, and what a loss is given."""
    name = layer.info.name
    losses = network.typed(layer_types.LOSS)
    return zeros(layer) >= 1.0 and any(view.info.source == name for view in losses)


def _input_scale(network: Network, norm: int, remedies: tuple[str, ...]) -> Cause:
    """The input's scale; by the first layer's first outputs where the input itself was not recorded."""
    says = "The inputs are not normalised, so that the first updates, or the initial weights, throw neurons below zero."
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


def weight_decay(shrank: tuple[str, ...]) -> Cause:
    """Weights that decay to nothing leave nothing to put out."""
    says = "Its weights decayed to nothing: the weight decay outweighs the gradient."
    remedies = "use less weight decay", "exclude this layer from it"
    against = () if shrank else ("its outputs did not shrink",)
    return Cause("weight_decay", says, remedies, shrank, against)


def shrank(layer: LayerView, before: LayerView, step: int) -> tuple[str, ...]:
    """What says that what comes in decayed to next to nothing, until the layer was sick at `step`."""
    start, now = row_rms(before.first), row_rms(before.last)
    if step <= layer.start or not now < _SHRUNK * start:
        return ()
    return (f"{facts.named(before)}'s outputs shrank from {number(start)} to {number(now)}",)


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
    if max(others, default=neurons) * _DICTIONARY > neurons:  # most, asked no further
        return False
    whole = encoder is not None and facts.is_first(encoder, network) and layer.place + 1 == network.output
    if len(others) > 1 and others[0] != others[1]:
        return False
    factor = _DICTIONARY if whole else _OVERCOMPLETE
    return bool(others) and all(0 < factor * other <= neurons for other in others)


def _share(layer: LayerView) -> float:
    """The share of elements other than zero in the layer's first row."""
    return 1.0 - float(layer.first[_ZEROS]) / max(float(layer.first[_COUNT]), 1.0)


def zeros(layer: LayerView) -> float:
    """The share of zeros in the layer's last row."""
    return float(layer.last[_ZEROS]) / max(float(layer.last[_COUNT]), 1.0)
