"""Why values grew by orders of magnitude: the hypotheses of `rules.Exploding`."""

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from fastact.diagnosis import layer_types
from fastact.diagnosis.causes.cause import Cause, Verdict, best, refuted
from fastact.diagnosis.causes.remedies import (
    CLIP_GRADIENTS,
    EXPONENT_REMEDIES,
    LOWER_RATE,
    NORMALISE_INPUTS,
    SAME_PREPROCESSING,
    initialisation,
)
from fastact.diagnosis.evidence import facts, nan_origin
from fastact.diagnosis.evidence.facts import For
from fastact.diagnosis.evidence.learning_rate import reckless
from fastact.diagnosis.network import LayerView, Network, row_rms
from fastact.fields import COLUMN
from fastact.text import number

_STD = COLUMN["std"]

#: Growth from one row to the next that no steady rise has.
_AT_ONCE: Final = 30.0
#: How much larger than what it is given a layer is that was never initialised: weights that were drawn too large give
#: less.
_NEVER_INITIALISED: Final = 1e10

_LOOK: Final = "look at what changed at that step: the data, a schedule, a checkpoint"


def jump(scale: npt.NDArray[np.float64], rows: int) -> float | None:
    """By how much a layer grew in one step at the beginning of its run of the last `rows` rows; None if steadily.

    Args:
        scale: the rms of each row in the window.
        rows: those of the run.
    """
    place = len(scale) - rows
    if place < 1:
        return None
    before, after = float(scale[place - 1]), float(scale[place])
    return after / max(before, 1e-9) if after >= _AT_ONCE * before else None  # not for NaN


def over_steps(layer: LayerView, network: Network, step: int, jumped: float | None) -> Verdict:
    """Why a layer grew from step to step."""
    kind = layer.info.layer_type
    if kind == layer_types.INPUT or layer_types.is_recurrent(kind) or nan_origin.exponent_source(network) is layer:
        return best(_over_steps(layer, network, step, jumped))
    # Of another layer no more is asked: where many explode, most do so alike.
    first, early = layer is network.layers[0], (step <= layer.start, _is_early(layer, step))
    alike = step, jumped, first, early, _is_levelled(layer, network)
    return network.once_alike(alike, _told_over_steps, layer, network, step, jumped)


def _told_over_steps(layer: LayerView, network: Network, step: int, jumped: float | None) -> Verdict:
    return best(_over_steps(layer, network, step, jumped))


def _over_steps(layer: LayerView, network: Network, step: int, jumped: float | None) -> list[Cause]:
    """What could have let a layer grow from step to step, the likeliest first."""
    if layer.info.layer_type == layer_types.INPUT:
        says = "The data itself is on another scale."
        seen = (f"the input was recorded, and is on another scale since step {step}",)
        return [Cause("data_changed", says, _data_remedies(), seen, (), proved=True)]
    return [_data(layer, network, step, jumped), _exponential(layer, network), _recurrent(layer),
            _inputs(network), _began_large(layer, network, step), _rate(layer, network, step, jumped)]  # fmt: skip


def _began_large(layer: LayerView, network: Network, step: int) -> Cause:
    """Weights that were drawn so large that each layer multiplies: the first updates, as large, do the rest."""
    if not _is_early(layer, step):
        return refuted("initialisation", f"it began later, at step {step}")
    weighted = [view for view in network.layers[: network.output] if layer_types.has_weights(view.info.layer_type)]
    if len(weighted) < _LAYERS or _is_levelled(layer, network):
        return refuted("initialisation", "few layers multiply each other")
    first, last = row_rms(weighted[0].first), row_rms(weighted[-1].first)
    if not last >= _OVER_DEPTH * first > 0.0:
        return refuted("initialisation", "in the first row, no layer is much larger than the first")
    says = "The weights were initialised too large: each layer multiplies the scale, and the gradients with it."
    remedies = initialisation(network.distinct_types), "add layer normalisation", CLIP_GRADIENTS
    grown = f"{facts.named(weighted[-1])} was {number(last / first)} times as large as {facts.named(weighted[0])}"
    return Cause("initialisation", says, remedies, (f"in the first row, {grown}", f"it began with step {step}"))


