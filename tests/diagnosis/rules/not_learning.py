"""What the tests of `not_learning` share: its findings, and a loss that falls."""

from typing import Any

import numpy as np
from supervised import LN10, Given, noisy, seen

from fastact.diagnosis.finding import Finding

FLAT = noisy(np.full(150, LN10))


def findings(*parts: Given, **more: Any) -> list[Finding]:
    return [f for f in seen(*parts, **more).diagnose().findings if f.condition == "not_learning"]


def only(*parts: Given, **more: Any) -> Finding:
    (finding,) = findings(*parts, **more)
    return finding


def falling(rows: int, rate: float = 30.0, end: float = 0.2, start: float = 1.05) -> Any:
    return LN10 * (end + (start - end) * np.exp(-np.arange(rows) / rate))
