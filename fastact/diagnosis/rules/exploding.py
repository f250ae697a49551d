"""Explosion: outputs that grow by orders of magnitude, from step to step or from layer to layer."""

import math
from collections.abc import Container, Hashable
from typing import Any, ClassVar, Final

import numpy as np

from fastact.diagnosis import layer_types
from fastact.diagnosis.causes import exploding
from fastact.diagnosis.causes.cause import best
from fastact.diagnosis.evidence import facts, nan_origin
from fastact.diagnosis.evidence.trend import Trend, growths
from fastact.diagnosis.finding import Evidence, Finding, graded
from fastact.diagnosis.learning import initial_scale
from fastact.diagnosis.network import LayerView, Network, rms, row_rms
from fastact.diagnosis.row_conditions import Cascade, Cells, Row, RowCondition, nothing_finite
from fastact.diagnosis.rule import Circumstances, Outcome, Rule, comes_first, line, not_after
from fastact.diagnosis.rules.overflow_risk import overflow_ahead
from fastact.diagnosis.thresholds import CommonThresholds, factor_field, positive_field
from fastact.fields import COLUMN
from fastact.history import LayerInfo
from fastact.text import number

#: A layer that is this many times larger than it was has left its usual range; an explosion began there if it took
#: at most so many rows from there on.
_LEFT: Final = 10.0
_ROWS: Final = 30
#: The output of a network that has learned the scale of its targets stays within this factor.
_STEADY: Final = 2.0

#: A layer whose largest value is more than this is no logarithm of a variance that went to minus infinity.
_ABOVE: Final = 10.0

