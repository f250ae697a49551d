"""What could have made NaN and Inf: the hypotheses of `rules.NonFinite`, each with what the rows say of it."""

import math
from typing import Final

from fastact.diagnosis import facts, layer_types
from fastact.diagnosis.births import EXPONENT, LARGEST, Birth, birth, exponent_limit, exponent_source, is_input, steps
from fastact.diagnosis.causes import Cause, best
from fastact.diagnosis.network import LayerView
from fastact.diagnosis.remedies import CLIP_GRADIENTS, EXPONENT_REMEDIES, LOWER_RATE, NORMALISE_INPUTS
from fastact.fields import COLUMN
from fastact.text import number, percent, shown

_COUNT, _NEURONS, _NEG = COLUMN["count"], COLUMN["neurons"], COLUMN["neg_infs"]
_ZEROS = COLUMN["zeros"]

#: Causes that lie in a layer's weights.
_OF_WEIGHTS: Final = ("uninitialised_memory", "not_finite_update", "optimizer_epsilon")

#: The share of what a dtype can hold from which a layer's values are close to its end.
_CLOSE: Final = 0.1

_CHECK_DATA: Final = "check the data for NaN and Inf (missing values, 0/0 in the preprocessing) and fill or drop them"
EPSILON_IN_LOSS: Final = "add an epsilon where the loss divides, or takes a root, norm or logarithm of what can be zero"
_EPSILON: Final = "keep divisors and arguments of logarithms and roots away from zero by a small epsilon"
SKIP: Final = "skip the update when a gradient is not finite (clipping does not remove NaN)"
_WIDER: Final = "run this layer in bfloat16 or float32, which have the range"


def causes(born: Birth) -> list[Cause]:
    """All that could have made a layer's NaN and Inf, the likeliest first.

    A function that a module of the user's own calls has no weights. Where weights are the cause, it is their module
    that is told of, and the function follows.
    """
    within = _called_by(born)
    if within is not None and best(_own(within)).cause.name in _OF_WEIGHTS:
        return _own(within)
    found = _own(born)
    module = owner(born)
    if (
        module is not None
        and steps(born.network).get(module.info.name) == born.step
        and best(found).cause.name in _OF_WEIGHTS
    ):
        return [_handed_on(born, module)]
    return found


def _called_by(born: Birth) -> Birth | None:
    """The function inside this module in which its NaN and Inf first showed."""
    if born.before is None or born.layer.info.mode:
        return None
    within = birth(born.before, born.network)
    return within if owner(within) is born.layer and within.step == born.step else None


def _own(born: Birth) -> list[Cause]:
    layer_type = born.layer.info.layer_type
    if is_input(born.layer):
        return [_in_the_data(born), _cast_of_the_data(born)]
    trained = _in_training(born)
    if trained is not None:
        return [_handed_on(born, trained)]
    if _has_broken_statistics(born):
        return [_STATISTICS]
    if born.before is not None:
        return [_from_inputs(born) if is_input(born.before) else _handed_on(born, born.before)]
    if steps(born.network)[born.first.info.name] < born.step:
        return [_handed_on(born, born.first) if born.at_start or _only_data(born) else _later_update(born)]
    shared = [_exponential(born), _range(born), _diverged(born)]
    if layer_type in layer_types.PROBABILITIES or "Attention" in layer_type:
        return [_masked_row(born), _uninitialised(born), _from_inputs(born), *shared, _update(born), _numerics(born)]
    own = [_from_inputs(born), _uninitialised(born), _epsilon_of_the_optimiser(born), _update(born)]
    if layer_types.is_norm(layer_type):
        return [_one_element(born), *own, *shared, _numerics(born)]
    if facts.is_first(born.layer, born.network) or layer_types.has_weights(layer_type):
        return [*own, *shared, _numerics(born)]
    return [_one_element(born), _uninitialised(born), _numerics(born), *own, *shared]


def _in_training(born: Birth) -> LayerView | None:
    """The same layer in training, where evaluation took NaN or Inf over from it."""
    info = born.layer.info
    if not info.mode:
        return None
    own = born.network.everything.get(info.name.removesuffix(layer_types.EVALUATION_SUFFIX))
    had = own.streaks.get("non_finite") if own is not None and own is not born.layer else None
    return own if had is not None and had.step <= born.step else None


def _in_the_data(born: Birth) -> Cause:
    share = f"{percent(born.share)} of the recorded input" if born.share is not None else "the recorded input"
    says = "The data itself contains NaN or Inf, before any layer has touched it."
    return Cause("inputs_not_finite", says, (_CHECK_DATA,), (f"{share} was not finite",), proved=not _cast(born))


