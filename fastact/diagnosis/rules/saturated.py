"""Saturation: outputs at the bounds of a bounded activation, where its gradient is almost zero."""

import math
from collections.abc import Container
from typing import Any, ClassVar, Final

import numpy as np

from fastact.diagnosis import layer_types
from fastact.diagnosis.causes import saturation
from fastact.diagnosis.evidence import adversaries, baselines, facts, gates
from fastact.diagnosis.finding import Evidence, Finding, graded
from fastact.diagnosis.network import LayerView, Network
from fastact.diagnosis.row_conditions import Cascade, Cells, Row, RowCondition, nothing_finite, share_at_least
from fastact.diagnosis.rule import Outcome, Rule, not_after, same_layer
from fastact.diagnosis.thresholds import CommonThresholds, count_field, share_field
from fastact.fields import COLUMN
from fastact.history import LayerInfo
from fastact.text import number, percent

#: What is left of the threshold once a layer has been saturated for twice the recent rows: findings do not flicker.
_STAYS: Final = 0.8

#: What makes scores whose sigmoid is in the loss.
_SCORES: Final = "Linear", "Conv2d", "Dense"

#: The largest output of a neuron whose gate is shut.
_CLOSED: Final = 1e-3

#: The share of its own size by which the samples of a layer differ while it keeps its signal.
_KEEPS: Final = 0.1

#: The share of its own size by which samples differ that are as good as one.
_ALIKE: Final = 0.05

#: Logits that no model has that has learned to be sure.
_LOGITS: Final = 30.0

_COUNT, _SATURATED, _ZEROS = COLUMN["count"], COLUMN["saturated"], COLUMN["zeros"]
_MIN, _MAX = COLUMN["min"], COLUMN["max"]
_NEURONS, _SATURATED_NEURONS = COLUMN["neurons"], COLUMN["saturated_neurons"]
_TYPICAL = COLUMN["typical_peak"]


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
    saturated_recurrent: float = share_field(
        0.10, "share of elements; saturated: a recurrent layer whose first row has as many at its ends. Chosen: of "
        "normalised inputs it has none, and LSTM and GRU with inputs of 300 have 20% and more"
    )  # fmt: skip
    saturated_gated: float = share_field(
        0.01, "share of elements; saturated: the same of a layer with gates, where the recorded input has an rms of 30 "
        "and more. Chosen: LSTM have 2% with inputs of 100 and more, and learn half as fast"
    )  # fmt: skip
    saturated_open: float = share_field(
        0.002, "share of elements; saturated: the same of an LSTM whose cell states had an rms of 1 and more in the "
        "first row. Chosen: with gates near one half, states stay below 1; with recurrent weights of N(0, 2) they "
        "reach 15 in 24 steps, and 1% of the outputs to their ends"
    )  # fmt: skip
    saturated_elements: int = count_field(
        300, "elements; saturated: a share of fewer is chance, so rows are pooled until there are as many. Chosen"
    )
    saturated_rows: int = count_field(
        10, "rows; saturated: a layer that took longer from half of the warning to all of it has learned it. Chosen"
    )


