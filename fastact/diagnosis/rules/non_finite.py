"""NaN and Inf: where and when they first appeared, and where they were born."""

from collections.abc import Container
from typing import Any, ClassVar, Final

import numpy as np

from fastact.diagnosis import layer_types
from fastact.diagnosis.causes import non_finite
from fastact.diagnosis.causes.cause import Cause, best
from fastact.diagnosis.evidence import facts, nan_origin
from fastact.diagnosis.finding import NOTE, Evidence, Finding, graded
from fastact.diagnosis.network import LayerView, Network
from fastact.diagnosis.row_conditions import Cascade, Cells, Row, RowCondition
from fastact.diagnosis.rule import Circumstances, Outcome, Rule, comes_first
from fastact.diagnosis.thresholds import CommonThresholds, count_field
from fastact.fields import COLUMN
from fastact.history import LayerInfo
from fastact.text import percent

#: Rows for which the first NaN or Inf of a layer is remembered.
_EVER: Final = 1 << 60

_STEP, _COUNT = COLUMN["step"], COLUMN["count"]
_NANS, _POS, _NEG = COLUMN["nans"], COLUMN["pos_infs"], COLUMN["neg_infs"]


class NonFiniteThresholds(CommonThresholds):
    """What `NonFinite` compares with."""

    loss_scale_rows: int = count_field(
        20,
        "rows; non_finite: float16 gradients that are not finite in this many rows without a break are not those of a "
        "loss scaler that looks for its scale. A scale that is halved in each falls from 2^24 to 2^4. Chosen",
    )


def _before(cause: Finding, effect: Finding, around: Circumstances) -> bool:
    """In one step the explosion explains the NaN."""
    return cause.first_step < effect.first_step


def _reaches(cause: Finding, effect: Finding, around: Circumstances) -> bool:
    """In the step in which it appears it reaches only the layers after it."""
    return comes_first(cause, effect, around) or (cause.first_step <= effect.first_step and cause.layer == effect.layer)


class NonFinite(Rule[NonFiniteThresholds]):
    """A NaN or an Inf in the window.

    Formula:
        nans + pos_infs + neg_infs > 0 in any row of the window. Critical while the last row has some, serious where
        they have gone. The first step is that of the first such row after a whole window without; of all layers the
        first one at the earliest step is the culprit; all others inherit it.

    -inf alone is intended in a LogSoftmax (the logarithm of a probability of zero) and in layers recorded with the type
    "AttentionScores" (a mask before the softmax): there only NaN and +inf count.

    Source:
        SageMaker Debugger's ExplodingTensor and Hugging Face's DebugUnderflowOverflow fire on any NaN or Inf as well.
    """

    condition = "non_finite"
    adjective = "NaN or Inf"
    shows = "non_finite_ratio"
    judges = layer_types.OUTPUTS | {layer_types.GRADIENT}
    first_explains_all = True
    handed_on = True
    explains: ClassVar = {"non_finite": comes_first, "exploding": _before} | dict.fromkeys(
        ("saturated", "dead", "vanishing", "constant"), _reaches
    )

    def needs(self, thresholds: NonFiniteThresholds) -> int:
        """One row."""
        return 1

    def row_conditions(self, info: LayerInfo, first: Row, thresholds: NonFiniteThresholds) -> tuple[Cascade, ...]:
        """Rows with any NaN or Inf; where -inf is intended, with any other."""
        masked = info.layer_type in layer_types.MASKED

        def holds(cells: Cells) -> Any:
            bad = cells[_NANS] | cells[_POS]
            return (bad if masked else bad | cells[_NEG]) != 0

        known = RowCondition("non_finite", holds, patience=0), RowCondition("ever_non_finite", holds, patience=_EVER)
        return (Cascade(known),)

    def suspects(self, network: Network, thresholds: NonFiniteThresholds) -> Container[int] | None:
        """Those that had NaN or Inf of late."""
        return network.begun("non_finite")

    def check(self, layer: LayerView, network: Network, thresholds: NonFiniteThresholds) -> Finding | Outcome:
        """What is not finite in the window."""
        streak = layer.streaks.get("non_finite")
        if streak is None:
            return Outcome.NOT_FOUND
        gradient = layer.info.layer_type == layer_types.GRADIENT
        step = _gradient_since(layer, network, streak.step, thresholds) if gradient else streak.step
        if step is None:
            return Outcome.NOT_FOUND
        spell = _spell(layer, network, step)
        if spell.begun is None:
            return Outcome.NOT_FOUND
        first, last = spell.begun, layer.last
        nans, infs = first[_NANS], first[_POS] + first[_NEG]
        share = min((nans + infs) / max(first[_COUNT], 1), 1.0)
        what = "NaN" if not infs else "Inf" if not nans else "NaN and Inf"
        # What it began with may have left the window.
        seen = f" ({percent(share)} of them at first)" if first[_STEP] == step else ""
        evidence = Evidence(
            nans=last[_NANS], pos_infs=last[_POS], neg_infs=last[_NEG], count=last[_COUNT],
            rows_with_non_finite=spell.broken, first_in_window=first[_STEP],
            share_at_first_in_window=share
        )  # fmt: skip
        message = f"{layer.name} has had {what} in its {layer.elements} since step {step}{seen}{layer.looked_at}"
        message += "." if spell.now else ", but none in its last row."
        severity = graded(serious=True, critical=spell.now)
        if _is_mask(layer, network) or (gradient and _was_skipped(network, step, now=spell.now)):
            severity = NOTE
        if gradient:
            causes = _gradient_causes(layer, network, step)
        else:
            causes = non_finite.causes(nan_origin.birth(layer, network))
        told = best(causes, otherwise=("look at what this layer computes, and at its weights",))
        return told.finding(layer.info.name, self.condition, severity, step, evidence, message)


