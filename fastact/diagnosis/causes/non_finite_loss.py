"""Why a loss is NaN or Inf where no layer was before it."""

from typing import Final

import numpy as np

from fastact.diagnosis import layer_types
from fastact.diagnosis.causes.cause import Cause
from fastact.diagnosis.causes.remedies import CLIP_GRADIENTS, LOWER_RATE, NORMALISE_INPUTS
from fastact.diagnosis.evidence import facts
from fastact.diagnosis.network import LayerView, Network
from fastact.losses import LOSSES

#: The class that PyTorch's losses leave out where nobody says another.
_IGNORED: Final = -100
#: Losses of nothing but the differences of predictions and targets.
_OF_ERRORS: Final = frozenset({"mean_squared_error", "mean_absolute_error", "huber", "smooth_l1", "log_cosh"})


def causes(loss: LayerView, network: Network, step: int, rose: bool) -> list[Cause]:
    """Why a loss has been NaN or Inf since a step, the likeliest first; `rose` where it grew tenfold before."""
    targets = network.everything.get(loss.info.name + layer_types.TARGET_SUFFIX)
    causes = []
    if targets is not None and _broken_at(targets, step):
        causes.append(
            Cause(
                "targets_not_finite",
                "The targets have NaN or Inf, and so has the loss.",
                ("leave out the samples without a target, or fill in what is missing",),
                (f"the targets have NaN or Inf in step {step}",),
                proved=True,
            )
        )
    ignored = loss.info.facts.get("ignore_index", _IGNORED)
    if targets is not None and _all_are(targets, loss, ignored):
        causes.append(
            Cause(
                "labels_ignored",
                "Every label of the batch is one that the loss leaves out, and the mean of nothing is NaN.",
                (
                    f"look at how labels are made: why all of them are {ignored}, the ignore_index",
                    "leave out batches without a label, or divide the sum by max(1, labels that count)",
                ),
                (f"all targets are {ignored} wherever the loss has no number",),
                proved=True,
            )
        )
        return causes
    if rose:
        causes.append(
            Cause(
                "rate_too_large",
                "The learning rate is too high: the loss grew from step to step until it had no number.",
                (f"{LOWER_RATE}: a tenth, then a tenth of that", CLIP_GRADIENTS),
                ("the loss grew tenfold before",),
            )
        )
    known = LOSSES.get(str(loss.info.facts.get("function", "")))
    overflown = bool(loss.rows[loss.rows["step"] == step]["pos_infs"].any())
    only = known is not None and known.name in _OF_ERRORS and _was_given_numbers(loss, network, step)
    if (overflown or only) and known is not None and known.family == "regression":
        causes.append(
            Cause(
                "rate_too_large",
                "The predictions have grown until the loss, which squares or exponentiates them, has overflowed.",
                (f"{LOWER_RATE}: a tenth, then a tenth of that", NORMALISE_INPUTS, "scale the targets to about 1",
                 CLIP_GRADIENTS),
            )
        )  # fmt: skip
        return causes
    causes.append(
        Cause(
            "loss_not_finite",
            "The loss is computed in a way that has no number for these predictions: the logarithm of zero, a division "
            "by zero, the root of a negative number.",
            (
                "use the framework's own loss of logits, such as cross_entropy or binary_cross_entropy_with_logits",
                "add a small number within logarithms, roots and divisors, or clamp what they are given",
                "leave out batches without samples: the mean of nothing is NaN",
            ),
        )
    )
    return causes


def _all_are(targets: LayerView, loss: LayerView, value: float) -> bool:
    """Whether targets are all of one value in each row in which the loss is not finite."""
    broken = loss.rows["step"][facts.not_finite(loss.rows)]
    rows = targets.rows[np.isin(targets.rows["step"], broken)]
    return bool(len(rows) == len(broken) > 0 and (rows["min"] == value).all() and (rows["max"] == value).all())


def _was_given_numbers(loss: LayerView, network: Network, step: int) -> bool:
    """Whether predictions and targets had numbers when the loss had none any more: errors alone can overflow then."""
    names = loss.info.source, loss.info.name + layer_types.TARGET_SUFFIX
    given = [network.everything.get(name) for name in names]
    if step <= loss.start or any(view is None for view in given):
        return False
    runs = [view.streaks.get("non_finite") for view in given if view is not None]
    return all(run is None or run.step > step for run in runs)


def _broken_at(view: LayerView, step: int) -> bool:
    rows = view.rows[view.rows["step"] == step]
    return bool(facts.not_finite(rows).any())
