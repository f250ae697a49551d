"""A loss that does not fall, rises, or has no number: nothing is learned, whatever the layers look like."""

from typing import Any, ClassVar, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from fastact.diagnosis import facts, layer_types, learning, overflows, partial, rates, standards
from fastact.diagnosis.causes import best
from fastact.diagnosis.finding import NOTE, Evidence, Finding, Severity, gravity
from fastact.diagnosis.inputs import feature_scales, missing_value_codes, same_inputs, targets_not_scaled
from fastact.diagnosis.learning import Course
from fastact.diagnosis.network import LayerView, Network
from fastact.diagnosis.progress import LEAST, Progress, progress, rows_at_last, rows_by_factors, since
from fastact.diagnosis.row_conditions import Cascade, Cells, Row, RowCondition
from fastact.diagnosis.rule import Circumstances, Outcome, Rule
from fastact.diagnosis.thresholds import CommonThresholds, count_field, factor_field, share_field
from fastact.fields import COLUMN
from fastact.history import LayerInfo
from fastact.text import number

_STEP, _MEAN = COLUMN["step"], COLUMN["mean"]
_NANS, _POS, _NEG = COLUMN["nans"], COLUMN["pos_infs"], COLUMN["neg_infs"]

#: A loss that was below this share of a constant answer's, and is no more, has lost what it had learned.
_LEARNED: Final = 0.8
#: Share of the first loss from which on it has not fallen much; and above which it has, whatever else is in it.
_HIGH: Final = 0.9
_FALLEN: Final = 0.7
#: Factor of a constant answer's loss up to which a loss is at it.
_NEAR: Final = 1.15
#: A loss that is surely below a constant answer's by this share has begun to fall.
_BEGUN: Final = 0.005
#: Errors by which a divergence has to be one: its rows were chosen for being high.
_WILD: Final = 4.0
#: Factor of a constant answer's loss, and of the first one, above which a loss that still rises has lost its way.
_UP: Final = 1.2
#: Rows for which a loss has to stay up before that is more than a spike.
_STAYS: Final = 20
#: Factor of its first value from which on a loss has diverged whose constant answer is not known. Where its function is
#: not known either that is a note: the loss of a value that is itself being learned may grow.
_UNKNOWN: Final = 100.0
#: Factor of a constant answer's loss from which on a divergence is critical.
_FAR: Final = 10.0
#: Causes that no layer brings about.
_OWN: Final = frozenset({
    "not_in_optimiser", "frozen_parameters", "no_update", "no_gradient", "targets_not_finite", "constant_labels",
    "missing_value_codes", "dropout",
})  # fmt: skip


class NotLearningThresholds(CommonThresholds):
    """What `NotLearning` compares with."""

    learn_rows: int = count_field(
        100, "rows; not_learning: a loss that has not left a constant answer's after so many, and learn_samples. Chosen"
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


class _Seen(NamedTuple):
    """A loss that does not go where it should.

    Attributes:
        kind: "stuck" at a constant answer's, "held" there by what is known of weights and dropout, "slow", "above" that
            of a constant answer, "behind" it but on the way, "back" there, "diverged", "rising", "unchanged" to
            the last digit, "still" as nothing can change it.
        at: the place in the window of the first row in which it was so.
        course: how it goes since then.
    """

    kind: str
    at: int
    course: Progress | None


def _blocks(cause: Finding, effect: Finding, around: Circumstances) -> bool:
    """Whether a layer is in such a state that nothing can be learned through it."""
    return gravity(cause.severity) >= gravity("serious") and effect.cause_name not in _OWN


def _stops(cause: Finding, effect: Finding, around: Circumstances) -> bool:
    """Whether nothing can be learned through a layer, which makes no loss NaN."""
    return _blocks(cause, effect, around) and effect.cause_name != "loss_not_finite"


def _breaks(cause: Finding, effect: Finding, around: Circumstances) -> bool:
    """Whether NaN or Inf in a layer made those of the loss; a gradient has them from the loss."""
    earlier = cause.first_step <= effect.first_step and not cause.layer.endswith(layer_types.GRADIENT_SUFFIX)
    return earlier and _blocks(cause, effect, around)


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
        "rate_too_large", "loss_not_finite", "targets_not_finite", "loss_diverges"
    )  # fmt: skip


