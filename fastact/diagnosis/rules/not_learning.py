"""A loss that does not fall, rises, or has no number: nothing is learned, whatever the layers look like."""

import math
from typing import Any, ClassVar, Final

import numpy as np

from fastact.diagnosis import layer_types
from fastact.diagnosis.causes import non_finite_loss
from fastact.diagnosis.causes.cause import best
from fastact.diagnosis.evidence import baselines, facts
from fastact.diagnosis.evidence.progress import progress
from fastact.diagnosis.finding import NOTE, Evidence, Finding, Severity, gravity
from fastact.diagnosis.learning import loss_sign, reasons, untrained
from fastact.diagnosis.learning.moving import Course
from fastact.diagnosis.learning.stalls import FAR, HIGH, STAYS, Seen, of_known, of_unknown, proved
from fastact.diagnosis.network import LayerView, Network
from fastact.diagnosis.row_conditions import Cascade, Cells, Row, RowCondition
from fastact.diagnosis.rule import Circumstances, Outcome, Rule, not_after
from fastact.diagnosis.thresholds import CommonThresholds, count_field, factor_field, share_field
from fastact.fields import COLUMN
from fastact.history import LayerInfo
from fastact.text import number

_STEP, _MEAN = COLUMN["step"], COLUMN["mean"]
_NANS, _POS, _NEG = COLUMN["nans"], COLUMN["pos_infs"], COLUMN["neg_infs"]

#: Standard errors by which a loss is surely below a constant answer's: noise alone is so in 1 of 700 windows.
_SURELY: Final = 3.0
#: Causes that no layer brings about.
_OWN: Final = frozenset({
    "not_in_optimiser", "frozen_parameters", "no_update", "no_gradient", "targets_not_finite", "constant_labels",
    "missing_value_codes", "dropout", "gradients_cleared", "no_zero_grad", "clipped", "wrong_sign",
})  # fmt: skip


#: Causes by which a loss is far off from the first step on, and layers become sick later, on the way.
_MADE_IT: Final = frozenset({"weight_decay", "targets_not_scaled"})


class NotLearningThresholds(CommonThresholds):
    """What `NotLearning` compares with."""

    learn_rows: int = count_field(
        100,
        "steps from row to row; not_learning: a loss that has not left a constant answer's after so many, and "
        "learn_samples. Chosen",
    )
    learn_samples: int = count_field(
        3000,
        "samples; not_learning: a plateau at the start is usual for so long: a small convolutional network with "
        "batches of four and a rate of 0.001 stays there for 700 steps. Chosen",
    )
    learn_soon: int = count_field(
        30, "rows; not_learning: enough where updates, or equal predictions, show that it will stay so. Chosen"
    )
    learn_share: float = share_field(
        0.05, "share of a constant answer's loss; not_learning: what is less below it is no better. Chosen"
    )
    learn_pace: int = count_field(
        1000, "rows; not_learning: a loss that falls, but takes more to get below a constant answer's, stays. Chosen"
    )
    learn_above: float = factor_field(
        1.5, "factor; not_learning: so many times a constant answer's loss, and the first one, is a divergence. Chosen"
    )


def _blocks(cause: Finding, effect: Finding, around: Circumstances) -> bool:
    """Whether a layer is in such a state that nothing can be learned through it."""
    return gravity(cause.severity) >= gravity("serious") and effect.cause_name not in _OWN


def _stops(cause: Finding, effect: Finding, around: Circumstances) -> bool:
    """Whether nothing can be learned through a layer, which makes no loss NaN."""
    if effect.cause_name in _MADE_IT and cause.first_step > effect.first_step:
        return False
    return _blocks(cause, effect, around) and effect.cause_name != "loss_not_finite"


def _breaks(cause: Finding, effect: Finding, around: Circumstances) -> bool:
    """Whether NaN or Inf in a layer made those of the loss.

    A gradient has them from the loss of its own step, and hands them by its update to that of the next.
    """
    from_loss = cause.layer.endswith(layer_types.GRADIENT_SUFFIX) and cause.first_step == effect.first_step
    return cause.first_step <= effect.first_step and not from_loss and _blocks(cause, effect, around)


def _throws(cause: Finding, effect: Finding, around: Circumstances) -> bool:
    """Whether data that is on another scale since then threw a loss off that begins to stay, or to rise, later."""
    return _blocks(cause, effect, around) and cause.cause_name == "data_changed" and not_after(cause, effect, around)


