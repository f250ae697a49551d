"""What a layer can compute that is not finite, out of finite inputs and weights: hypotheses of `rules.NonFinite`."""

import math
from typing import Final

from fastact.diagnosis import layer_types
from fastact.diagnosis.causes import exploding
from fastact.diagnosis.causes.cause import Cause, best, refuted
from fastact.diagnosis.causes.remedies import CLIP_GRADIENTS, EXPONENT_REMEDIES, LOWER_RATE, SAME_PREPROCESSING
from fastact.diagnosis.evidence import facts
from fastact.diagnosis.evidence.learning_rate import reckless
from fastact.diagnosis.evidence.nan_origin import (
    EXPONENT,
    LARGEST,
    Birth,
    exponent_limit,
    exponent_since,
    exponent_source,
    is_input,
    owner,
    steps,
)
from fastact.diagnosis.network import LayerView, Network, row_rms
from fastact.fields import COLUMN
from fastact.text import number, percent, shown

_COUNT, _NEURONS, _NEG = COLUMN["count"], COLUMN["neurons"], COLUMN["neg_infs"]
_ZEROS, _MIN, _MAX = COLUMN["zeros"], COLUMN["min"], COLUMN["max"]

#: The share of what a dtype can hold from which a layer's values are close to its end.
_CLOSE: Final = 0.1
#: By so many times the layers before it have grown that overflow in their first pass.
_OVER_DEPTH: Final = 1e4
#: By so many times what a layer is given has grown at once.
_AT_ONCE: Final = 10.0
_EPSILON: Final = "keep divisors and arguments of logarithms and roots away from zero by a small epsilon"
_WIDER: Final = "run this layer in bfloat16 or float32, which have the range"


def _followed(born: Birth) -> tuple[str, ...]:
    """What speaks for NaN that were computed: weights before the layer that were finite then, and were lost to them."""
    for view in born.network.layers[: born.layer.place]:
        if layer_types.has_weights(view.info.layer_type) and view.info.name in steps(born.network):
            return (f"the weights of {facts.named(view)} before it were finite then, and were lost later",)
    return ()


def finite_inputs(born: Birth) -> tuple[str, ...]:
    """What says that finite numbers came in."""
    if facts.input_scale(born.network) is not None:
        return ("the recorded input is finite",)
    return ("all layers before it are finite",) if born.layer.place > 0 else ()


def whole_neurons(born: Birth) -> bool:
    """Whether the NaN and Inf can be those of whole neurons, over several samples."""
    if born.row is None or not born.row[_NEURONS]:
        return False
    samples = born.row[_COUNT] // born.row[_NEURONS]
    return bool(samples > 1) and facts.broken(born.row) % samples == 0


def numerics(born: Birth) -> Cause:
    """It, or what lies before it, computed 0/0, inf - inf, or a logarithm or root that does not exist."""
    layer = born.layer
    layer_type = layer.info.layer_type
    feeder = born.network.feeder(layer)
    exact = feeder is not None and layer.info.source == feeder.info.name
    against: tuple[str, ...] = ()
    if (
        layer_types.has_weights(layer_type)
        or layer_types.is_embedding(layer_type)
        or layer_types.follows_input(layer_type)
    ):
        if (exact or feeder is None) and not layer_types.is_norm(layer_type):
            against = (f"a {layer_type} makes no NaN out of finite inputs and weights",)
        where = f"What lies between {shown(feeder.info.name)} and it" if feeder is not None else "What lies before it"
    elif layer_type.endswith("Loss"):
        where = "The loss"
    else:
        where = "It"
    says = f"{where} computed 0/0, inf - inf, or the logarithm or root of zero or of a negative number."
    speaks = finite_inputs(born)
    if not born.lasting:
        speaks += ("later rows are finite, so it depends on the data",)
    if feeder is not None and is_fed_unseen(born):
        zeros = _zeros(feeder, born.step)
        speaks += (f"{facts.named(feeder)} before it is exactly zero in {percent(zeros)}",) if zeros else ()
        speaks += (f"what it is given is not what {facts.named(feeder)} put out",)
    elif feeder is not None and _zeros(feeder, born.step) >= 1.0 and not layer_types.has_weights(layer_type):
        speaks += (f"{facts.named(feeder)} before it is exactly zero", "a quotient of zeros is 0/0")
    elif born.lasting and born.share is not None and born.share < 1.0 and not whole_neurons(born):
        speaks += (f"{percent(born.share)} of its outputs were not finite at first",)
    if layer_type in layer_types.PROBABILITIES:
        speaks = ()
    elif not born.at_start:
        speaks += _followed(born)
    return Cause("numerics", says, (_EPSILON, "compute logarithms of probabilities by log_softmax"), speaks, against)


def is_fed_unseen(born: Birth) -> bool:
    """Whether something that was not recorded lies between a layer and the one before it, as the adapter saw."""
    layer, network = owner(born) or born.layer, born.network  # a function reads what its module computed
    told = any(view.info.source for view in network.layers)
    feeder = network.feeder(layer)
    return told and feeder is not None and layer.info.source != feeder.info.name and born.row is not None


