"""Softmaxes that have nothing to choose: rows that look at one place since nothing was learned, or at all alike."""

import itertools
import math
import re
from typing import Final

import numpy as np

from fastact.diagnosis import layer_types
from fastact.diagnosis.causes.cause import Cause, Verdict, best
from fastact.diagnosis.causes.remedies import NORMALISE_INPUTS, initialisation
from fastact.diagnosis.evidence import facts, softmax
from fastact.diagnosis.experts import expert_of
from fastact.diagnosis.finding import Evidence, Finding, graded
from fastact.diagnosis.network import LayerView, Network, row_rms
from fastact.fields import COLUMN
from fastact.history import LayerInfo
from fastact.text import number, percent

_STD, _MEAN = COLUMN["std"], COLUMN["mean"]

#: Names of a table of codes, where it was not seen who chose its rows.
_CODEBOOK: Final = re.compile(r"code_?book|quanti[sz]|(^|[._])r?vq", re.IGNORECASE)

#: The row conditions of `rules.collapsed` that are asked here.
AT_ONE_PLACE: Final = "at_one_place"
AT_FEW_PLACES: Final = "at_few_places"
AT_ALL_PLACES: Final = "at_all_places"

#: Places. Over fewer, one that is chosen is nothing to wonder at.
_LEAST_PLACES: Final = 4
#: Classes, likewise.
_LEAST_CLASSES: Final = 2.5
#: Root mean square. What feeds an output has learned to be sure of the classes below; above, it was made so.
_LARGE_SCORES: Final = 10.0
#: Standard deviation of scores. Softmaxes of such scores are near one place.
_WIDE_SCORES: Final = 5.0
#: Factor. Scores that are so many times what a scale of 1/sqrt(features) makes them were not scaled down.
_TOO_MUCH: Final = 4.0
#: Share of the rows that have a weight above 0.99.
_SURE: Final = 0.25
#: Root mean square. Queries and keys above this are large themselves.
_LARGE: Final = 5.0
#: Root mean square. A first layer above was given large inputs, or has large weights itself.
_LARGE_FIRST: Final = 3.0
#: Standard deviation of the weights over their mean. Scores that differ so little give no gradient to speak of.
_EVEN: Final = 1e-3
#: Factor. What has grown by more since its first row is on its way.
_GROWN: Final = 1.5


def at_one_place(layer: LayerView, network: Network, limits: tuple[float, float], rows: int) -> Finding | None:
    """The finding for a softmax whose rows have looked at one place each since the first of them.

    Args:
        layer: the softmax.
        network: all layers.
        limits: of the concentration, where queries and keys explain it, and elsewhere.
        rows: for so long it must have been so.
    """
    known = _scores_are_wide(layer, network)
    least = limits[0] if known else limits[1]
    streak = layer.streaks.get(AT_FEW_PLACES if known else AT_ONE_PLACE)
    if streak is None or streak.rows < rows or streak.step > layer.start:
        return None
    places, first = softmax.length(layer.first), softmax.row_concentration(layer.first)
    now = float(np.median(softmax.concentration(layer.rows[-rows:])))
    output = layer.place >= network.output and layer.info.layer_type != "MultiheadAttention"
    if output:
        feeder = network.feeder(layer)
        large = feeder is not None and row_rms(feeder.first) >= _LARGE_SCORES
        if not (large and places >= _LEAST_CLASSES and min(first, now) >= least):
            return None
    else:
        sharp, attentions = network.once(_sharp)
        if not (places >= _LEAST_PLACES and 2 * sharp >= attentions and now >= least):
            return None
    sure = _sure(layer)
    evidence = Evidence(concentration=now, concentration_at_first=first, places=places, rows_above_99_percent=sure)
    what = "it is sure of one class for each sample" if output else f"each row looks at one of {places:,.0f} places"
    message = (
        f"{layer.name} has been collapsed since step {layer.start}: {what} (E[x²]/E[x] is {number(now)}, and "
        f"{percent(sure)} of the rows have a weight above 0.99), though nothing had been learned."
    )
    verdict = _why_one_place(layer, network, output=output)
    severity = graded(serious=now >= 0.9, critical=False)
    return verdict.finding(layer.info.name, "collapsed", severity, layer.start, evidence, message)


