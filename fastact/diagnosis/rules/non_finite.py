"""NaN and Inf: where and when they were born."""

from typing import Any

from fastact.diagnosis import layer_types
from fastact.diagnosis.finding import Evidence, Finding
from fastact.diagnosis.remedies import LOWER_RATE
from fastact.diagnosis.rule import COLUMN, Cells, Chain, LayerView, Network, Outcome, Row, Track
from fastact.diagnosis.thresholds import Thresholds
from fastact.history import LayerInfo
from fastact.text import percent

__all__ = ["NonFinite"]

_NANS, _POS, _NEG = COLUMN["nans"], COLUMN["pos_infs"], COLUMN["neg_infs"]


class NonFinite:
    """A NaN or an Inf in the window.

    Formula:
        nans + pos_infs + neg_infs > 0 in any row of the window. Critical while the last row has some, serious where
        they have gone. The first step is that of the first such row after a whole window without; of all layers the
        first one at the earliest step is the culprit, all others carry.

    -inf alone is meant in a LogSoftmax (the logarithm of a probability of zero) and in layers recorded with the type
    "AttentionScores" (a mask before the softmax): there only NaN and +inf count.

    Source:
        SageMaker Debugger's ExplodingTensor and Hugging Face's DebugUnderflowOverflow fire on any NaN or Inf as well.
    """

    condition = "non_finite"

    def applies(self, info: LayerInfo) -> bool:
        """Every type."""
        del info
        return True

    def needs(self, thresholds: Thresholds) -> int:
        """One row."""
        del thresholds
        return 1

    def tracks(self, info: LayerInfo, first: Row, thresholds: Thresholds) -> tuple[Chain, ...]:
        """Rows with any NaN or Inf; where -inf is meant, with any other."""
        del first, thresholds

        def holds(cells: Cells) -> Any:
            return (cells[_NANS] | cells[_POS] | cells[_NEG]) != 0

        def holds_unmasked(cells: Cells) -> Any:
            return (cells[_NANS] | cells[_POS]) != 0

        return (
            Chain(
                (Track("non_finite", holds_unmasked if info.layer_type in layer_types.MASKED else holds, patience=0),)
            ),
        )

    def check(self, layer: LayerView, network: Network, thresholds: Thresholds) -> Finding | Outcome:
        """What is not finite in the window."""
        del network, thresholds
        masked = layer.info.layer_type in layer_types.MASKED
        streak = layer.streaks.get("non_finite")
        if streak is None:
            return Outcome.NOT_FOUND
        rows = layer.rows
        bad = rows["nans"] | rows["pos_infs"]
        if not masked:
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
        return Finding(
            layer=layer.info.name,
            condition=self.condition,
            severity="critical" if now else "serious",
            first_step=streak.step,
            evidence=Evidence(
                nans=int(last["nans"]),
                pos_infs=int(last["pos_infs"]),
                neg_infs=int(last["neg_infs"]),
                count=int(last["count"]),
                rows_with_non_finite=len(places),
                first_in_window=int(first["step"]),
                share_at_first_in_window=share,
            ),
            message=f"{layer.name} has had {what} among its outputs since step {streak.step}{seen}"
            + ("." if now else ", though not in its last row."),
            cause=_cause(layer, nans=nans, infs=infs),
            remedies=_remedies(layer, nans=nans),
        )


def _cause(layer: LayerView, *, nans: int, infs: int) -> str:
    if infs and not nans:
        return f"A value went beyond what {layer.info.dtype or 'its dtype'} can hold."
    if layer.place == 0:
        return "Its inputs held NaN or Inf, or its weights do, after an update with a gradient that was not finite."
    if layer_types.has_weights(layer.info.layer_type):
        return (
            "Its weights hold NaN, after an update with a gradient that was not finite (a root, a logarithm or a "
            "quotient at zero), or what it is fed does."
        )
    return "It computed 0/0, inf - inf, or a logarithm or root of a negative number, or what it is fed held NaN."


def _remedies(layer: LayerView, *, nans: int) -> tuple[str, ...]:
    inputs = "check the inputs for NaN and Inf"
    if layer.place == 0:
        return inputs, LOWER_RATE, "clip the gradients"
    if not nans:
        return LOWER_RATE, "clip the gradients", inputs
    return (
        "keep divisors, logarithms and roots away from zero with a small epsilon, in the loss too",
        LOWER_RATE,
        "clip the gradients",
    )