_MEAN, _STD, _MIN, _MAX = COLUMN["mean"], COLUMN["std"], COLUMN["min"], COLUMN["max"]


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
    explode_bound: float = positive_field(
        1e6, "rms; exploding: where nothing before a layer was recorded, it is too large from here, in its first row "
        "too. Chosen: times and prices that nobody normalised are smaller"
    )  # fmt: skip
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
        from explode_serious (1e3), critical from explode_critical (1e6) and with NaN or Inf. A first row below
        explode_scale / explode_growth (1) counts as that: what starts at zero grows by any factor. The output layer
        follows the targets, whose scale can be anything: it needs the square of explode_serious, and must not have
        come to rest. A growth from ten times to explode_growth that took more than 30 rows needs the square of
        explode_serious too, or NaN or Inf after it: layers whose targets are in the hundred thousands grow so as they
        learn, step by step. Rows without a finite element end no run: an explosion that ended in NaN is still one. It
        began when the layer was ten times as large as at first, or at 10, if that was at most 30 rows before.
    Formula, over depth:
        the median rms of the recent rows >= explode_depth (1e4) times that of the recorded input, or else of the first
        layer, and rms >= explode_scale in each of the last `min_rows` rows. Without anything before it, a layer is too
        large from explode_bound (1e6) on, and a recurrent one from explode_scale on. The output layer is judged by its
        first row alone.
    A layer near the logarithm of the dtype's largest number (80 in float32), or as far below zero, that is ten times
    what it was is exploding too where NaN or Inf follow: its exponential overflowed, or that of its negative; and one
    that jumped to x in that step, where a layer behind it grew e^x times.
    The growth per step, its 95% bounds and the step at which the dtype overflows come from a robust log-linear fit
    (`trend.growth`).

    Healthy training grows by a factor of ten or, at the logits, a hundred. In the zoo, the hidden layers of
    a healthy network grew most where targets are in metres: 76 times, to an rms of 107.

    Source:
        Thresholds chosen. The fit is Theil's of 1950, as `trend.growth` says.
    """

    condition = "exploding"
    adjective = "exploding"
    by_harm = True
    judges = layer_types.OUTPUTS | {layer_types.GRADIENT}
    first_explains_all = True
    explains: ClassVar = {"exploding": comes_first} | dict.fromkeys(
        ("outlier_channels", "overflow_risk", "non_finite", "saturated", "dead", "vanishing", "constant"), _drives
    )

    def asked(self, finding: Finding) -> Hashable:
        """Whether it grows with depth."""
        return "rms_first_layer" in finding.evidence

    def needs(self, thresholds: ExplodingThresholds) -> int:
        """Two rows: growth by orders of magnitude leaves few."""
        return 2

    def row_conditions(self, info: LayerInfo, first: Row, thresholds: ExplodingThresholds) -> tuple[Cascade, ...]:
        """Rows above the absolute scale, far above the first row as well, and those whose exponential overflows."""
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
        left = min(max(_LEFT * scale / thresholds.explode_growth, _LEFT * base), growing)
        grows = above("left", left), above("growing", growing), above("exploding", exploding)
        cascades = Cascade(grows, nothing_finite), Cascade((above("large", scale),), nothing_finite)
        if not layer_types.has_weights(info.layer_type):
            return cascades
        limit = max(nan_origin.exponent_limit(info.dtype), _LEFT * first[_MAX])
        below = max(nan_origin.exponent_limit(info.dtype), -_LEFT * first[_MIN])

        def beyond(cells: Cells) -> Any:
            # Far below zero, and nowhere above: what overflows is the exponential of the negative, or a quotient.
            return (cells[_MAX] >= limit) | ((cells[_MIN] <= -below) & (cells[_MAX] <= _ABOVE))

        return *cascades, Cascade((RowCondition("exponent", beyond),), nothing_finite)

    def limits(self, finding: Finding, thresholds: ExplodingThresholds) -> tuple[tuple[float, str], ...]:
        """Where it began, and how many times that is an explosion; over depth, what the first layer has."""
        grown = line(finding, "rms_first", "exploding from here", thresholds.explode_growth)
        return grown + line(finding, "rms_first_layer", "the first layer's")

    def suspects(self, network: Network, thresholds: ExplodingThresholds) -> Container[int] | None:
        """Those that are large now, and the one whose exponential overflowed or that began too large."""
        places = network.begun("growing", "large")
        if network.layers[0].info.layer_type != layer_types.GRADIENT:
            source = nan_origin.exponent_source(network)
            places |= {initial_scale.place(network), -1 if source is None else source.place}
        return places

    def check(self, layer: LayerView, network: Network, thresholds: ExplodingThresholds) -> Finding | Outcome:
        """Growth over steps first, since it says when; then growth over depth."""
        finding = self._over_steps(layer, network, thresholds)
        if finding is None and layer.info.layer_type not in (layer_types.GRADIENT, layer_types.INPUT):
            finding = self._over_depth(layer, network, thresholds) or self._exponent(layer, network)
            finding = finding or initial_scale.explosion(layer, network)
        return finding or Outcome.NOT_FOUND

    def _over_steps(self, layer: LayerView, network: Network, thresholds: ExplodingThresholds) -> Finding | None:
        streak = layer.streaks.get("growing")
        if streak is None:
            return None
        scale = network.scale(layer)
        known = run = scale[-min(streak.rows, len(scale)) :]
        if network.once(_some_unknown):
            known = run[~np.isnan(run)]
        base = row_rms(layer.first)
        # Where the rise has left the window and NaN is all that is left, the run itself says how far it came at least.
        last = float(known[-1]) if len(known) else max(thresholds.explode_scale, thresholds.explode_growth * base)
        factor = last / max(base, thresholds.explode_scale / thresholds.explode_growth)
        ended = facts.broken(layer.last) > 0
        # The squares of numbers near the end of float64 are all infinite.
        if (
            streak.rows < 2
            or not base < last < math.inf
            or (layer.place == network.output and self._follows_targets(layer, factor, thresholds))
            or (_is_slow(layer) and not ended and factor < thresholds.explode_serious**2)
        ):
            return None
        step = _onset(layer)
        critical = factor >= thresholds.explode_critical or ended
        severity = graded(serious="exploding" in layer.streaks, critical=critical)
        trend = network.once(_trends)[layer.place]
        message = (
            f"{layer.name} has been exploding since step {step}: the rms of its {layer.elements} grew from "
            f"{number(base)} to {'' if len(known) else 'more than '}{number(last)}"
            f"{' before they became NaN or Inf' if ended else ''}."
        )
        evidence = Evidence(
            rms_first=base, rms_last=last, growth=last / base if base > 0.0 else None,
            rows_without_finite=len(run) - len(known), **(trend.evidence() if trend else {}),
            **overflow_ahead(layer, trend)
        )  # fmt: skip
        told = exploding.over_steps(layer, network, step, exploding.jump(scale, streak.rows))
        return told.finding(layer.info.name, self.condition, severity, step, evidence, message)

    def _follows_targets(self, layer: LayerView, factor: float, thresholds: ExplodingThresholds) -> bool:
        """Whether an output that has grown is on the scale of its targets, or may be on the way to it."""
        if factor < thresholds.explode_serious**2:
            return True
        rows = layer.rows[-thresholds.recent_rows :]
        whole = len(rows) == thresholds.recent_rows and not facts.not_finite(rows).any()
        scale = rms(rows)
        return whole and bool(scale.max() <= _STEADY * scale.min())

    def _over_depth(self, layer: LayerView, network: Network, thresholds: ExplodingThresholds) -> Finding | None:
        streak = layer.streaks.get("large")
        if streak is None or streak.rows < thresholds.min_rows:
            return None
        now = network.rms[layer.place]
        if layer.place == network.output:  # it may learn to be as large as its targets are
            now = row_rms(layer.first)
        reference = network.layers[0] if layer.place > 0 else None
        first = network.rms[0] if reference is not None else math.nan
        unbounded = layer_types.is_recurrent(layer.info.layer_type)
        far = first > 0.0 and now >= thresholds.explode_depth * first
        if not (now >= thresholds.explode_scale and (far or unbounded)) and not (
            reference is None and now >= thresholds.explode_bound
        ):
            return None
        factor = now / first if first > 0.0 else math.nan
        severity = graded(
            serious=True, critical=factor >= thresholds.explode_critical or now >= thresholds.explode_bound
        )
        per_layer = math.exp(math.log(factor) / layer.place) if far and math.isfinite(factor) else None
        evidence = Evidence(rms_first_layer=first, rms=now, growth=factor, growth_per_layer=per_layer)
        grows = f"the rms of its outputs is {number(now)}"
        if far and reference is not None:
            grows = f"the rms grows from {number(first)} in {reference.name} to {number(now)} here"
        message = f"{layer.name} has been exploding over depth since step {streak.step}: {grows}."
        told = best(exploding.over_depth(layer, network, streak.step))
        return told.finding(layer.info.name, self.condition, severity, streak.step, evidence, message)

    def _exponent(self, layer: LayerView, network: Network) -> Finding | None:
        if nan_origin.exponent_source(network) is not layer:
            return None
        known = "exponent" in layer.streaks
        step = _onset(layer, "exponent") if known else nan_origin.exponent_since(layer, network)
        top = facts.largest(layer.rows)
        finite = top[~np.isnan(top)]
        reached = float(finite.max()) if len(finite) else None
        below = reached is not None and float(np.nanmax(layer.rows["max"])) < reached
        said = f"its values reach {'-' if below else ''}{number(reached)}" if reached else "its values left their range"
        dtype = layer.info.dtype or "its dtype"
        what = "whose exponential" if not below else "and the exponential of their negatives, or a quotient by theirs,"
        more = f"{what} is more than {dtype} can hold" if known else "and what is multiplied by their exponential grew"
        message = f"{layer.name} has been exploding since step {step}: {said}, {more}, and NaN or Inf came of it."
        evidence = Evidence(largest=reached, rms_first=row_rms(layer.first))
        told = exploding.over_steps(layer, network, step, None)
        return told.finding(layer.info.name, self.condition, "critical", step, evidence, message)


def _some_unknown(network: Network) -> bool:
    """Whether any row of any layer has no finite element."""
    return bool(np.isnan(network.moments[2]).any())


def _trends(network: Network) -> dict[int, Trend | None]:
    """How each layer grows that has grown by orders of magnitude, by its place."""
    found: dict[int, Trend | None] = {}
    by_rows: dict[int, list[int]] = {}
    for place in network.begun("growing"):
        by_rows.setdefault(len(network.layers[place].rows), []).append(place)
    for rows, places in by_rows.items():
        at = network.starts[places][:, None] + np.arange(rows)
        found |= zip(places, growths(network.table["step"][at], network.moments[2][at]), strict=True)
    return found


def _is_slow(layer: LayerView) -> bool:
    """Whether a layer took long from where it left its usual range to where it counts as exploding."""
    return layer.streaks["left"].rows - layer.streaks["growing"].rows > _ROWS


def _onset(layer: LayerView, name: str = "growing") -> int:
    """The step at which a layer left its usual range, if the run `name` began soon after that."""
    run, left = layer.streaks[name], layer.streaks.get("left", layer.streaks[name])
    return left.step if 0 <= left.rows - run.rows <= _ROWS else run.step
