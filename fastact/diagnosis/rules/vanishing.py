"""Vanishing: the differences between samples are lost on the way through the network."""

import math
from typing import Any, ClassVar

from fastact.diagnosis import layer_types
from fastact.diagnosis.finding import Evidence, Finding, graded
from fastact.diagnosis.network import LayerView, Network, row_signal
from fastact.diagnosis.remedies import LOWER_RATE, initialisation, normalisation
from fastact.diagnosis.row_conditions import Cascade, Cells, Row, RowCondition, is_nan
from fastact.diagnosis.rule import Circumstances, Outcome, Rule, not_after, upstream
from fastact.diagnosis.thresholds import CommonThresholds, count_field, positive_field, share_field
from fastact.fields import COLUMN
from fastact.history import LayerInfo
from fastact.text import number, percent

_COUNT, _NEURONS = COLUMN["count"], COLUMN["neurons"]
_STD, _WITHIN = COLUMN["std"], COLUMN["within_std"]


class VanishingThresholds(CommonThresholds):
    """What `Vanishing` compares with."""

    vanish_ratio: float = share_field(
        1e-3, "factor; vanishing: the spread between samples is at most this share of that in a layer before. Chosen; "
        "AUTOTRAINER uses this ratio of last to first gradient norm", "vanish_serious"
    )  # fmt: skip
    vanish_fade: float = share_field(
        0.05, "factor; vanishing over steps: the spread is at most this share of that in this layer's first row. Chosen"
    )
    vanish_fade_scale: float = positive_field(
        0.1, "standard deviation; a layer with more spread between samples has not vanished over steps. Chosen"
    )
    vanish_serious: float = share_field(
        1e-4, "factor; vanishing: serious from this share down. Chosen", "vanish_critical"
    )
    vanish_critical: float = share_field(1e-6, "factor; vanishing: critical below this share. Chosen")
    vanish_scale: float = positive_field(
        1e-2, "standard deviation; a layer with more spread between samples is not vanishing. Chosen"
    )
    vanish_samples: int = count_field(
        8, "samples; with fewer per neuron in a row, the spread between samples is not judged. Chosen"
    )


def _switches_off(cause: Finding, effect: Finding, around: Circumstances) -> bool:
    """Where the samples are all alike, each neuron is on for all of them or off.

    What is dead for the most part may as well be the reason, so there it takes a layer before it.
    """
    part = float(effect.evidence.get("dead_ratio", 1.0)) <= 0.5 and cause.layer == effect.layer
    return (part or upstream(cause, effect, around)) and cause.first_step - around.slack <= effect.first_step


def _lost_before(cause: Finding, effect: Finding, around: Circumstances) -> bool:
    """With depth it is lost in one pass; what fades over steps later than a layer after it was not its reason."""
    fades = cause.evidence["reference_layer"] == cause.layer
    return upstream(cause, effect, around) and (not fades or cause.first_step - around.slack <= effect.first_step)