class NotLearning(Rule[NotLearningThresholds]):
    """A loss that does not fall below that of the best answer that is the same for every sample, or rises from there.

    Formula:
        now = the mean of the later half of the window, with its standard error; constant = the row of the loss's name
        and ":baseline".
        It stays where now - 2 errors >= (1 - learn_share) constant, and where it falls at no pace that would bring it
        below that within learn_pace rows; found after learn_rows rows and learn_samples samples, or after learn_soon
        rows where updates are less than 2e-5 or more than 0.1 of their weights, the predictions are equal, or the
        inputs are those of one batch while the targets change. Of
        one that was below 0.8 constant and is back there, half of learn_rows.
        It is held there where, after learn_soon rows, weights have shrunk by half, dropout sets 90% to zero, the output
        depends on more weights outside of the model than in it, or two layers began with all weights alike.
        It diverges where now - 2 errors > learn_above times both the constant answer's and its first value for 20
        rows, and does not fall; or 1.2 times these, and still rises.
        It cannot fall where all parameters are frozen, in no optimiser, without gradient, or where all gradients or
        updates are zero in each of the recorded steps.
        Where the constant answer is not known (a loss of one's own, weighted classes, adversarial and contrastive
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
    explained_by: ClassVar = {"non_finite": _breaks, "exploding": _blocks} | dict.fromkeys(
        ("dead", "saturated", "vanishing", "constant", "collapsed"), _stops
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

        high, same = _HIGH * first[_MEAN], first[_MEAN]

        def is_high(cells: Cells) -> Any:
            return cells[_MEAN] >= high

        def is_same(cells: Cells) -> Any:
            return cells[_MEAN] == same

        return (
            Cascade((RowCondition("loss_not_finite", broken, patience=0),)),
            Cascade((RowCondition("loss_high", is_high, patience=_STAYS),)),
            Cascade((RowCondition("loss_unchanged", is_same),)),
        )

    def check(self, layer: LayerView, network: Network, thresholds: NotLearningThresholds) -> Finding | Outcome:
        """What the loss does."""
        if layer.info.layer_type == layer_types.OPTIMISER:
            return partial.check(layer, network, self.condition, thresholds.min_rows, thresholds.learn_rows)
        if "loss_not_finite" in layer.streaks:
            return self._not_finite(layer, network)
        if len(layer.rows) < thresholds.min_rows:
            return Outcome.NOT_ENOUGH_DATA
        values = layer.rows["mean"]
        constant = standards.constant(layer, network)
        course = progress(values)
        seen: _Seen | None = None
        if constant is None:
            seen = self._of_unknown(layer, course, thresholds)
        elif course is not None:
            seen = self._of_known(layer, network, values, course, constant, thresholds)
        if seen is None:
            seen = self._proved(layer, network, values, course, constant)
        if seen is not None:
            return self._finding(layer, network, seen, constant, thresholds)
        return Outcome.NOT_FOUND if layer.rows["step"].size >= thresholds.learn_soon else Outcome.NOT_ENOUGH_DATA

    def _of_known(
        self, layer: LayerView, network: Network, values: npt.NDArray[np.float64], course: Progress, constant: float,
        thresholds: NotLearningThresholds,
    ) -> _Seen | None:  # fmt: skip
        """What a loss does whose constant answer is known."""
        first = layer.first[_MEAN]
        far = thresholds.learn_above * max(constant, first)
        at = since(values, far)
        own = progress(values[at:])
        if own is not None and len(values) - at >= _STAYS and own.now - _WILD * own.error > far and own.pace == 0.0:
            return _Seen("diverged", at, own)
        if course.rises and len(values) >= thresholds.learn_soon and course.least > _UP * max(constant, first):
            # Steadily: it has nowhere been better, and does not turn.
            lately = [progress(part) for part in (values[len(values) // 2 :], values[-max(len(values) // 3, LEAST) :])]
            if not since(values, constant) and all(each is not None and each.rises for each in lately):
                return _Seen("rising", 0, course)
        level = (1.0 - thresholds.learn_share) * constant
        at = since(values, _LEARNED * constant)
        own = progress(values[at:])
        if own is None:
            return None
        held_up = rates.cannot_be_learned(network) and own.rows >= thresholds.learn_soon
        if held_up and own.now >= level and rows_at_last(values[at:], _LEARNED * constant) > thresholds.learn_rows:
            return _Seen("held", at, own)
        if len(values) >= thresholds.learn_soon and values[len(values) // 2 :].min() > _FAR * constant:
            # It falls by factors, not by steps, and so it is judged.
            long = rows_by_factors(values, level) > thresholds.learn_rows
            if long and (feature_scales(network).speaks_for or missing_value_codes(network).speaks_for):
                return _Seen("behind", at, own)
        if own.least < level:
            return None
        worse = own.least > thresholds.learn_above * constant
        left = own.rows_to(level)
        late = left > thresholds.learn_rows and len(values) >= thresholds.learn_soon
        late = worse and (late or self._enough(layer, network, thresholds, begun=False))
        if late and not at and targets_not_scaled(layer, network).speaks_for:
            # Targets far from zero are reached in the end, by way of the last bias.
            return _Seen("behind", at, own)
        if left <= thresholds.learn_pace:
            return None
        if at and len(values) - at >= thresholds.learn_rows // 2:
            before = progress(values[:at])
            if before is not None and before.most < _LEARNED * constant and own.now - _WILD * own.error > before.most:
                return _Seen("back", at, own)
        if at or not self._enough(layer, network, thresholds, begun=own.most < (1.0 - _BEGUN) * constant):
            return None
        if own.now > _NEAR * constant and own.now <= _FALLEN * first:
            return None  # what is in the loss besides (a penalty on the weights) has no constant answer
        if worse:
            return _Seen("above", at, own)
        return _Seen("slow" if own.pace > 0.0 else "stuck", at, own)

    def _enough(self, layer: LayerView, network: Network, thresholds: NotLearningThresholds, *, begun: bool) -> bool:
        """Whether there was time enough to learn something; what has begun to learn gets as long as `learn_pace`."""
        rows = round((layer.last[_STEP] - layer.start) / layer.stride) + 1 if layer.stride > 0.0 else len(layer.rows)
        if min(rows, len(layer.rows)) < thresholds.learn_soon:
            return False
        soon = learning.moves_too_little(network) or learning.moves_too_much(network) or learning.never_moves(network)
        soon = soon or learning.hardly_free(network) or rates.cannot_be_learned(network)
        soon = soon or bool(same_inputs(layer, network).speaks_for)
        if soon or (learning.one_answer(layer, network) and not begun):
            return True
        if begun and rows < thresholds.learn_pace:
            return False
        samples = standards.samples(layer, network) * max(layer.stride, 1.0) * rows
        return rows >= thresholds.learn_rows and samples >= thresholds.learn_samples

    def _of_unknown(self, layer: LayerView, course: Progress | None, thresholds: NotLearningThresholds) -> _Seen | None:
        """What a loss does of which nobody knows what a constant answer is worth."""
        same = layer.streaks.get("loss_unchanged")
        if same is not None and same.rows >= _STAYS and same.step == layer.start and layer.first[_MEAN] != 0.0:
            return _Seen("unchanged", 0, course)
        first = layer.first[_MEAN]
        if course is None or first <= 0.0:
            return None
        values = layer.rows["mean"]
        at = since(values, _UNKNOWN * first)
        own = progress(values[at:])
        if own is not None and own.rows >= _STAYS and own.least > _UNKNOWN * first and own.pace == 0.0:
            return _Seen("diverged", at, own)
        if len(layer.rows) < thresholds.learn_rows:
            return None
        flat = course.pace == 0.0 and not course.rises
        high = course.least > (1.0 - thresholds.learn_share) * layer.first[_MEAN]
        return _Seen("flat", 0, course) if flat and high else None

    def _proved(
        self, layer: LayerView, network: Network, values: npt.NDArray[np.float64], course: Progress | None,
        constant: float | None,
    ) -> _Seen | None:  # fmt: skip
        """A loss that nothing can change, unless it is low or falls all the same."""
        if not any(cause.proved for cause in learning.proofs(network)) or not values.any():
            return None
        now = course.now if course is not None else float(np.mean(values))
        if constant is not None and now < _LEARNED * constant:
            return None
        fell = course is not None and course.pace * course.rows > 3.0 * course.noise and course.pace > 0.0
        return None if fell else _Seen("still", 0, course)

    def _finding(
        self, layer: LayerView, network: Network, seen: _Seen, constant: float | None, thresholds: NotLearningThresholds
    ) -> Finding:
        step = self._since(layer, seen)
        kind = seen.kind
        rose = kind in ("diverged", "rising", "back")
        course = Course(kind == "slow", kind in ("above", "behind", "diverged", "rising"), rose, step, kind == "rising")
        told = best(learning.causes(layer, network, course))
        now = seen.course.now if seen.course is not None else float(np.mean(layer.rows["mean"]))
        severity: Severity = "serious"
        unknown = constant is None and not layer.info.facts.get("function")
        if (
            kind == "flat"
            or (kind == "diverged" and unknown)
            or (kind == "unchanged" and len(standards.losses(network)) > 1)
        ):
            severity = NOTE  # of several, one may be a penalty that stays as it is
        elif told.cause.proved or kind == "unchanged":
            severity = "critical"
        elif kind in ("slow", "behind"):
            severity = "warning"
        elif kind == "diverged" and constant is not None and now > _FAR * constant:
            severity = "critical"
        rows, steps = len(layer.rows) - seen.at, layer.last[_STEP] - step + 1
        name, value = standards.shown_name(layer), number(now)
        best_of = (
            ""
            if constant is None
            else f"; the best constant answer, the same for every sample, gets {number(constant)}"
        )
        message = {
            "stuck": f"{name} has not fallen since step {step}: it is {value} on average{best_of}.",
            "slow": f"{name} hardly falls: it is {value}, and at this pace it takes more than "
            f"{thresholds.learn_pace:,} rows to be better than a constant answer{best_of}.",
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

    def _since(self, layer: LayerView, seen: _Seen) -> int:
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
        name = standards.shown_name(layer)
        message = (
            f"{name} has been {what} since step {streak.step}."
            if now
            else f"{name} was {what} in {int(bad.sum())} of {len(layer.rows)} rows, first in step {streak.step}."
        )
        told = best(overflows.causes(layer, network, streak.step, rose))
        evidence = Evidence(rows_not_finite=int(bad.sum()), loss_before=float(before[-1]) if len(before) else None)
        severity: Severity = "critical" if now else "warning"
        return told.finding(layer.info.name, self.condition, severity, streak.step, evidence, message)
