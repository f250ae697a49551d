"""What the data can do: inputs and targets that keep a network from learning, or drive it off.

None of it is a finding: odd data is common and mostly harmless. These are causes for the harm that rules find.
"""

import math
from typing import Final

import numpy as np

from fastact.diagnosis import layer_types
from fastact.diagnosis.causes.cause import Cause
from fastact.diagnosis.causes.remedies import LOWER_RATE, NORMALISE_INPUTS, initialisation
from fastact.diagnosis.evidence import facts, initial_weights
from fastact.diagnosis.evidence.facts import For
from fastact.diagnosis.evidence.supervised import of
from fastact.diagnosis.network import LayerView, Network
from fastact.fields import COLUMN
from fastact.text import number, percent, shown

_MEAN, _STD, _MIN, _MAX, _COUNT = (COLUMN[name] for name in ("mean", "std", "min", "max", "count"))
#: By how much a deviation of zeros and ones is off that of their mean, by rounding.
_BINARY: Final = 1e-6

#: Factor. A code for missing values that makes the standard deviation so many times what it is without.
_DOMINATES: Final = 3.0
#: Factors: of the largest to the smallest of the features' standard deviations, and to the median. The rates that
#: suit them differ by the square.
_SCALES_DIFFER: Final = 1000.0
_LARGEST: Final = 30.0
#: Share. Where one class has so many of the targets, to answer it always is nearly right.
_UNBALANCED: Final = 0.9
#: Rows. So many batches that are the same are no chance.
_SAME: Final = 10
#: Rows of a table of which fewer may be all that there is; and of them, those that are as good as one.
_TABLE: Final = 16
_SYMBOLS: Final = 2
#: Root mean square. Targets of a regression within these are on the scale of what a new network puts out.
_UNIT_SCALE: Final = (0.01, 30.0)
#: Factor. A mean so many standard deviations from zero has to be learned before anything else.
_FAR: Final = 30.0


def missing_value_codes(network: Network) -> For:
    """What the first batch of inputs says of a number that stands for a missing value."""
    view = facts.model_input(network)
    code = facts.missing_code(view)
    if code is None or view is None:
        return For()
    value, share, without = code
    std = float(view.first[_STD])
    if not std > _DOMINATES * without:
        return For()
    said = f"{percent(share)} of the first inputs are {number(value)}, far from all others"
    return For((f"{said}: with them the standard deviation is {number(std)}, without them {number(without)}",))


def feature_scales(network: Network) -> For:
    """What the first batch of inputs says of features on scales that are far apart."""
    view = facts.model_input(network)
    stds = view.info.facts.get("feature_std") if view is not None else None
    if not isinstance(stds, list) or len(stds) != 3 or not all(isinstance(std, float) for std in stds):
        return For()
    if facts.missing_code(view) is not None:  # which spreads the columns that have it
        return For()
    least, middle, most = stds
    apart = most / least if least > 0.0 else math.inf
    # A small one among others is a feature less; a large one drowns them.
    if not (apart >= _SCALES_DIFFER and most >= _LARGEST * middle):
        return For(
            refuted_by=(f"the largest feature's standard deviation is {number(most)}, the median {number(middle)}",)
        )
    return For((f"the features' standard deviations are from {number(least)} to {number(most)}",))


def constant_labels(loss: LayerView, network: Network) -> For:
    """What the targets' rows say of labels that are all one."""
    s = of(loss, network)
    if s.target is None:
        return For()
    rows = s.target.rows
    known = rows[~np.isnan(rows["mean"])]
    if not len(known):
        return For()
    one = float(known["min"][0])
    if ((known["min"] == one) & (known["max"] == one)).all():
        return For((f"all targets of {len(known):,} batches are {number(one)}",))
    return For(refuted_by=("the targets differ",))


