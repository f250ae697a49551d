"""The rules: one small stateless object for each condition, and what they share.

`RULES` is the visible list; a rule that is not in it does not run. Its order is that of causes before consequences.
"""

from typing import Final

from fastact.rules.base import (
    COLUMN,
    SEVERITIES,
    Cells,
    Chain,
    Condition,
    Evidence,
    Finding,
    LayerView,
    Network,
    Outcome,
    Row,
    Rule,
    Severity,
    Streak,
    Track,
    number,
    percent,
    shown,
)
from fastact.rules.constant import Constant
from fastact.rules.dead import Dead
from fastact.rules.drifting import Drifting
from fastact.rules.exploding import Exploding
from fastact.rules.non_finite import NonFinite
from fastact.rules.onsets import Follower
from fastact.rules.oscillating import Oscillating
from fastact.rules.outliers import OutlierChannels
from fastact.rules.overflow import OverflowRisk
from fastact.rules.presets import PRESETS, judge
from fastact.rules.saturated import Saturated
from fastact.rules.underflow import UnderflowRisk
from fastact.rules.vanishing import Vanishing

__all__ = [
    "COLUMN",
    "PRESETS",
    "RULES",
    "SEVERITIES",
    "Cells",
    "Chain",
    "Condition",
    "Constant",
    "Dead",
    "Drifting",
    "Evidence",
    "Exploding",
    "Finding",
    "Follower",
    "LayerView",
    "Network",
    "NonFinite",
    "Oscillating",
    "Outcome",
    "OutlierChannels",
    "OverflowRisk",
    "Row",
    "Rule",
    "Saturated",
    "Severity",
    "Streak",
    "Track",
    "UnderflowRisk",
    "Vanishing",
    "judge",
    "number",
    "percent",
    "shown",
]

#: Causes before consequences: a finding can explain one of a later condition, or a later one of its own.
RULES: Final[tuple[Rule, ...]] = (
    Exploding(),
    OutlierChannels(),
    OverflowRisk(),
    NonFinite(),
    Saturated(),
    UnderflowRisk(),
    Dead(),
    Vanishing(),
    Constant(),
    Oscillating(),
    Drifting(),
)
