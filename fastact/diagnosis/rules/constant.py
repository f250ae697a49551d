"""Constant outputs: a layer that says the same of every sample."""

from typing import Any

from fastact.diagnosis import layer_types
from fastact.diagnosis.finding import Evidence, Finding, Severity
from fastact.diagnosis.remedies import LOWER_RATE, initialisation
from fastact.diagnosis.rule import COLUMN, Cells, Chain, LayerView, Network, Outcome, Row, Track, nothing_finite
from fastact.diagnosis.thresholds import Thresholds
from fastact.history import LayerInfo
from fastact.text import percent

__all__ = ["Constant"]

_NEURONS, _CONSTANT = COLUMN["neurons"], COLUMN["constant_neurons"]
_STD, _WITHIN = COLUMN["std"], COLUMN["within_std"]


class Constant:
    """A layer that has collapsed: all samples are alike after it.

    Formula:
        Found when in each of the last `min_rows` rows constant_neurons >= constant_warning (50%) of the neurons, each
        with one and the same value other than zero for every sample, or within_std < constant_ratio (1e-6) times the
        std over all elements: what the samples differ by is of the size of float32's rounding, next to what the
        neurons differ by. Serious from constant_serious (80%) of the neurons, critical where all samples are alike.

    Needs rows swept per neuron and `vanish_samples` samples of each neuron in a row. Only what becomes constant, or
    what has weights, normalises or is an activation and is constant though the samples differ in a layer before it:
    positions, masks and class tokens are constant by design. All zero is `Dead`'s, small is `Vanishing`'s matter.

    Neurons that are all alike are not judged: after a batch normalisation, whose neurons have all the same mean and
    variance, the numbers of a row are the same as where all neurons compute the same.

    Source:
        Chosen; 1e-6 is eight times float32's rounding unit. SageMaker Debugger's TensorVariance (variance below 1e-5)
        finds the same in an absolute scale, which a layer that is small by design fails.
    """

    condition = "constant"

    def applies(self, info: LayerInfo) -> bool:
        """Every type, but for probabilities and what hands its input on."""
        return info.layer_type not in layer_types.PROBABILITIES and not layer_types.is_passing(info.layer_type)

    def needs(self, thresholds: Thresholds) -> int:
        """`min_rows`."""
        return thresholds.min_rows

    def tracks(self, info: LayerInfo, first: Row, thresholds: Thresholds) -> tuple[Chain, ...]:
        """Rows in which the samples are alike, in all or in many neurons."""
        del info
        if not first[_NEURONS]:
            return ()
        share, ratio = thresholds.constant_warning, thresholds.constant_ratio

        def holds(cells: Cells) -> Any:
            # Strictly less: in a layer of zeros both are zero.
            alike = cells[_WITHIN] < ratio * cells[_STD]
            return (cells[_NEURONS] > 0) & (alike | (1.0 * cells[_CONSTANT] >= share * cells[_NEURONS]))

        return (Chain((Track("constant", holds),), unknown=nothing_finite),)

    def check(self, layer: LayerView, network: Network, thresholds: Thresholds) -> Finding | Outcome:
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
        return Finding(
            layer=layer.info.name,
            condition=self.condition,
            severity=_severity(share, thresholds),
            first_step=streak.step,
            evidence=Evidence(
                constant_ratio=share,
                constant_neurons=constant,
                neurons=neurons,
                within_std=float(last["within_std"]),
                std=float(last["std"]),
            ),
            message=f"{layer.name} has been constant since step {streak.step}: "
            + (
                "it puts out the same for every sample."
                if share == 1.0
                else f"{percent(share)} of its {neurons:,} neurons put out the same for every sample."
            ),
            cause="Its weights are zero beside its biases, or nothing of the samples reaches it: all of it is bias.",
            remedies=(
                "check that the data reaches this layer and differs from sample to sample",
                LOWER_RATE,
                initialisation(network.distinct_types),
            ),
        )


def _computes_of_samples(layer: LayerView, network: Network, thresholds: Thresholds) -> bool:
    """Whether it was constant from its first row on though its type computes something of samples that differ."""
    layer_type = layer.info.layer_type
    if not (
        layer_types.has_weights(layer_type) or layer_types.is_norm(layer_type) or layer_types.is_activation(layer_type)
    ):
        return False
    pairs = zip(network.signal[: layer.place], network.rms[: layer.place], strict=True)
    return any(signal > thresholds.vanish_ratio * rms for signal, rms in pairs)


def _severity(share: float, thresholds: Thresholds) -> Severity:
    if share == 1.0:
        return "critical"
    return "serious" if share >= thresholds.constant_serious else "warning"
