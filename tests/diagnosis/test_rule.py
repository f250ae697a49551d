"""What every rule has to say of itself."""

from typing import Any

import pytest

from fastact.diagnosis.rules import RULES


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.condition)
def test_every_rule_states_formula_and_source(rule: Any) -> None:
    assert "Formula" in (type(rule).__doc__ or "")
    assert "Source:" in (type(rule).__doc__ or "")
