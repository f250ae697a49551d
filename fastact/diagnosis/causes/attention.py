"""Attention that cannot choose: scores that are too large from the start, or that are all alike."""

import math
from typing import Final

from fastact.diagnosis import layer_types
from fastact.diagnosis.causes.cause import Cause, best
from fastact.diagnosis.causes.peaked_softmax import (
    AT_ALL_PLACES,
    LARGE_FIRST,
    LEAST_PLACES,
    WIDE_SCORES,
    query_and_key,
    scale_cause,
)
from fastact.diagnosis.causes.remedies import initialisation
from fastact.diagnosis.evidence import baselines, facts, softmax
from fastact.diagnosis.finding import Evidence, Finding
from fastact.diagnosis.network import LayerView, Network, row_rms
from fastact.fields import COLUMN
from fastact.history import LayerInfo
from fastact.text import number, percent

_STD, _MEAN, _WITHIN = COLUMN["std"], COLUMN["mean"], COLUMN["within_std"]

#: Factor. Scores that are so many times what a scale of 1/sqrt(features) makes them were not scaled down.
_TOO_MUCH: Final = 4.0
#: Standard deviation of the weights over their mean. Scores that differ so little give no gradient to speak of.
_EVEN: Final = 1e-3
#: Factor. What has grown by more since its first row is on its way.
_GROWN: Final = 1.5
#: Share of what queries and keys differ by that lies between places, below which the places are alike.
_ALIKE: Final = 0.1
#: Factor by which scores are beyond what is too large, and rows, from which on it is told of a loss that falls slowly.
_FAR: Final = 4.0
_LONG: Final = 100
#: Standard deviation of scores. From here on weights that are all alike to rounding are a mask's doing.
_SOME_SCORES: Final = 0.01
#: Standard deviation of weights over their mean that rounding leaves.
_SAME: Final = 1e-6


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
    if not scores >= WIDE_SCORES:
        return None
    message = (
        f"{layer.name} has been collapsed since step {layer.start}: its scale is {number(scale)}, so that its scores "
        f"are about {number(scores)} and each row looks at one place, though nothing had been learned."
    )
    evidence = Evidence(scale=scale, features=features, scores=scores)
    cause = scale_cause(
        (
            f"the scale is {number(scale)}, and 1/sqrt({features:,.0f}) is {number(features**-0.5)}",
            f"{facts.named(source)} has an rms of {number(row_rms(source.first))}",
        )
    )
    told = best([cause._replace(proved=True)])
    return told.finding(layer.info.name, "collapsed", "warning", layer.start, evidence, message)


def projected_up(layer: LayerView, network: Network, rows: int) -> Finding | None:
    """The finding for attention, a module of its own, whose weights make its scores too large from the start.

    Most of its like are so, and the loss tells of no learning, or, long after, of little.
    """
    scores = _first_scores(layer, network)
    if len(layer.rows) < rows or not scores >= WIDE_SCORES:
        return None
    modules = [view for view in network.layers if _is_module(view.info)]
    if 2 * sum(_first_scores(view, network) >= WIDE_SCORES for view in modules) < len(modules):
        return None
    # Little is learned where more could be: scores far beyond all reason are told of then, too.
    slow = scores >= _FAR * WIDE_SCORES and len(layer.rows) >= _LONG and not baselines.has_learned(network)
    if baselines.is_learning(network) and not slow:
        return None
    source = network.feeder(layer)
    assert source is not None
    message = (
        f"{layer.name} has been collapsed since step {layer.start}: its scores have a standard deviation of about "
        f"{number(scores)}, so that each row looks at one place, though nothing had been learned."
    )
    gain, given = float(layer.info.facts["gain"]), row_rms(source.first)
    evidence = Evidence(scores=scores, gain=gain, rms_given=given)
    large = (f"{facts.named(source)}, which feeds it, has an rms of {number(given)}",)
    weights = (f"for inputs with an rms of 1 its weights make scores of {number(gain)}, usual ones of 0.5",)
    causes = [
        Cause(
            "initialisation",
            "The weights that make queries and keys were initialised too large, and so are the scores.",
            (initialisation({"Tanh"}), "normalise queries and keys"),
            weights,
            () if gain > _TOO_MUCH else (f"for inputs with an rms of 1 they make scores of {number(gain)}",),
        ),
        Cause(
            "inputs_not_normalised",
            "What attention is given is large, and so are its scores.",
            ("normalise before attention", "look at the scale of embeddings: its square is that of the scores"),
            large,
            () if given > LARGE_FIRST else large,
        ),
    ]
    return best(causes).finding(layer.info.name, "collapsed", "warning", layer.start, evidence, message)