def _keeps(cause: Finding, effect: Finding, around: Circumstances) -> bool:
    """Whether parameters that stay behind keep the loss up."""
    return cause.layer != effect.layer and cause.cause_name == effect.cause_name


def _follows(cause: Finding, effect: Finding, around: Circumstances) -> bool:
    """Whether a layer's state follows from steps that are too large, or from a loss without a number.

    In one step the layers come before the loss, and the gradients after it.
    """
    if cause.first_step == effect.first_step and not effect.layer.endswith(layer_types.GRADIENT_SUFFIX):
        return False
    return cause.severity != NOTE and cause.cause_name in (
        "rate_too_large", "loss_not_finite", "targets_not_finite", "loss_diverges", "no_zero_grad", "wrong_sign",
        "weight_decay", "targets_not_scaled",
    )  # fmt: skip


def _whole_falls(part: LayerView, network: Network) -> bool:
    """Whether the sum falls that a loss is a term of: a term may rise for it, as one that begins at zero does."""
    whole = network.everything.get(part.info.name.partition(":")[0])
    course = None if whole is None or whole is part else progress(whole.rows["mean"])
    return course is not None and course.pace > 0.0


def _rows_left(seen: Seen, constant: float | None, thresholds: NotLearningThresholds) -> int:
    """Of how many rows it is sure that a loss which falls takes them to be better than a constant answer."""
    left = math.inf
    if seen.course is not None and constant is not None:
        left = seen.course.rows_to((1.0 - thresholds.learn_share) * constant)
    return int(min(left, thresholds.learn_pace)) // 10 * 10


