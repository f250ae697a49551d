"""Why a layer, or the input, changed at once: the hypotheses of `rules.Drifting`."""

from typing import Final

import numpy as np

from fastact.diagnosis import layer_types
from fastact.diagnosis.causes.cause import Cause
from fastact.diagnosis.causes.other_data import data_changed
from fastact.diagnosis.causes.remedies import CLIP_GRADIENTS, LOWER_RATE
from fastact.diagnosis.evidence import data_shift, facts
from fastact.diagnosis.network import LayerView, Network
from fastact.text import number, shown

LOOK: Final = "look at what changed at that step: the data, a schedule, a checkpoint"

#: Rows in whose extremes it is looked for what makes an input, and the share of them that must agree.
_ROWS: Final = 10
_MOST: Final = 0.5
#: Factor. A layer that grew by so much more than what it is given has other weights, or another bias.
_ALONE: Final = 10.0
#: The same of a learning rate from row to row; warm-ups rise by less.
_FASTER: Final = 10.0


def causes(layer: LayerView, network: Network, step: int, slack: int, steady_within: float) -> tuple[Cause, ...]:
    """What can have changed a layer at once, the likeliest first.

    Args:
        layer: the layer.
        network: all layers.
        step: that of the change.
        slack: steps by which the input may have changed before.
        steady_within: a layer whose rms stays within this factor has not changed.
    """
    given = data_changed()
    first = facts.is_first(layer, network)
    if network.input is not None:
        known = facts.data_changed(network, step, float(slack))
        given = given._replace(speaks_for=known.speaks_for, refuted_by=known.refuted_by)
    elif first:
        given = given._replace(speaks_for=("it is the first layer that changed",))
    alone = by_itself(layer, network, step)
    if alone:
        given = given._replace(refuted_by=(*given.refuted_by, *alone))
    weighted = layer.place > network.once(_first_with_weights)
    steady = layer.place <= network.once_for(_first_unsteady, steady_within)
    changed = ("the data is on another scale since then",) if given.speaks_for and not first else ()
    faster = rate_rose(network, step)
    replaced = Cause(
        "weights_replaced",
        "Its weights were changed at that step from outside: by a checkpoint, a rescaling, or as layers were thawed.",
        ("look at what the code did to the weights at that step",),
        (("the layers before it, which every update moves too, stay as they are",) if weighted and steady else ())
        + alone,
        (*faster, *(() if alone else changed)),
    )
    rate = Cause(
        "learning_rate",
        "An update at that step was far too large.",
        (CLIP_GRADIENTS, LOWER_RATE),
        faster,
        (() if alone else changed) + facts.before_any_update(layer, step).refuted_by,
    )
    return given, replaced, rate


def _first_with_weights(network: Network) -> int:
    """The place of the first layer with weights; that after the last one where none has any."""
    places = (place for place, kind in enumerate(network.layer_types) if layer_types.has_weights(kind))
    return next(places, len(network.layers))


def _first_unsteady(network: Network, within: float) -> int:
    """The place of the first layer whose rms does not stay within a factor; that after the last one likewise."""
    places = (place for place, span in enumerate(network.range) if span >= within)
    return next(places, len(network.layers))


def rate_rose(network: Network, step: int) -> tuple[str, ...]:
    """What says that a learning rate rose many times over just then: between rows of an optimiser around the step."""
    for view in network.typed(layer_types.OPTIMISER):
        rates = np.asarray(view.rows["max"], np.float64)
        place = int(view.rows["step"].searchsorted(step))
        for at in (place, place - 1):
            if 0 < at < len(rates) and rates[at] >= _FASTER * rates[at - 1] > 0.0:
                return (f"the learning rate rose {number(rates[at] / rates[at - 1])} times about then",)
    return ()


