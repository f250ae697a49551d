"""Drift: a layer whose scale changed abruptly, in the middle of training, and stayed changed."""

import math
from collections.abc import Container
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from fastact.diagnosis import layer_types
from fastact.diagnosis.causes import changes
from fastact.diagnosis.causes.cause import Cause, best
from fastact.diagnosis.causes.other_data import data_changed
from fastact.diagnosis.evidence import baselines, facts
from fastact.diagnosis.finding import NOTE, Evidence, Finding, graded
from fastact.diagnosis.network import LayerView, Network, row_rms
from fastact.diagnosis.row_conditions import Cascade, Cells, Row, RowCondition, nothing_finite
from fastact.diagnosis.rule import Circumstances, Outcome, Rule, comes_first, upstream
from fastact.diagnosis.thresholds import CommonThresholds, count_field, factor_field, positive_field, share_field
from fastact.fields import COLUMN
from fastact.history import LayerInfo
from fastact.text import number

#: What makes the median absolute deviation of a normal distribution its standard deviation.
_MAD: Final = 1.4826
#: Rows, and parts of them, in each of which an input that creeps grows by so much at least, as a logarithm. Chosen.
_CREEP: Final = 40
_PARTS: Final = 5
_LEAST: Final = 0.1
#: Rows around the likeliest place of a change within which its largest step is looked for.
_NEAR: Final = 2

_MEAN, _STD = COLUMN["mean"], COLUMN["std"]


class DriftingThresholds(CommonThresholds):
    """What `Drifting` compares with."""

    drift_rows: int = count_field(20, "rows; drifting: this many must come before the change. Chosen")
    drift_factor: float = factor_field(4.0, "factor; drifting: the median rms changes by this much, up or down. Chosen")
    drift_harm: float = factor_field(
        10.0, "factor; drifting: a layer that changes by less is noted, an input that changes by more is serious. "
        "Chosen", "drift_factor"
    )  # fmt: skip
    drift_mean: float = positive_field(
        3.0, "standard deviations; drifting: the median of an input's mean changes by this many. Chosen"
    )
    drift_share: float = share_field(0.6, "share of the change; drifting: it lies within two rows. Chosen")
    drift_deviations: float = positive_field(
        6.0,
        "robust standard deviations (1.4826 MAD); drifting: the median of log rms changes by this many. trainscope's "
        "CUSUM and OLMo-core's spike filter use 6",
    )
    drift_chance: float = share_field(
        1e-6, "probability; drifting: the largest chance of so clear a change without one. Chosen"
    )


def _reaches(cause: Finding, effect: Finding, around: Circumstances) -> bool:
    """What other data, or other weights, bring about in the layers behind, soon after."""
    soon = effect.first_step - cause.first_step <= around.near
    return soon and cause.cause_name in ("data_changed", "weights_replaced") and upstream(cause, effect, around)


def _comes_back(cause: Finding, effect: Finding, around: Circumstances) -> bool:
    """A change explains those that come later; in one step, that of what follows from the model's own outputs."""
    if "own_outputs" in (cause.cause_name, effect.cause_name) and cause.first_step == effect.first_step:
        return effect.cause_name == "own_outputs" and cause.cause_name == "weights_replaced"
    return comes_first(cause, effect, around)


