"""Overflow risk: values that come close to the largest one that their dtype can hold."""

import math
from collections.abc import Container
from typing import Any, ClassVar, Final

import numpy as np

from fastact.arithmetic.element_types import ELEMENT_TYPES
from fastact.diagnosis import layer_types
from fastact.diagnosis.causes.cause import Cause, best
from fastact.diagnosis.causes.remedies import NORMALISE_INPUTS
from fastact.diagnosis.evidence import facts
from fastact.diagnosis.evidence.trend import Trend, growth, reaches
from fastact.diagnosis.finding import Evidence, Finding, graded
from fastact.diagnosis.network import LayerView, Network
from fastact.diagnosis.row_conditions import Cascade, Cells, Row, RowCondition, nothing_finite
from fastact.diagnosis.rule import Outcome, Rule, comes_first, earlier_and_not_after, line
from fastact.diagnosis.thresholds import CommonThresholds, share_field
from fastact.fields import COLUMN
from fastact.history import LayerInfo
from fastact.text import number, percent

#: The largest finite number of each dtype whose overflow can be foretold: every float but float8.
LARGEST: Final = {t.name: t.format.largest for t in ELEMENT_TYPES.values() if t.format is not None and t.bits > 8}

#: The share of the largest number from which down a negative number is a mask: ``torch.finfo(dtype).min``, rounded.
_MASK: Final = 0.99

_STEP, _NANS, _POS, _NEG = COLUMN["step"], COLUMN["nans"], COLUMN["pos_infs"], COLUMN["neg_infs"]
_MIN, _MAX = COLUMN["min"], COLUMN["max"]


class OverflowRiskThresholds(CommonThresholds):
    """What `OverflowRisk` compares with."""

    overflow_warning: float = share_field(
        0.25, "share of the dtype's largest number; overflow risk: warning from here, two bits from the end. Chosen"
    )
    overflow_serious: float = share_field(
        0.5, "share of the dtype's largest number; overflow risk: serious from here, one bit from the end. Chosen",
        "overflow_warning"
    )  # fmt: skip


class OverflowRisk(Rule[OverflowRiskThresholds]):
    """A layer whose largest value is a bit or two from what its dtype can hold.

    Formula:
        absmax = max(|min|, |max|) of the finite elements. Found when absmax >= overflow_warning (1/4, two bits) of the
        dtype's largest number, 65504 in float16, in each of the last `min_rows` rows; serious from overflow_serious
        (1/2, one bit) of it in the last row. The step at which it will overflow, and its 95% bounds, come from a
        robust log-linear fit to the rms (`trend.growth`); absmax is taken to grow as fast.

    A least value within 1% of the dtype's lowest is a mask (``torch.finfo(dtype).min`` before a softmax) and not
    judged. Of the other dtypes, bfloat16, float32 and float64 have so much range that `Exploding` comes thirty orders
    of magnitude earlier; it has the step of overflow in its evidence. float8 is scaled so that its largest value is
    the largest that it holds (448 in e4m3fn, 57344 in e5m2), and what does not fit is clipped, or becomes the NaN that
    `NonFinite` finds.

    Source:
        Chosen. Activations near 65504 are why T5 gives Inf in float16; Hugging Face's DebugUnderflowOverflow prints
        the same absolute maximum.
    """

    condition = "overflow_risk"
    adjective = "close to overflow"
    shows = "absmax"
    judges = layer_types.OUTPUTS | {layer_types.GRADIENT}
    explains: ClassVar = {"overflow_risk": comes_first, "non_finite": earlier_and_not_after}

    def applies(self, info: LayerInfo) -> bool:
        """float16."""
        return info.dtype == "float16"

    def row_conditions(self, info: LayerInfo, first: Row, thresholds: OverflowRiskThresholds) -> tuple[Cascade, ...]:
        """Rows whose largest value is in the last two bits of the dtype."""
        limit = thresholds.overflow_warning * LARGEST[info.dtype]
        mask = _MASK * LARGEST[info.dtype]

        def holds(cells: Cells) -> Any:
            least = cells[_MIN]
            return (cells[_MAX] >= limit) | ((least <= -limit) & (least > -mask))

        return (Cascade((RowCondition("near_overflow", holds),), undecided=nothing_finite),)

    def limits(self, finding: Finding, thresholds: OverflowRiskThresholds) -> tuple[tuple[float, str], ...]:
        """The dtype's largest number, and the share of it from where it is close."""
        close = line(finding, "largest", "close from here", thresholds.overflow_warning)
        return close + line(finding, "largest", "overflow")

    def suspects(self, network: Network, thresholds: OverflowRiskThresholds) -> Container[int] | None:
        """Those that are near it now."""
        return network.begun("near_overflow")

    def check(self, layer: LayerView, network: Network, thresholds: OverflowRiskThresholds) -> Finding | Outcome:
        """How much is left, and for how long it will last."""
        streak = layer.streaks.get("near_overflow")
        if streak is None or streak.rows < thresholds.min_rows:
            return Outcome.NOT_FOUND
        largest = LARGEST[layer.info.dtype]
        run = layer.during(streak)
        known = run[~np.isnan(run["mean"])]
        if not len(known):
            return Outcome.NOT_ENOUGH_DATA
        absmax = _absmax(known[-1].item(), largest)
        share = absmax / largest
        ahead = overflow_ahead(layer, growth(layer.rows["step"], network.scale(layer)))
        message = (
            f"{layer.name} has been close to overflow since step {streak.step}: its largest value is {number(absmax)}, "
            f"and the limit of {layer.info.dtype} is {number(largest)}"
        )
        if ahead.get("overflow_step_latest") is not None:  # sure to grow
            message += f"; at this growth it overflows at about step {ahead['overflow_step']:,}"
        severity = graded(serious=share >= thresholds.overflow_serious, critical=False)
        bits_left = math.log2(largest) - math.log2(absmax)
        evidence = Evidence(absmax=absmax, largest=largest, share=share, bits_left=bits_left, **ahead)
        message += "."
        told = best(_causes(layer, network, streak.step, share))
        return told.finding(layer.info.name, self.condition, severity, streak.step, evidence, message)