def _zeros(layer: LayerView, step: int) -> float:
    """The share of a layer's outputs that are exactly zero in a step; 0 where that has left the window."""
    row = facts.row_at(layer, step)
    return 0.0 if row is None else float(row[_ZEROS] / max(row[_COUNT], 1))


def one_element(born: Birth) -> Cause:
    """A deviation or norm over a single element."""
    layer, row = born.layer, born.row or born.layer.last
    says = (
        "It takes a standard deviation or a norm over a single element, which is 0/0: one sample in the batch, one "
        "position in the map."
    )
    neurons, count = row[_NEURONS], row[_COUNT]
    against: tuple[str, ...] = ()
    if not neurons or count > neurons:
        against = ("each of its neurons has several elements",)
    elif layer_types.has_weights(layer.info.layer_type) or layer_types.is_activation(layer.info.layer_type):
        against = (f"a {layer.info.layer_type} takes no standard deviation",)
    remedies = (
        "use larger batches, or drop the last one where it has a single sample",
        "normalise over another axis, or take the biased standard deviation with an epsilon",
    )
    speaks = (*finite_inputs(born), "each of its neurons has one element in a row")
    return Cause("norm_of_one_element", says, remedies, speaks, against)


def masked_row(born: Birth) -> Cause:
    """A mask that leaves a row of a softmax without any element."""
    feeder = born.network.feeder(born.layer)
    says = "The mask leaves a row without any element, and the softmax of minus infinity alone is 0/0."
    speaks: tuple[str, ...] = ()
    if born.share is not None and born.share < 1.0:
        speaks = (
            *finite_inputs(born),
            f"{percent(born.share)} of its outputs were NaN at first, the other rows were finite",
        )
    fed = facts.row_at(feeder, born.step) if feeder is not None else None
    if fed is not None and fed[_NEG]:
        speaks += (f"{facts.named(feeder)} has -Inf" if feeder is not None else "",)
    against: tuple[str, ...] = ("it has Inf, which no softmax makes",) if born.infs and not born.nans else ()
    if born.share is not None and born.share >= 1.0 and len(speaks) == 0:
        against += ("all of its rows are NaN, not some",)
    remedies = (
        "leave at least one element of each row unmasked, or zero the rows that have none after the softmax",
        "mask with a large finite number, such as -1e4 in float16, in place of -inf",
    )
    return Cause("masked_row", says, remedies, speaks, against)


def exponential(born: Birth) -> Cause:
    """An exponential whose argument another layer made too large."""
    source = exponent_source(born.network)
    if source is None and (large := _large_from_the_start(born)) is not None:
        return large
    if source is None or source is born.layer:
        says = "An exponential overflowed."
        return Cause("log_variance", says, (), (), ("no layer before it reaches the logarithm of the largest number",))
    limit = exponent_limit(source.info.dtype)
    says = (
        f"The exponential of {shown(source.info.name)}'s values overflowed: exp(x) is Inf from x = "
        f"{number(limit / EXPONENT)} on."
    )
    since = exponent_since(source, born.network)
    beyond = f"has been beyond {number(limit)}" if "exponent" in source.streaks else "left its usual range at once"
    speaks = (
        f"{facts.named(source)} {beyond} since step {since}", *finite_inputs(born),
        "it had left its usual range before",
    )  # fmt: skip
    return Cause("log_variance", says, EXPONENT_REMEDIES, speaks, ())


def _large_from_the_start(born: Birth) -> Cause | None:
    """The same of an argument that was beyond the logarithm of the largest number from the first row on."""
    layer, feeder = born.layer, born.network.feeder(born.layer)
    row = facts.row_at(feeder, born.step) if feeder is not None and born.at_start else None
    computes = not layer_types.has_weights(layer.info.layer_type) or is_fed_unseen(born)
    if feeder is None or row is None or not (born.infs and computes and facts.broken(row) == 0):
        return None
    limit = exponent_limit(feeder.info.dtype)
    if not limit <= row[COLUMN["max"]] or overflows_squared(feeder):
        return None
    says = f"The exponential of {shown(feeder.info.name)}'s values overflows: exp(x) is Inf from x = "
    says += f"{number(limit / EXPONENT)} on."
    speaks = (f"{facts.named(feeder)} reaches {number(row[COLUMN['max']])}", *finite_inputs(born))
    speaks += ("it has Inf, which finite weights and inputs of that size do not make",) if not born.nans else ()
    return Cause("log_variance", says, EXPONENT_REMEDIES, speaks, (), proved=not born.nans and born.share == 1.0)


def overflows_squared(layer: LayerView) -> bool:
    """Whether a layer's first values are so large that a square or a product of them is more than its dtype holds."""
    top = max(-layer.first[_MIN], layer.first[_MAX])
    return not top < math.sqrt(LARGEST.get(layer.info.dtype, math.inf)) and math.isfinite(top)