class Drifting(Rule[DriftingThresholds]):
    """A sudden change of a layer's scale, up or down, that lasts.

    Formula:
        y = log rms of the rows in the window that have finite elements. Pettitt's test finds the row at which y is
        likeliest to have changed: U(k) = 2 sum of the ranks of y[:k] - k (n + 1), K = max |U(k)|,
        p = 2 exp(-6 K^2 / (n^3 + n^2)); where all rows after it lie on one side of all rows before it, p = 2 / C(n, k),
        the share of the orders that do. Found when p <= drift_chance (1e-6), the medians before and after differ by
        drift_factor (4) or more, in rms, and by drift_deviations (6) or more in units of 1.4826 MAD, the robust
        standard deviation around each side's own median; with at least drift_rows (20) rows before, min_rows after,
        drift_share (60%) of the change within two rows, and the last min_rows rows still as far from where it was. The
        first step is that of the change. A layer that changes by less than drift_harm (10) is a note: it learns on.
        Of the model's input the mean is judged too: it changes by drift_mean (3) standard deviations.

    An input that grows or shrinks row after row, in each fifth of its last 40 rows by 10% at least, is found too from
    drift_harm (10) times its first row on; a note where the network has learned.

    A change of the input stays a finding when it has left the window, while the input is as far from its first row and
    the layer behind it too; it is a note when that layer is back on its scale (within drift_factor of its first row).

    Where the input changed so, that is the finding, and what follows in the layers within near_rows is its consequence.

    Training moves every layer, so slow changes are not judged: the two halves of a steady rise, however steep, differ
    by 2.7 of these deviations. Where a plateau ends and a network begins to learn, its layers grow fivefold and more
    within some tens of rows, and stay there; healthy ones of the zoo did so in 7 of 94 runs. That is no step: only a
    small part of it lies in two rows. Nor are the first rows judged, in which much happens quickly. Rows of NaN are
    left out.

    Source:
        Pettitt, A non-parametric approach to the change-point problem, Applied Statistics 1979. 1.4826 MAD: Rousseeuw
        and Croux, Alternatives to the median absolute deviation, JASA 1993; 6 of them is the limit of trainscope's
        CUSUM and of OLMo-core's spikes. Factor and rows chosen.
    """

    condition = "drifting"
    adjective = "changed abruptly"
    compared: ClassVar = {"rms_before": "before"}
    only_alone = True
    symptom = True
    explains: ClassVar = dict.fromkeys(
        (
            "exploding", "outlier_channels", "overflow_risk", "non_finite", "saturated", "underflow_risk", "dead",
            "vanishing", "constant", "oscillating",
        ),
        _reaches,
    ) | {"drifting": _comes_back}  # fmt: skip

    def applies(self, info: LayerInfo) -> bool:
        """All in the mode in which the model is watched but probabilities, which crowd at a bound."""
        other = info.name.endswith((layer_types.EVALUATION_SUFFIX, layer_types.TRAINING_SUFFIX))
        return not other and info.layer_type not in layer_types.PROBABILITIES

    def needs(self, thresholds: DriftingThresholds) -> int:
        """The rows before and after."""
        return thresholds.drift_rows + thresholds.min_rows

    def row_conditions(self, info: LayerInfo, first: Row, thresholds: DriftingThresholds) -> tuple[Cascade, ...]:
        """Rows of the model's input that are as far from its first one as a change is, and half as far."""
        if info.layer_type != layer_types.INPUT:
            return ()
        mean, deviation, size = first[_MEAN], first[_STD], row_rms(first)

        def moved(name: str, share: float) -> RowCondition:
            by, factor = share * thresholds.drift_mean * deviation, thresholds.drift_factor**share
            small, large = size / factor, size * factor
            low, high = small * small, large * large  # not **, which raises where they overflow

            def holds(cells: Cells) -> Any:
                level, square = cells[_MEAN] - mean, cells[_MEAN] * cells[_MEAN] + cells[_STD] * cells[_STD]
                return (level >= by) | (level <= -by) | (square >= high) | (square <= low)

            return RowCondition(name, holds)

        if not deviation > 0.0:
            return ()
        return (Cascade((moved("half_moved", 0.5), moved("moved", 1.0)), nothing_finite),)

    def suspects(self, network: Network, thresholds: DriftingThresholds) -> Container[int] | None:
        """Those that have moved by the factor, what makes another part's input, and inputs."""
        if network.lengths.min() < self.needs(thresholds):
            return None
        factor, kinds = thresholds.drift_factor, network.layer_types
        places = {place for place, span in enumerate(network.range) if span >= factor}
        places.update(changes.made_by(network).values())
        return places | {place for place, kind in enumerate(kinds) if kind == layer_types.INPUT}

    def check(self, layer: LayerView, network: Network, thresholds: DriftingThresholds) -> Finding | Outcome:
        """The change in the window, if there is one. Most layers have not moved by the factor at all."""
        if len(layer.rows) < self.needs(thresholds):
            return Outcome.NOT_ENOUGH_DATA
        found = None
        if network.range[layer.place] >= thresholds.drift_factor:
            scale = network.scale(layer)
            known = np.flatnonzero(np.isfinite(scale) & (scale > 0.0))
            if len(known) < self.needs(thresholds):
                return Outcome.NOT_ENOUGH_DATA
            found = _jump(np.log(scale[known]), math.log(thresholds.drift_factor), thresholds)
        if found is not None:
            step = int(layer.rows["step"][known[found.place]])
            if changes.comes_and_goes(layer, network, step, thresholds.drift_factor):
                return Outcome.NOT_FOUND
            return self._finding(layer, network, known, found, thresholds)
        if layer.info.layer_type == layer_types.INPUT:
            finding = self._mean(layer, thresholds)
            if isinstance(finding, Finding):
                return finding
            left = self._left(layer, network, thresholds)
            return left or self._creeps(layer, layer, network, thresholds) or finding
        return self._makes(layer, network, thresholds) or Outcome.NOT_FOUND

    def _makes(self, layer: LayerView, network: Network, thresholds: DriftingThresholds) -> Finding | None:
        """Outputs that another part is given, and that grow row after row."""
        for given, maker in changes.made_by(network).items():
            if maker == layer.place:
                return self._creeps(network.layers[given], layer, network, thresholds)
        return None

    def _left(self, layer: LayerView, network: Network, thresholds: DriftingThresholds) -> Finding | None:
        """A change of the input that has left the window, while it lasts; a note once the layers behind are as before.

        What the rows of the window no longer show is known from the runs: of an abrupt change half of it and all of it
        began within two rows.
        """
        run, half = layer.streaks.get("moved"), layer.streaks.get("half_moved")
        shown = len(layer.rows) - thresholds.drift_rows  # what is younger is judged by the window
        if run is None or half is None or half.rows - run.rows > _NEAR or run.rows <= shown:
            return None
        if half.step - layer.start < thresholds.drift_rows * layer.stride:
            return None
        before, after = layer.first[_MEAN], layer.last[_MEAN]
        sizes = row_rms(layer.first), row_rms(layer.last)
        by_mean = abs(after - before) >= thresholds.drift_mean * layer.first[_STD]
        what, (first, last) = ("mean", (before, after)) if by_mean else ("rms", sizes)
        behind = network.layers[layer.place + 1 : layer.place + 2]
        thrown = any(_off(network.rms[view.place], row_rms(view.first)) >= thresholds.drift_factor for view in behind)
        message = (
            f"{layer.name} changed abruptly at step {run.step}: the {what} of its values was {number(first)} at first "
            f"and is {number(last)} now."
        )
        evidence = Evidence(rms_before=sizes[0], rms_after=sizes[1], mean_before=before, mean_after=after)
        verdict = best([data_changed(proved=True)])
        severity = "serious" if thrown else NOTE
        return verdict.finding(layer.info.name, self.condition, severity, run.step, evidence, message)

    def _creeps(
        self, layer: LayerView, told: LayerView, network: Network, thresholds: DriftingThresholds
    ) -> Finding | None:
        """An input that grows or shrinks row after row: no training moves data, so it need not be sudden.

        What is made by another part of the network is told of the layer that makes it.
        """
        if told is layer and layer.place in changes.made_by(network):
            return None
        run, base = layer.streaks.get("half_moved"), row_rms(layer.first)
        scale = network.scale(layer)
        scale = scale[np.isfinite(scale) & (scale > 0.0)]
        if run is None or run.rows < thresholds.min_rows or len(scale) < self.needs(thresholds) or not base > 0.0:
            return None
        now = _median(scale[-thresholds.min_rows :])
        way = math.log(now / base)
        levels = np.log([base, *(_median(part) for part in np.array_split(scale[-_CREEP:], _PARTS))])
        steadily = (np.diff(levels)[1:] * math.copysign(1.0, way) >= _LEAST).all()
        if (
            abs(way) < math.log(thresholds.drift_harm)
            or not steadily
            or (told is layer and changes.of_outputs(network, run.step))
        ):
            return None  # what a generator puts out may grow to the size of its data
        message = (
            f"{told.name} has been drifting since step {run.step}: the rms of its {told.elements} "
            f"{'rose' if way > 0.0 else 'fell'} from {number(base)} to {number(now)}, and goes on."
        )
        evidence = Evidence(rms_before=base, rms_after=now, factor=now / base)
        well = baselines.has_learned(network) and not baselines.rises_again(network)
        severity = NOTE if well else "serious"
        verdict = best([data_changed(proved=True) if told is layer else changes.runs_away(told, layer)])
        return verdict.finding(told.info.name, self.condition, severity, run.step, evidence, message)

    def _finding(
        self,
        layer: LayerView,
        network: Network,
        known: npt.NDArray[np.intp],
        found: "Shift",
        thresholds: DriftingThresholds,
    ) -> Finding:
        step = int(layer.rows["step"][known[found.place]])
        change = found.after - found.before
        before, after = math.exp(found.before), math.exp(found.after)
        evidence = Evidence(
            rms_before=before, rms_after=after, factor=math.exp(change),
            deviations=abs(change) / found.deviation if found.deviation > 0.0 else None, chance=found.chance,
            rows_before=found.place, rows_after=len(known) - found.place
        )  # fmt: skip
        message = (
            f"{layer.name} changed abruptly at step {step}: the rms of its {layer.elements} "
            f"{'rose' if change > 0.0 else 'fell'} from {number(before)} to {number(after)} and stayed there."
        )
        large = abs(change) >= math.log(thresholds.drift_harm)
        if layer.info.layer_type == layer_types.INPUT:
            severity = graded(serious=large, critical=False)
            maker = changes.made_by(network).get(layer.place)
            causes: tuple[Cause, ...] = (changes.of_outputs(network, step) or data_changed(proved=True),)
            if maker is not None:
                causes = (changes.of_part(network.layers[maker]),)
        else:
            # Where the input is not recorded, it is the first layer that tells of it.
            alone = network.input is None and facts.is_first(layer, network)
            severity = "warning" if large or alone else NOTE
            causes = changes.causes(layer, network, step, thresholds.min_rows, thresholds.drift_factor)
        verdict = best(causes, (changes.LOOK,))
        return verdict.finding(layer.info.name, self.condition, severity, step, evidence, message)

    def _mean(self, layer: LayerView, thresholds: DriftingThresholds) -> Finding | Outcome:
        """A change of an input's mean, in units of its standard deviation before."""
        mean, std = layer.rows["mean"], layer.rows["std"]
        known = np.flatnonzero(np.isfinite(mean) & np.isfinite(std) & (np.abs(mean) < 1e150))
        if len(known) < self.needs(thresholds):
            return Outcome.NOT_ENOUGH_DATA
        deviation = _median(std[known])
        if not float(mean[known].max() - mean[known].min()) >= thresholds.drift_mean * deviation > 0.0:
            return Outcome.NOT_FOUND
        found = _jump(mean[known] / deviation, thresholds.drift_mean, thresholds)
        if found is None:
            return Outcome.NOT_FOUND
        step, by = int(layer.rows["step"][known[found.place]]), found.after - found.before
        before, after = found.before * deviation, found.after * deviation
        evidence = Evidence(
            mean_before=before, mean_after=after, deviations=by, chance=found.chance, rows_before=found.place,
            rows_after=len(known) - found.place
        )  # fmt: skip
        message = (
            f"{layer.name} changed abruptly at step {step}: the mean of its values moved from {number(before)} to "
            f"{number(after)} and stayed there."
        )
        severity = graded(serious=abs(by) >= thresholds.drift_harm, critical=False)
        verdict = best([data_changed(proved=True)])
        return verdict.finding(layer.info.name, self.condition, severity, step, evidence, message)