class Saturated(Rule[SaturatedThresholds]):
    """A bounded activation with most of its outputs at the bounds, row after row.

    Formula:
        ratio = saturated elements / elements over the last `recent_rows` rows of a run, or more until there are
        saturated_elements (300), where the layer's own interval says what is saturated (tanh beyond ±0.99, sigmoid
        outside (0.01, 0.99)). Found when ratio >= saturated_warning over at least `min_rows` rows; serious and critical
        by their own thresholds. A run goes on while less than `recent_rows` rows in a row are below, and a long one
        while ratio >= 0.8 of saturated_warning.

    Saturation from the first row, or within a few rows, was done to the layer: by its initialisation, an update that
    was too large, inputs on another scale. Saturation that comes little by little (more than saturated_rows (10) rows
    from half of saturated_warning to all of it) the layer has learned while the loss fell, as the last hidden layer of
    a bounded network does to keep classes apart: then it is sick only when hardly any gradient is left (ratio >
    saturated_critical) and the samples of the layers behind it differ by less than a tenth of their size.
    In the zoo's tuning part healthy layers learned up to 65%, and learning rates that are too high saturate 88% and
    more within ten rows.

    Judged for bounded types only: Tanh, Sigmoid, Hardtanh, Hardsigmoid, ReLU6, Softsign. A recurrent layer or one of
    unknown type is taken for a tanh when all its values are within [-1, 1] and reach both saturated ends; a recurrent
    one is judged by saturated_recurrent (10%) in its first rows, and by saturated_gated (1%) if it has gates and
    is given a recorded input with an rms of 30 and more, or is an LSTM in a network whose first outputs were below 0.5,
    so that nothing had been learned. Of a layer with gates (LSTM, GRU) what is exactly zero counts as saturated too,
    unless all of it is: a gate is shut so far that its sigmoid is zero in floating point, and its gradient with it. So
    does half of the layer where its typical neuron stays below 0.001, and did not at first.

    A sigmoid that comes last gives probabilities: it is judged if it was at both ends from the first row on for
    saturated_serious, its input beyond 30 (before anything was learned), or if it is the discriminator's in an
    adversarial training. Another bounded output layer, and a sigmoid in a network whose activations are of another
    type, are judged only if they were saturated from the first row: the one is a good output when it has learned to be
    near the bounds, the other a gate (squeeze-and-excitation, highway), which learns to open and to shut. What brings
    no learning about is judged there too, above saturated_critical: a tanh that puts out one and the same for all
    samples (they differ by 5% of its size at most), or whose input has an rms of 30 and more.

    A discriminator without a sigmoid of its own is known by three losses of logits, each with labels that are all
    alike: it is told where its own are at most 0.05, and the generator's at least 5, for 30 rows.

    A discriminator is known by its name beside a generator's; by its calls within one pass, of which it is sure that
    the one is real and the other is not; or by what it is given: more samples than another model of the network makes
    of the same width.

    Source:
        Chosen; SageMaker Debugger's SaturatedActivation and torchmortem call a layer saturated above one half.
        For inputs from N(0, s) a tanh is beyond ±0.99 for 0.8% of them at s = 1, 38% at s = 3, 60% at s = 5.
    """

    condition = "saturated"
    adjective = "saturated"
    by_harm = True
    shows = "saturation_ratio"
    # What is dead too is at zero for good: a bound, or behind a gate that is shut.
    explains: ClassVar = {"dead": same_layer, "vanishing": not_after, "constant": not_after}

    def applies(self, info: LayerInfo) -> bool:
        """Bounded types, recurrent ones, and unknown ones of a floating dtype; scores, where a loss has the sigmoid."""
        if info.layer_type in _SCORES:
            return True
        if info.layer_type == "":
            return not info.dtype.startswith(("int", "uint", "bool"))
        return info.layer_type in layer_types.BOUNDED or info.layer_type in layer_types.RECURRENT

    def row_conditions(self, info: LayerInfo, first: Row, thresholds: SaturatedThresholds) -> tuple[Cascade, ...]:
        """Rows whose share of saturated elements reaches the warning, half of it, or that of recurrent layers."""
        if info.layer_type in _SCORES:
            return ()
        full, gated = thresholds.saturated_warning, info.layer_type in layer_types.GATED
        shut = _shut(first)

        def reaches(name: str, share: float) -> RowCondition:
            def at_an_end(cells: Cells) -> Any:
                ends = 1.0 * cells[_SATURATED] + 1.0 * cells[_ZEROS]
                half = 1.0 * cells[_SATURATED] + 0.5 * cells[_COUNT] * (cells[_TYPICAL] <= shut)
                whole = share * cells[_COUNT]
                return ((ends >= whole) | (half >= whole)) & (cells[_COUNT] > cells[_ZEROS])

            holds = at_an_end if gated else share_at_least(share, _SATURATED, _COUNT)
            return RowCondition(name, holds, thresholds.recent_rows)

        conditions = reaches("nearly_saturated", 0.5 * full), reaches("saturated", full)
        cascades = (Cascade(conditions, undecided=nothing_finite),)
        if info.layer_type not in layer_types.RECURRENT:
            return cascades
        early_share = min(thresholds.saturated_recurrent, full)
        early = reaches("recurrent_saturated", early_share)
        wide_share = min(thresholds.saturated_gated, early_share)
        wide = reaches("gated_saturated", wide_share)
        ajar = reaches("open_saturated", min(thresholds.saturated_open, wide_share))
        return *cascades, Cascade((ajar, wide, early) if gated else (early,), undecided=nothing_finite)

    def limits(self, finding: Finding, thresholds: SaturatedThresholds) -> tuple[tuple[float, str], ...]:
        """From where it is a finding."""
        return ((thresholds.saturated_warning, "saturated from here"),)

    def suspects(self, network: Network, thresholds: SaturatedThresholds) -> Container[int] | None:
        """Those at their bounds now, and a discriminator's scores."""
        flat = adversaries.flat_scores(network)
        places = network.begun("saturated", "recurrent_saturated", "gated_saturated", "open_saturated")
        return places if flat is None else places | {flat.layer.place}

    def check(self, layer: LayerView, network: Network, thresholds: SaturatedThresholds) -> Finding | Outcome:
        """The share of saturated elements over the recent rows."""
        if layer.info.layer_type in _SCORES:
            return _flat_scores(layer, network) or Outcome.NOT_FOUND
        streak, least = layer.streaks.get("saturated"), thresholds.saturated_warning
        early = layer.streaks.get("recurrent_saturated")
        if early is not None and early.step <= layer.start:
            streak, least = early, min(thresholds.saturated_recurrent, least)
        gated = layer.streaks.get("gated_saturated")
        early_gates = gated is not None and gated.step <= layer.start
        if gated and early_gates and (gates.is_given_raw_values(layer, network) or gates.is_new_lstm(layer, network)):
            streak, least = gated, min(thresholds.saturated_gated, least)
        ajar = layer.streaks.get("open_saturated")
        if streak is None and ajar and ajar.step <= layer.start and gates.is_open(layer, network):
            streak, gated, least = ajar, ajar, min(thresholds.saturated_open, least)
        if streak is None or streak.rows < thresholds.min_rows:
            return Outcome.NOT_FOUND
        if streak.rows >= 2 * thresholds.recent_rows:
            least *= _STAYS
        ratio, elements = _ratio(layer, network, streak.rows, thresholds)
        if ratio < least:
            return Outcome.NOT_FOUND
        if elements < thresholds.saturated_elements:
            return Outcome.NOT_ENOUGH_DATA
        if layer.info.layer_type not in layer_types.BOUNDED and not gates.looks_like_tanh(layer):
            return Outcome.NOT_APPLICABLE
        adversary = adversaries.discriminates(layer, network)
        if not adversary and _by_design(layer, network, streak.step, ratio, thresholds):
            return Outcome.NOT_APPLICABLE
        if adversary and ratio <= thresholds.saturated_critical:
            return Outcome.NOT_FOUND
        later, left = streak.step > layer.start, ratio <= thresholds.saturated_critical
        learned = later and (layer.streaks["nearly_saturated"].rows - streak.rows > thresholds.saturated_rows)
        driven = adversary or (not left and _is_driven(layer, network))
        if learned and not driven and (left or _signal_behind(layer, network)):
            return Outcome.NOT_FOUND
        if later and left and not driven and baselines.has_learned(network) and _signal_behind(layer, network):
            return Outcome.NOT_FOUND
        last = layer.last
        neurons = last[_NEURONS]
        low, high = layer.info.saturation
        severity = graded(serious=ratio >= thresholds.saturated_serious, critical=ratio > thresholds.saturated_critical)
        evidence = Evidence(
            saturated_ratio=ratio, saturated_neurons=last[_SATURATED_NEURONS] if neurons else None,
            neurons=neurons or None, low=low, high=high, rows=min(streak.rows, len(layer.rows))
        )  # fmt: skip
        shut = layer.info.layer_type in layer_types.GATED and (last[_ZEROS] or last[_TYPICAL] <= _shut(layer.first))
        message = (
            f"{layer.name} has been saturated since step {streak.step}: {percent(ratio)} of its outputs are "
            f"{_beyond(low, high)}{' or next to zero behind a shut gate' if shut else ''}."
        )
        if streak is gated and ratio < thresholds.saturated_recurrent:
            message = message[:-1] + ", as with gates that are open or shut all the way for most inputs."
        told = saturation.verdict(layer, network, streak.step, adversary=adversary)
        return told.finding(layer.info.name, self.condition, severity, streak.step, evidence, message)


