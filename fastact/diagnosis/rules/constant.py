"""Constant outputs: a layer whose output is the same for every sample."""

from typing import Any, ClassVar

from fastact.diagnosis import layer_types
from fastact.diagnosis.finding import Evidence, Finding, graded
from fastact.diagnosis.network import LayerView, Network
from fastact.diagnosis.remedies import LOWER_RATE, initialisation
from fastact.diagnosis.row_conditions import Cascade, Cells, Row, RowCondition, nothing_finite
from fastact.diagnosis.rule import Circumstances, Outcome, Rule, upstream
from fastact.diagnosis.rules.vanishing import VanishingThresholds
from fastact.diagnosis.thresholds import share_field
from fastact.fields import COLUMN
from fastact.history import LayerInfo
from fastact.text import percent

_NEURONS, _CONSTANT = COLUMN["neurons"], COLUMN["constant_neurons"]
_STD, _WITHIN = COLUMN["std"], COLUMN["within_std"]


class ConstantThresholds(VanishingThresholds):
    """What `Constant` compares with; of vanishing, how many samples are enough, and how little of a signal is none."""

    constant_warning: float = share_field(0.5, "share of neurons; constant: warning from here. Chosen")
    constant_serious: float = share_field(
        0.8, "share of neurons; constant: serious from here. Chosen", "constant_warning"
    )
    constant_ratio: float = share_field(
        1e-6,
        "factor; constant: the spread between samples is less than this share of the standard deviation over all "
        "elements. Chosen, eight times float32's rounding unit",
    )


def _switches_off(cause: Finding, effect: Finding, around: Circumstances) -> bool:
    """Each neuron after a constant layer is on for all samples, or off for all of them."""
    return cause.first_step <= effect.first_step and upstream(cause, effect, around)


class Constant(Rule[ConstantThresholds]):
    """A layer that has collapsed: all samples are alike after it.

    Formula:
        Found when in each of the last `min_rows` rows constant_neurons >= constant_warning (50%) of the neurons, each
        with one and the same value other than zero for every sample, or within_std < constant_ratio (1e-6) times the
        std over all elements: next to the differences between neurons, those between samples are no larger than
        float32's rounding. Serious from constant_serious (80%) of the neurons, critical where all samples are alike.

    Needs rows swept per neuron and `vanish_samples` samples of each neuron in a row. Only what becomes constant, or
    what has weights, normalises or is an activation and is constant though the samples differ in a layer before it:
    positions, masks and class tokens are constant by design. All zero is `Dead`'s, small is `Vanishing`'s matter.

    Neurons that are all alike are not judged: after a batch normalisation all neurons have one mean and one variance,
    so that a row has the numbers of a layer whose neurons all compute the same.

    Source:
        Chosen; 1e-6 is eight times float32's rounding unit. SageMaker Debugger's TensorVariance (variance below 1e-5)
        finds this on an absolute scale, which a layer that is small by design fails.
    """

    condition = "constant"
    adjective = "constant"
    only_alone = True
    explains: ClassVar = {"constant": upstream, "dead": _switches_off}

    def applies(self, info: LayerInfo) -> bool:
        """Every type, except probabilities and what hands its input on."""
        return info.layer_type not in layer_types.PROBABILITIES and not layer_types.is_passing(info.layer_type)

    def row_conditions(self, info: LayerInfo, first: Row, thresholds: ConstantThresholds) -> tuple[Cascade, ...]:
        """Rows in which the samples are alike, in all or in many neurons."""
        if not first[_NEURONS]:
            return ()
        share, ratio = thresholds.constant_warning, thresholds.constant_ratio

        def holds(cells: Cells) -> Any:
            # Strictly less: in a layer of zeros both are zero.
            alike = cells[_WITHIN] < ratio * cells[_STD]
            return (cells[_NEURONS] > 0) & (alike | (1.0 * cells[_CONSTANT] >= share * cells[_NEURONS]))

        return (Cascade((RowCondition("constant", holds),), undecided=nothing_finite),)

    def check(self, layer: LayerView, network: Network, thresholds: ConstantThresholds) -> Finding | Outcome:
        """The share of constant neurons now, if there are samples enough to say so."""
        streak = layer.streaks.get("constant")
        if streak is None or streak.rows < thresholds.min_rows:
            return Outcome.NOT_FOUND
        recent = layer.during(streak)[-thresholds.min_rows :]
        if (recent["count"] < float(thresholds.vanish_samples) * recent["neurons"]).any():
            return Outcome.NOT_ENOUGH_DATA
        if streak.step <= layer.start and not _computes_of_samples(layer, network, thresholds):
            return Outcome.NOT_APPLICABLE
        last = layer.rows[-1]
        neurons, constant = int(last["neurons"]), int(last["constant_neurons"])
        if neurons < 1:  # NaN alone
            return Outcome.NOT_ENOUGH_DATA
        alike = bool(last["within_std"] < thresholds.constant_ratio * last["std"])
        share = 1.0 if alike else min(constant / neurons, 1.0)
        severity = graded(serious=share >= thresholds.constant_serious, critical=share == 1.0)
        evidence = Evidence(
            constant_ratio=share, constant_neurons=constant, neurons=neurons, within_std=float(last["within_std"]),
            std=float(last["std"])
        )  # fmt: skip
        seen = "its output is the same for every sample"
        if share < 1.0:
            seen = f"{percent(share)} of its {neurons:,} neurons have the same output for every sample"
        message = f"{layer.name} has been constant since step {streak.step}: {seen}."
        cause = (
            "Only its biases are left in its output: its weights are negligible next to them, or no differences "
            "between samples reach it."
        )
        look = "check that the data reaches this layer and differs from sample to sample"
        remedies = look, LOWER_RATE, initialisation(network.distinct_types)
        return Finding(layer.info.name, self.condition, severity, streak.step, evidence, message, cause, remedies)


def _computes_of_samples(layer: LayerView, network: Network, thresholds: ConstantThresholds) -> bool:
    """Whether it was constant from its first row on though its type computes something of samples that differ."""
    computes = layer_types.has_weights, layer_types.is_norm, layer_types.is_activation
    if not any(test(layer.info.layer_type) for test in computes):
        return False
    pairs = zip(network.signal[: layer.place], network.rms[: layer.place], strict=True)
    return any(signal > thresholds.vanish_ratio * rms for signal, rms in pairs)