def unbalanced_labels(loss: LayerView, network: Network) -> For:
    """What the targets say of labels most of which are one class."""
    s = of(loss, network)
    share = s.targets.get("commonest")
    share = share if isinstance(share, float) else None
    if s.function is None or s.function.family not in ("categorical", "binary") or share is None:
        return For()
    if s.function.family == "binary" and s.units <= 1 and s.distinct == [0.0, 1.0]:
        mean = s.target_number("mean")  # of all rows, not of one batch
        share = max(mean, 1.0 - mean)
    if share >= 1.0:
        return For()
    if share >= _UNBALANCED:
        return For((f"{percent(share)} of the targets are of one class",))
    return For(refuted_by=(f"the commonest class has {percent(share)} of the targets",))


def same_batch(loss: LayerView, network: Network) -> For:
    """Whether inputs and targets are those of one batch, over and over; full-batch training of small data is too."""
    s = of(loss, network)
    given = facts.model_input(network)
    if given is None or s.target is None:
        return For()
    views = (given, s.target)
    if not all(_all_equal(view) for view in views):
        return For(refuted_by=("the batches differ",))
    if min(len(view.rows) for view in views) < _SAME or float(given.last[_STD]) == 0.0 or _counts_ones(given):
        return For()
    return For((f"the inputs and the targets of {len(given.rows):,} rows have the same moments to the last bit",))


def same_inputs(loss: LayerView, network: Network) -> For:
    """Whether the inputs are those of one batch, over and over, while the targets change: nothing can tell these."""
    s = of(loss, network)
    given = facts.model_input(network)
    if given is None or s.target is None:
        return For()
    if not _all_equal(given) or _all_equal(s.target):
        return For(refuted_by=("the inputs differ",))
    if min(len(given.rows), len(s.target.rows)) < _SAME or float(given.last[_STD]) == 0.0 or _counts_ones(given):
        return For()
    return For((f"the inputs of {len(given.rows):,} rows have the same moments to the last bit, the targets have not",))


def one_symbol(network: Network) -> For:
    """Whether of a table of many rows one alone is looked up, or two (a blank beside it), in all rows of the window."""
    for view in network.everything.values():
        used = view.rows["count"] - view.rows["zeros"]
        counts = view.info.layer_type == layer_types.VOCABULARY and len(view.rows) >= _SAME
        if counts and int(view.last[_COUNT]) >= _TABLE and bool((used <= _SYMBOLS).all()):
            name = shown(view.info.name.removesuffix(layer_types.USAGE_SUFFIX), 40)
            return For((f"of the {int(view.last[_COUNT]):,} rows of {name}, {int(used.max())} are ever looked up",))
    return For()


def targets_not_scaled(loss: LayerView, network: Network) -> For:
    """What the targets' rows say of a regression whose targets are far from what a new network puts out."""
    s = of(loss, network)
    if s.function is None or s.function.family != "regression" or s.target is None:
        return For()
    mean, std = s.target_number("mean"), s.target_number("std")
    size = math.hypot(mean, std)
    if math.isnan(size):
        return For()
    said = f"mean {number(mean)}, standard deviation {number(std)}"
    if size > 0.0 and (not _UNIT_SCALE[0] <= size <= _UNIT_SCALE[1] or (std > 0.0 and abs(mean) > _FAR * std)):
        return For((f"the targets are not scaled ({said})",))
    return For(refuted_by=(f"the targets are on a usual scale ({said})",))


