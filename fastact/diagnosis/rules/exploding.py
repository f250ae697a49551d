"""Explosion: outputs that grow by orders of magnitude, from step to step or from layer to layer."""

import math
from typing import Any, ClassVar, Final

import numpy as np

from fastact.diagnosis import layer_types
from fastact.diagnosis.finding import Evidence, Finding, graded
from fastact.diagnosis.network import LayerView, Network, rms, row_rms
from fastact.diagnosis.remedies import CLIP_GRADIENTS, LOWER_RATE, initialisation
from fastact.diagnosis.row_conditions import Cascade, Cells, Row, RowCondition, nothing_finite
from fastact.diagnosis.rule import Circumstances, Outcome, Rule, comes_first, not_after
from fastact.diagnosis.rules.overflow_risk import overflow_ahead
from fastact.diagnosis.thresholds import CommonThresholds, factor_field, positive_field
from fastact.diagnosis.trend import growth
from fastact.fields import COLUMN
from fastact.history import LayerInfo
from fastact.text import number

#: Growth from one row to the next that no steady rise has.
_AT_ONCE: Final = 30.0

_MEAN, _STD = COLUMN["mean"], COLUMN["std"]


class ExplodingThresholds(CommonThresholds):
    """What `Exploding` compares with."""

    explode_growth: float = factor_field(
        300.0, "factor; exploding: a layer's rms is this many times that of its first row. Chosen"
    )
    explode_serious: float = factor_field(1e3, "factor; exploding: serious from this growth. Chosen", "explode_growth")
    explode_depth: float = factor_field(
        1e4, "factor; exploding over depth: a layer's rms is this many times that of the first layer. Chosen"
    )
    explode_scale: float = positive_field(
        300.0, "rms; a layer below this is not exploding, whatever it grew from. Chosen"
    )
    explode_critical: float = factor_field(
        1e6, "factor; exploding: critical from this growth. Chosen", "explode_serious"
    )


def _drives(cause: Finding, effect: Finding, around: Circumstances) -> bool:
    """An explosion shows when it is a hundredfold; the updates that drive it kill neurons some rows before.

    One that grows with depth is in the forward pass alone, so it explains nothing before its layer.
    """
    reaches = "rms_first_layer" not in cause.evidence or not_after(cause, effect, around)
    return reaches and cause.first_step - around.slack <= effect.first_step


