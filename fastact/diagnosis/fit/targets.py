"""Targets that the output cannot reach or the loss does not take: ranges, classes, shapes, one class alone."""

import math
from typing import Final

import numpy as np

from fastact.diagnosis.evidence.supervised import RANGE, Mismatch, Supervised
from fastact.diagnosis.finding import NOTE, Severity, graded
from fastact.diagnosis.fit import fixes
from fastact.diagnosis.fit.outputs import loss_of
from fastact.fields import COLUMN
from fastact.text import number, percent

_MIN, _MAX = COLUMN["min"], COLUMN["max"]
#: Labels that frameworks' users leave out by: what is below zero, and the void of segmentations.
_VOID: Final = 255.0
#: Share of the size of targets. What a ReLU's targets have below zero beyond this is no noise.
_NEGATIVE: Final = 0.02
#: Rows. A loss that was flat for so long, and no better than a constant answer by a tenth, is not getting anywhere.
_STUCK_ROWS: Final = 50
_STUCK: Final = 0.9
#: Share of the commonest class from which on the other one is rare, and share of a constant answer's loss above which
#: next to nothing else was learned. Chosen.
_RARE: Final = 0.97
_LITTLE: Final = 0.5
#: Share, and classes. What has so nearly the mean and the deviation of numbers that are equally frequent, and is so
#: many, is a class rather than a mark.
_EVEN: Final = 0.1
_MANY: Final = 8


def beyond_output(s: Supervised, excess: float) -> Mismatch | None:
    """Targets of a regression that the last activation cannot reach."""
    regression = s.function is not None and s.function.family == "regression"
    if not regression or s.target is None or s.kind not in ("sigmoid", "softmax", "tanh", "ReLU"):
        return None
    low, high = RANGE[s.kind]
    least, most, mean = s.target_number("min"), s.target_number("max"), s.target_number("mean")
    if not least <= most:
        return None
    name = "a softmax" if s.kind == "softmax" else f"a {s.kind}"
    reach = f"the targets are from {number(least)} to {number(most)}"
    if s.kind == "ReLU":
        size = s.target_number("abs_mean")
        below = (size - mean) / (2.0 * size) if size > 0.0 else 0.0
        if below < _NEGATIVE:
            return None
        what = f"the outputs of a ReLU are never below zero, and {reach}"
        severity: Severity = graded(serious=below > excess, critical=below > 1.0 - excess)
        says = "Targets below zero cannot be reached, and an output that is zero gets no gradient."
        return Mismatch("relu_output", severity, what, says, (fixes.values(s.framework, s.units or 1),), (reach,))
    beyond = max(most - high, low - least) / (high - low)
    if not beyond > excess:
        if s.kind == "softmax" and s.units > 1 and s.targets.get("sums_to_one") is False and s.shape == s.target_shape:
            total = mean * s.units
            if abs(total - 1.0) > excess:
                what = f"the outputs of a softmax sum to 1, and the targets of a sample to {number(total)} on average"
                fix = fixes.values(s.framework, s.units)
                says = "No output can come close to all of its targets."
                return Mismatch("wrong_output_activation", "serious", what, says, (fix,), (what,))
        return None
    outside = mean > high or mean < low
    severity = graded(serious=outside or beyond > 2.0 * excess, critical=outside)
    what = f"the outputs of {name} are within {number(low)} and {number(high)}, and {reach}"
    says = "Targets beyond cannot be reached: the activation saturates where they are, and its gradient vanishes."
    scale = f"scale the targets to {number(low)} to {number(high)}"
    whole = s.whole and len(s.distinct) > 2 and s.units == 1
    classes = (fixes.classes(s.framework, _number_of(s)) + ", if the targets are classes",) if whole else ()
    remedies = (*classes, f"remove the {s.kind} from the last layer", scale)
    return Mismatch("target_out_of_range", severity, what, says, remedies, (reach,))


