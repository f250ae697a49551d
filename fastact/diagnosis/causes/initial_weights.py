"""Weights that began badly: too large, too small, all zero, of one sign, or the same for all units of a layer."""

from typing import Final

from fastact.diagnosis import layer_types
from fastact.diagnosis.causes.cause import Cause
from fastact.diagnosis.causes.remedies import DRAW_WEIGHTS
from fastact.diagnosis.evidence import initial_weights, updates
from fastact.diagnosis.network import Network
from fastact.fields import COLUMN

#: Units, and samples of each, of which fewer may be alike by chance; shares of the deviation of all elements that
#: samples which differ, and those that only rounding makes differ, have.
_UNITS: Final = 8
_DIFFER: Final = 0.1
_SAME: Final = 1e-5
_MAX, _STD, _WITHIN = COLUMN["max"], COLUMN["std"], COLUMN["within_std"]
_COUNT, _NEURONS = COLUMN["count"], COLUMN["neurons"]


def all_zero(network: Network) -> Cause:
    """All weights began at zero; nothing speaks for it where the rows do not say so."""
    says = "All weights began at zero, so that all units of a layer are the same, and stay so."
    return Cause("weights_zero", says, (DRAW_WEIGHTS,), initial_weights.all_zero(network).speaks_for)


def all_alike(network: Network) -> tuple[str, ...]:
    """Weight matrices of neighbouring layers that began as one number each, so that all units learn the same."""
    names = []
    for name, view in network.everything.items():
        if view.info.layer_type != layer_types.PARAMETER or not name.endswith(("weight", "kernel")):
            continue
        shape = view.info.facts.get("shape", ())
        layer = network.everything.get(view.info.facts.get("layer", ""))
        ends = shape[-2:] if name.endswith("kernel") else shape[:2]  # the units of both sides
        if len(shape) < 2 or min(ends) < 2 or layer is None or not updates.weighs(layer):
            continue
        row = view.first
        if view.oldest != view.start or not view.info.facts.get("trainable", True):
            continue
        if row[_STD] == 0.0 and row[COLUMN["mean"]] != 0.0 and not row[COLUMN["zeros"]]:
            names.append(name)
    return tuple(names) if len(names) >= 2 else network.once(alike_outputs)


def one_sided(network: Network) -> tuple[str, ...]:
    """Weight matrices of several layers that began all above zero, or below, and far from it by their deviation."""
    return network.once(_one_sided)


def _one_sided(network: Network) -> tuple[str, ...]:
    names = []
    for name, view in network.everything.items():
        if view.info.layer_type != layer_types.PARAMETER or not name.endswith(("weight", "kernel")):
            continue
        layer, row = network.everything.get(view.info.facts.get("layer", "")), view.first
        if len(view.info.facts.get("shape", ())) < 2 or layer is None or not updates.weighs(layer):
            continue
        sided = row[COLUMN["min"]] >= 0.0 or row[_MAX] <= 0.0
        if sided and row[_STD] > 0.0 and abs(row[COLUMN["mean"]]) > row[_STD] and view.oldest == view.start:
            names.append(name)
    return tuple(names) if len(names) >= 2 else ()


def alike_outputs(network: Network) -> tuple[str, ...]:
    """Layers whose first outputs show that all their units were given the same weights, biases aside.

    What a layer norm takes off is the mean over the units. Of units that differ by a number each, nothing is left that
    samples differ by.
    """
    places = {view.info.name: view for view in network.outputs}
    names = []
    for view in places.values():
        row, feeder = view.first, places.get(view.info.source)
        if feeder is None or not view.info.layer_type.startswith("LayerNorm") or row[_NEURONS] < _UNITS:
            continue
        given = feeder.first
        few = min(row[_COUNT] / row[_NEURONS], given[_COUNT] / max(given[_NEURONS], 1)) < _UNITS
        known = layer_types.has_weights(feeder.info.layer_type) and given[_NEURONS] == row[_NEURONS] and not few
        if known and given[_WITHIN] > _DIFFER * given[_STD] and 0.0 < row[_WITHIN] < _SAME * row[_STD]:
            names.append(feeder.info.name)
    return tuple(names)


def symmetric(network: Network) -> Cause:
    """All units of a layer began alike; nothing speaks for it where the rows do not say so."""
    alike = all_alike(network)
    said: tuple[str, ...] = ()
    if len(alike) > 1 and alike[0].endswith(("weight", "kernel")):
        said = (f"all weights of {alike[0]} were one number at first, and so were those of {alike[1]}",)
    elif alike:
        said = (f"the units of {alike[0]} differed by no more than a number each at first, whatever came in",)
    says = "All units of a layer began with the same weights, so that they learn the same."
    return Cause("symmetric_initialisation", says, (DRAW_WEIGHTS,), said)


def causes(network: Network) -> list[Cause]:
    """Those of these that the rows speak for."""
    made = [
        Cause(
            "initialisation",
            "The weights began so large that outputs are far too large before anything is learned.",
            ("use the framework's own initialisation, or one that keeps the scale: N(0, sqrt(1/n_in))",),
            initial_weights.too_wide(network).speaks_for,
        ),
        Cause(
            "initialisation",
            "The weights began so small that signals fade from layer to layer, and gradients with them.",
            ("use the framework's own initialisation, or one that keeps the scale: N(0, sqrt(1/n_in))",),
            initial_weights.too_narrow(network).speaks_for,
        ),
        all_zero(network),
        Cause(
            "one_sided_initialisation",
            "The initialisation draws weights of one sign, in place of about zero, so that sums grow by layer and "
            "units are nearly alike.",
            ("use the framework's own initialisation, or one about zero: U(-a, a) in place of U(0, a)",),
            (f"all weights of {sided[0]} were on one side of zero at first, and so were those of {sided[1]}",)
            if (sided := one_sided(network))
            else (),
        ),
        symmetric(network),
    ]
    return [cause for cause in made if cause.speaks_for]