class NotLearning(Rule[NotLearningThresholds]):
    """A loss that does not fall below that of the best answer that is the same for every sample, or rises from there.

    Formula:
        now = the mean of the later half of the window, with its standard error; constant = the row of the loss's name
        and ":baseline".
        It stays where now - 2 errors >= (1 - learn_share) constant, and where it falls at no pace that would bring it
        below that within learn_pace rows; found after learn_rows rows (half of them where updates are more than 0.003
        of their weights) and learn_samples samples, or after learn_soon rows where updates are more than 0.1 of their
        weights (1000 samples, too, of batches of less than 8), or add up to as much as these on learn_samples (and no
        layer is recurrent), the predictions are equal, or the inputs are those of
        one batch while the targets change. Where updates are less than 2e-5 of their weights, and no warm-up makes them
        usual within 2000 steps, a loss above half the constant answer's that does not fall is found after two thirds of
        learn_soon; after 12 rows below 2e-6. Where features are on scales far apart, values are missing or targets are
        not scaled, learn_soon rows are enough, and so is a pace that takes more rows than there were; where it is above
        learn_above times the constant answer's and would take three times as many, twice learn_soon. Of one that was
        below 0.8 constant and is back there, half of learn_rows.
        It is held there where, after learn_soon rows, weights have shrunk by half, dropout sets 90% to zero, the output
        depends on more weights outside of the model than in it, or two layers began with all weights alike.
        It diverges where now - 2 errors > learn_above times both the constant answer's and its first value for 20
        rows, and does not fall, or has been ten times as far; or 1.2 times these, and still rises (3 times its first
        value where the constant answer is not known, and the targets are those of the data).
        It cannot fall where all parameters are frozen, in no optimiser, without gradient, or where all gradients or
        updates are zero in each of the recorded steps; where weights are the same before each step; where the rate has
        become zero.
        It rises, too, and as soon as it does, where the gradient of its predictions points away from the targets.
        Whatever the loss does, an optimiser's gradients must be cleared between two steps, and not several times, a
        momentum must be below 0.995 (of Adam, below 0.99 or its second beta) where the loss is not low, weights that
        jump by more than their updates must not take the loss back, the first layers must have a gradient, weights of
        several layers must not all begin on one side of zero where little is learned, the model must have what it
        uses, and what is used and stays as it was drawn at random must not keep the loss above 0.75 of a constant
        answer's (of what an optimiser holds, at all): the range and the deviation of its numbers are those of the
        initialisation.
        It is held, too, where its gradient shows that it was multiplied by less than 0.005 before plain descent. A rate
        that is zero for 0.6 of the training is told unless the loss is below a tenth of a constant answer's; weights
        that are one earlier step's again and again, to the last bit; a loss that is back near its first value in one
        step, three times after as many steps (twice, at the first steps of epochs), with the same inputs and targets;
        weights of 16 bits of which a step
        leaves 0.75 as they were, though they have gradients; a batch norm that hands on what it is given while it is
        trained; an optimiser of one of two players that has not
        stepped for 30 steps, while its losses are computed and the other goes on.
        Where the constant answer is not known (a loss of one's own, weights of samples, adversarial and contrastive
        losses), a flat loss is a note, and one that is the same number in each row a finding.

    Source:
        The loss at the start that a classifier must leave is Karpathy's sanity check (CS231n, Neural networks part 3;
        "A Recipe for Training Neural Networks", 2019), as is the ratio of 1e-3 of updates to weights. SageMaker
        Debugger's LossNotDecreasing and DeepDiagnosis compare losses of two steps.
    """

    condition = "not_learning"
    adjective = "not learning"
    shows = "mean"
    compared: ClassVar = {"constant_answer": "the best constant answer"}
    judges = frozenset({layer_types.LOSSES, layer_types.OPTIMISER})
    gradual = True
    leads = True
    explains: ClassVar = dict.fromkeys(
        ("non_finite", "exploding", "dead", "saturated", "vanishing", "constant", "collapsed", "overflow_risk",
         "oscillating", "drifting"), _follows
    ) | {"not_learning": _keeps}  # fmt: skip
    explained_by: ClassVar = {"non_finite": _breaks, "exploding": _blocks, "drifting": _throws} | dict.fromkeys(
        ("dead", "saturated", "vanishing", "constant", "collapsed", "unused"), _stops
    )

    def applies(self, info: LayerInfo) -> bool:
        """Losses, and optimisers for what they leave out."""
        return info.layer_type in (layer_types.LOSS, layer_types.OPTIMISER)

    def needs(self, thresholds: NotLearningThresholds) -> int:
        """One row: a loss that is NaN needs no more."""
        return 1

    def row_conditions(self, info: LayerInfo, first: Row, thresholds: NotLearningThresholds) -> tuple[Cascade, ...]:
        """Rows that are not finite; that have not fallen below the first one; that are equal to it."""
        if info.layer_type != layer_types.LOSS:
            return ()

        def broken(cells: Cells) -> Any:
            return (cells[_NANS] | cells[_POS] | cells[_NEG]) != 0

        high, same = HIGH * first[_MEAN], first[_MEAN]

        def is_high(cells: Cells) -> Any:
            return cells[_MEAN] >= high

        def is_same(cells: Cells) -> Any:
            return cells[_MEAN] == same

        return (
            Cascade((RowCondition("loss_not_finite", broken, patience=0),)),
            Cascade((RowCondition("loss_high", is_high, patience=STAYS),)),
            Cascade((RowCondition("loss_unchanged", is_same),)),
        )

    def check(self, layer: LayerView, network: Network, thresholds: NotLearningThresholds) -> Finding | Outcome:
        """What the loss does."""
        if layer.info.layer_type == layer_types.OPTIMISER:
            return untrained.check(layer, network, self.condition, thresholds.min_rows, thresholds.learn_rows)
        broken = "loss_not_finite" in layer.streaks
        if broken and loss_sign.turned(layer, network):
            return self._finding(layer, network, Seen("rising", 0, None), None, thresholds)
        if broken:
            return self._not_finite(layer, network)
        if len(layer.rows) < thresholds.min_rows:
            return Outcome.NOT_ENOUGH_DATA
        values = layer.rows["mean"]
        constant = baselines.constant(layer, network)
        course = progress(values)
        seen: Seen | None = None
        if constant is None:
            seen = of_unknown(layer, network, course, thresholds)
        elif course is not None:
            seen = of_known(layer, network, values, course, constant, thresholds)
        if seen is None or seen.kind == "flat":  # whether that should fall is not known, and that it cannot is
            seen = proved(layer, network, values, course, constant) or seen
        if (
            course is not None
            and not course.pace > 0.0
            and course.least > layer.first[_MEAN]
            and (loss_sign.turned(layer, network))
        ):
            seen = Seen("rising", 0, course)
        if seen is not None:
            finding = self._finding(layer, network, seen, constant, thresholds)
            # Where nothing that could keep it is known, a loss that is surely below has begun to learn.
            surely = seen.course is not None and seen.course.now + _SURELY * seen.course.error < (constant or 0.0)
            if not (seen.kind == "stuck" and surely and finding.confidence == "possible"):
                return finding
        return Outcome.NOT_FOUND if layer.rows["step"].size >= thresholds.learn_soon else Outcome.NOT_ENOUGH_DATA

    def _finding(
        self, layer: LayerView, network: Network, seen: Seen, constant: float | None, thresholds: NotLearningThresholds
    ) -> Finding:
        step = self._since(layer, seen)
        kind = seen.kind
        rose = kind in ("diverged", "rising", "back")
        course = Course(kind == "slow", kind in ("above", "behind", "diverged", "rising"), rose, step, kind == "rising")
        told = best(reasons.causes(layer, network, course))
        now = seen.course.now if seen.course is not None else float(np.mean(layer.rows["mean"]))
        severity: Severity = "serious"
        unknown = constant is None and (not layer.info.facts.get("function") or baselines.is_made(layer, network))
        if (
            kind == "flat"
            or (kind == "diverged" and unknown)
            or (kind == "unchanged" and len(baselines.losses(network)) > 1)
            or (rose and layer.info.facts.get("part") and _whole_falls(layer, network))
        ):
            severity = NOTE  # of several, one may be a penalty that stays as it is
        elif told.cause.proved or kind == "unchanged":
            severity = "critical"
        elif kind in ("slow", "behind"):
            severity = "warning"
        elif kind == "diverged" and constant is not None and now > FAR * constant:
            severity = "critical"
        rows, steps = len(layer.rows) - seen.at, layer.last[_STEP] - step + 1
        name, value = baselines.shown_name(layer), number(now)
        best_of = (
            ""
            if constant is None
            else f"; the best constant answer, the same for every sample, gets {number(constant)}"
        )
        message = {
            "stuck": f"{name} has not fallen since step {step}: it is {value} on average{best_of}.",
            "slow": f"{name} hardly falls: it is {value}, and at this pace it takes more than "
            f"{_rows_left(seen, constant, thresholds):,} rows to be better than a constant answer{best_of}.",
            "above": f"{name} is worse than that of a constant answer since step {step}: it is {value} on "
            f"average{best_of}.",
            "behind": f"{name} is still worse than that of a constant answer after {steps:,} steps: it is {value} on "
            f"average{best_of}.",
            "held": f"{name} is no better than that of a constant answer after {steps:,} steps: it is {value} on "
            f"average{best_of}.",
            "back": f"{name} has lost what it had learned: since step {step} it is back at {value}{best_of}.",
            "diverged": f"{name} has diverged since step {step}: it rose from {number(layer.first[_MEAN])} to {value}"
            f"{best_of}.",
            "rising": f"{name} has risen since step {step}: from {number(layer.first[_MEAN])} to {value}{best_of}.",
            "unchanged": f"{name} is the same number, {value}, in every step since step {step}: nothing is learned.",
            "still": f"{name} cannot fall since step {step}: it is {value}{best_of}.",
            "flat": f"{name} has not fallen since step {step}: it is {value} on average; whether it should is not "
            "known.",
        }[kind]
        evidence = Evidence(
            loss=now, loss_first=layer.first[_MEAN], constant_answer=constant, rows=rows,
            error=seen.course.error if seen.course else None, pace=seen.course.pace if seen.course else None,
        )  # fmt: skip
        return told.finding(layer.info.name, self.condition, severity, step, evidence, message)

    def _since(self, layer: LayerView, seen: Seen) -> int:
        """The step since which it is so, also where that has left the window."""
        if seen.at:
            return int(layer.rows["step"][seen.at])
        high = layer.streaks.get("loss_high")
        if seen.kind in ("still", "unchanged", "behind", "held", "rising") or int(layer.rows["step"][0]) == layer.start:
            return layer.start
        return high.step if high is not None and high.rows >= len(layer.rows) else int(layer.rows["step"][0])

    def _not_finite(self, layer: LayerView, network: Network) -> Finding:
        streak = layer.streaks["loss_not_finite"]
        rows = layer.during(streak)
        bad = facts.not_finite(rows)
        now = bool(bad[-1])
        before = layer.rows[layer.rows["step"] < streak.step]["mean"]
        rose = len(before) > 1 and float(before[-1]) >= 10.0 * max(abs(float(np.median(before))), 1e-12)
        what = "NaN" if rows["nans"].any() else "Inf"
        name = baselines.shown_name(layer)
        message = (
            f"{name} has been {what} since step {streak.step}."
            if now
            else f"{name} was {what} in {int(bad.sum())} of {len(layer.rows)} rows, first in step {streak.step}."
        )
        told = best(non_finite_loss.causes(layer, network, streak.step, rose))
        evidence = Evidence(rows_not_finite=int(bad.sum()), loss_before=float(before[-1]) if len(before) else None)
        severity: Severity = "critical" if now else "warning"
        return told.finding(layer.info.name, self.condition, severity, streak.step, evidence, message)
