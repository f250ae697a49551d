"""Drift: sudden changes that last, and what is small, slow, early or over."""

import math
from typing import Any

import numpy as np
import pytest
from synthetic import found, only, row, watch

from fastact.diagnosis.finding import Finding
from fastact.diagnosis.network import Network
from fastact.diagnosis.rules import RULES


def scales(*parts: tuple[int, float], noise: float = 0.02) -> list[Any]:
    """Rows whose rms holds a level for so many rows each, but for a little noise."""
    levels = [level for rows, level in parts for _ in range(rows)]
    return [row(i, mean=0.0, std=level * (1.0 + noise * math.sin(7.0 * i))) for i, level in enumerate(levels)]


@pytest.mark.parametrize("factor", [200.0, 5.0, 0.2, 1e-3])
def test_a_sudden_change_that_lasts_is_drift(factor: float) -> None:
    rows = scales((60, 1.0), (18, factor))
    # 60 rows against 18 are a chance of 9.5e-7 by Pettitt's formula; 2 rows before may look as if they were after.
    assert found(watch({"fc": ("Linear", rows[:75])})) == []
    finding = only({"fc": ("Linear", rows)})
    assert (finding.condition, finding.severity) == ("drifting", "warning")
    assert 58 <= finding.first_step <= 60
    assert finding.evidence["factor"] == pytest.approx(factor, rel=0.1)
    assert ("rose" if factor > 1.0 else "fell") in finding.message


def test_what_is_small_slow_early_or_over_is_no_drift() -> None:
    noise = np.exp(0.6 * np.random.default_rng(0).standard_normal(100))
    noisy = [row(i, mean=0.0, std=(1.0 if i < 60 else 6.0) * noise[i]) for i in range(100)]
    for rows in (
        scales((60, 1.0), (40, 3.5)),
        scales((15, 1.0), (60, 10.0)),
        scales((50, 1.0), (20, 10.0), (10, 1.0)),
        noisy,
        [row(i, mean=0.0, std=math.exp(0.05 * i)) for i in range(100)],
    ):
        assert found(watch({"fc": ("Linear", rows)})) == []


def test_the_end_of_a_plateau_is_no_drift() -> None:
    def learning(rows: int) -> list[Any]:
        """A plateau, a rise to eight times within so many rows, and a plateau."""
        ramp = tuple((1, math.exp(math.log(8.0) * i / rows)) for i in range(rows))
        return scales((45, 1.0), *ramp, (55 - rows, 8.0))

    assert found(watch({"fc": ("Linear", learning(16))})) == []
    assert [what[1] for what in found(watch({"fc": ("Linear", learning(2))}))] == ["drifting"]


def test_drift_leaves_rows_of_nan_out() -> None:
    rows = scales((60, 1.0), (25, 50.0))
    rows[30] = row(30, nans=4096, mean=math.nan, std=math.nan, within_std=math.nan, min=math.inf, max=-math.inf)
    # Some NaN somewhere explains all that comes later, so the rule is asked alone.
    diagnoser = watch({"fc": ("Linear", rows)})
    conditions = [finding.condition for finding in diagnoser.diagnose().findings]
    assert conditions == ["non_finite"]
    rule = next(rule for rule in RULES if rule.condition == "drifting")
    view = diagnoser._trackers["fc"].view(0)
    finding = rule.check(view, Network([view], recent_rows=10, min_samples=8), diagnoser.thresholds)
    assert isinstance(finding, Finding)
    assert finding.first_step == 60
