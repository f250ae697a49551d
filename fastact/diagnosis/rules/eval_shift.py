"""Shift in evaluation: a layer whose outputs in evaluation are of another scale than in training."""

import math
from collections.abc import Container, Sequence
from typing import ClassVar, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from fastact.diagnosis import layer_types
from fastact.diagnosis.causes import eval_shift
from fastact.diagnosis.causes.cause import Cause, best
from fastact.diagnosis.evidence import baselines, facts
from fastact.diagnosis.finding import Evidence, Finding, graded
from fastact.diagnosis.network import LayerView, Network, rms
from fastact.diagnosis.rule import Circumstances, Outcome, Rule, upstream
from fastact.diagnosis.thresholds import CommonThresholds, count_field, factor_field, positive_field
from fastact.fields import COLUMN
from fastact.history import LayerInfo
from fastact.text import number, percent

#: Normalisations that keep running statistics for evaluation.
_KEEPS: Final = ("BatchNorm", "SyncBatchNorm", "LazyBatchNorm", "InstanceNorm", "LazyInstanceNorm")
#: A difference that has come down to less than this share of what it was in the evaluation rows before is passing.
_CATCHING_UP: Final = 0.5
#: What drops elements in training, and hands all on in evaluation; and the share of zeros that is more than chance.
_DROPS: Final = "Dropout", "SpatialDropout"
_LEAST_DROPPED: Final = 0.03
#: What the mode changes; over how many steps an optimiser must have stepped in evaluation mode, and how many of its
#: rows must say so.
_DEPENDS: Final = ("Dropout", "AlphaDropout", "BatchNorm", "SyncBatchNorm", "SpatialDropout")
_STEPS: Final = 20
_ROWS: Final = 3

_STEP: Final = COLUMN["step"]


class EvalShiftThresholds(CommonThresholds):
    """What `EvalShift` compares with."""

    shift_rows: int = count_field(3, "evaluation rows; eval_shift: the last so many must all differ. Chosen")
    shift_factor: float = factor_field(
        2.0, "factor; eval_shift: scale or spread in evaluation lie outside that of training by this much. Chosen"
    )
    shift_deviations: float = positive_field(
        1.0, "standard deviations; eval_shift: the mean lies outside that of training by this many. Chosen"
    )
    shift_inputs: float = factor_field(
        3.0, "factor; eval_shift: the same of inputs, which augmentation changes in training (of their mean two "
        "standard deviations). Chosen", "shift_factor"
    )  # fmt: skip
    shift_unknown: float = factor_field(
        4.0, "factor; eval_shift: the scale of a layer that does not normalise rises by this much, where no layer "
        "before it differs. Chosen", "shift_factor"
    )  # fmt: skip
    shift_serious: float = factor_field(10.0, "factor; eval_shift: serious from here. Chosen", "shift_unknown")


class Gap(NamedTuple):
    """How far evaluation lies outside of what training does around it.

    Attributes:
        rise, fall: the factor by which the scale is above the largest or below the smallest of training, at least 1.
        narrow: the factor by which the spread is below the smallest of training, at least 1.
        shift: by how many standard deviations the mean is outside that of training.
        training, evaluation: the root mean square, or the mean where that is what differs.
    """

    rise: float
    fall: float
    narrow: float
    shift: float
    rms: tuple[float, float]
    mean: tuple[float, float]

    def exceeds(self, factor: float, deviations: float) -> bool:
        """Whether any of it is at least so much."""
        return max(self.rise, self.fall, self.narrow) >= factor or self.shift >= deviations

    @property
    def size(self) -> float:
        """The largest of it, as a number that falls as evaluation comes closer."""
        return max(self.rise - 1.0, self.fall - 1.0, self.narrow - 1.0, self.shift)


def _in_evaluation(cause: Finding, effect: Finding, around: Circumstances) -> bool:
    """What evaluation suffers from here on."""
    return effect.layer in around.evaluation and around.place[cause.layer] <= around.place[effect.layer]


