"""The published rules of others, with their own thresholds: what fastact is compared with.

A preset judges each layer by itself and links nothing: these rules know no causes. Where a rule needs a number that a
row does not have, the nearest one that it has stands in, and the rule's `meaning` says so. Rules that need gradients,
weights, a loss or the tensors themselves are left out.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from fastact.checks import check_choice
from fastact.diagnosis.finding import Evidence, Finding
from fastact.diagnosis.network import LayerView

_Rows = npt.NDArray[np.void]
#: Takes the rows of one layer, shape (rows,), oldest first; returns the place of the first one to blame, or None.
_Test = Callable[[_Rows], int | None]

_RELU: Final = frozenset({"ReLU", "ReLU6"})
_SQUASHING: Final = frozenset({"Tanh", "Sigmoid"})


class Published(NamedTuple):
    """A rule as somebody published it.

    Attributes:
        name: what they call it.
        condition: the condition of ours that it stands for.
        meaning: when it fires, in words, and what stands in for what.
        test: the rule itself, over the rows in the window.
        layer_types: the types of layers that it is for; empty for all.
    """

    name: str
    condition: str
    meaning: str
    test: _Test
    layer_types: frozenset[str] = frozenset()


def _share(rows: _Rows, part: str, whole: str = "count") -> Any:
    """One field over another, row by row: float64, shape (rows,); NaN where there is nothing."""
    return rows[part] / rows[whole].astype(np.float64)


def _silent(rows: _Rows) -> Any:
    """The share of silent units in a row; the share of zeros where a layer was not swept per neuron."""
    return np.where(rows["neurons"] > 0, _share(rows, "silent_neurons", "neurons"), _share(rows, "zeros"))


def _any(holds: Callable[[_Rows], Any]) -> _Test:
    """Fires in the first row for which it holds."""

    def test(rows: _Rows) -> int | None:
        places = np.flatnonzero(holds(rows))
        return int(places[0]) if len(places) else None

    return test


def _pooled(part: str, limit: float, recent: int = 10) -> _Test:
    """Fires when over the last `recent` rows together more than `limit` of the elements are `part`."""

    def test(rows: _Rows) -> int | None:
        last = rows[-recent:]
        count = float(last["count"].astype(np.float64).sum())
        sick = count > 0.0 and float(last[part].astype(np.float64).sum()) > limit * count
        return len(rows) - len(last) if sick else None

    return test


def _sustained(measure: Callable[[_Rows], Any], limit: float) -> _Test:
    """Fires when in the later half of the rows at least half of them have more than `limit`."""

    def test(rows: _Rows) -> int | None:
        start = len(rows) // 2
        over = measure(rows[start:]) > limit
        return start + int(over.argmax()) if 2 * int(np.count_nonzero(over)) >= len(over) else None

    return test


_NON_FINITE: Final = _any(lambda rows: (rows["nans"] | rows["pos_infs"] | rows["neg_infs"]) != 0)
_EXPLODING_TENSOR: Final = Published("ExplodingTensor", "non_finite", "any NaN or Inf in any row", _NON_FINITE)

#: By name; in each, the rules in the order in which they are asked: a condition is told of a layer once.
PRESETS: Final[dict[str, tuple[Published, ...]]] = {
    # What is written most often in scripts and answers.
    "naive": (
        Published("zero ratio", "dead", "more than 0.5 of the elements of the last 10 rows are zero",
                  _pooled("zeros", 0.5)),
        Published("saturation ratio", "saturated", "more than 0.1 of the elements of the last 10 rows are saturated",
                  _pooled("saturated", 0.1)),
    ),
    # Amazon SageMaker Debugger's built-in rules and their defaults. UnchangedTensor needs the tensors.
    "sagemaker": (
        _EXPLODING_TENSOR,
        Published("DeadRelu", "dead", "more than 50% of the neurons are active for less than 1% of the elements, in "
                  "any row", _any(lambda rows: _share(rows, "silent_neurons", "neurons") > 0.5), _RELU),
        Published("AllZero", "dead", "all elements are zero, in any row",
                  _any(lambda rows: _share(rows, "zeros") >= 1.0)),
        Published("SaturatedActivation", "saturated", "more than 50% of the neurons are saturated for 95% of the "
                  "elements, in any row (theirs: inputs beyond ±9.5 for 99%)",
                  _any(lambda rows: _share(rows, "saturated_neurons", "neurons") > 0.5), _SQUASHING),
        Published("TensorVariance", "exploding", "the variance is above 10, in any row",
                  _any(lambda rows: rows["std"] ** 2 > 10.0)),
        Published("TensorVariance", "vanishing", "the variance is below 1e-5, in any row",
                  _any(lambda rows: np.square(rows["std"]) < 1e-5)),
        Published("VanishingGradient", "vanishing", "the mean of |x| is below 1e-7, in any row (theirs: of the "
                  "gradients)", _any(lambda rows: rows["abs_mean"] < 1e-7)),
    ),
    # DeepDiagnosis (ICSE 2022). Its rules on weights, gradients, loss and accuracy are left out.
    "deepdiagnosis": (
        Published("NumericalError", "non_finite", _EXPLODING_TENSOR.meaning, _NON_FINITE),
        Published("DeadNode", "dead", "70% of the elements are zero, in any row (theirs: at most zero)",
                  _any(lambda rows: _share(rows, "zeros") >= 0.7), _RELU),
        Published("SaturatedActivation", "saturated", "more than 50% of the elements are saturated, in any row "
                  "(theirs: inputs beyond ±5)", _any(lambda rows: _share(rows, "saturated") > 0.5), _SQUASHING),
    ),
    # torchmortem's DeadUnitDetector and SaturationDetector, over the window in place of the run.
    "torchmortem": (
        Published("dead_units", "dead", "in half of the later half of the rows more than 50% of the units are dead",
                  _sustained(_silent, 0.5)),
        Published("saturation", "saturated", "in half of the later half of the rows more than 50% of the elements are "
                  "saturated (theirs: |x| > 0.95)", _sustained(lambda rows: _share(rows, "saturated"), 0.5)),
    ),
    # AUTOTRAINER (ICSE 2021). Its other rules look at gradients and accuracy.
    "autotrainer": (
        Published("dying ReLU", "dead", "70% of the elements are zero, in any row (theirs: of the gradients)",
                  _any(lambda rows: _share(rows, "zeros") >= 0.7), _RELU),
    ),
}  # fmt: skip


def judge(preset: str, layers: Sequence[LayerView]) -> tuple[Finding, ...]:
    """What the rules of `preset` find in each layer, the earliest first, then in forward order.

    Raises:
        ArgumentValueError: there is no such preset.
    """
    check_choice("preset", preset, PRESETS)
    findings: list[tuple[int, int, Finding]] = []
    for layer in layers:
        told: set[str] = set()
        for rule in PRESETS[preset]:
            if rule.condition in told or (rule.layer_types and layer.info.layer_type not in rule.layer_types):
                continue
            with np.errstate(all="ignore"):
                place = rule.test(layer.rows)
            if place is not None:
                told.add(rule.condition)
                finding = _finding(preset, rule, layer, layer.rows[place])
                findings.append((finding.first_step, layer.place, finding))
    return tuple(finding for _, _, finding in sorted(findings, key=lambda item: item[:2]))


def _finding(preset: str, rule: Published, layer: LayerView, row: Any) -> Finding:
    step, evidence = int(row["step"]), Evidence(preset=preset, rule=rule.name)
    message = f"{layer.name} has triggered the {preset} rule {rule.name!r} since step {step}: {rule.meaning}."
    cause, remedies = "The preset's rules name no cause.", ("diagnose without a preset for causes and remedies",)
    return Finding(layer.info.name, rule.condition, "serious", step, evidence, message, cause, remedies)