def _cast(born: Birth) -> bool:
    return born.layer.info.dtype in LARGEST and LARGEST[born.layer.info.dtype] < 1e6 and born.infs and not born.nans


def _cast_of_the_data(born: Birth) -> Cause:
    dtype = born.layer.info.dtype
    says = f"The data holds values beyond what {dtype} can hold, which became Inf when it was cast."
    against = () if _cast(born) else (f"it is not Inf alone in {dtype or 'a narrow dtype'}",)
    speaks = ("it has Inf and no NaN", f"its dtype is {dtype}")
    return Cause("dtype_range", says, (NORMALISE_INPUTS, "cast the data after scaling it"), speaks, against)


def _handed_on(born: Birth, before: LayerView) -> Cause:
    says = f"It was handed on: {shown(before.info.name)} had NaN or Inf no later."
    return Cause(
        "handed_on", says, (f"look at {shown(before.info.name)}",), (f"{facts.named(before)} had them",), (), True
    )


def _later_update(born: Birth) -> Cause:
    first, since = born.first, steps(born.network)[born.first.info.name]
    says = (
        f"After {shown(first.info.name)} had NaN or Inf, the gradient was not finite, and the update wrote NaN into "
        "the weights."
    )
    speaks = (f"{facts.named(first)} had them at step {since}, before this layer",)
    return Cause("not_finite_update", says, (f"look at {shown(first.info.name)}",), speaks, (), True)


def _from_inputs(born: Birth) -> Cause:
    says = "Its inputs contain NaN or Inf."
    scale = facts.input_scale(born.network)
    against: tuple[str, ...] = ()
    speaks: tuple[str, ...] = ()
    if (born.before is not None and is_input(born.before)) or _input_was_broken(born):
        speaks = (f"the recorded input was not finite at step {born.step}",)
        return Cause("inputs_not_finite", says, (_CHECK_DATA,), speaks, (), proved=True)
    if scale is not None:
        against = ("the recorded input is finite",)
    elif layer_types.is_embedding(born.layer.info.layer_type):
        against = ("its inputs are indices, which are whole numbers",)
    elif born.layer.place > 0:
        against = ("the layers before it are finite",)
    else:
        if born.share is not None and born.share < 1.0:
            speaks += (f"{percent(born.share)} of its outputs were not finite at first, as those of some samples are",)
        if not born.lasting:
            speaks += ("later rows are finite, so its weights are",)
    return Cause("inputs_not_finite", says, (_CHECK_DATA,), speaks, against)


def _only_data(born: Birth) -> tuple[str, ...]:
    """What speaks against NaN in the layer's own weights."""
    layer_type = born.layer.info.layer_type
    if owner(born) is not None:
        return () if born.lasting else ("later rows are finite, and weights that are NaN stay so",)
    if layer_types.is_activation(layer_type) or layer_types.is_passing(layer_type) or layer_type.endswith("Loss"):
        return (f"a {layer_type} has no weights",)
    if layer_type in layer_types.PROBABILITIES - {"MultiheadAttention"}:
        return (f"a {layer_type} has no weights",)
    if not born.lasting:
        return ("later rows are finite, and weights that are NaN stay so",)
    return ()


def owner(born: Birth) -> LayerView | None:
    """The layer that calls this function, where it is one of the user's own, which may have weights."""
    owner = born.network.everything.get(born.layer.info.name.rpartition(".")[0])
    return owner if owner is not None and not layer_types.is_known(owner.info.layer_type) else None


def _spared(born: Birth) -> tuple[str, ...]:
    """What speaks against an update that wrote NaN into this layer's weights."""
    if born.at_start:
        return ("it was so in the first recorded row",)
    return _only_data(born)


def _followed(born: Birth) -> tuple[str, ...]:
    """What speaks for NaN that were computed: weights before the layer that were finite then, and were lost to them."""
    for view in born.network.layers[: born.layer.place]:
        if layer_types.has_weights(view.info.layer_type) and view.info.name in steps(born.network):
            return (f"the weights of {facts.named(view)} before it were finite then, and were lost later",)
    return ()


def _input_was_broken(born: Birth) -> bool:
    """Whether the recorded input had NaN or Inf in that step, though that may have left the window."""
    given = facts.model_input(born.network)
    ever = given.streaks.get("ever_non_finite") if given is not None else None
    return ever is not None and ever.step == born.step


def _finite_inputs(born: Birth) -> tuple[str, ...]:
    if facts.input_scale(born.network) is not None:
        return ("the recorded input is finite",)
    return ("all layers before it are finite",) if born.layer.place > 0 else ()