def scaled_up(layer: LayerView, network: Network, rows: int) -> Finding | None:
    """The finding for attention, called as a function, whose scale makes its scores too large for the softmax.

    Its weights are not seen, but its scale is, and the layer that made queries and keys: products of two that are as
    large, over the features of a head.
    """
    scale, features = (float(layer.info.facts.get(name, 0.0)) for name in ("scale", "features"))
    source = network.everything.get(layer.info.source)
    usual = scale * math.sqrt(features)
    if source is None or usual < _TOO_MUCH or len(layer.rows) < rows:
        return None
    scores = scale * math.sqrt(features) * row_rms(source.first) ** 2
    if not scores >= _WIDE_SCORES:
        return None
    message = (
        f"{layer.name} has been collapsed since step {layer.start}: its scale is {number(scale)}, so that its scores "
        f"are about {number(scores)} and each row looks at one place, though nothing had been learned."
    )
    evidence = Evidence(scale=scale, features=features, scores=scores)
    cause = _scale_cause(
        (
            f"the scale is {number(scale)}, and 1/sqrt({features:,.0f}) is {number(features**-0.5)}",
            f"{facts.named(source)} has an rms of {number(row_rms(source.first))}",
        )
    )
    told = best([cause._replace(proved=True)])
    return told.finding(layer.info.name, "collapsed", "warning", layer.start, evidence, message)


def _sure(layer: LayerView) -> float:
    """The share of a softmax's rows that have a weight above 0.99."""
    last = layer.rows[-1]
    return min(float(last["saturated"]) / max(float(last["count"]) * float(last["mean"]), 1.0), 1.0)


def _scores_are_wide(layer: LayerView, network: Network) -> bool:
    """Whether products of the queries and keys before a softmax are known to be too large for it."""
    pair = _query_and_key(layer, network)
    if pair is None or layer.place >= network.output:
        return False
    scores = row_rms(pair[0].first) * row_rms(pair[1].first) * math.sqrt(_width(pair[0]))
    return scores >= _WIDE_SCORES and _sure(layer) >= _SURE


def _sharp(network: Network) -> tuple[int, int]:
    """How many of the softmaxes within the network have looked at one place since their first row, and how many are."""
    within = [
        layer
        for layer in network.layers
        if softmax.is_softmax(layer.info)
        and (layer.place < network.output or layer.info.layer_type == "MultiheadAttention")
    ]
    streaks = [
        (layer.streaks.get(AT_FEW_PLACES if _scores_are_wide(layer, network) else AT_ONE_PLACE), layer.start)
        for layer in within
    ]
    return sum(streak is not None and streak.step <= start for streak, start in streaks), len(within)


def _scale_cause(speaks_for: tuple[str, ...], refuted_by: tuple[str, ...] = ()) -> Cause:
    return Cause(
        "attention_scale",
        "The scores are too large for the softmax: they are products over many neurons without the scale of "
        "1/sqrt(neurons).",
        ("divide the scores by the square root of the neurons of a head", "normalise queries and keys"),
        speaks_for,
        refuted_by,
    )


def _why_one_place(layer: LayerView, network: Network, *, output: bool) -> Verdict:
    if is_router(layer, network):
        return best([router_cause(layer, network)])
    pair = _query_and_key(layer, network)
    raw = facts.inputs_not_normalised(network)
    causes = []
    if not output:
        large = pair is not None and max(row_rms(each.first) for each in pair) > _LARGE
        said: tuple[str, ...] = ()
        against: tuple[str, ...] = ()
        if pair is not None:
            size = _width(pair[0])
            names = " and ".join(facts.named(each) for each in pair)
            product = row_rms(pair[0].first) * row_rms(pair[1].first) * math.sqrt(size)
            if large:
                against = (f"{names} are large themselves",)
            else:
                said = (
                    f"products of {names} are about {number(product)}, {number(product / math.sqrt(size))} with it",
                )
        causes.append(_scale_cause(said, against))
    scores = network.feeder(layer)
    weighted = next((each for each in network.layers if layer_types.has_weights(each.info.layer_type)), None)
    large_first: tuple[str, ...] = ()
    if weighted is not None and row_rms(weighted.first) > _LARGE_FIRST:
        first = f"the first layer with weights, {facts.named(weighted)}"
        large_first = (f"{first}, has an rms of {number(row_rms(weighted.first))}",)
    large_scores: tuple[str, ...] = ()
    if scores is not None and scores.info.layer_type not in layer_types.PROBABILITIES:
        large_scores = (f"{facts.named(scores)}, which feeds it, has an rms of {number(row_rms(scores.first))}",)
    causes += [
        Cause(
            "inputs_not_normalised",
            "The inputs are large, and so are the scores that the softmax is given.",
            (NORMALISE_INPUTS, "normalise before the layer that makes the scores"),
            raw.speaks_for + large_first,
            raw.refuted_by,
        ),
        Cause(
            "initialisation",
            "The weights were initialised too large, and so are the scores that the softmax is given.",
            (initialisation(network.distinct_types), "normalise before the layer that makes the scores"),
            large_scores if output and not (large_first or raw.speaks_for) else (),
        ),
    ]
    return best(causes)