def causes_of_data(loss: LayerView, network: Network) -> list[Cause]:
    """All of these, and inputs that are not normalised, as causes: those that the rows speak for.

    Args:
        loss: the rows of the loss that is not learned.
        network: any.
    """
    raw = facts.inputs_not_normalised(network)
    made = [
        _cause(
            "missing_value_codes",
            "Numbers that stand for missing values are taken for values, and are larger than all of those.",
            ("replace the codes for missing values, by the feature's median, say, before scaling", NORMALISE_INPUTS),
            missing_value_codes(network),
        ),
        _cause(
            "feature_scales",
            "The features are on scales so far apart that no one learning rate suits them.",
            ("scale each feature to mean 0 and standard deviation 1",),
            feature_scales(network),
        ),
        _cause(
            "inputs_not_normalised",
            "The inputs are not normalised, so that no learning rate suits all of the weights.",
            (NORMALISE_INPUTS, LOWER_RATE),
            raw,
        ),
        _cause(
            "targets_not_scaled",
            "The targets are far from what a new network puts out, so that the gradients are far too large or small.",
            ("scale the targets to mean 0 and standard deviation 1, and the predictions back",),
            targets_not_scaled(loss, network),
        ),
        _cause(
            "constant_labels",
            "All targets are one, so that there is nothing to learn.",
            ("look whether the labels are read as they should", "shuffle the data"),
            constant_labels(loss, network),
        ),
        _cause(
            "unbalanced_labels",
            "Nearly all targets are of one class, so that to answer it always is nearly right.",
            ("weight the classes in the loss, or sample them alike", "look at more than the accuracy"),
            unbalanced_labels(loss, network),
        ),
        _cause(
            "same_batch",
            "The network is given one batch over and over.",
            ("look whether the loop takes the next batch from the loader",),
            same_batch(loss, network),
        ),
    ]
    return [cause for cause in made if cause.speaks_for]


def causes_of_inputs(loss: LayerView, network: Network) -> list[Cause]:
    """Inputs that stay while the targets change, as a cause, where the rows prove it."""
    if (symbol := one_symbol(network)).speaks_for:
        says = "All inputs are one and the same symbol: a vocabulary, a join or a mapping that does not fit the data."
        remedies = (
            "print what goes in: the indices of a batch, and the words that they stand for",
            "look at how the vocabulary is made and asked: capitals, blanks, another tokenizer, numbers as text",
        )
        return [Cause("inputs_equal", says, remedies, symbol.speaks_for, (), proved=True)]
    stuck = same_inputs(loss, network)
    says = "The network is given the same batch of inputs over and over, while the targets change."
    fix = ("take inputs and targets from the same batch of the loader, anew in each step",)
    return [Cause("same_batch", says, fix, stuck.speaks_for, (), proved=True)] if stuck.speaks_for else []


def far_inputs(network: Network, so_that: str, besides: tuple[str, ...]) -> list[Cause]:
    """What gives a layer numbers that are far too large: raw inputs, or weights that began so; refuted if not recorded.

    Args:
        network: any.
        so_that: what it comes to, as the end of the causes' sentences.
        besides: what also speaks for them, where the rows speak for them.
    """
    known = (
        ("inputs_not_normalised", "The inputs are not normalised", facts.inputs_not_normalised(network)),
        ("initialisation", "The weights began too large", initial_weights.too_wide(network)),
    )
    remedies = ((NORMALISE_INPUTS, LOWER_RATE), (initialisation(network.distinct_types),))
    return [
        Cause(
            name,
            f"{says}, {so_that}",
            fix,
            rows.speaks_for + (besides if rows.speaks_for else ()),
            rows.refuted_by or (() if rows.speaks_for else ("it was not recorded",)),
        )
        for (name, says, rows), fix in zip(known, remedies, strict=True)
    ]


def _cause(name: str, says: str, remedies: tuple[str, ...], rows: For) -> Cause:
    return Cause(name, says, remedies, rows.speaks_for, rows.refuted_by)


def _counts_ones(view: LayerView) -> bool:
    """Whether all numbers are 0 or 1, whose moments tell no more than how many are 1: one-hot ones have the same."""
    row = view.last
    mean, std = float(row[_MEAN]), float(row[_STD])
    return float(row[_MIN]) == 0.0 and float(row[_MAX]) == 1.0 and abs(std * std - mean * (1.0 - mean)) <= _BINARY


def _all_equal(view: LayerView) -> bool:
    return all(bool((view.rows[name] == view.rows[name][0]).all()) for name in ("count", "mean", "std", "min", "max"))