def _is_early(layer: LayerView, step: int) -> bool:
    """Whether what began at a step may be what the first updates did."""
    return step <= layer.start + _FIRST_UPDATES * max(layer.stride, 1.0)


def _is_levelled(layer: LayerView, network: Network) -> bool:
    """Whether a normalisation lies before a layer."""
    return network.once(_first_norm) < layer.place


def _first_norm(network: Network) -> int:
    places = (place for place, kind in enumerate(network.layer_types) if layer_types.is_norm(kind))
    return next(places, len(network.layers))


#: Layers, and by how many times the last of them is larger than the first where weights were drawn too large.
_LAYERS: Final = 3
_OVER_DEPTH: Final = 10.0
#: Rows. So soon what the initial weights bring about shows.
_FIRST_UPDATES: Final = 5


def over_depth(layer: LayerView, network: Network, step: int) -> list[Cause]:
    """What could make a layer so much larger than what the network was given, the likeliest first."""
    rate = _rate(layer, network, step, None)
    return [
        _uninitialised(layer, network, step),
        _recurrent(layer),
        _inputs(network),
        _depth(layer, network, step),
        _began_large(layer, network, step),
        rate,
    ]


def _data_remedies() -> tuple[str, ...]:
    return "look at what changed in the data at that step: its source, its units, its normalisation", SAME_PREPROCESSING


def _data(layer: LayerView, network: Network, step: int, jumped: float | None) -> Cause:
    says = "The data has been on another scale since then."
    known = facts.data_changed(network, step, slack=1.0)
    speaks, against = known.speaks_for, known.refuted_by
    first = network.layers[0]
    if first is not layer and not speaks and network.once_for(_first_stayed, step):
        against += (f"{facts.named(first)} stayed on its scale",)
    if jumped is None:
        against += ("it grew from step to step",)
    return Cause("data_changed", says, _data_remedies(), speaks, against, proved=bool(speaks))


def _first_stayed(network: Network, step: int) -> bool:
    """Whether the first layer is no larger in a step than in the one before."""
    before, after = (facts.row_at(network.layers[0], each) for each in (step - 1, step))
    return before is not None and after is not None and bool(after[_STD] < 2.0 * before[_STD])


def _rate(layer: LayerView, network: Network, step: int, jumped: float | None) -> Cause:
    # That all layers before it stay, which every update moves too, is no sign of weights changed from outside: tried,
    # and in deep networks without norms a rate that is too high does the same.
    against = facts.before_any_update(layer, step).refuted_by
    unchecked = "" if facts.has_norm(network) else ", and no normalisation resets the scale"
    norm = () if layer_types.has_layer_norm(network.distinct_types) else ("add layer normalisation",)
    if jumped is not None:
        says = "It happened in one step: an update that was far too large (the learning rate is too high)."
        speaks = (f"it grew {number(jumped)} times in one step", *reckless(network))
        return Cause("learning_rate", says, (LOWER_RATE, CLIP_GRADIENTS, _LOOK), speaks, against)
    says = (
        "The weights grow with every update, and each layer multiplies the growth of those before it: the learning "
        f"rate is too high for a network of this depth{unchecked}."
    )
    speaks = ("it grew from step to step", *reckless(network))
    return Cause("learning_rate", says, (LOWER_RATE, CLIP_GRADIENTS, *norm), speaks, against)


def _inputs(network: Network) -> Cause:
    known = facts.inputs_not_normalised(network)
    scale = facts.input_scale(network)
    speaks = known.speaks_for if scale is not None and scale.large else ()
    against = known.refuted_by
    if scale is None:
        against = ("the input was not recorded",) if network.rms and network.rms[0] < 300.0 else ()
    elif not scale.large and not against:
        against = ("the input is small",)
    says = "The inputs are not normalised: products with weights and gradients are larger by their scale."
    return Cause("inputs_not_normalised", says, (NORMALISE_INPUTS,), speaks, against)