def _off(now: float, before: float) -> float:
    """By how much a scale is another one, up or down; 1 where unknown."""
    return max(now / before, before / now) if now > 0.0 and before > 0.0 else 1.0


class Shift(NamedTuple):
    """The likeliest change in a series.

    Attributes:
        place: the first place after it.
        chance: how likely so large a statistic is without any change, at most (Pettitt's approximation).
        before, after: the medians of the two sides.
        deviation: 1.4826 times the median absolute deviation of both sides around their own medians.
    """

    place: int
    chance: float
    before: float
    after: float
    deviation: float


def shift(values: npt.NDArray[np.float64]) -> Shift:
    """Finds the likeliest place of a change by Pettitt's test (`Drifting`): float64, shape (n,), finite, n >= 2.

    Example:
        >>> found = shift(np.array([1.0, 1.1, 0.9, 1.0, 5.0, 5.1, 4.9, 5.0]))
        >>> found.place, found.before, found.after
        (4, 1.0, 5.0)
    """
    place, chance = _likeliest(values)
    return _parted(values, place)._replace(chance=chance)


def _likeliest(values: npt.NDArray[np.float64]) -> tuple[int, float]:
    """The place of a change, and how likely it is by chance."""
    count = len(values)
    ordered = np.sort(values)
    # Values that are equal have one rank, the mean of their places.
    ranks = (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right") + 1) / 2.0
    statistic = np.abs(2.0 * np.cumsum(ranks)[:-1] - np.arange(1, count) * (count + 1.0))
    place = int(statistic.argmax()) + 1
    top = float(statistic[place - 1])
    return place, min(2.0 * math.exp(-6.0 * top * top / (float(count) ** 3 + float(count) ** 2)), 1.0)


def _jump(values: npt.NDArray[np.float64], least: float, thresholds: DriftingThresholds) -> Shift | None:
    """The change in a series, where it is large, sudden, unlikely by chance, and lasts."""
    end = len(values)
    low, high = max(thresholds.drift_rows, 2), end - thresholds.min_rows
    place = low + int(np.abs(values[low : high + 1] - values[low - 1 : high]).argmax())
    before, after = values[:place], values[place:]
    gap = max(float(after.min() - before.max()), float(before.min() - after.max()))
    if gap > 0.0:  # the largest step parts all that was before from all that came after
        found = _parted(values, place)._replace(chance=2.0 / math.comb(end, place))
    else:
        place, chance = _likeliest(values)
        # The largest step near the likeliest place, in its direction.
        near = max(place - _NEAR, low), min(place + _NEAR, high)
        if near[0] > near[1]:
            return None
        way = math.copysign(1.0, _median(values[place:]) - _median(values[:place]))
        steps = way * (values[near[0] : near[1] + 1] - values[near[0] - 1 : near[1]])
        place = near[0] + int(steps.argmax())
        found = _parted(values, place)._replace(chance=chance)
    change = found.after - found.before
    way = math.copysign(1.0, change)
    rises = values[place] - values[place - 2], values[min(place + 1, end - 1)] - values[place - 1]
    still = _median(values[-thresholds.min_rows :]) - found.before
    lasting = abs(change) >= max(least, thresholds.drift_deviations * found.deviation) and still * way >= least
    sudden = max(way * float(rise) for rise in rises) >= thresholds.drift_share * abs(change)
    return found if lasting and sudden and found.chance <= thresholds.drift_chance else None


def _parted(values: npt.NDArray[np.float64], place: int) -> Shift:
    """A series parted at a place."""
    before, after = _median(values[:place]), _median(values[place:])
    off = np.concatenate((np.abs(values[:place] - before), np.abs(values[place:] - after)))
    return Shift(place, 1.0, before, after, _MAD * _median(off))


def _median(values: npt.NDArray[np.float64]) -> float:
    """np.median without what it does for other shapes and NaN, in a tenth of the time."""
    ordered = values.copy()
    ordered.sort()
    return float(ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2.0
