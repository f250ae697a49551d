"""Outlier channels: a channel that is far larger than all others, step after step (massive activations)."""

from collections.abc import Container
from typing import Any, ClassVar, Final

from fastact.diagnosis import layer_types
from fastact.diagnosis.causes.cause import Cause, best
from fastact.diagnosis.causes.remedies import LOWER_RATE, NORMALISE_INPUTS, normalise_before
from fastact.diagnosis.evidence import facts
from fastact.diagnosis.finding import NOTE, Evidence, Finding, Severity, graded
from fastact.diagnosis.network import LayerView, Network
from fastact.diagnosis.row_conditions import Cascade, Cells, Row, RowCondition, is_nan
from fastact.diagnosis.rule import Outcome, Rule, earlier_and_not_after, upstream
from fastact.diagnosis.thresholds import CommonThresholds, count_field, factor_field, share_field
from fastact.fields import COLUMN
from fastact.history import LayerInfo
from fastact.text import number, percent

_MIN, _MAX = COLUMN["min"], COLUMN["max"]
_NEURONS, _TYPICAL = COLUMN["neurons"], COLUMN["typical_peak"]


class OutlierChannelsThresholds(CommonThresholds):
    """What `OutlierChannels` compares with."""

    outlier_neurons: int = count_field(8, "channels; outlier channels: a layer with fewer has no typical one. Chosen")
    outlier_warning: float = factor_field(
        20.0, "factor; outlier channels: a channel's largest value is this many times the typical channel's. Chosen; "
        "internal-medicine sees a spike from 10 times the median, and healthy layers of the zoo reach 7"
    )  # fmt: skip
    outlier_harm: float = factor_field(
        100.0, "factor; outlier channels: below this a note, but for float16 and float8, which have no room for it. "
        "Chosen", "outlier_warning"
    )  # fmt: skip
    outlier_serious: float = factor_field(
        1000.0, "factor; outlier channels: serious from here. internal-medicine's band of severe ones",
        "outlier_warning"
    )  # fmt: skip
    outlier_share: float = share_field(
        0.95,
        "share of rows; outlier channels: this many have one and the same channel on top. torch.ao's outlier detector",
    )