def _flat_scores(layer: LayerView, network: Network) -> Finding | None:
    """The finding for a discriminator whose sigmoid is within its loss."""
    flat = adversaries.flat_scores(network)
    if flat is None or flat.layer is not layer:
        return None
    fooled = float(flat.fooled.last[COLUMN["mean"]])
    message = (
        f"{layer.name} has been saturated since step {flat.step}: its scores lie where the sigmoid of the loss is "
        f"flat. The losses of the discriminator are {number(flat.told)} at most, and what the generator makes costs it "
        f"{number(fooled)}."
    )
    evidence = Evidence(loss_of_discriminator=flat.told, loss_of_generator=fooled)
    told = saturation.verdict(layer, network, flat.step, adversary=True)
    return told.finding(layer.info.name, "saturated", "serious", flat.step, evidence, message)


def _ratio(layer: LayerView, network: Network, run: int, thresholds: SaturatedThresholds) -> tuple[float, float]:
    """The share of elements at the bounds (behind gates at zero too) over the recent rows of a run, and how many."""
    gated, few = layer.info.layer_type in layer_types.GATED, layer.last[_COUNT] < thresholds.saturated_elements
    if not gated and not few and run >= min(len(layer.rows), thresholds.recent_rows):
        return min(network.saturated[layer.place], 1.0), network.elements[layer.place]
    rows = layer.rows[-min(run, len(layer.rows)) :]
    enough = 1
    if few:
        enough += int(rows["count"][::-1].cumsum(dtype=float).searchsorted(thresholds.saturated_elements))
    recent = rows[-max(thresholds.recent_rows, enough) :]
    ends = recent["saturated"].astype(float)
    if gated:
        behind = np.where(recent["typical_peak"] <= _shut(layer.first), 0.5 * recent["count"], 0.0)
        ends += np.maximum(recent["zeros"], behind)
    total = float(recent["count"].sum(dtype=float))
    return min(float(ends.sum()) / max(total, 1.0), 1.0), total