def comes_and_goes(layer: LayerView, network: Network, step: int, factor: float) -> bool:
    """Whether in some rows since a step the recorded input is on another scale, and in others as before, by turns.

    Then a layer is as what it is given, and no change of it stays.
    """
    given = network.input
    if given is None or given is layer:
        return False
    scale, place = network.scale(given), int(given.rows["step"].searchsorted(step))
    before, after = np.sort(scale[:place]), scale[place:]
    if not len(before) or len(after) < 2:
        return False
    usual = before[len(before) // 2]
    off = (after >= factor * usual) | (after * factor <= usual)
    return bool(off.any() and not off[1:].all())


def by_itself(layer: LayerView, network: Network, step: int) -> tuple[str, ...]:
    """What says that a layer changed by far more in a step than what it was given."""
    feeder = network.feeder(layer)
    if feeder is None or layer.info.source != feeder.info.name or not layer_types.has_weights(layer.info.layer_type):
        return ()
    own, given = (data_shift.change(view, step) for view in (layer, feeder))
    if not (own >= _ALONE * given and given > 0.0):
        return ()
    return (f"it grew {number(own)} times in that step, and what {facts.named(feeder)} gives it {number(given)} times",)


def of_outputs(network: Network, step: int) -> Cause | None:
    """Where nothing is known of targets, what comes in may follow from what was put out: an agent's observations.

    A layer whose weights changed in the very step in which the input did made it so.
    """
    types = {view.info.layer_type for view in network.everything.values()}
    if not types.isdisjoint((layer_types.TARGET, layer_types.BASELINE)):
        return None
    changed = next((view for view in network.layers[1:] if by_itself(view, network, step)), None)
    if changed is None:
        return None
    says = f"What the network is given follows from what it puts out: {shown(changed.info.name)} changed in that step."
    said = (f"{facts.named(changed)} changed by far more than what it is given, in the same step",)
    return Cause("own_outputs", says, (f"look at {shown(changed.info.name)}", LOOK), said)


def made_by(network: Network) -> dict[int, int]:
    """By the place of a part's recorded input, that of the last layer of another part, which makes it, or some of it.

    A critic is given what a generator put out: as many neurons, and in most rows the same extremes to the last digit.
    """
    return network.once(_made_by)


def _made_by(network: Network) -> dict[int, int]:
    inputs = [view for view in network.layers[1:] if view.info.layer_type == layer_types.INPUT]
    found: dict[int, int] = {}
    for given in inputs:
        own = _part(given)
        for view in reversed(network.layers[: given.place]):
            last = network.layers[view.place + 1]
            ends = _part(last) != _part(view)
            if ends and _part(view) != own and _same_extremes(view, given):
                found[given.place] = view.place
                break
    return found


def _part(view: LayerView) -> str:
    return view.info.name.partition(".")[0]


def _same_extremes(made: LayerView, given: LayerView) -> bool:
    rows = made.rows[-_ROWS:], given.rows[-_ROWS:]
    if len(rows[0]) != len(rows[1]) or (rows[0]["step"] != rows[1]["step"]).any():
        return False
    if not (rows[0]["neurons"] == rows[1]["neurons"]).all() or (rows[0]["min"] >= rows[0]["max"]).any():
        return False
    same = (rows[0]["min"] == rows[1]["min"]) | (rows[0]["max"] == rows[1]["max"])
    return bool(same.mean() > _MOST)


def of_part(made: LayerView) -> Cause:
    """What another part put out changed, and so what this one is given."""
    name = facts.named(made)
    says = f"What it is given is made by {name}, which changed: no data did."
    return Cause("own_outputs", says, (f"look at {name}", LOOK), (f"its extremes are those of {name}",))


def runs_away(made: LayerView, given: LayerView) -> Cause:
    """A part that another one is to judge, and that leaves all that the other one knows."""
    says = (
        "It runs away from the part that is given its outputs, which learns too slowly or too seldom to hold it: their "
        "learning rates are out of balance."
    )
    remedies = (
        f"train {shown(_part(given))} more often, or at a higher rate",
        f"use a lower learning rate for {shown(_part(made))}",
    )
    return Cause("learning_rate", says, remedies, (f"{facts.named(given)} is what it puts out, in part or all of it",))
