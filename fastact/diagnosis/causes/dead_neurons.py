"""Why neurons died: the hypotheses, each with what in the rows speaks for it and against it."""

import math

from fastact.diagnosis import layer_types
from fastact.diagnosis.causes import dead_activation
from fastact.diagnosis.causes.cause import Cause, Verdict, best
from fastact.diagnosis.causes.dead_activation import zeros
from fastact.diagnosis.causes.non_finite_layer import computed_zero
from fastact.diagnosis.causes.remedies import (
    LOWER_RATE,
    NORMALISE_INPUTS,
    ONE_ELEMENT,
    ONE_ELEMENT_REMEDIES,
    initialisation,
)
from fastact.diagnosis.evidence import facts
from fastact.diagnosis.network import LayerView, Network
from fastact.fields import COLUMN
from fastact.text import percent, shown

_COUNT, _ZEROS, _MAX, _MEAN = COLUMN["count"], COLUMN["zeros"], COLUMN["max"], COLUMN["mean"]
_WITHIN, _NEURONS = COLUMN["within_std"], COLUMN["neurons"]


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
    return dead_activation.verdict(layer, network, step)


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
    share = zeros(feeder)
    given = feeder.info.layer_type == layer_types.INPUT  # of which a few zeros, such as blank pixels, say nothing
    # Of so many elements that one more is lost in rounding, the counts themselves tell whether all are zero.
    whole = not math.isnan(feeder.last[_MEAN]) and feeder.last[_ZEROS] >= feeder.last[_COUNT]
    if whole or (not given and share > 0.0 and zeros(layer) <= share >= least):
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
    decay = dead_activation.weight_decay(dead_activation.shrank(layer, layer, step))
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
    zero = feeder is not None and zeros(feeder) >= 1.0
    against = shape.refuted_by or ((f"all that {facts.named(feeder)} gave is zero",) if zero and feeder else ())
    if not shape.speaks_for and not against:
        against = ("its shape does not show over how many elements it normalises",)
    return Cause("norm_of_one_element", ONE_ELEMENT, ONE_ELEMENT_REMEDIES, shape.speaks_for, against, not against)


def _normalise(network: Network) -> tuple[str, ...]:
    """Whether the inputs may still have to be normalised."""
    return () if facts.inputs_not_normalised(network).refuted_by else (NORMALISE_INPUTS,)


def _lower_rate(layer: LayerView, step: int) -> tuple[str, ...]:
    return (LOWER_RATE,) if step > layer.start else ()