def _recurrent(layer: LayerView) -> Cause:
    if not layer_types.is_recurrent(layer.info.layer_type):
        return refuted("recurrent_unbounded", "it is not recurrent")
    top = facts.largest(layer.rows)
    reached = float(max((each for each in top.tolist() if not math.isnan(each)), default=math.nan))
    if not reached > 1.0:
        return refuted("recurrent_unbounded", "its values stay within \u00b11")
    says = "The recurrent layer's activation has no bound, so that each time step multiplies the state by its weights."
    remedies = (
        "start from orthogonal or identity recurrent weights", "use tanh, or a gated layer (LSTM, GRU)",
        CLIP_GRADIENTS, "use shorter sequences",
    )  # fmt: skip
    speaks = (f"it is recurrent, and reaches {number(reached)} where a tanh stays within \u00b11",)
    return Cause("recurrent_unbounded", says, remedies, speaks)


def _exponential(layer: LayerView, network: Network) -> Cause:
    if nan_origin.exponent_source(network) is not layer:
        return refuted("log_variance", "no exponential of it overflowed")
    says = (
        "It is the logarithm of a variance, or holds logits, and its exponential overflowed: exp(x) is Inf from x = "
        f"{number(nan_origin.exponent_limit(layer.info.dtype) / 0.9)} on."
    )
    speaks = ("NaN or Inf came right after it reached that", "it had left its usual range")
    if "exponent" not in layer.streaks:
        says = "It is the logarithm of a scale, without a bound: what is multiplied by its exponential grew as much."
        speaks = ("NaN or Inf came in the step in which it jumped", "a layer behind it grew by its exponential")
    return Cause("log_variance", says, EXPONENT_REMEDIES, speaks)


def _fed(layer: LayerView, network: Network) -> tuple[float, LayerView | None]:
    """By how much a layer's first row is larger than that of the layer before it."""
    feeder = network.feeder(layer)
    own = row_rms(layer.first)
    given = row_rms(feeder.first) if feeder is not None else math.nan
    return (own / given if given > 0.0 else math.nan), feeder


def _uninitialised(layer: LayerView, network: Network, step: int) -> Cause:
    factor, feeder = _fed(layer, network)
    against = facts.after_updates(layer, step).refuted_by
    speaks: tuple[str, ...] = ()
    if layer_types.is_recurrent(layer.info.layer_type):
        against += ("it is recurrent, and grows from one time step to the next by itself",)
    if feeder is None:
        if not row_rms(layer.first) >= _NEVER_INITIALISED:
            against += ("nothing before it was recorded",)
        speaks = (f"the rms of its first row is {number(row_rms(layer.first))}",)
    elif not factor >= _NEVER_INITIALISED:
        against += (f"it is {number(factor)} times what {facts.named(feeder)} gives it",)
    else:
        speaks = (
            f"it is {number(factor)} times what {facts.named(feeder)} gives it",
            "it was so in the first recorded row",
        )
    says = "Its weights hold what was in memory: they were never initialised."
    remedies = "initialise its weights: torch.empty and its like hold whatever was in memory", "check its checkpoint"
    return Cause("uninitialised_memory", says, remedies, speaks, against)


def _depth(layer: LayerView, network: Network, step: int) -> Cause:
    known: For = facts.after_updates(layer, step)
    says = "Each layer multiplies the scale of its input: the weights were initialised too large for this depth"
    says += "." if facts.has_norm(network) else ", and no normalisation resets the scale."
    norm = () if layer_types.has_layer_norm(network.distinct_types) else ("add layer normalisation",)
    remedies = initialisation(network.distinct_types), *norm, "scale down the residual branches"
    speaks: tuple[str, ...] = ("it was so in the first recorded row",)
    if network.input is None and layer.place == 0:
        speaks = ()
    return Cause("initialisation", says, remedies, speaks, known.refuted_by)