def _causes(layer: LayerView, network: Network, step: int, share: float) -> list[Cause]:
    """What could have brought its values so close to the end, the likeliest first."""
    dtype = layer.info.dtype
    ends = "a slightly larger batch, sample or update turns them into Inf, and then into NaN."
    seen = (f"its largest value is {percent(share)} of what {dtype} can hold",)
    scale = facts.input_scale(network)
    inputs = facts.inputs_not_normalised(network)
    large = scale is not None and scale.largest >= _LARGE_INPUT
    return [
        Cause("dtype_range", f"Its values are nearly too large for {dtype}: {ends}", _REMEDIES, seen),
        Cause(
            "inputs_not_normalised",
            f"The inputs are not normalised, and its values nearly too large for {dtype}: {ends}",
            (NORMALISE_INPUTS, *_REMEDIES), seen + inputs.speaks_for if large else (),
            inputs.refuted_by or (() if large else ("no large input was recorded",)),
        ),
    ]  # fmt: skip


#: An input from which on its scale is what makes values too large for a dtype; what is less was multiplied by weights.
_LARGE_INPUT: Final = 100.0

_REMEDIES: Final = (
    "run this layer in bfloat16 or float32, which have the range",
    "scale down the residual branches or the inputs",
    "add a normalisation before this layer",
)


def _absmax(row: Row, largest: float) -> float:
    """The largest absolute value of a row that has finite elements, masks left out."""
    least, most = float(row[_MIN]), float(row[_MAX])
    return abs(most) if least <= -_MASK * largest else max(-least, abs(most))


def overflow_ahead(layer: LayerView, trend: Trend | None) -> dict[str, float | None]:
    """When the layer's dtype will overflow if its largest value keeps growing as its rms did in the window.

    The names and numbers for a finding's evidence: none where the dtype is unknown or wide enough forever, where the
    last row is not finite, or where the rms has its largest value before the last tenth of the rows.
    """
    largest, rows, last = LARGEST.get(layer.info.dtype), layer.rows, layer.last
    if largest is None or trend is None or trend.top < rows["step"][-1 - len(rows) // 10]:
        return {}
    if last[_NANS] or last[_POS] or last[_NEG]:
        return {}
    step, absmax = last[_STEP], _absmax(last, largest)
    if not 0.0 < absmax <= largest:
        return {}
    soon, late = (reaches(largest, step, absmax, rate) for rate in (trend.high, trend.low))
    usual = reaches(largest, step, absmax, trend.rate)
    return {"overflow_step": usual, "overflow_step_earliest": soon, "overflow_step_latest": late}
