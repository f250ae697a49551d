"""Explosion: outputs that grow by orders of magnitude, from step to step or from layer to layer."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from fastact.history import LayerInfo
from fastact.rules import kinds
from fastact.rules.base import (
    COLUMN,
    Evidence,
    Finding,
    LayerView,
    Network,
    Outcome,
    Row,
    Severity,
    Track,
    number,
    row_rms,
)
from fastact.thresholds import Thresholds

__all__ = ["Exploding", "growth_per_step"]

_MEAN, _STD = COLUMN["mean"], COLUMN["std"]


class Exploding:
    """A layer whose outputs are orders of magnitude larger than they were, or than those of the first layer.

    Formula, over steps:
        rms = sqrt(mean^2 + std^2) of the finite elements. Found when rms >= explode_growth (1e3) times the rms of the
        layer's first row, and rms >= explode_scale (1e3), since two rows or more, or with NaN or Inf after it. The
        output layer follows the targets, whose scale is anyone's: it needs the square of the factor. Rows without a
        finite element end no run: an explosion that ended in NaN is still an explosion.
    Formula, over depth:
        the median rms of the recent rows >= explode_depth (1e4) times that of the first layer, and rms >=
        explode_scale in each of the last `min_rows` rows.
    The growth per step is a robust log-linear fit: exp of the median of the slopes of log rms between rows half of
    the rise apart (Theil's incomplete method).

    Healthy training grows by a factor of ten or, at the logits, a hundred; neither reaches a thousand and an rms of
    a thousand.

    Source:
        Thresholds chosen. Fit: Theil, A rank-invariant method of linear and polynomial regression analysis, 1950.
    """

    condition = "exploding"

    def applies(self, info: LayerInfo) -> bool:
        """Every kind."""
        del info
        return True

    def needs(self, thresholds: Thresholds) -> int:
        """Two rows: growth by orders of magnitude leaves few."""
        del thresholds
        return 2

    def tracks(self, info: LayerInfo, first: Row, thresholds: Thresholds) -> tuple[Track, ...]:
        """Rows above the absolute scale, and those far above the first row as well."""
        del info
        scale = thresholds.explode_scale
        base = row_rms(first)
        limit = max(scale, thresholds.explode_growth * base) if not math.isnan(base) else scale

        def above(name: str, limit: float) -> Track:
            square = limit * limit

            def holds(row: Row) -> bool | None:
                mean, std = row[_MEAN], row[_STD]
                if mean * mean + std * std >= square:
                    return True
                return None if math.isnan(mean) else False

            return Track(name, holds)

        return (above("large", scale), above("exploding", limit))

    def check(self, layer: LayerView, network: Network, thresholds: Thresholds) -> Finding | Outcome:
        """Growth over steps first, since it says when; then growth over depth."""
        finding = self._over_steps(layer, network, thresholds)
        return finding or self._over_depth(layer, network, thresholds) or Outcome.NOT_FOUND

    def _over_steps(self, layer: LayerView, network: Network, thresholds: Thresholds) -> Finding | None:
        streak = layer.streaks.get("exploding")
        if streak is None:
            return None
        rms = _rms(layer.rows)
        run = _rms(layer.during(streak))
        known = run[~np.isnan(run)]
        base = row_rms(layer.first)
        # Where the rise has left the window and NaN is all that is left, the run itself says how far it came at least.
        last = float(known[-1]) if len(known) else max(thresholds.explode_scale, thresholds.explode_growth * base)
        growth = last / base if base > 0.0 else math.inf
        if streak.rows < 2 or (layer.place == network.output and growth < thresholds.explode_growth**2):
            return None
        broken = int(np.isnan(run).sum())
        critical = growth >= thresholds.explode_critical or _non_finite(layer.rows[-1])
        per_step = growth_per_step(layer.rows["step"], rms)
        message = f"{layer.name} has been exploding since step {streak.step}: its outputs grew from an rms of "
        message += f"{number(base)} to {number(last)}"
        return Finding(
            layer=layer.info.name,
            condition=self.condition,
            severity="critical" if critical else "serious",
            first_step=streak.step,
            evidence=Evidence(
                rms_first=base,
                rms_last=last,
                growth=growth,
                growth_per_step=per_step,
                rows_without_finite=broken,
            ),
            message=message + (", then to NaN or Inf." if _non_finite(layer.rows[-1]) else "."),
            cause=_CAUSE_STEPS,
            remedies=_remedies(network, by_depth=False),
        )

    def _over_depth(self, layer: LayerView, network: Network, thresholds: Thresholds) -> Finding | None:
        streak = layer.streaks.get("large")
        if streak is None or streak.rows < thresholds.min_rows or layer.place in (0, network.output):
            return None
        first, rms = network.rms[0], network.rms[layer.place]
        if not (first > 0.0 and rms >= thresholds.explode_scale and rms >= thresholds.explode_depth * first):
            return None
        growth = rms / first
        severity: Severity = "critical" if growth >= thresholds.explode_critical else "serious"
        return Finding(
            layer=layer.info.name,
            condition=self.condition,
            severity=severity,
            first_step=streak.step,
            evidence=Evidence(
                rms_first_layer=first,
                rms=rms,
                growth=growth,
                growth_per_layer=math.exp(math.log(growth) / layer.place) if math.isfinite(growth) else None,
            ),
            message=f"{layer.name} has been exploding over depth since step {streak.step}: from "
            f"{network.layers[0].name} on the rms grows from {number(first)} to {number(rms)}.",
            cause=_CAUSE_DEPTH,
            remedies=_remedies(network, by_depth=True),
        )


_CAUSE_STEPS = (
    "The weights grow with every update and each layer multiplies the growth of those before it: the learning rate "
    "is too high for a network of this depth, and nothing sets the scale anew."
)
_CAUSE_DEPTH = (
    "Each layer multiplies the scale of its input: the weights were initialised too large for this depth, and nothing "
    "sets the scale anew."
)


def _remedies(network: Network, *, by_depth: bool) -> tuple[str, ...]:
    remedies = []
    if not kinds.has_layer_norm(network.all_kinds):
        remedies.append("add layer normalisation")
    remedies += ["clip the gradients", "scale the residual branches", "use a lower learning rate"]
    if by_depth:
        remedies.insert(0, "use an initialisation that keeps the scale: N(0, sqrt(2/n_in)) before ReLU")
    return tuple(remedies)


def _rms(rows: npt.NDArray[np.void]) -> npt.NDArray[np.float64]:
    with np.errstate(all="ignore"):
        rms: npt.NDArray[np.float64] = np.hypot(rows["mean"], rows["std"])
    return rms


def _non_finite(row: Any) -> bool:
    return bool(row["nans"] or row["pos_infs"] or row["neg_infs"])


def growth_per_step(steps: npt.NDArray[np.int64], rms: npt.NDArray[np.float64]) -> float | None:
    """By what factor rms grows per step on its way to the top; None where there is no way to tell.

    Args:
        steps: int64, shape (rows,), rising.
        rms: float64, shape (rows,); rows that are not finite and positive are left out.

    Example:
        >>> growth_per_step(np.arange(6), 10.0 ** np.arange(6))
        10.0
    """
    good = np.isfinite(rms) & (rms > 0.0)
    steps, rms = steps[good], rms[good]
    if len(rms) < 2:
        return None
    top = int(rms.argmax()) + 1
    half = top // 2
    if half == 0:
        return None
    gap = (steps[half:top] - steps[: top - half]).astype(np.float64)
    slopes = np.log(rms[half:top]) - np.log(rms[: top - half])
    slopes = np.sort(slopes[gap > 0] / gap[gap > 0])
    if len(slopes) == 0:
        return None
    middle = float(slopes[(len(slopes) - 1) // 2] + slopes[len(slopes) // 2]) / 2.0
    return round(math.exp(middle), 12) if middle < 700.0 else None