def beyond_loss(s: Supervised, excess: float) -> Mismatch | None:
    """Targets that the loss does not take, or takes for something else."""
    if s.function is None or s.target is None:
        return None
    least, most = s.target_number("min"), s.target_number("max")
    if not least <= most:
        return None
    reach = f"the targets are from {number(least)} to {number(most)}"
    if s.function.family == "count" and least < 0.0:
        size, mean = s.target_number("abs_mean"), s.target_number("mean")
        below = (size - mean) / (2.0 * size) if size > 0.0 else 0.0
        what = f"{loss_of(s)} takes counts, which are never below zero, and {reach}"
        says = "For a target below zero the loss has no least value: it falls for as long as the outputs do."
        gravest = graded(serious=below > _NEGATIVE, critical=below > excess)
        return Mismatch("target_out_of_range", gravest, what, says, (fixes.values(s.framework),), (reach,))
    if s.function.name == "mean_absolute_percentage_error" and least <= 0.0 <= most:
        zero = s.target_number("zeros") / max(s.target_number("count"), 1.0)
        grave: Severity = graded(serious=least < 0.0 < most or zero > _NEGATIVE, critical=False)
        what = f"{loss_of(s)} measures errors as a share of the target, and {reach}"
        says = (
            "The loss measures next to nothing but the targets that are near zero, of which any error is a large share."
        )
        remedies = (fixes.values(s.framework, s.units or 1), "or use mae, which counts all errors alike")
        return Mismatch("wrong_loss", grave, what, says, remedies, (reach,))
    if s.function.name == "mean_squared_logarithmic_error" and least <= -1.0:
        what = f"{loss_of(s)} takes the logarithm of 1 + target, and {reach}"
        says = "The logarithm of what is not above zero is no number, or cut."
        return Mismatch("target_out_of_range", "serious", what, says, (fixes.values(s.framework),), (reach,))
    if s.function.family == "hinge":
        if not s.facts.get("converts", s.framework == "keras") and s.distinct == [0.0, 1.0]:
            what = f"{loss_of(s)} takes -1 and 1, and the targets are 0 and 1"
            says = "A sample whose target is 0 has one loss whatever the output is: half of the data teaches nothing."
            because = ("the targets are 0 and 1",)
            return Mismatch("target_out_of_range", "serious", what, says, ("use 2 * y - 1",), because)
        return None
    distribution = s.function.family == "categorical" and s.shape == s.target_shape and s.units > 1
    if s.function.family != "binary" and not (distribution and "distribution" in s.function.targets):
        return None
    beyond = max(most - 1.0, -least)
    if beyond > excess:
        share = s.target_number("saturated") / max(s.target_number("count"), 1.0)
        what = f"{loss_of(s)} takes targets within 0 and 1, and {reach}"
        if s.function.family == "binary" and _are_classes(s):
            says = (
                "A binary loss takes targets within 0 and 1, for no and yes: for classes beyond these it has no least "
                "value, and falls for as long as the outputs grow."
            )
            fix = (fixes.classes(s.framework, _number_of(s)),)
            because = (f"the targets are {number(least)} to {number(most)}, as classes are numbered",)
            return Mismatch("binary_loss_on_classes", "critical", what, says, fix, because)
        says = "The loss has no least value for such targets: it falls for as long as the outputs grow."
        severity: Severity = "critical" if share > excess else "serious"
        because = (f"{percent(share)} of the targets are not within 0 and 1",)
        return Mismatch("target_out_of_range", severity, what, says, _into_range(s, least, most), because)
    if distribution and set(s.distinct) <= {0.0, 1.0} and s.distinct:
        total = s.target_number("mean") * s.units
        if total > 1.0 + excess:
            what = f"{loss_of(s)} takes one class of many, and a sample has {number(total)} classes on average"
            says = (
                "A softmax shares one probability among the classes, for which those that a sample has at once "
                "compete: each wants a sigmoid of its own at the output, and a binary loss."
            )
            remedy = (fixes.multi_label(s.framework),)
            return Mismatch("multi_label_targets", "warning", what, says, remedy, (what.partition(", and ")[2],))
    return None


def _are_classes(s: Supervised) -> bool:
    """Whether the targets number more than two classes, one for each sample."""
    known = s.distinct
    one = math.prod(s.target_shape[1:]) == 1
    return s.whole and one and len(known) > 2 and min(known) in (0.0, 1.0) and max(known) <= 2.0 * len(known)


def _into_range(s: Supervised, least: float, most: float) -> tuple[str, ...]:
    """How targets get within 0 and 1, by what they are."""
    if s.distinct == [-1.0, 1.0]:
        return ("use (y + 1) / 2 for the targets: the loss wants 0 and 1",)
    if s.whole and len(s.distinct) == 2:
        return (f"use y - {number(least)} for the targets, or (y == {number(most)})",)
    return ("scale the targets to 0 to 1", f"{fixes.values(s.framework, s.units or 1)}, for targets of any size")


