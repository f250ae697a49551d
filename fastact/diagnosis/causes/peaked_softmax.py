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
from fastact.history import LayerInfo
from fastact.text import number, percent

#: Names of a table of codes, where it was not seen who chose its rows.
_CODEBOOK: Final = re.compile(r"code_?book|quanti[sz]|(^|[._])r?vq", re.IGNORECASE)

#: The row conditions of `rules.collapsed` that are asked here.
AT_ONE_PLACE: Final = "at_one_place"
AT_FEW_PLACES: Final = "at_few_places"
AT_ALL_PLACES: Final = "at_all_places"

#: Places. Over fewer, one that is chosen is nothing to wonder at.
LEAST_PLACES: Final = 4
#: Classes, likewise.
_LEAST_CLASSES: Final = 2.5
#: Root mean square. What feeds an output has learned to be sure of the classes below; above, it was made so.
_LARGE_SCORES: Final = 10.0
#: Standard deviation of scores. Softmaxes of such scores are near one place.
WIDE_SCORES: Final = 5.0
#: Share of the rows that have a weight above 0.99.
_SURE: Final = 0.25
#: Root mean square. Queries and keys above this are large themselves.
_LARGE: Final = 5.0
#: Root mean square. A first layer above was given large inputs, or has large weights itself.
LARGE_FIRST: Final = 3.0


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
    if streak is None or streak.rows < rows or streak.step > layer.start or (not known and _is_drawn(layer)):
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
        if not (places >= LEAST_PLACES and 2 * sharp >= attentions and now >= least):
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


def _is_drawn(layer: LayerView) -> bool:
    """Whether each row is a choice, of one 1 and zeros: as `gumbel_softmax(hard=True)` makes them, no softmax does."""
    rows, places = layer.rows, round(softmax.length(layer.first))
    ones = rows["count"].astype(float) - rows["zeros"]
    return bool(((ones * places == rows["count"]) & (rows["max"] == 1.0) & (rows["saturated"] == ones)).all())


def _sure(layer: LayerView) -> float:
    """The share of a softmax's rows that have a weight above 0.99."""
    last = layer.rows[-1]
    return min(float(last["saturated"]) / max(float(last["count"]) * float(last["mean"]), 1.0), 1.0)


def _scores_are_wide(layer: LayerView, network: Network) -> bool:
    """Whether products of the queries and keys before a softmax are known to be too large for it."""
    pair = query_and_key(layer, network)
    if pair is None or layer.place >= network.output:
        return False
    scores = row_rms(pair[0].first) * row_rms(pair[1].first) * math.sqrt(width(pair[0]))
    return scores >= WIDE_SCORES and _sure(layer) >= _SURE


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


def scale_cause(speaks_for: tuple[str, ...], refuted_by: tuple[str, ...] = ()) -> Cause:
    """Scores that were not divided by the root of how many neurons they are products over."""
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
    pair = query_and_key(layer, network)
    raw = facts.inputs_not_normalised(network)
    causes = []
    if not output:
        large = pair is not None and max(row_rms(each.first) for each in pair) > _LARGE
        said: tuple[str, ...] = ()
        against: tuple[str, ...] = ()
        if pair is not None:
            size = width(pair[0])
            names = " and ".join(facts.named(each) for each in pair)
            product = row_rms(pair[0].first) * row_rms(pair[1].first) * math.sqrt(size)
            if large:
                against = (f"{names} are large themselves",)
            else:
                said = (
                    f"products of {names} are about {number(product)}, {number(product / math.sqrt(size))} with it",
                )
        causes.append(scale_cause(said, against))
    scores = network.feeder(layer)
    weighted = next((each for each in network.layers if layer_types.has_weights(each.info.layer_type)), None)
    large_first: tuple[str, ...] = ()
    if weighted is not None and row_rms(weighted.first) > LARGE_FIRST:
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


def query_and_key(layer: LayerView, network: Network) -> tuple[LayerView, LayerView] | None:
    """The last two layers of equal width in the module of a softmax: its scores are likely their products."""
    module = layer.info.name.rpartition(".")[0]
    near = [
        other
        for other in network.layers[max(layer.place - 4, 0) : layer.place]
        if other.info.layer_type.startswith(("Linear", "Dense")) and other.info.name.rpartition(".")[0] == module
    ]
    pairs = [pair for pair in itertools.pairwise(near) if width(pair[0]) == width(pair[1])]
    return pairs[-1] if pairs else None


def width(layer: LayerView) -> int:
    """How many neurons a layer has."""
    return int(layer.rows[-1]["neurons"])
