"""Batches in an order that teaches little: sorted by class, one after the other."""

import math
from typing import Final

import numpy as np

from fastact.diagnosis.causes.inputs import same_batch
from fastact.diagnosis.evidence import baselines, facts
from fastact.diagnosis.evidence.supervised import Mismatch, Supervised
from fastact.diagnosis.network import Network
from fastact.fields import COLUMN
from fastact.text import number, percent

_STD, _MIN, _MAX = COLUMN["std"], COLUMN["min"], COLUMN["max"]
#: Samples. Smaller batches are of one class by chance.
_LEAST: Final = 4
#: Share of the batches that are of one class where the data is sorted: all but those in which a class ends.
_SORTED: Final = 0.8
#: The same where batches are so large that they are never of one class by chance: classes may be short.
_LARGE: Final = 8
_OFTEN: Final = 0.3
#: Of so many batches of one class at most one changes the class: labels that take turns are those of two players.
_RUN: Final = 3
#: Classes that take turns batch by batch, where there are at least so many of them: no two players.
_KINDS: Final = 3
#: Share of a batch's samples that are equal to others in it, numbers of a sample, and rows, from which on it is no
#: chance; and the share of the rows that have the extremes of the first one.
_COPIES: Final = 0.5
_NUMBERS: Final = 8
_ROWS: Final = 10
_AGAIN: Final = 0.9
#: Evaluations in a row that show that nothing of use was learned.
_EVALUATIONS: Final = 2


def sorted_by_class(s: Supervised, rows: int, alone: bool) -> Mismatch | None:
    """Batches of one class each: of the same one for several batches, then of another, or of three and more in turn.

    Args:
        s: the loss.
        rows: from so many on it is no chance.
        alone: whether it is the only loss. A discriminator has one for what is real and one for what is made up.
    """
    target, family = s.target, s.function.family if s.function is not None else ""
    one_hot = family == "categorical" and not s.targets_are_classes and s.chooses
    classifies = (family == "categorical" and s.targets_are_classes and s.units > 1) or (family == "binary" and alone)
    if target is None or not (classifies or one_hot):
        return None
    taken = target.rows
    if one_hot:  # a column for each class
        seen = taken[(taken["neurons"] == s.units) & (taken["count"] >= _LEAST * taken["neurons"])]
        pure, numbers, size = seen["within_std"] == 0.0, seen["peak_neuron"], seen["count"] // max(s.units, 1)
    else:
        seen = taken[taken["count"] >= _LEAST]
        pure, numbers, size = seen["min"] == seen["max"], seen["min"], seen["count"]
    if len(seen) < rows:
        return None
    classes = numbers[pure]
    kinds, changes = len(np.unique(classes)), int(np.count_nonzero(np.diff(classes)))
    share = _OFTEN if size.min() >= _LARGE else _SORTED
    in_turn = kinds >= _KINDS and pure.mean() >= _SORTED
    if not (pure.mean() >= share and changes >= 1 and (in_turn or _RUN * changes <= len(classes))):
        return None
    what = f"{percent(float(pure.mean()))} of {len(seen):,} batches are of one class each, {number(kinds)} in turn"
    says = (
        "The data is sorted by class: a batch has samples of only one, and teaches to answer it whatever comes in; the "
        "next class undoes what was learned of the one before."
    )
    fix = (
        "shuffle the data (shuffle=True), also before it is split into training and test",
        "draw each batch from all",
    )
    return Mismatch("sorted_by_class", "serious", what, says, fix, (what,))


def one_batch(s: Supervised, network: Network) -> Mismatch | None:
    """Batches that are all the same: an epoch has several, or what was learned of the one fails in evaluation.

    All that there is may be one batch, and serve: a graph, the points of an equation, a small table.
    """
    steps = s.facts.get("steps")
    said = same_batch(s.loss, network).speaks_for
    if not said:
        return None
    if isinstance(steps, int) and steps >= 2:
        what = f"an epoch has {number(steps)} batches, which are all the same"
    elif baselines.fails_in_evaluation(network, _EVALUATIONS):
        what = (
            f"all {len(s.loss.rows):,} recorded batches are the same, and what is learned of them fails in evaluation"
        )
    else:
        return None
    says = "The network learns one batch by heart, and nothing of the others."
    fix = ("look whether the generator, or the loop over the data, gives the next batch each time",)
    return Mismatch("same_batch", "warning", what, says, fix, said, None, "is given the same batch over and over")


def few_samples(s: Supervised, network: Network) -> Mismatch | None:
    """A few samples that come again and again, several times in a batch: an index that is cut, a loader that repeats.

    Of what is measured: whole numbers (symbols, one-hot states, counts) are often equal.
    """
    given = facts.model_input(network)
    if given is None or given.info.facts.get("whole", True):
        return None
    share, shape = given.info.facts.get("duplicate_samples"), given.info.facts.get("shape")
    if not isinstance(share, float) or not isinstance(shape, list) or share < _COPIES:
        return None
    if (1.0 - share) * shape[0] < 1.5 and facts.inputs_equal(network).speaks_for:
        return None  # all are one sample: the input's own row tells that, unless samples have places that differ
    rows = given.rows
    if math.prod(shape[1:]) < _NUMBERS or len(rows) < _ROWS or not given.first[_STD] > 0.0:
        return None
    again = float(np.mean((rows["min"] == given.first[_MIN]) & (rows["max"] == given.first[_MAX])))
    if again < _AGAIN:
        return None
    what = f"{percent(share)} of the samples of a batch are equal to others in it, and batches to each other"
    says = "The network is given the same few samples again and again: it learns them by heart, and nothing else."
    fix = (
        "look at __getitem__, __len__ or the sampler: an index that is cut or divided, a subset left from a trial",
        "print how many different samples an epoch has",
    )
    said = (
        f"{percent(share)} of the samples of the first batch are copies",
        f"{percent(again)} of {len(rows):,} batches have the same least and largest number, to the last bit",
    )
    return Mismatch(
        "same_batch", "warning", what, says, fix, said, None, "is given the same few samples again and again"
    )
