"""A rule that fails takes no other with it, and says so once."""

import warnings
from typing import Any

import pytest
from synthetic import row, watch

from fastact.diagnosis import judging, rules
from fastact.diagnosis.rules.dead import Dead


def test_a_rule_that_fails_is_left_out_and_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError("oh")

    tanh = {"act": ("Tanh", [row(step, saturated=3900, min=-1.0, max=1.0) for step in range(20)])}
    wanted = watch(tanh).diagnose().findings
    assert [finding.condition for finding in wanted] == ["saturated"]
    assert any(isinstance(rule, Dead) for rule in rules.RULES)
    monkeypatch.setattr(Dead, "check", fail)
    monkeypatch.setattr(Dead, "suspects", fail)
    monkeypatch.setattr(judging, "_FAILED", set())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = [watch(tanh | {"relu": ("ReLU", [row(step) for step in range(20)])}).diagnose() for _ in range(3)]
    (warning,) = caught
    assert "the rule of 'dead' failed for layer" in str(warning.message)
    assert "ZeroDivisionError: oh" in str(warning.message)
    for each in found:
        assert [finding.condition for finding in each.findings] == ["saturated"]
        assert all("dead" in layer.not_judged for layer in each.layers)