def _number_of(s: Supervised) -> int | None:
    known = s.distinct
    return int(max(known)) + 1 if known and min(known) >= 0.0 and s.whole else None


def unknown_class(s: Supervised, excess: float) -> Mismatch | None:
    """Numbers of classes that there is no unit for, or that are no whole numbers."""
    del excess
    if s.function is None or s.target is None or not s.targets_are_classes or s.units < 2:
        return None
    if s.targets.get("whole") is False and s.function.targets == ("classes",):
        reach = f"from {number(s.target_number('min'))} to {number(s.target_number('max'))}"
        what = f"{loss_of(s)} takes the numbers of classes, and the targets, {reach}, are not whole"
        says = "What is behind the decimal point is cut off: different targets become one class."
        fix = (f"{fixes.values(s.framework)}, if the targets are amounts", "give the classes as 0, 1, 2, ...")
        return Mismatch("classes_not_whole", "critical", what, says, fix, ("the targets are not whole",))
    # PyTorch raises; where it did not, the class is one that the loss leaves out.
    if s.framework == "torch" or not s.targets:
        return None
    rows = s.target.rows
    over = rows["max"] >= s.units
    left_out = s.facts.get("ignore_index")
    most = float(rows["max"].max())
    if not over.any() or most in (left_out, _VOID):
        return None
    first = int(rows["step"][int(np.argmax(over))])
    step = None if s.target.first[_MAX] >= s.units else first
    what = f"there are {s.units:,} units, for classes 0 to {s.units - 1:,}, and a target of {number(most)}"
    says = "A class without a unit counts for nothing or makes the loss NaN, and no error is raised."
    least = float(rows["min"].min())
    remedies = [f"use {int(most) + 1} units: one for each class, 0 among them"]
    if least == 1.0 and most == s.units:
        remedies.insert(0, "count the classes from 0: subtract 1 from the targets")
    return Mismatch(
        "class_out_of_range", "critical", what, says, tuple(remedies), (what.rpartition(", and ")[2],), step
    )


def classes_as_numbers(s: Supervised, learned: float, rows: int) -> Mismatch | None:
    """A regression on the numbers of classes: for certain with a unit for each, else where it gets nowhere.

    Amounts and marks are whole numbers too; few of them are as even as classes are.
    """
    regression = s.function is not None and s.function.family == "regression"
    known = s.distinct
    counted = len(known) > 2 and known == [float(value) for value in range(len(known))]
    if not (regression and s.whole and counted and s.target is not None):
        return None
    what = f"{loss_of(s)} compares numbers, and the targets are 0 to {len(known) - 1}, as classes are numbered"
    says = "A regression takes class 2 to lie between 1 and 3, which classes do not."
    fix = (fixes.classes(s.framework, len(known)) + ", if these are classes",)
    because = (f"the targets have the values 0 to {len(known) - 1} alone",)
    wide = len(s.shape) == 2 and s.units >= len(known) and s.target_shape in ((s.shape[0], 1), (s.shape[0],))
    if wide:
        says = (
            "The number of its class is compared with every unit of a sample, so that all units learn the same: one "
            "unit for each class wants one-hot targets, or a loss for class numbers."
        )
        return Mismatch("one_hot_or_classes", "critical", what, says, fix, because)
    if s.units > 1 or len(s.target_shape) > 2 or (len(s.target_shape) == 2 and s.target_shape[1] != 1):
        return None
    taken, share = len(s.loss.rows), s.share_of_baseline
    counted_as_right = [name for name in _metrics(s) if name.endswith("accuracy") or name == "acc"]
    if counted_as_right:
        asked = f"the metric {counted_as_right[0]} counts which class is right"
        return Mismatch("regression_on_classes", "warning", what, says, fix, (*because, asked))
    stuck = taken >= _STUCK_ROWS and share > _STUCK
    # Quantiles are as even, and are learned by a regression: they get twice the time.
    stuck = stuck or (taken >= 2 * rows and share > learned and _evenly(s, len(known)))
    # Amounts may be as even: nobody has said that these are classes.
    return Mismatch("regression_on_classes", "warning" if stuck else NOTE, what, says, fix, because, proved=False)