def _is_module(info: LayerInfo) -> bool:
    """Whether it is the output of a module of attention of which is known how large its scores are."""
    return info.name.endswith("[0]") and isinstance(info.facts.get("gain"), int | float)


def _first_scores(layer: LayerView, network: Network) -> float:
    """The standard deviation of the scores of such a module in its first row, by what feeds it; NaN without that.

    A sum of two, of tokens and positions, hides what it was given; the layer before is of the size of one of them.
    """
    feeder = network.feeder(layer)
    return float(layer.info.facts["gain"]) * row_rms(feeder.first) ** 2 if feeder is not None else math.nan


def at_all_places(layer: LayerView, network: Network, rows: int) -> Finding | None:
    """The finding for attention that has weighted all places alike for long, while other layers have changed."""
    streak = layer.streaks.get(AT_ALL_PLACES)
    if streak is None or streak.rows < rows or layer.place >= network.output:
        return None
    places = softmax.length(layer.first)
    if not places >= LEAST_PLACES or not _changed(network):
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
    alike, hidden = _places_are_alike(layer, network), _is_hidden(layer, network)
    causes = [
        Cause(
            "depth",
            "What it is given was nearly the same at all places, so that there is nothing to choose between: each "
            "block averages over the places, and little else is left after several.",
            ("add residual connections around the blocks", "normalise before each block", "use fewer layers"),
            alike,
            later if alike else ("its queries and keys differ from place to place, or were not recorded",),
        ),
        Cause(
            "masked_row",
            "The mask hides all places of a row behind the same large number, so that the softmax weighs them alike.",
            ("leave at least one place of each row unmasked", "look whether the mask is the wrong way round"),
            hidden,
            () if hidden else ("its scores differ too little for that to be seen",),
            proved=bool(hidden),
        ),
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
    sizes = [facts.size(layer, network) for layer in network.layers if layer_types.has_weights(layer.info.layer_type)]
    return any(size > 1.25 or size < 0.8 for size in sizes)


def _places_are_alike(layer: LayerView, network: Network) -> tuple[str, ...]:
    """That queries and keys hardly differed from place to place in the first row, as a clause; without one, nothing."""
    pair = query_and_key(layer, network)
    if pair is None:
        return ()
    shares = [each.first[_WITHIN] / each.first[_STD] if each.first[_STD] > 0.0 else math.nan for each in pair]
    if not max(shares) <= _ALIKE:
        return ()
    names = " and ".join(facts.named(each) for each in pair)
    return (f"of what {names} differ by, at most {percent(max(shares))} lies between places in the first row",)


def _is_hidden(layer: LayerView, network: Network) -> tuple[str, ...]:
    """That weights are all alike to rounding though the products of queries and keys differ, as a clause."""
    pair = query_and_key(layer, network)
    if pair is None or not bool((layer.rows["std"] <= _SAME * layer.rows["mean"]).all()):
        return ()
    names = " and ".join(facts.named(each) for each in pair)
    parts = [min(each.first[_WITHIN], each.last[_WITHIN]) for each in pair]
    scores = parts[0] * parts[1] if min(parts) > 0.0 else 0.0
    if not scores >= _SOME_SCORES:
        return ()
    return (f"products of {names} differ by about {number(scores)}, and the weights do not differ at all",)