def _shut(first: Row) -> float:
    """What half of the neurons of a layer with gates stay below when their gates are shut; below 0 where it began so.

    What is given next to nothing, and has no biases, puts out as little by nature.
    """
    return _CLOSED if first[_TYPICAL] >= 10.0 * _CLOSED else -1.0


def _by_design(layer: LayerView, network: Network, step: int, ratio: float, thresholds: SaturatedThresholds) -> bool:
    """Whether it is an output or a gate, which may be near its bounds once it has learned to be."""
    output = layer.place == network.output
    layer_type = layer.info.layer_type
    if not output and not layer_types.is_gate(layer_type, network.distinct_types):
        return False
    if step > layer.start:
        return not (output and ratio > thresholds.saturated_critical and _is_driven(layer, network))
    if output and layer_type in layer_types.GATES:  # one end may be how it starts: rare classes have a negative bias
        low, high = layer.info.saturation
        if ratio < thresholds.saturated_serious or not (layer.first[_MIN] < low and high < layer.first[_MAX]):
            return True
        feeder = network.feeder(layer)  # a trained model that is trained on is sure too, but not beyond reason
        return feeder is not None and bool(facts.largest(feeder.rows).max() < _LOGITS)
    return False


def _is_driven(layer: LayerView, network: Network) -> bool:
    """Whether more than learning drove it to its bounds: all samples have one output, or its input is beyond reason.

    What has learned to be at the one bound or at the other tells samples apart, and near its bounds it learns no more.
    Probabilities of what is rare are near 0 for all samples.
    """
    if layer.info.layer_type in layer_types.GATES:
        return False
    feeder = network.feeder(layer)
    alike = network.signal[layer.place] <= _ALIKE * network.rms[layer.place]
    return alike or (feeder is not None and network.rms[feeder.place] >= _LOGITS)


def _signal_behind(layer: LayerView, network: Network) -> bool:
    """Whether the samples of each layer behind it differ as those of layers do that learn."""
    return layer.place + 1 < len(network.layers) and layer.place >= network.once(_last_alike)


def _last_alike(network: Network) -> int:
    """The place of the last layer whose samples differ by less than those of layers do that learn; -1 for none."""
    each = zip(network.signal, network.rms, strict=True)
    unlike = (math.isnan(signal) or signal >= _KEEPS * rms for signal, rms in each)
    return max((place for place, fine in enumerate(unlike) if not fine), default=-1)


def _beyond(low: float, high: float) -> str:
    if low == -high:
        return f"beyond ±{high:g}"
    return f"above {high:g}" if low == -math.inf else f"outside ({low:g}, {high:g})"
