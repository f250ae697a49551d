"""What could have made NaN and Inf: the hypotheses of `rules.NonFinite`, each with what the rows say of it."""

from typing import Final

from fastact.diagnosis import layer_types
from fastact.diagnosis.causes.cause import Cause, best
from fastact.diagnosis.causes.non_finite_layer import (
    diverged,
    exponential,
    finite_inputs,
    grown_over_depth,
    is_fed_unseen,
    masked_row,
    number_range,
    numerics,
    one_element,
    overflows_squared,
    whole_neurons,
)
from fastact.diagnosis.causes.remedies import NORMALISE_INPUTS
from fastact.diagnosis.evidence import facts
from fastact.diagnosis.evidence.nan_origin import LARGEST, Birth, birth, is_input, owner, steps
from fastact.diagnosis.network import LayerView, Network
from fastact.fields import COLUMN
from fastact.text import percent, shown

_COUNT = COLUMN["count"]

#: Causes that lie in a layer's weights.
_OF_WEIGHTS: Final = ("uninitialised_memory", "not_finite_update", "optimizer_epsilon")


_CHECK_DATA: Final = "check the data for NaN and Inf (missing values, 0/0 in the preprocessing) and fill or drop them"
EPSILON_IN_LOSS: Final = "add an epsilon where the loss divides, or takes a root, norm or logarithm of what can be zero"
SKIP: Final = "skip the update when a gradient is not finite (clipping does not remove NaN)"


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
        if born.before is not None and not is_input(born.before):  # of a part of the model: what another part put out
            return [_handed_on(born, born.before)]
        return [_in_the_data(born), _cast_of_the_data(born)]
    trained = _in_training(born)
    if trained is not None:
        return [_handed_on(born, trained)]
    if _has_broken_statistics(born):
        return [_STATISTICS]
    if born.before is not None:
        return [_from_inputs(born) if is_input(born.before) else _handed_on(born, born.before)]
    if steps(born.network)[born.first.info.name] < born.step:
        finite = facts.gradients(born.network).finite_before(born.step)  # no update can have written it then
        return [_handed_on(born, born.first) if born.at_start or _only_data(born) or finite else _later_update(born)]
    shared = [exponential(born), number_range(born), grown_over_depth(born), diverged(born)]
    if layer_type in layer_types.PROBABILITIES or "Attention" in layer_type:
        return [masked_row(born), _uninitialised(born), _from_inputs(born), *shared, _update(born), numerics(born)]
    own = [_from_inputs(born), _uninitialised(born), _epsilon_of_the_optimiser(born), _update(born)]
    if layer_types.is_norm(layer_type):
        return [one_element(born), *own, *shared, numerics(born)]
    if facts.is_first(born.layer, born.network) or layer_types.has_weights(layer_type):
        return [*own, *shared, numerics(born)]
    return [one_element(born), _uninitialised(born), numerics(born), *own, *shared]


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
    return born.network.once_for(_by_another, before)


def _by_another(_: Network, before: LayerView) -> Cause:
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


def _spared(born: Birth) -> tuple[str, ...]:
    """What speaks against an update that wrote NaN into this layer's weights."""
    if born.at_start:
        return ("it was so in the first recorded row",)
    return _only_data(born)


def _input_was_broken(born: Birth) -> bool:
    """Whether the recorded input had NaN or Inf in that step, though that may have left the window."""
    given = facts.model_input(born.network)
    ever = given.streaks.get("ever_non_finite") if given is not None else None
    return ever is not None and ever.step == born.step


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
    speaks = (*finite_inputs(born), *_everything(born))
    if known is False:
        speaks += (f"the recorded gradients were not finite before step {born.step}",)
    return Cause("not_finite_update", says, (EPSILON_IN_LOSS, SKIP), speaks, against)


def _epsilon_of_the_optimiser(born: Birth) -> Cause:
    """The optimiser's own arithmetic made NaN from finite gradients."""
    network = born.network
    known = facts.gradients(network).finite_before(born.step)
    against, speaks = _spared(born), (*finite_inputs(born), *_everything(born))
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


def _uninitialised(born: Birth) -> Cause:
    layer_type = born.layer.info.layer_type
    says = (
        "Its weights held NaN, Inf or numbers of any size before any update: memory that was never initialised, or a "
        "broken checkpoint."
    )
    remedies = (
        "initialise its weights: torch.empty and its like hold whatever was in memory",
        "check the checkpoint that it was loaded from for NaN",
    )
    against = _only_data(born)
    if not born.at_start:
        against += (f"it began later, at step {born.step}",)
    feeder = born.network.feeder(born.layer)
    if feeder is not None and overflows_squared(feeder):
        against += (f"what {facts.named(feeder)} gives it is so large that any product overflows",)
    # Of what a layer was given by functions in between nothing is known, so nothing speaks for its weights.
    speaks = () if is_fed_unseen(born) else finite_inputs(born)
    rows = born.layer.rows
    shares = {facts.broken(row) / max(row[_COUNT], 1) for row in rows[-10:].tolist()}
    known = layer_types.is_known(layer_type)
    if whole_neurons(born) and not (known and born.share == 1.0):
        speaks += (f"whole neurons of it ({percent(born.share or 0.0)}), in every sample",)
    if len(rows) > 1 and len(shares) == 1 and not known:
        speaks += (f"the same share of its outputs ({percent(min(1.0, *shares))}) in each row",)
    elif len(shares) > 1 and max(shares) < 1.0:
        against += ("the share of its outputs changes from row to row, so it depends on the data",)
    return Cause("uninitialised_memory", says, remedies, speaks, against)


def _has_broken_statistics(born: Birth) -> bool:
    """Whether it is a batch normalisation in evaluation that is finite in training, where it reads no statistics."""
    info = born.layer.info
    if not info.name.endswith(layer_types.EVALUATION_SUFFIX) or "BatchNorm" not in info.layer_type:
        return False
    own = born.network.everything.get(info.name.removesuffix(layer_types.EVALUATION_SUFFIX))
    return own is not None and "non_finite" not in own.streaks and born.before is None


_STATISTICS: Final = Cause(
    "running_statistics",
    "Its running mean or variance, which it uses in evaluation alone, is NaN or Inf.",
    ("recompute the running statistics by a pass over the training data in training mode",
     "find the batch that was not finite: one is enough, for good"),
    ("it is finite in training, from the same weights",),
)  # fmt: skip
