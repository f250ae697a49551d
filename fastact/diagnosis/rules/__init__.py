"""The rules: one small stateless object for each condition, and what they share.

`RULES` is the visible list; a rule that is not in it does not run. Its order is that of causes before consequences.
"""

from typing import Final

from fastact.diagnosis.rule import Rule
from fastact.diagnosis.rules.constant import Constant
from fastact.diagnosis.rules.dead import Dead
from fastact.diagnosis.rules.drifting import Drifting
from fastact.diagnosis.rules.exploding import Exploding
from fastact.diagnosis.rules.non_finite import NonFinite
from fastact.diagnosis.rules.oscillating import Oscillating
from fastact.diagnosis.rules.outliers import OutlierChannels
from fastact.diagnosis.rules.overflow import OverflowRisk
from fastact.diagnosis.rules.saturated import Saturated
from fastact.diagnosis.rules.underflow import UnderflowRisk
from fastact.diagnosis.rules.vanishing import Vanishing
from fastact.diagnosis.thresholds import Thresholds

__all__ = ["RULES", "Thresholds"]

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