class OutlierChannels(Rule[OutlierChannelsThresholds]):
    """A layer in which one and the same channel dwarfs the others.

    Formula:
        ratio = the largest |x| of the row / typical_peak, the geometric mean over the channels of each one's largest
        |x|. Found when in each of the last `recent_rows` rows ratio >= outlier_warning (20), and the largest channel is
        the same in outlier_share (95%) of the run's rows in the window; serious where the median ratio of the recent
        rows is at least outlier_serious (1000). The first step is the one since which the ratio has been so large.

    Needs rows swept per neuron, of outlier_neurons (8) channels or more: two or three have no typical one. Healthy
    layers of the zoo's tuning part stay below 7; a few outliers hardly move a geometric mean, nor do zeros, which are
    left out. The output layer follows the targets, whose scale can be anything, and is not judged. Nor is a layer that
    only hands its input on, nor an activation: next to closed units an open one stands out (15 times in a healthy
    SiLU), and an outlier in it is one in the layer before it.

    Source:
        The band from 10 to 1000 (of the median) is that of a spike in internal-medicine, above is severe; so is a
        massive activation in Sun et al., Massive activations in large language models, 2024. The 95% of batches are
        those of torch.ao's outlier detector, whose ratio of 3.5 (to the 97.5th percentile) healthy layers exceed.
    """

    condition = "outlier_channels"
    adjective = "outlier channels"
    by_harm = True
    shows = "peak_ratio"
    explains: ClassVar = {"outlier_channels": upstream, "overflow_risk": earlier_and_not_after}

    def applies(self, info: LayerInfo) -> bool:
        """Every type, except activations, recurrent layers with bounds, probabilities, and what hands its input on."""
        layer_type = info.layer_type
        by_design = layer_type in layer_types.PROBABILITIES | layer_types.MASKED | layer_types.RECURRENT
        return not (by_design or layer_types.is_activation(layer_type) or layer_types.is_passing(layer_type))

    def needs(self, thresholds: OutlierChannelsThresholds) -> int:
        """`recent_rows`."""
        return thresholds.recent_rows

    def row_conditions(self, info: LayerInfo, first: Row, thresholds: OutlierChannelsThresholds) -> tuple[Cascade, ...]:
        """Rows whose largest element is far above the typical channel's."""
        if not first[_NEURONS]:
            return ()
        factor, least = thresholds.outlier_warning, thresholds.outlier_neurons

        def holds(cells: Cells) -> Any:
            limit = factor * cells[_TYPICAL]
            return (cells[_NEURONS] >= least) & ((cells[_MAX] >= limit) | (cells[_MIN] <= -limit))

        def undecided(cells: Cells) -> Any:
            return is_nan(cells[_TYPICAL])

        return (Cascade((RowCondition("outlier_channels", holds),), undecided),)

    def limits(self, finding: Finding, thresholds: OutlierChannelsThresholds) -> tuple[tuple[float, str], ...]:
        """From where one channel stands out."""
        return ((thresholds.outlier_warning, "stands out from here"),)

    def suspects(self, network: Network, thresholds: OutlierChannelsThresholds) -> Container[int] | None:
        """Those in which one stands out now."""
        return network.begun("outlier_channels")

    def check(self, layer: LayerView, network: Network, thresholds: OutlierChannelsThresholds) -> Finding | Outcome:
        """Which channel it is, and how far it stands out."""
        streak = layer.streaks.get("outlier_channels")
        if streak is None:
            return Outcome.NOT_FOUND
        if layer.place == network.output:
            return Outcome.NOT_APPLICABLE
        run = layer.during(streak)
        # Plain numbers: a window is so short that numpy would take longer.
        columns = (run[name].tolist() for name in ("peak_neuron", "min", "max", "typical_peak", "neurons"))
        known = [values for values in zip(*columns, strict=True) if values[3] > 0.0]
        if len(known) < thresholds.recent_rows:
            return Outcome.NOT_FOUND if streak.rows < thresholds.recent_rows else Outcome.NOT_ENOUGH_DATA
        channels = [values[0] for values in known]
        # A channel that most rows have is the one in the middle.
        channel = sorted(channels)[len(channels) // 2]
        share = channels.count(channel) / len(channels)
        if share < thresholds.outlier_share:
            return Outcome.NOT_FOUND
        ratios = sorted(max(-low, high) / typical for _, low, high, typical, _ in known[-thresholds.recent_rows :])
        ratio = ratios[len(ratios) // 2]
        _, low, high, typical, neurons = known[-1]
        absmax = max(-low, high)
        severity: Severity = graded(serious=ratio >= thresholds.outlier_serious, critical=False)
        if ratio < thresholds.outlier_harm and layer.info.dtype != "float16" and "float8" not in layer.info.dtype:
            severity = NOTE
        evidence = Evidence(
            channel=channel, ratio=ratio, absmax=absmax, typical_peak=typical, neurons=neurons, share_of_rows=share
        )
        message = (
            f"{layer.name} has had an outlier channel since step {streak.step}: channel {channel} reaches "
            f"{number(absmax)}, which is {number(ratio)} times the peak of a typical channel; it is the largest in "
            f"{percent(share)} of the recorded steps."
        )
        told = best(_causes(layer, network, streak.step))
        return told.finding(layer.info.name, self.condition, severity, streak.step, evidence, message)


_COST: Final = (
    " Training may still go well, but 8 and 16 bits have room for this channel or for the others, not for both."
)


def _causes(layer: LayerView, network: Network, step: int) -> list[Cause]:
    """What could have made one channel so large, the likeliest first."""
    layer_type = layer.info.layer_type
    start, later = facts.after_updates(layer, step), facts.before_any_update(layer, step)
    keep = "keep this layer in bfloat16 or float32, or quantise it channel by channel"
    scale = facts.input_scale(network)
    first = facts.is_first(layer, network)
    # One large channel of many hardly moves the input's own size.
    apart = scale is not None and scale.largest >= 20.0 * max(abs(scale.mean), scale.std)
    known = facts.inputs_not_normalised(network)
    against = () if apart else known.refuted_by
    if not first:
        against = ("it is not the first layer",)
    inputs = Cause(
        "inputs_not_normalised", "One of its inputs is far larger than the others." + _COST,
        (NORMALISE_INPUTS, keep), known.speaks_for, against,
    )  # fmt: skip
    if layer_types.is_norm(layer_type):
        grown = "The gain of this channel has grown, or the input of the norm already has the outlier." + _COST
        grow: tuple[str, ...] = "use weight decay on the norm's gains", LOWER_RATE, keep
        there = "The gain of this channel is far larger than the others', or its input is." + _COST
    elif layer_types.has_weights(layer_type):
        normalise = normalise_before(network.distinct_types)
        grown = "The weights of this channel have grown far larger than the others', or one of its inputs has." + _COST
        grow = "use weight decay on the layer's weights", *normalise, LOWER_RATE, keep
        there = "The weights of this channel are far larger than the others', or one of its inputs is." + _COST
    else:
        grown = there = "A layer before it writes one channel far larger than the others." + _COST
        grow = *normalise_before(network.distinct_types), LOWER_RATE, keep
    begun = tuple(remedy for remedy in grow if remedy != LOWER_RATE)
    if first and scale is None and not layer_types.is_norm(layer_type):
        begun = NORMALISE_INPUTS, *begun
    return [
        Cause("learning_rate", grown, grow, (f"it began later, at step {step}",), later.refuted_by),
        Cause("initialisation", there, begun, (), start.refuted_by),
        inputs,
    ]
