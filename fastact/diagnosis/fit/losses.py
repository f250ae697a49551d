"""Losses of one's own that do not measure what they should, as far as their first rows prove it."""

import math
from typing import Final

import numpy as np

from fastact.diagnosis import layer_types
from fastact.diagnosis.evidence.supervised import Mismatch, Supervised
from fastact.diagnosis.finding import Severity
from fastact.diagnosis.fit import fixes
from fastact.diagnosis.network import LayerView, Network
from fastact.fields import COLUMN
from fastact.losses import LOSSES
from fastact.text import number

_MEAN: Final = COLUMN["mean"]
#: Rows. An equation that holds in so many is no chance.
_ROWS: Final = 5
#: Share of the numbers' size by which an equation may be off: losses are summed in 32 bits.
_ROUNDING: Final = 1e-4
#: Factor between the bounds of an error, from means and deviations alone, within which that is no chance.
_TIGHT: Final = 1.5
#: Rows, and factors. Minus the cost of guessing, within a half, is the logarithm of a probability; after so many rows a
#: loss that has fallen to so many times that is driven by its sign.
_DRIVEN_ROWS: Final = 5
_NEAR: Final = 0.5
#: What is 1 where all is right, by the name of its form.
_COEFFICIENTS: Final = {
    "dice": "the Dice coefficient", "overlap": "the overlap (IoU)", "agreement": "the share of agreement",
}  # fmt: skip
_DRIVEN: Final = 2.0
#: Rows that tell how far outputs are from targets, in standard deviations of these; how far that is no chance, and by
#: how many times it grows from the first third of the rows to the last; and values of which fewer are classes.
_LEAVES_ROWS: Final = 30
_LEAVES: Final = 4.0
_GROWS: Final = 1.5
_FEW: Final = 4
#: In the names of losses that set no scale, or compare something else than one number with one.
_FREE: Final = ("corr", "rank", "cos", "cox", "hazard", "concord", "critic", "wasserstein", "contrast", "triplet")


def logarithm_of_scores(s: Supervised, learned: float) -> Mismatch | None:
    """A cross entropy written by hand that takes the logarithm of what no softmax has made a probability."""
    del learned
    if s.function is not None or s.facts.get("logarithm_of") not in ("Linear", "Convolution") or s.output is None:
        return None
    one = s.units == 1 and bool(s.distinct) and set(s.distinct) <= {0.0, 1.0}
    low, high = float(s.output.rows["min"].min()), float(s.output.rows["max"].max())
    if not (s.chooses or one) or not low < 0.0:
        return None
    known = f"the outputs of the last layer are from {number(low)} to {number(high)}"
    what = f"the loss takes the logarithm of the last layer's outputs, which are no probabilities: {known}"
    says = (
        "The logarithm of raw scores, with no softmax or sigmoid, is no cross entropy: it wants outputs large, "
        "whatever the others are, and where they are cut off it has no gradient."
    )
    fix = fixes.two_classes(s.framework) if one else fixes.classes(s.framework, s.units)
    name = "missing_sigmoid" if one else "missing_softmax"
    return Mismatch(name, "serious", what, says, (fix,), (known,))


def by_form(s: Supervised, alone: bool) -> Mismatch | None:
    """What a loss comes to at its first batch, or is multiplied by: minus an error, or what is 1 where all is right.

    Args:
        s: the loss.
        alone: whether it is the only loss, of the only model. Of two players one makes large what the other makes
            small, by a yes or no.
    """
    form, factor, weight = (s.facts.get(name) for name in ("form", "factor", "weight"))
    known = LOSSES.get(str(form)) if s.function is None else s.function
    turned = weight if s.function is not None else factor
    if form in _COEFFICIENTS and isinstance(factor, float) and factor > 0.0 and s.function is None:
        name = _COEFFICIENTS[str(form)]
        what = f"the loss is {name} of outputs and targets, which is 1 where they agree, and it is made small"
        says = "The loss has the wrong sign: to make it small is to drive the outputs away from the targets."
        return Mismatch("wrong_sign", "critical", what, says, ("use 1 minus it as the loss",), (what,))
    if form == "difference":
        what = "the loss is the mean of the differences between outputs and targets, neither squared nor absolute"
        says = (
            "Errors of one sign make up for those of the other, so that this loss compares nothing: it falls "
            "without a lower bound for as long as the outputs go one way."
        )
        # A critic's loss is the difference of what it says of two batches, on purpose.
        if s.facts.get("target_learns") or math.prod(s.shape) != math.prod(s.target_shape) or not s.shape:
            return None
        known_by = "the first loss is the difference of both means, to rounding"
        fix = (fixes.values(s.framework, s.units),)
        return Mismatch("wrong_loss", "critical", what, says, fix, (known_by,))
    families = ("categorical", "regression", "binary") if alone else ("categorical", "regression")
    if known is None or known.family not in families or not isinstance(turned, int | float) or turned >= 0.0:
        return None
    if known.family == "binary" and (s.target is None or bool((s.target.rows["min"] == s.target.rows["max"]).all())):
        return None
    spelled = str(s.facts.get("spelled") or known.name)[:40]
    what = (
        f"the loss is {spelled} with a minus sign"
        if s.function is not None
        else f"the loss is minus the {known.name.replace(chr(95), chr(32))}"
    )
    says = "The sign of the loss is wrong: it falls without a lower bound as the answers get worse."
    return Mismatch("wrong_sign", "critical", what, says, ("remove the minus sign",), (what,))