class Exploding(Rule[ExplodingThresholds]):
    """A layer whose outputs are orders of magnitude larger than they were, or than those of the first layer.

    Formula, over steps:
        rms = sqrt(mean^2 + std^2) of the finite elements. Found when rms >= explode_growth (300) times the rms of the
        layer's first row, and rms >= explode_scale (300), for two rows or more, or with NaN or Inf after it; serious
        from explode_serious (1e3), critical from explode_critical (1e6) and with NaN or Inf. The output layer follows
        the targets, whose scale can be anything: it needs the square of explode_serious. Rows without a finite element
        end no run: an explosion that ended in NaN is still an explosion.
    Formula, over depth:
        the median rms of the recent rows >= explode_depth (1e4) times that of the first layer, and rms >=
        explode_scale in each of the last `min_rows` rows.
    The growth per step, its 95% bounds and the step at which the dtype overflows come from a robust log-linear fit
    (`trend.growth`).

    Healthy training grows by a factor of ten or, at the logits, a hundred. In the zoo, the hidden layers of
    a healthy network grew most where targets are in metres: 76 times, to an rms of 107.

    Source:
        Thresholds chosen. The fit is Theil's of 1950, as `trend.growth` says.
    """

    condition = "exploding"
    adjective = "exploding"
    judges_gradients = True
    first_explains_all = True
    explains: ClassVar = {"exploding": comes_first} | dict.fromkeys(
        ("outlier_channels", "overflow_risk", "non_finite", "saturated", "dead", "vanishing", "constant"), _drives
    )

    def needs(self, thresholds: ExplodingThresholds) -> int:
        """Two rows: growth by orders of magnitude leaves few."""
        return 2

    def row_conditions(self, info: LayerInfo, first: Row, thresholds: ExplodingThresholds) -> tuple[Cascade, ...]:
        """Rows above the absolute scale, and those far above the first row as well."""
        scale = thresholds.explode_scale
        base = row_rms(first)
        base = 0.0 if math.isnan(base) else base

        def above(name: str, limit: float) -> RowCondition:
            square = limit * limit

            def holds(cells: Cells) -> Any:
                mean, std = cells[_MEAN], cells[_STD]
                return mean * mean + std * std >= square

            return RowCondition(name, holds)

        growing, exploding = (max(scale, t * base) for t in (thresholds.explode_growth, thresholds.explode_serious))
        conditions = above("large", scale), above("growing", growing), above("exploding", exploding)
        return (Cascade(conditions, undecided=nothing_finite),)

    def check(self, layer: LayerView, network: Network, thresholds: ExplodingThresholds) -> Finding | Outcome:
        """Growth over steps first, since it says when; then growth over depth."""
        finding = self._over_steps(layer, network, thresholds)
        return finding or self._over_depth(layer, network, thresholds) or Outcome.NOT_FOUND

    def _over_steps(self, layer: LayerView, network: Network, thresholds: ExplodingThresholds) -> Finding | None:
        streak = layer.streaks.get("growing")
        if streak is None:
            return None
        scale = rms(layer.rows)
        run = scale[-min(streak.rows, len(scale)) :]
        known = run[~np.isnan(run)]
        base = row_rms(layer.first)
        # Where the rise has left the window and NaN is all that is left, the run itself says how far it came at least.
        last = float(known[-1]) if len(known) else max(thresholds.explode_scale, thresholds.explode_growth * base)
        factor = last / base if base > 0.0 else math.inf
        if streak.rows < 2 or (layer.place == network.output and factor < thresholds.explode_serious**2):
            return None
        ended = any(bool(layer.rows[-1][name]) for name in ("nans", "pos_infs", "neg_infs"))
        critical = factor >= thresholds.explode_critical or ended
        severity = graded(serious="exploding" in layer.streaks, critical=critical)
        trend = growth(layer.rows["step"], scale)
        before = scale[: len(scale) - len(run)]
        at_once = bool(len(before)) and bool(run[0] >= _AT_ONCE * before[-1])  # false for NaN
        cause, remedies = _over_steps_advice(network, at_once=at_once)
        message = (
            f"{layer.name} has been exploding since step {streak.step}: the rms of its {layer.elements} grew from "
            f"{number(base)} to {'' if len(known) else 'more than '}{number(last)}"
            f"{' before they became NaN or Inf' if ended else ''}."
        )
        evidence = Evidence(
            rms_first=base, rms_last=last, growth=factor, rows_without_finite=len(run) - len(known),
            **(trend.evidence() if trend else {}), **overflow_ahead(layer, trend)
        )  # fmt: skip
        return Finding(layer.info.name, self.condition, severity, streak.step, evidence, message, cause, remedies)

    def _over_depth(self, layer: LayerView, network: Network, thresholds: ExplodingThresholds) -> Finding | None:
        streak = layer.streaks.get("large")
        if streak is None or streak.rows < thresholds.min_rows or layer.place in (0, network.output):
            return None
        first, now = network.rms[0], network.rms[layer.place]
        if not (first > 0.0 and now >= thresholds.explode_scale and now >= thresholds.explode_depth * first):
            return None
        factor = now / first
        severity = graded(serious=True, critical=factor >= thresholds.explode_critical)
        per_layer = math.exp(math.log(factor) / layer.place) if math.isfinite(factor) else None
        evidence = Evidence(rms_first_layer=first, rms=now, growth=factor, growth_per_layer=per_layer)
        message = (
            f"{layer.name} has been exploding over depth since step {streak.step}: the rms grows from {number(first)} "
            f"in {network.layers[0].name} to {number(now)} here."
        )
        cause = (
            "Each layer multiplies the scale of its input: the weights were initialised too large for this depth"
            f"{_unchecked(network)}."
        )
        remedies = initialisation(network.distinct_types), *_layer_norm(network), "scale down the residual branches"
        return Finding(layer.info.name, self.condition, severity, streak.step, evidence, message, cause, remedies)


def _over_steps_advice(network: Network, *, at_once: bool) -> tuple[str, tuple[str, ...]]:
    """The cause of a growth over steps, and what to do."""
    if at_once:
        cause = (
            "It happened in one step: an update that was far too large (a learning rate too high), or inputs or "
            "weights on another scale."
        )
        look = "look at what changed at that step: the data, a schedule, a checkpoint"
        return cause, (LOWER_RATE, CLIP_GRADIENTS, look)
    cause = (
        "The weights grow with every update, and each layer multiplies the growth of those before it: the learning "
        f"rate is too high for a network of this depth{_unchecked(network)}."
    )
    return cause, (LOWER_RATE, CLIP_GRADIENTS, *_layer_norm(network))


def _unchecked(network: Network) -> str:
    return "" if any(map(layer_types.is_norm, network.distinct_types)) else ", and no normalisation resets the scale"


def _layer_norm(network: Network) -> tuple[str, ...]:
    return () if layer_types.has_layer_norm(network.distinct_types) else ("add layer normalisation",)