class EvalShift(Rule[EvalShiftThresholds]):
    """A layer that puts out something else in evaluation than in training.

    Formula:
        The last shift_rows (3) rows of evaluation are compared with the training rows between them and the recent_rows
        before and after. Evaluation differs when in all three its rms is above the largest or below the smallest of
        those by shift_factor (2), or its spread between samples is below the smallest by as much, or its mean lies
        outside of theirs by shift_deviations (1) of their median standard deviation; and the difference in the last is
        still half of that in the first of them: running statistics that catch up are left to. It begins

        - at the model's input, from shift_inputs (3) on, or 2 deviations: other data, or another preprocessing;
        - at the first layer with weights where the input is not recorded: the weights are the same in both modes;
        - at a normalisation with running statistics whose input does not differ; and without dropout, where a layer
          behind it differs, at the first of these that does so by the root of shift_factor, or half the deviations;
          likewise where the loss of these evaluations is twice that of the best constant answer, and that of training
          has come below half of it;
        - at any other layer that rises by shift_unknown (4) while nothing before it differs or keeps such statistics.

        What differs after that follows. The first step is that of the first evaluation row since which it has differed.
        Serious from shift_serious (10) or three deviations on.

    A model that is trained on in evaluation mode is found where, after rows in training, all layers that the mode
    changes (dropout, batch normalisation) have rows in evaluation alone for 20 steps, and the optimiser has stepped on.

    Dropout itself is found where in all three rows at least 3% of its outputs are zeros that it was not given.

    Dropout, noise and sampling make training larger and wider than evaluation, so after them, and at layers that do not
    normalise, what falls is no finding. What the layer learns between two evaluations lies within the training rows.

    Source:
        Chosen. Dropout alone changes the standard deviation by a factor sqrt(1 - p), 0.7 for p = 0.5: Li et al.,
        Understanding the disharmony between dropout and batch normalization by variance shift, CVPR 2019.
    """

    condition = "eval_shift"
    adjective = "different in evaluation"
    compared: ClassVar = {"rms_evaluation": "in evaluation"}
    explains: ClassVar = dict.fromkeys(
        (
            "exploding", "outlier_channels", "overflow_risk", "non_finite", "saturated", "underflow_risk", "dead",
            "vanishing", "constant", "drifting",
        ),
        _in_evaluation,
    ) | {"eval_shift": upstream}  # fmt: skip

    def applies(self, info: LayerInfo) -> bool:
        """Layers in training, but for probabilities and what hands its input on; the input and dropout are judged."""
        kind = info.layer_type
        if info.mode or kind in layer_types.PROBABILITIES:
            return False
        return kind == layer_types.INPUT or kind.startswith(_DROPS) or not layer_types.is_passing(kind)

    def suspects(self, network: Network, thresholds: EvalShiftThresholds) -> Container[int] | None:
        """Those where a difference begins, and dropout."""
        if network.once(_left_in_evaluation) is not None:
            return None
        drops = {layer.place for layer in network.layers if layer.info.layer_type.startswith(_DROPS)}
        return drops.union(network.once(_begins, thresholds))

    def check(self, layer: LayerView, network: Network, thresholds: EvalShiftThresholds) -> Finding | Outcome:
        """The difference of the last rows, and where it began; of dropout, whether there is none."""
        left = network.once(_left_in_evaluation)
        if left is not None and left.layer == layer.info.name:
            return left
        if layer.info.layer_type.startswith(_DROPS):
            return _dropped(layer, network, thresholds) or Outcome.NOT_FOUND
        cause = network.once(_begins, thresholds).get(layer.place)
        evaluation = network.evaluation(layer)
        if cause is None or evaluation is None:
            return Outcome.NOT_FOUND
        large = network.once(_gaps, thresholds).get(layer.place)
        gap = large or network.once(_smaller, thresholds)[layer.place]
        step = _since(layer, network, evaluation, _limits(thresholds) if large else _half(thresholds), thresholds)
        by_mean = gap.shift >= thresholds.shift_deviations and gap.size == gap.shift
        what, (trained, evaluated) = ("mean", gap.mean) if by_mean else ("rms", gap.rms)
        message = (
            f"{layer.name} has been different in evaluation since step {step}: the {what} of its {layer.elements} is "
            f"{number(evaluated)} there, and {number(trained)} in training."
        )
        evidence = Evidence(
            rms_training=gap.rms[0], rms_evaluation=gap.rms[1], mean_training=gap.mean[0], mean_evaluation=gap.mean[1],
            factor=max(gap.rise, gap.fall, gap.narrow), deviations=gap.shift, evaluation_rows=len(evaluation.rows)
        )  # fmt: skip
        serious = gap.exceeds(thresholds.shift_serious, 3.0 * thresholds.shift_deviations)
        severity = graded(serious=serious, critical=False)
        name = layer_types.without_mode(layer.info.name)
        name = name if name in network.everything else layer.info.name
        return best([cause]).finding(name, self.condition, severity, step, evidence, message)