def of_one_direction(s: Supervised, learned: float) -> Mismatch | None:
    """A cosine between single numbers, which is 1 or -1 and does not change with their size."""
    del learned
    spelled = str(s.facts.get("spelled", ""))
    if "cosine" not in spelled.lower() or s.units != 1 or len(s.shape) < 2 or s.shape[-1] != 1:
        return None
    what = f"{spelled[:40]} compares directions, and each sample has one unit"
    says = "The cosine between two single numbers is 1 or -1 whatever their size, and has no gradient."
    return Mismatch("wrong_loss", "critical", what, says, (fixes.values(s.framework),), (what,))


def plain_difference(s: Supervised, learned: float) -> Mismatch | None:
    """A loss that is the mean of the differences, neither squared nor absolute: it falls without end."""
    del learned
    if (views := _of_error(s)) is None or s.facts.get("form"):
        return None
    steps = _common_steps(*views)[:_ROWS]
    if len(steps) < _ROWS:
        return None
    if not float(s.loss.rows["mean"].min()) < 0.0:  # where all errors have one sign, absolute ones have the same mean
        return None
    loss, ours, wanted = (_means(view, steps) for view in views)
    size = np.maximum(np.abs(ours), np.abs(wanted)) + 1e-12
    for sign in (1.0, -1.0):
        off = np.abs(loss - sign * (ours - wanted))
        if bool((off <= _ROUNDING * size).all()) and float(np.ptp(loss)) > 10.0 * _ROUNDING * float(size.max()):
            what = "the loss is the mean of the differences between outputs and targets, neither squared nor absolute"
            says = (
                "Errors of one sign make up for those of the other, so that this loss compares nothing: it falls "
                "without a lower bound for as long as the outputs go one way."
            )
            known = f"in {_ROWS} rows the loss is the difference of both means, to rounding"
            return Mismatch("wrong_loss", "critical", what, says, (fixes.values(s.framework, s.units),), (known,))
    return None


def negative_error(s: Supervised, learned: float) -> Mismatch | None:
    """A loss that is minus a squared, or an absolute, error: between the bounds that means and deviations set to it."""
    del learned
    if (views := _of_error(s)) is None:
        return None
    steps = _common_steps(*views)[-_ROWS:]
    if len(steps) < _ROWS:
        return None
    loss, ours, wanted = (_means(view, steps) for view in views)
    own = -loss
    off = np.abs(ours - wanted)
    wide, least = (_means(view, steps, "std") for view in views[1:])
    if not (own > 0.0).all() or not float(np.median(own)) > _DRIVEN * abs(float(s.loss.first[_MEAN])):
        return None
    with np.errstate(all="ignore"):
        low, high = off**2 + (wide - least) ** 2, off**2 + (wide + least) ** 2
        rest = 1.0 + _ROUNDING
        squares = bool(((low <= own * rest) & (own <= high * rest) & (high <= _TIGHT * low)).all())
        # A mean of sizes is between the size of the mean and the root of the mean square.
        sizes = bool(((off <= own * rest) & (own**2 <= high * rest) & (high <= _TIGHT * off**2)).all())
    if not (squares or sizes):
        return None
    what = f"the loss is minus the {'squared' if squares else 'absolute'} error of its outputs, and falls without end"
    says = "The sign of the loss is wrong: to make it small is to drive the outputs away from the targets."
    known = f"in {_ROWS} rows minus the loss is what the means and deviations of outputs and targets come to"
    return Mismatch("wrong_sign", "critical", what, says, ("remove the minus sign",), (known,))


def driven_away(s: Supervised, learned: float) -> Mismatch | None:
    """A loss of one's own that falls while the outputs leave the targets: it wants them apart, whatever its formula is.

    The root mean square of their differences is at least the difference of their means and of their deviations, put
    together. What compares ranks, or directions, sets no scale, and outputs for a yes or no go far beyond them.
    """
    del learned
    views = _of_error(s)
    spelled = str(s.facts.get("spelled", "")).lower()
    if views is None or s.units != 1 or s.whole or 0 < len(s.distinct) <= _FEW or any(x in spelled for x in _FREE):
        return None
    steps = _common_steps(*views)
    if len(steps) < _LEAVES_ROWS:
        return None
    loss, ours, wanted = (_means(view, steps) for view in views)
    wide, least = (_means(view, steps, "std") for view in views[1:])
    with np.errstate(all="ignore"):
        away = np.hypot(ours - wanted, wide - least) / least
    third = len(steps) // 3
    was, now = (float(np.median(away[part])) for part in (slice(None, third), slice(-third, None)))
    before, after = (float(np.median(loss[part])) for part in (slice(None, third), slice(-third, None)))
    if not (now >= _LEAVES and now >= _GROWS * was and after < before):
        return None
    known = f"the outputs are {number(now)} standard deviations of the targets away from these, and were {number(was)}"
    what = f"the loss falls while the outputs leave the targets: {known}"
    says = "The loss wants the wrong thing, by its sign or its form: to make it small is to drive outputs from targets."
    fix = ("put a minus sign before what is largest where outputs are right", fixes.values(s.framework))
    return Mismatch("wrong_sign", "serious", what, says, fix, (known,))


