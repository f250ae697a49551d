"""Underflow risk: values so small that their dtype holds few digits of them, or none."""

import math
from collections.abc import Container
from typing import Any, ClassVar, Final

from fastact.arithmetic.element_types import NARROW_FLOATS
from fastact.diagnosis import layer_types
from fastact.diagnosis.causes.cause import Cause, best
from fastact.diagnosis.causes.remedies import NORMALISE_INPUTS, normalise_before
from fastact.diagnosis.evidence import facts
from fastact.diagnosis.finding import Evidence, Finding, graded
from fastact.diagnosis.network import LayerView, Network
from fastact.diagnosis.row_conditions import Cascade, Cells, Row, RowCondition, share_at_least
from fastact.diagnosis.rule import Outcome, Rule, earlier_and_not_after, line, upstream
from fastact.diagnosis.thresholds import CommonThresholds, positive_field
from fastact.fields import COLUMN
from fastact.history import LayerInfo
from fastact.text import number, percent

#: The smallest normal number of each narrow dtype, and its smallest subnormal one: below the first digits are lost,
#: below half of the second all of them.
SMALLEST: Final = {name: (narrow.smallest_normal, narrow.smallest_subnormal) for name, narrow in NARROW_FLOATS.items()}

_COUNT, _ZEROS, _ABS_MEAN = COLUMN["count"], COLUMN["zeros"], COLUMN["abs_mean"]
_NANS, _POS, _NEG = COLUMN["nans"], COLUMN["pos_infs"], COLUMN["neg_infs"]


class UnderflowRiskThresholds(CommonThresholds):
    """What `UnderflowRisk` compares with."""

    underflow_warning: float = positive_field(
        1.0, "factor; underflow risk: a layer's typical value is at most this many times the dtype's smallest normal "
        "number, below which it has fewer digits. Chosen"
    )  # fmt: skip
    underflow_serious: float = positive_field(
        8.0,
        "factor; underflow risk: serious from this many times the dtype's smallest subnormal number down, three bits. "
        "Chosen",
    )


class UnderflowRisk(Rule[UnderflowRiskThresholds]):
    """A layer, or a gradient, whose typical value is at the lower end of what its dtype can hold.

    Formula:
        typical = abs_mean / the share of the finite elements that are not zero: the mean |x| of the non-zero elements.
        Found when typical <= underflow_warning (1) times the dtype's smallest normal number, 6.1e-05 in float16, in
        each of the last `min_rows` rows; serious when it is at most underflow_serious (8, three bits) times the
        smallest subnormal one, 6e-08; critical when nothing but zeros is left. A row of zeros alone ends no run: what
        was small before has underflowed. The first step is the one since which it has been so small.

    Zeros by themselves are no evidence, since a ReLU makes them; the message says if they have become more since the
    first row. Judged in float16, bfloat16 and float8, by the dtype that was recorded, in gradients
    (``watch(gradients=True)``) too. In bfloat16 the limit is 1e-38, long after `Vanishing`. float32 and float64 are
    left to `Vanishing`.

    Source:
        Thresholds chosen, from the formats. Micikevicius et al., Mixed precision training, 2018, found gradients
        that float16 loses in this way, and scale the loss to keep them.
    """

    condition = "underflow_risk"
    adjective = "close to underflow"
    shows = "abs_mean"
    judges = layer_types.OUTPUTS | {layer_types.GRADIENT}
    explains: ClassVar = {"underflow_risk": upstream} | dict.fromkeys(
        ("dead", "vanishing", "constant"), earlier_and_not_after
    )

    def applies(self, info: LayerInfo) -> bool:
        """The narrow dtypes; not probabilities, which are small by design."""
        return info.dtype in SMALLEST and info.layer_type not in layer_types.PROBABILITIES

    def row_conditions(self, info: LayerInfo, first: Row, thresholds: UnderflowRiskThresholds) -> tuple[Cascade, ...]:
        """Rows whose elements other than zero are small on average."""
        limit = thresholds.underflow_warning * SMALLEST[info.dtype][0]

        def holds(cells: Cells) -> Any:
            finite, rest = _finite(cells), _finite(cells) - cells[_ZEROS]
            return (rest > 0.0) & (cells[_ABS_MEAN] * finite <= limit * rest)

        def undecided(cells: Cells) -> Any:
            return _finite(cells) - cells[_ZEROS] <= 0.0

        near = Cascade((RowCondition("near_underflow", holds),), undecided)
        if info.layer_type != layer_types.GRADIENT:
            return (near,)
        return near, Cascade((RowCondition("no_gradient", share_at_least(1.0, _ZEROS, _COUNT)),))

    def limits(self, finding: Finding, thresholds: UnderflowRiskThresholds) -> tuple[tuple[float, str], ...]:
        """The dtype's smallest normal number."""
        return line(finding, "smallest_normal", "the smallest normal number", thresholds.underflow_warning)

    def suspects(self, network: Network, thresholds: UnderflowRiskThresholds) -> Container[int] | None:
        """Those that are near it, or zero, now."""
        return network.begun("near_underflow", "no_gradient")

    def check(self, layer: LayerView, network: Network, thresholds: UnderflowRiskThresholds) -> Finding | Outcome:
        """How small they are, and how much is zero already."""
        streak = layer.streaks.get("near_underflow")
        if streak is None or streak.rows < thresholds.min_rows:
            return self._all_zero(layer, network, thresholds) or Outcome.NOT_FOUND
        normal, subnormal = SMALLEST[layer.info.dtype]
        run = layer.during(streak)
        last = run[-1].item()
        rows = (run[place].item() for place in range(len(run) - 1, -1, -1))
        typical = next((_typical(row) for row in rows if _finite(row) > row[_ZEROS]), 0.0)
        zeros, zeros_first = (min(1.0 * row[_ZEROS] / max(row[_COUNT], 1), 1.0) for row in (last, layer.first))
        message = (
            f"{layer.name} has been close to underflow since step {streak.step}: its non-zero {layer.elements} are "
            f"{number(typical)} on average, and {layer.info.dtype} loses digits below {number(normal)} and everything "
            f"below {number(subnormal)}"
        )
        if zeros > zeros_first:
            message += f"; the share of zeros has grown from {percent(zeros_first)} to {percent(zeros)}"
        serious = typical <= thresholds.underflow_serious * subnormal
        severity = graded(serious=serious, critical=zeros >= 1.0)
        evidence = Evidence(
            typical=typical, smallest_normal=normal, smallest_subnormal=subnormal,
            bits_left=max(math.log2(typical) - math.log2(subnormal), 0.0) if typical > 0.0 else 0.0, zero_ratio=zeros,
            zero_ratio_first=zeros_first
        )  # fmt: skip
        message += "."
        told = best(_causes(layer, network, streak.step))
        return told.finding(layer.info.name, self.condition, severity, streak.step, evidence, message)

    def _all_zero(self, layer: LayerView, network: Network, thresholds: UnderflowRiskThresholds) -> Finding | None:
        """The finding for a gradient that has been zero in every row, as those of all layers have: none was ever left.

        By one layer alone a gradient stops where neurons are dead, or where nothing is to be trained.
        """
        streak = layer.streaks.get("no_gradient")
        if streak is None or streak.step > layer.start or streak.rows < thresholds.min_rows:
            return None
        if not network.once(_never_any):
            return None
        normal, subnormal = SMALLEST[layer.info.dtype]
        evidence = Evidence(smallest_normal=normal, smallest_subnormal=subnormal, zero_ratio=1.0)
        message = (
            f"{layer.name} has been zero in every row since step {streak.step}, as the gradients of all layers have: "
            f"{layer.info.dtype} has nothing below {number(subnormal)}."
        )
        told = best(_causes(layer, network, streak.step))
        return told.finding(layer.info.name, self.condition, "critical", streak.step, evidence, message)