def _everything(born: Birth) -> tuple[str, ...]:
    whole = born.share is not None and born.share >= 1.0
    return ("all of its outputs became NaN in one step and stayed so",) if whole and born.lasting else ()


def _update(born: Birth) -> Cause:
    """An update wrote NaN into the weights, out of a gradient that was not finite."""
    known = facts.gradients(born.network).finite_before(born.step)
    against = _spared(born)
    if known:
        against += (f"the recorded gradients were finite before step {born.step}",)
    says = (
        f"The update before step {born.step} wrote NaN into its weights, out of a gradient that was not finite: the "
        "derivative of a root, norm, logarithm or quotient is infinite at zero, in the loss too."
    )
    speaks = (*_finite_inputs(born), *_everything(born))
    if known is False:
        speaks += (f"the recorded gradients were not finite before step {born.step}",)
    return Cause("not_finite_update", says, (EPSILON_IN_LOSS, SKIP), speaks, against)


def _epsilon_of_the_optimiser(born: Birth) -> Cause:
    """The optimiser's own arithmetic made NaN from finite gradients."""
    network = born.network
    known = facts.gradients(network).finite_before(born.step)
    against, speaks = _spared(born), (*_finite_inputs(born), *_everything(born))
    if known:
        speaks += (f"the recorded gradients were finite before step {born.step}",)
    if known is False:
        against += (f"the recorded gradients were not finite before step {born.step}",)
    half = born.layer.info.dtype == "float16"
    scale = facts.input_scale(network)
    if half and scale is not None and scale.layer.info.dtype not in ("", "float16"):
        against += (f"the input is {scale.layer.info.dtype}, so the weights of this mixed precision are too",)
    remedies: tuple[str, ...]
    if half:
        says = (
            f"The update before step {born.step} made NaN{' out of finite gradients' if known else ''}: in float16 the "
            "optimiser's epsilon (1e-8 in Adam) is zero, and so is the square of a small gradient, so it divides 0 by "
            "0."
        )
        speaks += ("its outputs are float16",)
        remedies = (
            "keep the weights in float32 and use mixed precision (autocast with a gradient scaler)",
            "use an epsilon of 1e-4 in the optimiser", "train in bfloat16",
        )  # fmt: skip
        return Cause("optimizer_epsilon", says, remedies, speaks, against)
    says = (
        f"The update before step {born.step} made NaN out of finite gradients: the optimiser's own arithmetic, such as "
        "a quotient without an epsilon, or a learning rate that is NaN."
    )
    if not known:
        against += ("no gradients were recorded before it",)
    remedies = "look at the optimiser's epsilon and at the schedule of the learning rate", "clip the gradients by norm"
    return Cause("optimizer_epsilon", says, remedies, speaks, against)


def _whole_neurons(born: Birth) -> bool:
    """Whether the NaN and Inf can be those of whole neurons, over several samples."""
    if born.row is None or not born.row[_NEURONS]:
        return False
    samples = born.row[_COUNT] // born.row[_NEURONS]
    return bool(samples > 1) and facts.broken(born.row) % samples == 0


def _uninitialised(born: Birth) -> Cause:
    layer_type = born.layer.info.layer_type
    says = "Its weights held NaN or Inf before any update: memory that was never initialised, or a broken checkpoint."
    remedies = (
        "initialise its weights: torch.empty and its like hold whatever was in memory",
        "check the checkpoint that it was loaded from for NaN",
    )
    against = _only_data(born)
    if not born.at_start:
        against += (f"it began later, at step {born.step}",)
    # Of what a layer was given by functions in between nothing is known, so nothing speaks for its weights.
    speaks = () if _is_fed_unseen(born) else _finite_inputs(born)
    rows = born.layer.rows
    shares = {facts.broken(row) / max(row[_COUNT], 1) for row in rows[-10:].tolist()}
    known = layer_types.is_known(layer_type)
    if _whole_neurons(born) and not (known and born.share == 1.0):
        speaks += (f"whole neurons of it ({percent(born.share or 0.0)}), in every sample",)
    if len(rows) > 1 and len(shares) == 1 and not known:
        speaks += (f"the same share of its outputs ({percent(min(1.0, *shares))}) in each row",)
    elif len(shares) > 1 and max(shares) < 1.0:
        against += ("the share of its outputs changes from row to row, so it depends on the data",)
    return Cause("uninitialised_memory", says, remedies, speaks, against)


