"""Weights that began badly: too large, too small, all zero, of one sign, or the same for all units of a layer."""

from fastact.diagnosis import layer_types
from fastact.diagnosis.causes.cause import Cause
from fastact.diagnosis.causes.remedies import DRAW_WEIGHTS
from fastact.diagnosis.evidence import initial_weights, updates
from fastact.diagnosis.network import Network
from fastact.fields import COLUMN

_MAX, _STD = COLUMN["max"], COLUMN["std"]


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
    return tuple(names) if len(names) >= 2 else ()


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


def symmetric(network: Network) -> Cause:
    """All units of a layer began alike; nothing speaks for it where the rows do not say so."""
    alike = all_alike(network)
    said = (f"all weights of {alike[0]} were one number at first, and so were those of {alike[1]}",) if alike else ()
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