def _dropped(layer: LayerView, network: Network, thresholds: EvalShiftThresholds) -> Finding | None:
    """The finding for dropout that drops in evaluation too: it puts out zeros where what it is given has none."""
    feeder, evaluation = network.feeder(layer), network.evaluation(layer)
    given = network.evaluation(feeder) if feeder is not None and layer.info.source == feeder.info.name else None
    if given is None or evaluation is None or len(evaluation.rows) < thresholds.shift_rows:
        return None
    shares = [view.rows["zeros"] / np.maximum(view.rows["count"], 1) for view in (evaluation, given)]
    dropped = float(shares[0][-thresholds.shift_rows :].min() - shares[1][-thresholds.shift_rows :].max())
    if dropped < _LEAST_DROPPED:
        return None
    step = evaluation.start
    message = (
        f"{layer.name} has been dropping in evaluation since step {step}: {percent(dropped)} of what it puts out there "
        f"are zeros that {facts.named(given)} did not give it."
    )
    name = layer_types.without_mode(layer.info.name)
    name = name if name in network.everything else layer.info.name
    evidence = Evidence(dropped=dropped, evaluation_rows=len(evaluation.rows))
    return best([eval_shift.LEFT_ON]).finding(name, "eval_shift", "warning", step, evidence, message)


def _left_in_evaluation(network: Network) -> Finding | None:
    """The finding for a model that is trained on in evaluation mode: nobody put it back after an evaluation.

    It is told of the first layer that the mode changes, where all of these have rows in evaluation alone since a step,
    and the one optimiser has stepped on.
    """
    depends = [view for view in network.layers if view.info.layer_type.startswith(_DEPENDS)]
    optimisers = network.typed(layer_types.OPTIMISER)
    if not depends or len(optimisers) != 1:
        return None
    last = max(int(view.last[_STEP]) for view in network.layers)
    steps = optimisers[0].rows["step"]  # of some of its steps
    steps = steps[steps > last]
    seen = [view for view in map(network.evaluation, depends) if view is not None]
    if len(steps) < _ROWS or len(seen) < len(depends):
        return None
    known = [steps[steps >= view.oldest] for view in seen]
    alone = [np.isin(each, view.rows["step"]).all() for each, view in zip(known, seen, strict=True)]
    if int(steps[-1]) - last < _STEPS or not all(alone) or min(map(len, known)) < _ROWS:
        return None
    first = depends[0]
    said = f"the optimiser has stepped up to step {int(steps[-1])}, and the model ran in evaluation mode alone"
    message = f"{first.name} has been trained in evaluation mode since step {last + 1}: {said}."
    name = layer_types.without_mode(first.info.name)
    name = name if name in network.everything else first.info.name
    evidence = Evidence(last_step_in_training=last, last_step_of_optimiser=int(steps[-1]))
    told = best([eval_shift.LEFT._replace(speaks_for=(said,))])
    return told.finding(name, "eval_shift", "warning", last + 1, evidence, message)


