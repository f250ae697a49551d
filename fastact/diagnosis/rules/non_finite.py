"""NaN and Inf: where and when they first appeared."""

from typing import Any, ClassVar

from fastact.diagnosis import layer_types
from fastact.diagnosis.finding import Evidence, Finding, graded
from fastact.diagnosis.network import LayerView, Network
from fastact.diagnosis.remedies import CLIP_GRADIENTS, LOWER_RATE
from fastact.diagnosis.row_conditions import Cascade, Cells, Row, RowCondition
from fastact.diagnosis.rule import Circumstances, Outcome, Rule, comes_first
from fastact.diagnosis.thresholds import CommonThresholds
from fastact.fields import COLUMN
from fastact.history import LayerInfo
from fastact.text import percent

_NANS, _POS, _NEG = COLUMN["nans"], COLUMN["pos_infs"], COLUMN["neg_infs"]


def _before(cause: Finding, effect: Finding, around: Circumstances) -> bool:
    """In one step the explosion explains the NaN."""
    return cause.first_step < effect.first_step


def _reaches(cause: Finding, effect: Finding, around: Circumstances) -> bool:
    """In the step in which it appears it reaches only the layers after it."""
    return comes_first(cause, effect, around) or (cause.first_step <= effect.first_step and cause.layer == effect.layer)


class NonFinite(Rule[CommonThresholds]):
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
    judges_gradients = True
    first_explains_all = True
    handed_on = True
    explains: ClassVar = {"non_finite": comes_first, "exploding": _before} | dict.fromkeys(
        ("saturated", "dead", "vanishing", "constant"), _reaches
    )

    def needs(self, thresholds: CommonThresholds) -> int:
        """One row."""
        return 1

    def row_conditions(self, info: LayerInfo, first: Row, thresholds: CommonThresholds) -> tuple[Cascade, ...]:
        """Rows with any NaN or Inf; where -inf is intended, with any other."""

        def holds(cells: Cells) -> Any:
            return (cells[_NANS] | cells[_POS] | cells[_NEG]) != 0

        def holds_unmasked(cells: Cells) -> Any:
            return (cells[_NANS] | cells[_POS]) != 0

        masked = info.layer_type in layer_types.MASKED
        return (Cascade((RowCondition("non_finite", holds_unmasked if masked else holds, patience=0),)),)

    def check(self, layer: LayerView, network: Network, thresholds: CommonThresholds) -> Finding | Outcome:
        """What is not finite in the window."""
        streak = layer.streaks.get("non_finite")
        if streak is None:
            return Outcome.NOT_FOUND
        rows = layer.rows
        bad = rows["nans"] | rows["pos_infs"]
        if layer.info.layer_type not in layer_types.MASKED:
            bad |= rows["neg_infs"]
        places = bad.nonzero()[0]
        if not len(places):
            return Outcome.NOT_FOUND
        first, last = rows[places[0]], rows[-1]
        nans, infs = int(first["nans"]), int(first["pos_infs"]) + int(first["neg_infs"])
        share = (nans + infs) / max(int(first["count"]), 1)
        what = "NaN" if not infs else "Inf" if not nans else "NaN and Inf"
        now = bool(bad[-1])
        # What it began with may have left the window.
        seen = f" ({percent(min(share, 1.0))} of them at first)" if int(first["step"]) == streak.step else ""
        evidence = Evidence(
            nans=int(last["nans"]), pos_infs=int(last["pos_infs"]), neg_infs=int(last["neg_infs"]),
            count=int(last["count"]), rows_with_non_finite=len(places), first_in_window=int(first["step"]),
            share_at_first_in_window=share
        )  # fmt: skip
        message = f"{layer.name} has had {what} in its {layer.elements} since step {streak.step}{seen}"
        message += "." if now else ", but none in its last row."
        cause, remedies = _cause(layer, nans=nans, infs=infs), _remedies(layer, nans=nans)
        severity = graded(serious=True, critical=now)
        return Finding(layer.info.name, self.condition, severity, streak.step, evidence, message, cause, remedies)


def _cause(layer: LayerView, *, nans: int, infs: int) -> str:
    if infs and not nans:
        return f"A value exceeded what {layer.info.dtype or 'its dtype'} can hold."
    if layer.place == 0:
        return "Its inputs contain NaN or Inf, or its weights do after an update with a gradient that was not finite."
    if layer_types.has_weights(layer.info.layer_type):
        return (
            "Its weights contain NaN after an update with a gradient that was not finite (a root, logarithm or "
            "quotient at zero), or its input does."
        )
    return "It computed 0/0, inf - inf, or the logarithm or root of a negative number, or its input contains NaN."


def _remedies(layer: LayerView, *, nans: int) -> tuple[str, ...]:
    inputs = "check the inputs for NaN and Inf"
    if layer.place == 0:
        return inputs, LOWER_RATE, CLIP_GRADIENTS
    if not nans:
        return LOWER_RATE, CLIP_GRADIENTS, inputs
    away = "keep divisors and arguments of logarithms and roots away from zero by a small epsilon, in the loss too"
    return away, LOWER_RATE, CLIP_GRADIENTS
