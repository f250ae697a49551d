"""Answers that are nearly all one: sequences that are filled up, and masks of which little is to be found."""

import math
from typing import Final

import numpy as np

from fastact.diagnosis.evidence import updates
from fastact.diagnosis.evidence.supervised import Mismatch, Supervised
from fastact.diagnosis.network import Network
from fastact.text import number, percent

#: Share of the targets that is padding, from which on it is most of what the loss measures.
_MOST: Final = 0.5
#: Rows after which what is rare should have begun to be learned, where updates are of a usual size or larger, and those
#: of them that are looked at.
_ROWS: Final = 50
_LATE: Final = 20
_AMPLE: Final = 1e-3
_LARGE: Final = 3e-3
#: Share of what guessing among the rest costs, at or above which nothing of the rest has been learned.
_NOTHING: Final = 0.9
#: Shares of yes between which it is rare, and not so rare that a batch may be without.
_RARE: Final = 0.15
_THERE: Final = 0.005
#: Share of a constant answer's loss above which little was learned.
_LITTLE: Final = 0.75


def padding_counted(s: Supervised, network: Network) -> Mismatch | None:
    """Sequences filled up to one length, whose filling counts as much as what is in them, and is all that is learned.

    Of the cost of a constant answer, whether a place is padding costs H(share); what is left is the cost of guessing
    among the others. A loss that is no less has learned to tell padding, and nothing else.
    """
    padding = s.targets.get("padding")
    if not isinstance(padding, dict) or s.function is None or s.target is None or s.baseline is None:
        return None
    value, share = padding.get("value"), padding.get("share")
    if not (isinstance(value, float) and isinstance(share, float)) or not _MOST <= share < 1.0:
        return None
    if s.function.family != "categorical" or not s.targets_are_classes or s.facts.get("weighted"):
        return None
    losses = np.asarray(s.loss.rows["mean"], np.float64)
    if len(losses) < _ROWS or not updates.moves(network).ratio >= _AMPLE:
        return None
    constant = float(np.median(s.baseline.rows["mean"]))
    rest = constant + share * math.log(share) + (1.0 - share) * math.log(1.0 - share)
    late = losses[_ROWS - _LATE : _ROWS] if int(s.loss.rows["step"][0]) == s.loss.start else losses[-_LATE:]
    now = float(losses[-_LATE:].mean())
    if not (rest > 0.0 and float(late.mean()) >= _NOTHING * rest and now >= _LITTLE * rest):
        return None
    what = (
        f"{percent(share)} of its targets are {number(value)}, which fills sequences up to one length, and count like "
        f"all others: the loss, {number(now)}, is what guessing among the rest costs, {number(rest)}, or more"
    )
    says = "Padding is most of what the loss measures, and to tell it is nearly all that is learned."
    remedies = (
        f"leave padding out of the loss: ignore_index={number(value)}"
        if s.framework == "torch"
        else "leave padding out of the loss: ignore_class, a mask (mask_zero=True), or sample weights of zero",
        "put sequences of like lengths into one batch",
    )
    said = (f"sequences end, or begin, with {number(value)} in {percent(share)} of all places",)
    verb = "is given targets of padding"
    return Mismatch("padding_counted", "warning", what, says, remedies, said, None, verb, proved=False)


def never_named(s: Supervised, network: Network, alone: bool) -> Mismatch | None:
    """A yes or no for each of many places, rarely a yes, of which none has been answered with yes for long.

    Args:
        s: the loss.
        network: any.
        alone: whether it is the only loss.
    """
    if s.function is None or s.function.family != "binary" or s.target is None or s.baseline is None or not alone:
        return None
    if s.facts.get("weighted") or s.output is None or s.shape != s.target_shape or math.prod(s.shape[1:]) < 2:
        return None
    limit = 0.0 if s.function.predictions == "logits" else 0.5
    taken, output, target = s.loss.rows, s.output.rows, s.target.rows
    rows = _ROWS if updates.moves(network).ratio >= _LARGE else 2 * _ROWS
    if min(len(taken), len(output), len(target)) < rows:
        return None
    share = float(np.median(target["mean"]))
    if not _THERE <= share <= _RARE or not (target["max"] == 1.0).all() or not (target["min"] == 0.0).all():
        return None
    late = len(output) // 2
    losses = float(np.mean(taken["mean"][-(len(taken) // 2) :]))
    if (output["max"][-late:] >= limit).any() or not losses >= _LITTLE * float(np.median(s.baseline.rows["mean"])):
        return None
    what = f"{percent(share)} of the targets are 1, and none of the last {late:,} batches has an answer above one half"
    says = "No is nearly always right, so that the few places of a yes have hardly any gradient: all is background."
    remedies = (
        "weigh a yes more: pos_weight, class weights, or a Dice or focal loss",
        "look at precision and recall of the rare class, not at the accuracy",
    )
    said = (f"the largest output of the last {late:,} batches is {number(float(output['max'][-late:].max()))}",)
    verb = "is given unbalanced targets"
    return Mismatch("unbalanced_labels", "warning", what, says, remedies, said, None, verb, proved=False)