#: What gives its samples to one expert alone.
BALANCE: Final = (
    "add a load-balancing loss for the experts, or raise its weight",
    "add noise to the router's scores, or limit how many tokens an expert takes",
    "use fewer experts",
)


def router_cause(layer: LayerView, network: Network) -> Cause:
    """The cause of a router's softmax that leaves its experts no choice."""
    scores = network.feeder(layer)
    said: tuple[str, ...] = ("its network has experts to choose from",)
    if scores is not None:
        said += (f"{facts.named(scores)}, which feeds it, has an rms of {number(row_rms(scores.first))}",)
    says = (
        "The router's scores are so far apart that each sample goes to one expert alone, whose weight is 1: no "
        "gradient tells the router of the others."
    )
    remedies = (
        "initialise the router's weights and biases smaller, or normalise what it is given",
        *BALANCE,
    )
    return Cause("router", says, remedies, said)


def is_codebook(info: LayerInfo) -> bool:
    """Whether a layer chose the rows that are counted here, rather than the data; by its name where that was not seen.

    A quantiser that compares detached outputs with detached codes leaves nothing to see.
    """
    return info.layer_type == layer_types.USAGE or _CODEBOOK.search(info.name) is not None


def is_router(layer: LayerView, network: Network) -> bool:
    """Whether a softmax shares samples out among experts: one that lies before those of a mixture, in its module."""
    module = layer.info.name.rpartition(".")[0]
    return any(
        place > layer.place and (not module or mixture.startswith(_outer(module)))
        for mixture, place in network.once(_mixtures).items()
    )


def _outer(module: str) -> str:
    """The module that a router's module is in: ``block.1.`` of ``block.1.gate``; "" for one of the model's own."""
    outer = module.rpartition(".")[0]
    return f"{outer}." if outer else ""


def _mixtures(network: Network) -> dict[str, int]:
    """The place of the first layer of each mixture's experts."""
    found: dict[str, int] = {}
    for view in network.layers:
        known = expert_of(view.info.name)
        if known is not None:
            found.setdefault(known[0], view.place)
    return found


def _query_and_key(layer: LayerView, network: Network) -> tuple[LayerView, LayerView] | None:
    """The last two layers of equal width in the module of a softmax: its scores are likely their products."""
    module = layer.info.name.rpartition(".")[0]
    near = [
        other
        for other in network.layers[max(layer.place - 4, 0) : layer.place]
        if other.info.layer_type.startswith(("Linear", "Dense")) and other.info.name.rpartition(".")[0] == module
    ]
    pairs = [pair for pair in itertools.pairwise(near) if _width(pair[0]) == _width(pair[1])]
    return pairs[-1] if pairs else None


def _width(layer: LayerView) -> int:
    return int(layer.rows[-1]["neurons"])


def at_all_places(layer: LayerView, network: Network, rows: int) -> Finding | None:
    """The finding for attention that has weighted all places alike for long, while other layers have changed."""
    streak = layer.streaks.get(AT_ALL_PLACES)
    if streak is None or streak.rows < rows or layer.place >= network.output:
        return None
    places = softmax.length(layer.first)
    if not places >= _LEAST_PLACES or not _changed(network):
        return None
    last = layer.rows[-1]
    uneven = float(last["std"]) / float(last["mean"])
    first = layer.first[_STD] / layer.first[_MEAN]
    if uneven > max(_GROWN * first, _EVEN) and streak.step <= layer.start:
        return None
    evidence = Evidence(concentration=float(last["mean"]) * (1.0 + uneven * uneven), places=places, unevenness=uneven)
    message = (
        f"{layer.name} has been collapsed since step {streak.step}: each row weights all {places:,.0f} places "
        f"alike (they differ by {percent(uneven)})."
    )
    later = facts.after_updates(layer, streak.step).refuted_by
    causes = [
        Cause(
            "attention_scale",
            "The scores are too small for the softmax: they are scaled down too far, or their weights are almost zero.",
            ("check the scale of the scores: divide by the square root of the neurons of a head, once",),
        ),
        Cause(
            "initialisation",
            "The weights that make the scores were initialised too small.",
            (initialisation({"Tanh"}),),
            (),
            later,
        ),
    ]
    return best(causes).finding(layer.info.name, "collapsed", "warning", streak.step, evidence, message)


def _changed(network: Network) -> bool:
    """Whether a layer with weights is another size than at first, so that there is something to learn."""
    sizes = [facts.size(layer) for layer in network.layers if layer_types.has_weights(layer.info.layer_type)]
    return any(size > 1.25 or size < 0.8 for size in sizes)