def grown_over_depth(born: Birth) -> Cause:
    """Values that each layer made larger, in the first pass, until one of them was more than its dtype holds."""
    feeder = born.network.feeder(born.layer)
    if feeder is None or not born.at_start:
        return refuted("initialisation", "it began later")
    first, last = row_rms(born.network.layers[0].first), row_rms(feeder.first)
    if not last >= _OVER_DEPTH * first > 0.0:
        return refuted("initialisation", "the layer before it is not much larger than the first one")
    told = best(exploding.over_depth(feeder, born.network, feeder.start)).cause
    grew = f"{facts.named(feeder)} was {number(last / first)} times as large as {facts.named(born.network.layers[0])}"
    return told._replace(speaks_for=(grew, "that was in the first recorded row", *told.speaks_for))


def number_range(born: Birth) -> Cause:
    """A value beyond what the dtype can hold."""
    layer = born.layer
    dtype = layer.info.dtype or "its dtype"
    largest = LARGEST.get(layer.info.dtype, math.inf)
    views = [view for view in (layer, born.network.feeder(layer)) if view is not None]
    tops = [float(top) for view in views for top in facts.largest(view.rows[view.rows["step"] <= born.step]).tolist()]
    top = max((top for top in tops if not math.isnan(top)), default=0.0)
    says = f"A value exceeded what {dtype} can hold."
    near = top >= _CLOSE * largest
    against: tuple[str, ...] = ()
    if not born.infs and not near:
        against = ("it has NaN and no Inf",)
    elif top and math.isfinite(largest) and largest > 1e30 and top < 1e-15 * largest:
        against = (f"its values and its inputs reach {number(top)} only",)
    speaks: tuple[str, ...] = (f"its values or its inputs reach {number(top)}",) if near else ()
    if born.infs and layer.info.dtype == "float16":
        speaks += ("it has Inf, and its dtype is float16",)
    jumped = _jumped(born) if near else ()
    speaks += jumped
    feeder = born.network.feeder(layer)
    if jumped and feeder is not None and is_input(feeder):
        says = f"The data is on another scale since step {born.step}, beyond what {dtype} can hold."
        check = "look at what changed in the data at that step: its source, its units, its normalisation"
        return Cause("data_changed", says, (check, SAME_PREPROCESSING), speaks, against)
    remedies: tuple[str, ...] = (
        _WIDER,
        "scale down its inputs or add a normalisation before it",
        *(() if born.at_start else (LOWER_RATE, CLIP_GRADIENTS)),
    )
    if layer.info.dtype != "float16":
        remedies = remedies[1:]
    return Cause("dtype_range", says, remedies, speaks, against)


def _jumped(born: Birth) -> tuple[str, ...]:
    """What says that a layer was given far larger numbers in the very step, which no update had seen yet."""
    feeder = born.network.feeder(born.layer)
    before = feeder.rows[feeder.rows["step"] < born.step] if feeder is not None else ()
    now = facts.row_at(feeder, born.step) if feeder is not None and len(before) else None
    if feeder is None or now is None:
        return ()
    was = float(facts.largest(before[-1:])[0])
    top = max(-float(now[COLUMN["min"]]), float(now[COLUMN["max"]]))
    if not was > 0.0 or not top >= _AT_ONCE * was:
        return ()
    return (f"what {facts.named(feeder)} gives it reaches {number(top / was)} times as far as one step before",)


def diverged(born: Birth) -> Cause:
    """The values grew until they overflowed."""
    left = facts.left_range(born.network)
    grew = [(step, name) for name, step in left.items() if step < born.step]
    says = "The weights grew with each update until a value overflowed: the learning rate is too high."
    against: tuple[str, ...] = facts.before_any_update(born.layer, born.step).refuted_by
    if not grew:
        against += (f"no layer had left its usual range before step {born.step}",)
    speaks = tuple(
        f"{shown(name, 40)} left its usual range at step {step}" for step, name in sorted(grew)[:2]
    ) + reckless(born.network)
    return Cause("learning_rate", says, (LOWER_RATE, CLIP_GRADIENTS), speaks, against)


def computed_zero(layer: LayerView, network: Network, given: Cause) -> list[Cause]:
    """What a module of the user's own computes is zero, where parameters are recorded and it has none."""
    known = [view.info.facts for view in network.typed(layer_types.PARAMETER)]
    inside = f"{layer.info.name}."
    owners = [str(each.get("layer", "")) for each in known]
    if not known or any(owner == layer.info.name or owner.startswith(inside) for owner in owners):
        return []
    says = (
        "It has no weights, and is zero whatever it is given: it divides by what is too large for its element type, "
        "rounds to zero, or cuts all off."
    )
    fix = "compute squares, sums and norms in float32: the largest number of float16 is 65,504"
    said = ("no parameter that was recorded is its own",)
    return [Cause("numerics", says, (fix, "print what it computes, step by step"), said, given.speaks_for)]