def _gaps(network: Network, thresholds: EvalShiftThresholds) -> dict[int, Gap]:
    """The difference between training and evaluation of each layer in which there is one, by its place."""
    if not any(view.info.mode for view in network.everything.values()):
        return {}
    return _differ(network, network.layers, _limits(thresholds), thresholds)


def _smaller(network: Network, thresholds: EvalShiftThresholds) -> dict[int, Gap]:
    """The same of normalisations with running statistics, whose differences add up, from half as much on."""
    keeping = [layer for layer in network.layers if layer.info.layer_type.startswith(_KEEPS)]
    return _differ(network, keeping, _half(thresholds), thresholds)


def _limits(thresholds: EvalShiftThresholds) -> tuple[float, float]:
    """The least factor and the least deviations of a difference."""
    return thresholds.shift_factor, thresholds.shift_deviations


def _half(thresholds: EvalShiftThresholds) -> tuple[float, float]:
    """Half of these, as a logarithm and as they are."""
    return math.sqrt(thresholds.shift_factor), 0.5 * thresholds.shift_deviations


def _differ(
    network: Network, layers: Sequence[LayerView], limits: tuple[float, float], thresholds: EvalShiftThresholds
) -> dict[int, Gap]:
    found: dict[int, Gap] = {}
    for layer in layers:
        evaluation = network.evaluation(layer)
        if evaluation is None or len(layer.rows) < thresholds.min_rows:
            continue
        last = evaluation.rows[-thresholds.shift_rows :]
        if len(last) < thresholds.shift_rows:
            continue
        gaps = _compare(layer, network, last, thresholds)
        if all(gap.exceeds(*limits) for gap in gaps) and gaps[-1].size >= _CATCHING_UP * gaps[0].size:
            found[layer.place] = min(gaps, key=lambda gap: gap.size)
    return found


