"""Losses that are given the wrong pair of tensors: what was predicted twice, targets first, labels that say nothing."""

from typing import Final

import numpy as np

from fastact.diagnosis.evidence.supervised import Mismatch, Supervised
from fastact.diagnosis.finding import Severity
from fastact.fields import COLUMN
from fastact.text import number, percent

#: Rows from the first one on in which an error that is exactly zero is no chance.
_ROWS: Final = 5
#: The share that the right class has in a smoothed target, below which another is as likely.
_HALF: Final = 0.5


def itself(s: Supervised, learned: float) -> Mismatch | None:
    """A regression whose error is exactly zero from its first row on, though what it is to meet differs."""
    del learned
    if s.function is None or s.function.family != "regression" or s.target is None or s.facts.get("part"):
        return None
    rows, wanted = s.loss.rows, s.target.rows
    if len(rows) < _ROWS or s.loss.first[COLUMN["mean"]] != 0.0 or s.function.name == "gaussian_nll":
        return None
    if not ((rows["min"] == 0.0) & (rows["max"] == 0.0)).all() or not (wanted["min"] < wanted["max"]).all():
        return None
    what = "the loss is exactly 0, in its first step and since then"
    says = (
        "The outputs are compared with themselves: what is given as targets is made of the outputs, so that no error "
        "is left and nothing can be learned."
    )
    fix = ("give the loss the labels of the data as targets", "look for two names of one tensor")
    return Mismatch("compares_itself", "critical", what, says, fix, (what,))


def swapped(s: Supervised, learned: float) -> Mismatch | None:
    """Targets that have a gradient where the predictions have none, in a loss in which they are not alike."""
    del learned
    known = s.function
    # The divergence of the answer from the target, with both exchanged, is one that some want.
    if known is None or known.family not in ("categorical", "binary") or known.name.startswith("kl_"):
        return None
    if s.facts.get("swapped") is not True:
        return None
    spelled = str(s.facts.get("spelled") or known.name)[:40]
    what = f"{spelled} has the predictions in place of the targets: only its second argument has a gradient"
    says = "The loss takes the logarithm of the labels, not of the predictions: it is no likelihood of the labels."
    fix = (f"exchange its arguments: {spelled}(predictions, targets)",)
    return Mismatch("swapped_arguments", "critical", what, says, fix, (what,))


def no_logarithms(s: Supervised, learned: float) -> Mismatch | None:
    """Probabilities where a divergence was told that its targets are logarithms of them."""
    del learned
    if s.function is None or s.facts.get("log_target") is not True or s.target is None:
        return None
    rows = s.target.rows
    if not s.targets.get("sums_to_one") or not float(np.min(rows["min"])) >= 0.0:
        return None
    what = "log_target=True says that the targets are logarithms, and they are probabilities that sum to one"
    says = "The loss takes the exponential of each probability: what it wants is no distribution."
    fix = ("leave log_target out", "give it the logarithms: log_softmax(...), not softmax(...)")
    return Mismatch("target_out_of_range", "critical", what, says, fix, (what,))


def smoothed_away(s: Supervised, learned: float) -> Mismatch | None:
    """Labels that are smoothed until the right class is less likely than all the others together."""
    del learned
    smoothing = s.facts.get("label_smoothing")
    if not isinstance(smoothing, int | float) or s.units < 2 or s.function is None:
        return None
    right = 1.0 - smoothing + smoothing / s.units
    if not right < _HALF:
        return None
    what = f"label_smoothing={number(float(smoothing))} leaves the right class {percent(right)} of each target"
    says = "The loss wants the right class to be less likely than all the others together: labels say next to nothing."
    fix = ("use label_smoothing=0.1, or none",)
    severity: Severity = "critical" if smoothing >= 1.0 else "serious"
    return Mismatch("label_smoothing", severity, what, says, fix, (what,))