def turned(s: Supervised, learned: float) -> Mismatch | None:
    """A log-likelihood that is made small, by the graph of the loss: the minus sign is missing."""
    del learned
    if s.function is not None or s.facts.get("turned") != "log-probability":
        return None
    what = "the loss is the logarithm of the chosen class's probability, with no minus sign before it"
    says = "The sign of the loss is wrong: to make it small is to make the right class unlikely."
    fix = ("put a minus sign before the logarithm", "use the framework's own cross entropy")
    severity: Severity = "critical" if len(s.loss.rows) >= _DRIVEN_ROWS and _falls_below(s) else "serious"
    return Mismatch("wrong_sign", severity, what, says, fix, (what,))


def _falls_below(s: Supervised) -> bool:
    """Whether the loss has fallen, below zero, to twice what it was."""
    values = np.asarray(s.loss.rows["mean"], np.float64)
    return float(np.median(values[-3:])) < min(_DRIVEN * float(s.loss.first[_MEAN]), 0.0)


def upside_down(s: Supervised, learned: float) -> Mismatch | None:
    """A log-likelihood that is made small: the minus sign of the cross entropy is missing."""
    del learned
    if s.function is not None or not s.chooses or s.facts.get("terms"):
        return None
    values = np.asarray(s.loss.rows["mean"], np.float64)
    guess = math.log(s.units)
    begins = s.loss.start == int(s.loss.rows["step"][0]) and abs(values[0] + guess) <= _NEAR * guess
    if not begins or len(values) < _DRIVEN_ROWS or not (values < 0.0).all():
        return None
    now = float(np.median(values[-3:]))
    if not now < -_DRIVEN * max(guess, 1.0):  # a share of right answers is never below -1
        return None
    what = (
        f"the loss was {number(values[0])} at first, minus what guessing among {s.units:,} classes costs, and is "
        f"{number(now)}"
    )
    says = "The sign of the loss is wrong: it is the logarithm of the right class's probability, which is made small."
    return Mismatch("wrong_sign", "critical", what, says, ("put a minus sign before the logarithm",), (what,))


def negated(s: Supervised, network: Network) -> Mismatch | None:
    """A loss that is one of PyTorch's with a minus sign, and no other: it is made large without end.

    A generator that is to be told from the real data makes its critic's loss large; that is a yes or no.
    """
    terms = s.facts.get("terms")
    if s.function is not None or terms != 1:
        return None
    parts = [view for view in network.everything.values() if _is_part(view, s.loss)]
    known = LOSSES.get(str(parts[0].info.facts.get("function", ""))) if len(parts) == 1 else None
    if known is None or known.family not in ("categorical", "regression"):
        return None
    steps = _common_steps(parts[0], s.loss)[:_ROWS]
    if len(steps) < _ROWS:
        return None
    whole, part = _means(s.loss, steps), _means(parts[0], steps)
    if not ((part > 0.0).all() and (np.abs(whole + part) <= _ROUNDING * part).all()):
        return None
    what = f"the loss is {parts[0].info.facts.get('spelled', known.name)} with a minus sign"
    says = "The sign of the loss is wrong: it falls without a lower bound as the answers get worse."
    return Mismatch("wrong_sign", "critical", what, says, ("remove the minus sign",), (what,))


def _is_part(view: LayerView, whole: LayerView) -> bool:
    own = view.info.layer_type == layer_types.LOSS and not view.info.mode
    return own and bool(view.info.facts.get("part")) and view.info.name.startswith(f"{whole.info.name}:")


def _of_error(s: Supervised) -> tuple[LayerView, LayerView, LayerView] | None:
    """Loss, outputs and targets, where a loss of one's own could be the error of one against the other; else None."""
    if s.function is not None or s.output is None or s.target is None or s.facts.get("terms"):
        return None
    # A critic's loss is the difference of what it says of two batches, on purpose.
    if s.facts.get("target_learns") or not s.shape or math.prod(s.shape) != math.prod(s.target_shape):
        return None
    return s.loss, s.output, s.target


def _common_steps(*views: LayerView) -> list[int]:
    """The steps of which all have a row."""
    return sorted(set.intersection(*(set(view.rows["step"].tolist()) for view in views)))


def _means(view: LayerView, steps: list[int], name: str = "mean") -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    rows = view.rows[np.isin(view.rows["step"], steps)]
    return np.asarray(rows[name], np.float64)
