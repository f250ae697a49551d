"""Saturation: outputs at the bounds of a bounded activation, where its gradient is almost zero."""

import math
from typing import Any, ClassVar

from fastact.diagnosis import layer_types
from fastact.diagnosis.finding import Evidence, Finding, graded
from fastact.diagnosis.network import LayerView, Network
from fastact.diagnosis.remedies import NORMALISE_INPUTS, initialisation, normalisation
from fastact.diagnosis.row_conditions import Cascade, Cells, Row, RowCondition, nothing_finite, share_at_least
from fastact.diagnosis.rule import Outcome, Rule, not_after, same_layer
from fastact.diagnosis.thresholds import CommonThresholds, count_field, share_field
from fastact.fields import COLUMN
from fastact.history import LayerInfo
from fastact.text import percent

_COUNT, _SATURATED, _ZEROS = COLUMN["count"], COLUMN["saturated"], COLUMN["zeros"]


class SaturatedThresholds(CommonThresholds):
    """What `Saturated` compares with."""

    saturated_warning: float = share_field(
        0.50,
        "share of elements; saturated: warning from here. SageMaker Debugger's SaturatedActivation and torchmortem",
    )
    saturated_serious: float = share_field(
        0.65, "share of elements; saturated: serious from here. Chosen", "saturated_warning"
    )
    saturated_critical: float = share_field(
        0.80, "share of elements; saturated: critical above. Chosen; torchmortem's critical mean", "saturated_serious"
    )
    saturated_rows: int = count_field(
        10, "rows; saturated: a layer that took longer from half of the warning to all of it has learned it. Chosen"
    )


class Saturated(Rule[SaturatedThresholds]):
    """A bounded activation with most of its outputs at the bounds, row after row.

    Formula:
        ratio = saturated elements / elements over the last `recent_rows` rows, where the layer's own interval says
        what is saturated (tanh beyond ±0.99, sigmoid outside (0.01, 0.99)). Found when each of the last `min_rows`
        rows and their sum have ratio >= saturated_warning; serious and critical by their own thresholds. Where it took
        more than saturated_rows (10) from half of saturated_warning to all of it, ratio > saturated_critical.

    Saturation from the first row, or within a few rows, was done to the layer: by its initialisation, an update that
    was too large, inputs on another scale. Saturation that comes little by little the layer has learned while the loss
    fell, as the last hidden layer of a bounded network does to keep classes apart: then it is sick only when hardly
    any gradient is left.
    In the zoo's tuning part healthy layers learned up to 65%, and learning rates that are too high saturate 88% and
    more within ten rows.

    Judged for bounded types only: Tanh, Sigmoid, Hardtanh, Hardsigmoid, ReLU6, Softsign. A recurrent layer or one of
    unknown type is taken for a tanh when all its values are within [-1, 1] and reach both saturated ends. Of a layer
    with gates (LSTM, GRU) what is exactly zero counts as saturated too, unless all of it is: a gate is shut so far that
    its sigmoid is zero in floating point, and its gradient with it. A sigmoid that comes last gives probabilities and
    is not judged. Another bounded output layer, and a sigmoid in a network whose activations are of another type, are
    judged only if they were saturated from the first row: the one is a good output when it has learned to be near the
    bounds, the other a gate (squeeze-and-excitation, highway), which learns to open and to shut.

    Source:
        Chosen; SageMaker Debugger's SaturatedActivation and torchmortem call a layer saturated above one half.
        For inputs from N(0, s) a tanh is beyond ±0.99 for 0.8% of them at s = 1, 38% at s = 3, 60% at s = 5.
    """

    condition = "saturated"
    adjective = "saturated"
    # What is dead too is at zero for good: a bound, or behind a gate that is shut.
    explains: ClassVar = {"dead": same_layer, "vanishing": not_after, "constant": not_after}

    def applies(self, info: LayerInfo) -> bool:
        """Bounded types, recurrent ones, and unknown ones of a floating dtype."""
        if info.layer_type == "":
            return not info.dtype.startswith(("int", "uint", "bool"))
        return info.layer_type in layer_types.BOUNDED or info.layer_type in layer_types.RECURRENT

    def row_conditions(self, info: LayerInfo, first: Row, thresholds: SaturatedThresholds) -> tuple[Cascade, ...]:
        """Rows whose share of saturated elements reaches the warning threshold, and half of it."""
        full, gated = thresholds.saturated_warning, info.layer_type in layer_types.GATED

        def reaches(name: str, share: float) -> RowCondition:
            def at_an_end(cells: Cells) -> Any:
                ends = 1.0 * cells[_SATURATED] + 1.0 * cells[_ZEROS]
                return (ends >= share * cells[_COUNT]) & (cells[_COUNT] > cells[_ZEROS])

            return RowCondition(name, at_an_end if gated else share_at_least(share, _SATURATED, _COUNT))

        conditions = reaches("nearly_saturated", 0.5 * full), reaches("saturated", full)
        return (Cascade(conditions, undecided=nothing_finite),)

    def check(self, layer: LayerView, network: Network, thresholds: SaturatedThresholds) -> Finding | Outcome:
        """The share of saturated elements over the recent rows."""
        streak = layer.streaks.get("saturated")
        gated = layer.info.layer_type in layer_types.GATED
        ratio = min(_gated_ratio(layer, thresholds) if gated else network.saturated[layer.place], 1.0)
        if streak is None or streak.rows < thresholds.min_rows or ratio < thresholds.saturated_warning:
            return Outcome.NOT_FOUND
        if layer.info.layer_type not in layer_types.BOUNDED and not _looks_like_tanh(layer):
            return Outcome.NOT_APPLICABLE
        output = layer.place == network.output
        if output and layer.info.layer_type in layer_types.GATES:
            return Outcome.NOT_APPLICABLE
        if (output or layer_types.is_gate(layer.info.layer_type, network.distinct_types)) and streak.step > layer.start:
            return Outcome.NOT_APPLICABLE
        learned = streak.step > layer.start and (
            layer.streaks["nearly_saturated"].rows - streak.rows > thresholds.saturated_rows
        )
        if learned and ratio <= thresholds.saturated_critical:
            return Outcome.NOT_FOUND
        last = layer.rows[-1]
        neurons = int(last["neurons"])
        low, high = layer.info.saturation
        severity = graded(serious=ratio >= thresholds.saturated_serious, critical=ratio > thresholds.saturated_critical)
        evidence = Evidence(
            saturated_ratio=ratio, saturated_neurons=int(last["saturated_neurons"]) if neurons else None,
            neurons=neurons or None, low=low, high=high, rows=min(streak.rows, len(layer.rows))
        )  # fmt: skip
        message = (
            f"{layer.name} has been saturated since step {streak.step}: {percent(ratio)} of its outputs are "
            f"{_beyond(low, high)}{' or exactly zero behind a shut gate' if gated and last['zeros'] else ''}."
        )
        cause, remedies = _cause(layer, streak.step), _remedies(layer, network)
        return Finding(layer.info.name, self.condition, severity, streak.step, evidence, message, cause, remedies)


