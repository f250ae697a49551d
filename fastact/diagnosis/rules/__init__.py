"""The rules that run, one file for each condition, and all of their thresholds in one class.

A new rule is its own file here, a line in `RULES` and, if it has thresholds of its own, a line in `Thresholds`;
README.md says how.
"""

from typing import Any, Final

from fastact.diagnosis.rule import Rule
from fastact.diagnosis.rules.collapsed import Collapsed, CollapsedThresholds
from fastact.diagnosis.rules.constant import Constant, ConstantThresholds
from fastact.diagnosis.rules.dead import Dead, DeadThresholds
from fastact.diagnosis.rules.drifting import Drifting, DriftingThresholds
from fastact.diagnosis.rules.eval_shift import EvalShift, EvalShiftThresholds
from fastact.diagnosis.rules.exploding import Exploding, ExplodingThresholds
from fastact.diagnosis.rules.non_finite import NonFinite, NonFiniteThresholds
from fastact.diagnosis.rules.not_learning import NotLearning, NotLearningThresholds
from fastact.diagnosis.rules.oscillating import Oscillating, OscillatingThresholds
from fastact.diagnosis.rules.outlier_channels import OutlierChannels, OutlierChannelsThresholds
from fastact.diagnosis.rules.output_mismatch import OutputMismatch, OutputMismatchThresholds
from fastact.diagnosis.rules.overflow_risk import OverflowRisk, OverflowRiskThresholds
from fastact.diagnosis.rules.rank_differs import RankDiffers, RankDiffersThresholds
from fastact.diagnosis.rules.saturated import Saturated, SaturatedThresholds
from fastact.diagnosis.rules.underflow_risk import UnderflowRisk, UnderflowRiskThresholds
from fastact.diagnosis.rules.unused import Unused, UnusedThresholds
from fastact.diagnosis.rules.vanishing import Vanishing, VanishingThresholds

__all__ = ["RULES", "Thresholds", "adjective"]


class Thresholds(
    # Dataclasses take fields from the last base class to the first one.
    RankDiffersThresholds,
    NotLearningThresholds,
    OutputMismatchThresholds,
    EvalShiftThresholds,
    DriftingThresholds,
    CollapsedThresholds,
    ConstantThresholds,
    OscillatingThresholds,
    OutlierChannelsThresholds,
    UnderflowRiskThresholds,
    NonFiniteThresholds,
    OverflowRiskThresholds,
    VanishingThresholds,
    ExplodingThresholds,
    SaturatedThresholds,
    UnusedThresholds,
    DeadThresholds,
):
    """What the rules compare with. Every field can be overridden; `Thresholds.describe()` lists them all.

    Raises:
        ArgumentTypeError: a value is not a number of the field's type.
        ArgumentValueError: a value is out of range, or the bands of one condition are not in order.

    Example:
        >>> Thresholds(dead_warning=0.1).dead_warning
        0.1
        >>> Thresholds(dead_warning=2.0)
        Traceback (most recent call last):
        fastact.errors.ArgumentValueError: dead_warning: got 2.0, want more than 0 and at most 1
        >>> Thresholds.describe()["dead_most"]
        'share of neurons (default 0.9); dead: a finding from here, whatever gets through. Chosen'
    """


#: Causes before consequences: a finding can explain one of a later condition, or a later one of its own.
RULES: Final[tuple[Rule[Any], ...]] = (
    RankDiffers(),
    OutputMismatch(),
    Exploding(),
    OutlierChannels(),
    OverflowRisk(),
    NonFinite(),
    Saturated(),
    UnderflowRisk(),
    Unused(),
    Dead(),
    Vanishing(),
    Constant(),
    Collapsed(),
    EvalShift(),
    Oscillating(),
    Drifting(),
    NotLearning(),
)


def adjective(condition: str) -> str:
    """How a report says a condition of a layer: ``"close to overflow"`` for ``"overflow_risk"``."""
    return next((rule.adjective for rule in RULES if rule.condition == condition), condition)