def _numerics(born: Birth) -> Cause:
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
    speaks = _finite_inputs(born)
    if not born.lasting:
        speaks += ("later rows are finite, so it depends on the data",)
    if feeder is not None and _is_fed_unseen(born):
        zeros = _zeros(feeder, born.step)
        speaks += (f"{facts.named(feeder)} before it is exactly zero in {percent(zeros)}",) if zeros else ()
        speaks += (f"what it is given is not what {facts.named(feeder)} put out",)
    elif feeder is not None and _zeros(feeder, born.step) >= 1.0 and not layer_types.has_weights(layer_type):
        speaks += (f"{facts.named(feeder)} before it is exactly zero", "a quotient of zeros is 0/0")
    elif born.lasting and born.share is not None and born.share < 1.0 and not _whole_neurons(born):
        speaks += (f"{percent(born.share)} of its outputs were not finite at first",)
    if layer_type in layer_types.PROBABILITIES:
        speaks = ()
    elif not born.at_start:
        speaks += _followed(born)
    return Cause("numerics", says, (_EPSILON, "compute logarithms of probabilities by log_softmax"), speaks, against)


def _is_fed_unseen(born: Birth) -> bool:
    """Whether something that was not recorded lies between a layer and the one before it, as the adapter saw."""
    layer, network = owner(born) or born.layer, born.network  # a function reads what its module computed
    told = any(view.info.source for view in network.layers)
    feeder = network.feeder(layer)
    return told and feeder is not None and layer.info.source != feeder.info.name and born.row is not None


def _has_broken_statistics(born: Birth) -> bool:
    """Whether it is a batch normalisation in evaluation that is finite in training, where it reads no statistics."""
    info = born.layer.info
    if not info.name.endswith(layer_types.EVALUATION_SUFFIX) or "BatchNorm" not in info.layer_type:
        return False
    own = born.network.everything.get(info.name.removesuffix(layer_types.EVALUATION_SUFFIX))
    return own is not None and "non_finite" not in own.streaks and born.before is None


def _zeros(layer: LayerView, step: int) -> float:
    """The share of a layer's outputs that are exactly zero in a step; 0 where that has left the window."""
    row = facts.row_at(layer, step)
    return 0.0 if row is None else float(row[_ZEROS] / max(row[_COUNT], 1))


_STATISTICS: Final = Cause(
    "running_statistics",
    "Its running mean or variance, which it uses in evaluation alone, is NaN or Inf.",
    ("recompute the running statistics by a pass over the training data in training mode",
     "find the batch that was not finite: one is enough, for good"),
    ("it is finite in training, from the same weights",),
)  # fmt: skip


def _one_element(born: Birth) -> Cause:
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
    speaks = (*_finite_inputs(born), "each of its neurons has one element in a row")
    return Cause("norm_of_one_element", says, remedies, speaks, against)


def _masked_row(born: Birth) -> Cause:
    feeder = born.network.feeder(born.layer)
    says = "The mask leaves a row without any element, and the softmax of minus infinity alone is 0/0."
    speaks: tuple[str, ...] = ()
    if born.share is not None and born.share < 1.0:
        speaks = (
            *_finite_inputs(born),
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


def _exponential(born: Birth) -> Cause:
    source = exponent_source(born.network)
    if source is None or source is born.layer:
        says = "An exponential overflowed."
        return Cause("log_variance", says, (), (), ("no layer before it reaches the logarithm of the largest number",))
    limit = exponent_limit(source.info.dtype)
    says = (
        f"The exponential of {shown(source.info.name)}'s values overflowed: exp(x) is Inf from x = "
        f"{number(limit / EXPONENT)} on."
    )
    speaks = (
        f"{facts.named(source)} has been beyond {number(limit)} since step {source.streaks['exponent'].step}",
        *_finite_inputs(born), "it had left its usual range before",
    )  # fmt: skip
    return Cause("log_variance", says, EXPONENT_REMEDIES, speaks, ())


def _range(born: Birth) -> Cause:
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
    remedies: tuple[str, ...] = (
        _WIDER,
        "scale down its inputs or add a normalisation before it",
        *(() if born.at_start else (LOWER_RATE, CLIP_GRADIENTS)),
    )
    if layer.info.dtype != "float16":
        remedies = remedies[1:]
    return Cause("dtype_range", says, remedies, speaks, against)


def _diverged(born: Birth) -> Cause:
    """The values grew until they overflowed."""
    left = facts.left_range(born.network)
    grew = [(step, name) for name, step in left.items() if step < born.step]
    says = "The weights grew with each update until a value overflowed: the learning rate is too high."
    against: tuple[str, ...] = facts.before_any_update(born.layer, born.step).refuted_by
    if not grew:
        against += (f"no layer had left its usual range before step {born.step}",)
    speaks = tuple(f"{shown(name, 40)} left its usual range at step {step}" for step, name in sorted(grew)[:2])
    return Cause("learning_rate", says, (LOWER_RATE, CLIP_GRADIENTS), speaks, against)