def _compare(
    layer: LayerView, network: Network, rows: npt.NDArray[np.void], thresholds: EvalShiftThresholds
) -> list[Gap]:
    """How far each evaluation row lies outside of the training rows between them and around them."""
    steps, near = layer.rows["step"], thresholds.recent_rows
    first = max(int(steps.searchsorted(rows[0]["step"])) - near, 0)
    last = min(int(steps.searchsorted(rows[-1]["step"], "right")) + near, len(steps))
    around = slice(min(first, max(len(steps) - near, 0)), max(last, near))
    trained, scale = layer.rows[around], network.scale(layer)[around]
    finite = np.isfinite(trained["mean"]) & np.isfinite(trained["std"])
    if not finite.all():
        trained, scale = trained[finite], scale[finite]
    count = len(trained)
    if count < thresholds.min_rows:
        return [Gap(1.0, 1.0, 1.0, 0.0, (math.nan, math.nan), (math.nan, math.nan))]
    scale, mean, std = (np.sort(each).tolist() for each in (scale, trained["mean"], trained["std"]))
    deviation, usual = std[count // 2], (scale[count // 2], mean[count // 2])
    lowest, highest, down, up = scale[0], scale[-1], mean[0], mean[-1]
    spread = _spread(trained, thresholds)
    narrowest = float(spread.min()) if not np.isnan(spread).any() else 0.0
    gaps = []
    for size, level, wide in zip(
        rms(rows).tolist(), rows["mean"].tolist(), _spread(rows, thresholds).tolist(), strict=True
    ):
        off = max(level - up, down - level, 0.0)
        gaps.append(
            Gap(
                rise=_times(size, highest),
                fall=_times(lowest, size),
                narrow=_times(narrowest, wide),
                shift=off / deviation if deviation > 0.0 and off < math.inf else 0.0,
                rms=(usual[0], size),
                mean=(usual[1], level),
            )
        )
    return gaps


def _times(large: float, small: float) -> float:
    """How many times as large, at least 1; 1 where unknown."""
    if not large > small:
        return 1.0
    return large / small if small > 0.0 else 1e300


def _spread(rows: npt.NDArray[np.void], thresholds: EvalShiftThresholds) -> npt.NDArray[np.float64]:
    """The spread between samples; NaN where a row has too few of them, and one sample has none."""
    enough = (rows["neurons"] > 0) & (rows["count"] >= 8 * rows["neurons"])
    spread: npt.NDArray[np.float64] = np.where(enough, rows["within_std"], math.nan)
    return spread


def _since(
    layer: LayerView,
    network: Network,
    evaluation: LayerView,
    limits: tuple[float, float],
    thresholds: EvalShiftThresholds,
) -> int:
    """The step of the first evaluation row since which all have differed."""
    rows = evaluation.rows
    place = len(rows) - thresholds.shift_rows
    while place > 0 and _compare(layer, network, rows[place - 1 : place], thresholds)[0].exceeds(*limits):
        place -= 1
    return int(rows[place]["step"])


def _begins(network: Network, thresholds: EvalShiftThresholds) -> dict[int, Cause]:
    """The layers that are told, by their place: those where a difference begins, and those after one."""
    gaps = network.once(_gaps, thresholds)
    told: dict[int, Cause] = {}
    noisy = keeps = False
    for layer in network.layers if gaps else ():
        kind = layer.info.layer_type
        noisy = noisy or kind.startswith(("Dropout", "AlphaDropout", "FeatureAlphaDropout"))
        gap, normalised = gaps.get(layer.place), keeps
        keeps = keeps or kind.startswith(_KEEPS)
        if gap is None:
            continue
        feeder = network.feeder(layer)
        if told:
            # What begins here by itself is told apart from what follows: its cause is the normalisation's.
            own = kind.startswith(_KEEPS) and feeder is not None and feeder.place not in gaps
            told[layer.place] = eval_shift.STATISTICS if own else next(iter(told.values()))
        elif kind == layer_types.INPUT:
            if gap.exceeds(thresholds.shift_inputs, 2.0 * thresholds.shift_deviations):
                told[layer.place] = eval_shift.data("the input itself differs")
        elif kind.startswith(_KEEPS):
            fallen = noisy and gap.rise < thresholds.shift_factor and gap.shift < thresholds.shift_deviations
            if not fallen and (feeder is None or feeder.place not in gaps):
                told[layer.place] = eval_shift.STATISTICS
        elif facts.is_first(layer, network) and network.input is None and layer_types.has_weights(kind):
            if gap.exceeds(thresholds.shift_inputs, 2.0 * thresholds.shift_deviations):
                told[layer.place] = eval_shift.data("its weights are the same in both modes")
        # What several normalisations shift by a little each adds up; random elements alone make training larger.
        elif not noisy and (first := _first_before(layer, network, thresholds)) is not None:
            told[first] = eval_shift.STATISTICS
        # Where running statistics catch up, which is no finding, layers after them differ too.
        elif gap.rise >= thresholds.shift_unknown and not normalised:
            told[layer.place] = eval_shift.UNSEEN
    if not told and baselines.fails_in_evaluation(network, thresholds.shift_rows):
        first = _first_before(network.layers[-1], network, thresholds)
        drawn = (view.place for view in network.layers if layer_types.is_random(view.info.layer_type))
        if first is not None and first < min(drawn, default=len(network.layers)):
            told[first] = eval_shift.STATISTICS
    return told


def _first_before(layer: LayerView, network: Network, thresholds: EvalShiftThresholds) -> int | None:
    """The place of the first normalisation before a layer that differs by a little; None where there is none."""
    return min((place for place in network.once(_smaller, thresholds) if place < layer.place), default=None)