def _gated_ratio(layer: LayerView, thresholds: SaturatedThresholds) -> float:
    """The share of elements at the bounds or at zero over the recent rows."""
    rows = layer.rows[-thresholds.recent_rows :]
    ends, count = rows["saturated"].astype(float) + rows["zeros"], rows["count"].astype(float)
    return float(ends.sum() / max(count.sum(), 1.0))


def _looks_like_tanh(layer: LayerView) -> bool:
    """Whether it is within [-1, 1] and at both saturated ends: pixels in [0, 1], masks and probabilities are not."""
    low, high = layer.info.saturation
    least, most = float(layer.rows["min"].min()), float(layer.rows["max"].max())
    return -1.0 <= least < low and high < most <= 1.0


def _beyond(low: float, high: float) -> str:
    if low == -high:
        return f"beyond ±{high:g}"
    return f"above {high:g}" if low == -math.inf else f"outside ({low:g}, {high:g})"


def _cause(layer: LayerView, step: int) -> str:
    if step <= layer.start:
        return (
            "This was already the case in the first recorded row, which suggests that the weights were initialised too "
            "large or that the data is not normalised. The layer's inputs lie where the activation is flat and its "
            "gradient almost zero."
        )
    return (
        "The weights before it grew during training (the learning rate is too high, or the data is not normalised) "
        "until its inputs lay where the activation is flat and its gradient almost zero."
    )


def _remedies(layer: LayerView, network: Network) -> tuple[str, ...]:
    layer_type, normalise = layer.info.layer_type, normalisation(network.distinct_types)
    if layer_type in layer_types.RECURRENT:  # what ReLU and batch normalisation do not fit
        return NORMALISE_INPUTS, initialisation({"Tanh"}), "use layer normalisation in the recurrent layer"
    if layer_type == "ReLU6":
        return "use ReLU, which has no upper bound", NORMALISE_INPUTS, initialisation({"ReLU"}), *normalise
    if layer_types.is_gate(layer_type, network.distinct_types):
        return NORMALISE_INPUTS, initialisation({"Sigmoid"}), *normalise
    return "use ReLU, which does not saturate above zero", NORMALISE_INPUTS, initialisation({"Tanh"}), *normalise