def _never_any(network: Network) -> bool:
    """Whether each gradient has been zero since its first row."""
    runs = [(view.streaks.get("no_gradient"), view.start) for view in network.layers]
    return all(run is not None and run.step <= start for run, start in runs)


def _finite(cells: Cells) -> Any:
    """The finite elements: float64, so that counts of any size give the same in rows and in columns."""
    return 1.0 * cells[_COUNT] - cells[_NANS] - cells[_POS] - cells[_NEG]


def _typical(row: Row) -> float:
    finite = _finite(row)
    return float(row[_ABS_MEAN] * (finite / (finite - row[_ZEROS])))


_LOST: Final = "What rounding loses here is lost to all layers after it."


def _causes(layer: LayerView, network: Network, step: int) -> list[Cause]:
    """What could have made its values so small, the likeliest first."""
    info = layer.info
    wider = "bfloat16 or float32, which have the range" if info.dtype != "bfloat16" else "float32"
    own: tuple[str, ...] = ("scale it so that its largest value is the largest that the dtype can hold",)
    if info.layer_type == layer_types.GRADIENT:
        if info.dtype.startswith("float8"):  # which one scale of the loss cannot serve: each tensor has its own
            says = f"The gradient is too small for {info.dtype}: weights whose gradient rounds to zero do not learn."
            back = f"run the backward pass of this layer in {wider}"
            return [Cause("dtype_range", says, (*own, back), (f"it is a gradient in {info.dtype}",))]
        says = (
            "The loss is not scaled up, or not by enough, so the gradient is too small for its dtype. Weights whose "
            "gradient rounds to zero do not learn."
        )
        remedies = (
            "scale the loss up before the backward pass (a gradient scaler), or by more",
            f"run the backward pass of this layer in {wider}",
            "sum the loss over the batch instead of averaging it, or use a smaller batch",
        )
        return [Cause("loss_scale", says, remedies, (f"it is a gradient in {info.dtype}",))]
    run = f"run this layer in {wider}"
    keep = "use an initialisation that keeps the scale: N(0, sqrt(2/n_in))"
    first = own if info.dtype.startswith("float8") else ()
    normalise = normalise_before(network.distinct_types)
    scale = facts.input_scale(network)
    small = scale is not None and not scale.large and not scale.normalised
    inputs = facts.inputs_not_normalised(network)
    return [
        Cause(
            "inputs_not_normalised", f"The inputs are too small for {info.dtype}. {_LOST}",
            (*first, NORMALISE_INPUTS, run), inputs.speaks_for if small else (),
            () if small else inputs.refuted_by or ("no small input was recorded",),
        ),
        Cause(
            "weight_decay", f"Its weights have shrunk until its values were too small for {info.dtype}. {_LOST}",
            (*first, "use less weight decay", run, *normalise), (f"it began later, at step {step}",),
            facts.before_any_update(layer, step).refuted_by,
        ),
        Cause(
            "initialisation", f"Its weights or its inputs are too small for {info.dtype}. {_LOST}",
            (*first, run, keep, *normalise), (), facts.after_updates(layer, step).refuted_by,
        ),
    ]  # fmt: skip
