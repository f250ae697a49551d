"""Why a layer lies at its bounds: the hypotheses of `rules.Saturated`."""

import math
from typing import Final, NamedTuple

from fastact.diagnosis import layer_types
from fastact.diagnosis.causes import changes
from fastact.diagnosis.causes.cause import Cause, Verdict, best
from fastact.diagnosis.causes.remedies import (
    CLIP_GRADIENTS,
    LOWER_RATE,
    NORMALISE_INPUTS,
    initialisation,
    normalisation,
)
from fastact.diagnosis.evidence import facts, gates
from fastact.diagnosis.evidence.learning_rate import reckless
from fastact.diagnosis.network import LayerView, Network
from fastact.fields import COLUMN
from fastact.text import number

_MEAN, _MIN, _MAX = COLUMN["mean"], COLUMN["min"], COLUMN["max"]

_FLAT: Final = "The layer's inputs lie where the activation is flat and its gradient almost zero"


def verdict(layer: LayerView, network: Network, step: int, *, adversary: bool) -> Verdict:
    """The likeliest of what can have driven a layer to its bounds."""
    return best(_causes(layer, network, step, adversary=adversary))


def _causes(layer: LayerView, network: Network, step: int, *, adversary: bool) -> list[Cause]:
    """What could have driven it to its bounds, the likeliest first."""
    if adversary:
        says = (
            "The discriminator tells real samples from generated ones perfectly; where its sigmoid is flat, the "
            "generator gets no gradient."
        )
        remedies = (
            "train the discriminator at a lower rate or less often", "smooth the labels (0.9 for real samples)",
            "add noise to the discriminator's inputs", "use a hinge or Wasserstein loss on its logits",
        )  # fmt: skip
        seen = ("it ends the model that tells real samples from those that another model makes",)
        return [Cause("discriminator_wins", says, remedies, seen)]
    known = network.once_for(_known, layer.info.layer_type, layer.place == network.output)
    feeder = network.feeder(layer)
    fed: tuple[str, ...] = ()
    if feeder is not None and layer.info.layer_type in layer_types.BOUNDED:
        top = max(-feeder.last[_MIN], feeder.last[_MAX])
        if top > 5.0 and not math.isnan(feeder.last[_MEAN]):
            fed = (f"{facts.named(feeder)} before it reaches {number(top)}",)
    start, later = facts.after_updates(layer, step), facts.before_any_update(layer, step)
    inputs, initial, rate = known.inputs, known.initial, known.rate
    # The likelier one needs no more than one clause: what reaches the layer is the same for all of them.
    return [
        Cause(inputs.name, inputs.says, inputs.remedies, inputs.speaks_for + fed, inputs.refuted_by),
        Cause("data_changed", _CHANGED, _LOOK, *_changed(layer, network, step)),
        Cause(initial.name, initial.says, initial.remedies, fed + gates.kept_states(layer, network), start.refuted_by),
        Cause(rate.name, rate.says, rate.remedies, fed + rate.speaks_for, later.refuted_by),
    ]


_CHANGED: Final = f"The data has been on another scale since then. {_FLAT}."
_LOOK: Final = (NORMALISE_INPUTS, "look at what changed in the data at that step")
_GREW: Final = (
    "The weights before it grew during training (the learning rate is too high) until its inputs lay where the "
    "activation is flat and its gradient almost zero."
)


class _Known(NamedTuple):
    """The hypotheses as far as they are the same for all layers of a type."""

    inputs: Cause
    initial: Cause
    rate: Cause


def _known(network: Network, layer_type: str, output: bool) -> _Known:
    rest = _remedies(network, layer_type, output=output)
    scale = facts.input_scale(network)
    given = facts.inputs_not_normalised(network)
    if scale is not None and not scale.large:
        given = facts.For(refuted_by=given.refuted_by or ("the recorded input is small",))
    unseen = "" if scale is not None else ", or the data is not normalised"
    others = tuple(each for each in rest if each != NORMALISE_INPUTS)
    return _Known(
        Cause(
            "inputs_not_normalised", f"The inputs are not normalised. {_FLAT}.", rest, given.speaks_for,
            given.refuted_by or (() if scale is not None else ("the input was not recorded",)),
        ),
        Cause(
            "initialisation", f"The weights were initialised too large{unseen}. {_FLAT}.",
            rest if scale is None else others,
        ),
        Cause("learning_rate", _GREW, (LOWER_RATE, CLIP_GRADIENTS, *others), reckless(network)),
    )  # fmt: skip


def _changed(layer: LayerView, network: Network, step: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    known = facts.data_changed(network, step, slack=1.0)
    feeder = network.feeder(layer)
    alone = changes.by_itself(feeder, network, step) if feeder is not None and known.speaks_for else ()
    if alone:
        return (), alone
    if not known.speaks_for:
        return (), known.refuted_by or ("no change of the data was recorded",)
    return (*known.speaks_for, "it began in that step"), ()


def _remedies(network: Network, layer_type: str, *, output: bool) -> tuple[str, ...]:
    normalise = normalisation(network.distinct_types)
    if layer_type in layer_types.RECURRENT:  # what ReLU and batch normalisation do not fit
        return NORMALISE_INPUTS, initialisation({"Tanh"}), "use layer normalisation in the recurrent layer"
    if layer_type == "ReLU6":
        return NORMALISE_INPUTS, "use ReLU, which has no upper bound", initialisation({"ReLU"}), *normalise
    if output:
        return NORMALISE_INPUTS, "start with small weights in the last layer (a hundredth of the usual)"
    if layer_types.is_gate(layer_type, network.distinct_types) or facts.uses_relu(network):
        return NORMALISE_INPUTS, initialisation({"Sigmoid"}), *normalise
    return NORMALISE_INPUTS, initialisation({"Tanh"}), *normalise, "use ReLU, which does not saturate above zero"