def _metrics(s: Supervised) -> list[str]:
    """What the user wants to know besides the loss, where the framework tells."""
    names = s.facts.get("metrics", ())
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def _evenly(s: Supervised, classes: int) -> bool:
    """Whether the targets have the mean and the spread of numbers from 0 on that are each as frequent."""
    if s.target is None or classes < _MANY:
        return False
    mean, std = (classes - 1) / 2.0, math.sqrt((classes * classes - 1.0) / 12.0)
    rows = s.target.rows[np.isfinite(s.target.rows["mean"]) & (s.target.rows["count"] > 0)]
    if not len(rows):
        return False
    # Of all rows together: a single batch is too few to tell what is even.
    shares = rows["count"] / rows["count"].sum()
    own = float(shares @ rows["mean"])
    spread = math.sqrt(max(float(shares @ (rows["std"] ** 2 + rows["mean"] ** 2)) - own * own, 0.0))
    return abs(own - mean) <= _EVEN * std and abs(spread / std - 1.0) <= _EVEN


def rare_class(s: Supervised, rows: int, alone: bool) -> Mismatch | None:
    """Yes and no, nearly all of one kind, with a loss that has learned next to nothing but that.

    Args:
        s: the loss.
        rows: from so many on, and half as many again, it has had its time.
        alone: whether it is the only loss, as in `one_class`.
    """
    target, function = s.target, s.function
    if function is None or target is None or s.baseline is None or s.facts.get("weighted") or not alone:
        return None
    two = function.family == "binary" and math.prod(s.target_shape[1:]) == 1
    two = two or (function.family == "categorical" and s.targets_are_classes and s.units == 2)
    seen, taken = target.rows[target.rows["count"] > 0], len(s.loss.rows)
    if not two or taken < rows + rows // 2 or not len(seen) or seen["min"].min() < 0.0 or seen["max"].max() > 1.0:
        return None
    if not (seen["min"] < seen["max"]).any():
        return None
    mean = float(seen["mean"] @ (seen["count"] / seen["count"].sum()))
    share, constant = max(mean, 1.0 - mean), float(np.median(s.baseline.rows["mean"]))
    # What is learned of a few rare samples comes and goes with the batches that they are in: many rows tell.
    if not _RARE <= share < 1.0 or not float(np.mean(s.loss.rows["mean"][-(2 * taken // 3) :])) >= _LITTLE * constant:
        return None
    what = f"{percent(share)} of the targets are of one class, and the loss has learned little but that"
    says = "To answer the commonest class always is nearly right, so that the rare one has hardly any gradient."
    remedies = ("weight the classes in the loss, or sample them alike", "look at more than the accuracy")
    said = (f"{percent(share)} of the targets of {len(seen):,} batches are of one class",)
    verb = "is given unbalanced targets"
    return Mismatch("unbalanced_labels", "warning", what, says, remedies, said, None, verb, proved=False)


def one_class(s: Supervised, rows: int, alone: bool) -> Mismatch | None:
    """Targets that are all one class, batch after batch, for a layer that tells classes apart.

    Args:
        s: the loss.
        rows: from so many on it is no chance.
        alone: whether it is the only loss. A discriminator has one for what is real and one for what is made up.
    """
    target, family = s.target, s.function.family if s.function is not None else ""
    classifies = family == "categorical" and s.targets_are_classes and s.units > 1
    if target is None or s.layer is None or not (classifies or (family in ("binary", "regression") and alone)):
        return None
    if s.kind not in ("linear", "softmax", "log-softmax", "sigmoid"):
        return None
    seen = target.rows
    one = float(seen["min"][0])
    if len(seen) < rows or not ((seen["min"] == one) & (seen["max"] == one) & (seen["count"] > 1)).all():
        return None
    if family == "regression":
        # What is to be zero, or one, is a residual or a norm, and may be meant.
        if one in (-1.0, 0.0, 1.0) or s.shape != s.target_shape:
            return None
    elif one < 0.0 or one != math.floor(one) or one == s.facts.get("ignore_index"):
        return None
    what = f"all targets of {len(seen):,} batches are {'' if family == 'regression' else 'class '}{number(one)}"
    says = "Where all targets are the same there is nothing to tell apart: the loss falls, and nothing is learned."
    step = None if target.first[_MIN] == target.first[_MAX] == one else int(seen["step"][0])
    fix = (
        "shuffle the data: sorted by class, batches are of one class",
        "look whether the labels are read as they should",
    )
    return Mismatch("constant_labels", "serious", what, says, fix, (what,), step)