class Vanishing(Rule[VanishingThresholds]):
    """A layer from which on the samples can hardly be told apart, or that has collapsed since its first row.

    Formula:
        signal = within_std, the root mean variance of a neuron over the samples (std of all elements where no layer
        was swept per neuron). Found over depth when the median signal of the recent rows is at most vanish_ratio
        (1e-3) times the largest of the layers before, and at most vanish_scale (1e-2), in this layer and in every
        one after it: a layer that is small by design, and any layer before a normalisation, is followed by larger
        ones. Found over steps when the signal is at most vanish_fade (5%) of that of the layer's first row, and at
        most vanish_fade_scale (0.1): there a layer is compared with itself, so less is enough. Both in each of the
        last `min_rows` rows. The first step is the one since which the signal has been so small.

    In the zoo's tuning part no hidden layer of a healthy network fell below 14% of its first row.

    The severity is that of the smallest signal from here on, since the samples have to pass all of it.
    Bits lost = log2(reference / signal). The output layer follows the targets, whose scale can be anything: alone it
    is not judged. Softmax outputs are small by design and left out.

    Source:
        Chosen. The decay of the signal over depth: Glorot and Bengio, Understanding the difficulty of training deep
        feedforward neural networks, 2010; Schoenholz et al., Deep information propagation, 2017.
    """

    condition = "vanishing"
    adjective = "vanishing"
    explains: ClassVar = {
        "underflow_risk": upstream, "dead": _switches_off, "vanishing": _lost_before, "constant": not_after
    }  # fmt: skip

    def applies(self, info: LayerInfo) -> bool:
        """Every type, except those that are small by design."""
        return info.layer_type not in layer_types.PROBABILITIES

    def row_conditions(self, info: LayerInfo, first: Row, thresholds: VanishingThresholds) -> tuple[Cascade, ...]:
        """Rows whose signal is below the absolute scale, and those far below the first row's as well."""
        samples = float(thresholds.vanish_samples)
        scale = thresholds.vanish_scale
        base = row_signal(first, thresholds.vanish_samples)

        def at_most(name: str, limit: float) -> RowCondition:
            def holds(cells: Cells) -> Any:
                neurons = cells[_NEURONS]
                enough = 1.0 * cells[_COUNT] >= samples * neurons
                return ((neurons == 0) & (cells[_STD] <= limit)) | ((neurons != 0) & enough & (cells[_WITHIN] <= limit))

            return RowCondition(name, holds)

        def undecided(cells: Cells) -> Any:
            neurons = cells[_NEURONS]
            few = 1.0 * cells[_COUNT] < samples * neurons
            return ((neurons == 0) & is_nan(cells[_STD])) | ((neurons != 0) & (few | is_nan(cells[_WITHIN])))

        faint = at_most("faint", scale)
        if not base > 0.0:
            return (Cascade((faint,), undecided),)
        faded = at_most("faded", min(thresholds.vanish_fade_scale, thresholds.vanish_fade * base))
        return Cascade((faint,), undecided), Cascade((faded,), undecided)

    def check(self, layer: LayerView, network: Network, thresholds: VanishingThresholds) -> Finding | Outcome:
        """Whether the signal is lost here, compared with the layers before and with the first row."""
        signal = network.signal[layer.place]
        if math.isnan(signal):
            return Outcome.NOT_ENOUGH_DATA
        if layer.place == network.output and not self._lost(network, layer.place - 1, thresholds):
            return Outcome.NOT_FOUND
        faint, faded = layer.streaks.get("faint"), layer.streaks.get("faded")
        over_steps = False
        if faint and faint.rows >= thresholds.min_rows and self._lost(network, layer.place, thresholds):
            source, reference = _reference(network, layer.place)
            where = f"in {network.layers[source].name}"
            step, name = faint.step, network.layers[source].info.name
            left = min(s for s in network.signal[layer.place :] if not math.isnan(s))
        elif faded and faded.rows >= thresholds.min_rows:
            reference = row_signal(layer.first, thresholds.vanish_samples)
            where = f"at step {layer.start}"
            step, name, left = faded.step, layer.info.name, signal
            over_steps = True
        else:
            return Outcome.NOT_FOUND
        ratio = signal / reference
        seen = "no differences between samples are left"
        if signal:
            share = f"{percent(ratio)} of the {number(reference)} {where}"
            seen = f"the spread between samples is {number(signal)}, only {share}"
        severity = graded(
            serious=left / reference <= thresholds.vanish_serious,
            critical=left / reference < thresholds.vanish_critical,
        )
        evidence = Evidence(
            signal=signal, reference_signal=reference, reference_layer=name, ratio=ratio,
            bits_lost=_bits(reference, signal), smallest_signal_after=left, bits_lost_after=_bits(reference, left)
        )  # fmt: skip
        message = f"{layer.name} has been vanishing since step {step}: {seen}."
        cause, remedies = _advice(network, layer, over_steps=over_steps)
        return Finding(layer.info.name, self.condition, severity, step, evidence, message, cause, remedies)

    def _lost(self, network: Network, place: int, thresholds: VanishingThresholds) -> bool:
        """Whether this layer and all after it have lost the signal that was there before."""
        return place > 0 and place >= network.once(_lost_from, thresholds)


def _advice(network: Network, layer: LayerView, *, over_steps: bool) -> tuple[str, tuple[str, ...]]:
    """The cause, and what to do."""
    fed = any(signal > 0.0 for signal in network.signal[: layer.place])  # a layer before it tells the samples apart
    if over_steps and not fed:
        remedies = "check that the data differs from sample to sample", "use less weight decay", LOWER_RATE
        return "Its input is the same for every sample, or its weights have shrunk to nothing.", remedies
    if over_steps:
        cause = (
            "At first it told the samples apart. Since then its weights have shrunk with every update (too much weight "
            "decay), or updates that were too large have spoilt them."
        )
        return cause, ("use less weight decay", LOWER_RATE)
    cause = (
        "Each layer shrinks the differences between samples, and the gradient with them: the weights are too small for "
        "the activation, or its slope is (a sigmoid's is at most 1/4)."
    )
    types = network.distinct_types
    relu = ("use an activation of the ReLU family",) if layer_types.RELU_FAMILY.isdisjoint(types) else ()
    return cause, (initialisation(types), "add residual connections", *normalisation(types), *relu)


def _bits(reference: float, signal: float) -> float | None:
    """log2(reference / signal), by logarithms, since the ratio may be out of range; None where nothing is left."""
    return math.log2(reference) - math.log2(signal) if 0.0 < signal < math.inf and reference < math.inf else None


def _lost_from(network: Network, thresholds: VanishingThresholds) -> int:
    """The first place from which on every layer has lost the signal; the number of layers where there is none."""
    highest: list[float] = []
    top = 0.0
    for signal in network.signal:
        highest.append(top)
        top = top if math.isnan(signal) else max(top, signal)
    place = len(network.layers)
    while place > 1:
        signal = network.signal[place - 1]
        judged = not math.isnan(signal) and network.layer_types[place - 1] not in layer_types.PROBABILITIES
        limit = min(thresholds.vanish_scale, thresholds.vanish_ratio * highest[place - 1])
        if judged and not (signal <= limit and highest[place - 1] > 0.0):
            break
        place -= 1
    return place


def _reference(network: Network, place: int) -> tuple[int, float]:
    """The place and the signal of the layer before with the most signal."""
    known = [(signal, -i) for i, signal in enumerate(network.signal[:place]) if not math.isnan(signal)]
    signal, i = max(known)
    return -i, signal