def _spell(layer: LayerView, network: Network, step: int) -> nan_origin.Spell:
    """The layer's rows since a step; Inf that may be meant does not count."""
    masked = layer.info.layer_type in layer_types.MASKED
    if not masked and step == layer.streaks["non_finite"].step:  # as a rule: of all layers at once
        return nan_origin.spells(network)[layer.place]
    rows = layer.since(step)
    bad = rows["nans"] | rows["pos_infs"]
    return nan_origin.spell(rows, (bad if masked else bad | rows["neg_infs"]) != 0)


def _is_mask(layer: LayerView, network: Network) -> bool:
    """Whether it is minus infinity alone, in a layer without weights, and no layer after it has any: a mask."""
    if layer.place in network.once(_with_others) or layer_types.has_weights(layer.info.layer_type):
        return False
    return not any(
        network.layers[place].info.name in nan_origin.steps(network)
        for place in range(layer.place + 1, len(network.layers))
    )


def _with_others(network: Network) -> set[int]:
    """The places of the layers that have NaN or plus infinity in any row."""
    bad = (network.table["nans"] | network.table["pos_infs"]) != 0
    return set(np.flatnonzero(np.logical_or.reduceat(bad, network.starts)).tolist())


def _gradient_since(layer: LayerView, network: Network, step: int, thresholds: NonFiniteThresholds) -> int | None:
    """Since when a gradient has been sick; None where a loss scaler is at work, which tries how far it can go."""
    begun = nan_origin.activations_since(network)
    if begun is not None and begun <= step:
        return step
    known = facts.gradients(network)
    if begun is not None and not _broken_just_before(known, begun):
        return begun if facts.broken(layer.last) else None  # what was before it had been skipped
    if begun is None and facts.half_precision(network):
        tail = _tail(known)
        return tail[0] if len(tail) >= thresholds.loss_scale_rows and _is_broken_in(layer, tail[-1]) else None
    return step


def _is_broken_in(layer: LayerView, step: int) -> bool:
    row = facts.row_at(layer, step)
    return row is not None and facts.broken(row) > 0


def _broken_just_before(known: facts.Gradients, step: int) -> bool:
    """Whether a gradient was not finite in the last recorded step before `step`."""
    before = [each for each in known.steps if each < step]
    return not before or before[-1] in known.broken


def _tail(known: facts.Gradients) -> list[int]:
    """The last recorded steps in which gradients were not finite, without a break up to now."""
    broken, tail = set(known.broken), []
    for step in reversed(known.steps):
        if step not in broken:
            break
        tail.append(step)
    return tail[::-1]


def _was_skipped(network: Network, step: int, *, now: bool) -> bool:
    """Whether a gradient that was not finite has gone, and left no trace in the activations."""
    return not now and nan_origin.activations_since(network) is None


def _gradient_causes(layer: LayerView, network: Network, step: int) -> list[Cause]:
    begun = nan_origin.activations_since(network)
    if begun is not None and begun <= step:
        says = "The activations were not finite, and so their gradients are not."
        return [
            Cause("handed_on", says, ("look at the layers",), (f"a layer had NaN or Inf at step {begun}",), (), True)
        ]
    half = facts.half_precision(network)
    rows = len(_tail(facts.gradients(network)))
    scale = Cause(
        "loss_scale",
        "The loss scale is too large and does not come down: each update is skipped, and nothing is learned.",
        (
            "let the scaler update after each step (scaler.update())",
            "use a smaller initial loss scale",
            "train in bfloat16",
        ),
        (
            "the activations are finite",
            f"its gradients have not been finite for {rows} recorded steps",
            "float16 is used",
        ),
        ()
        if half and begun is None
        else ("float16 was not recorded",)
        if not half
        else ("the update was not skipped",),
    )
    root = Cause(
        "numerics",
        "The backward pass made NaN out of finite activations: the derivative of a root, norm, logarithm or quotient "
        "is infinite at zero, in the loss too.",
        (non_finite.EPSILON_IN_LOSS, non_finite.SKIP),
        ("the activations were finite in that step",) + (("the weights took it over",) if begun is not None else ()),
    )
    return [scale, root]
