"""What every rule has to say of itself."""

from collections import Counter
from typing import Any

import pytest
from any_rows import DTYPES, LAYER_TYPES
from synthetic import row

from fastact.diagnosis.rules import RULES, Thresholds
from fastact.history import LayerInfo

CONDITIONS = [rule.condition for rule in RULES]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.condition)
def test_every_rule_states_formula_and_source(rule: Any) -> None:
    assert "Formula" in (type(rule).__doc__ or "")
    assert "Source:" in (type(rule).__doc__ or "")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.condition)
def test_what_a_rule_explains_are_conditions_of_rules(rule: Any) -> None:
    assert rule.adjective
    assert {*rule.explains, *rule.explained_by} <= set(CONDITIONS)


def test_conditions_and_row_conditions_have_names_of_their_own() -> None:
    assert len(set(CONDITIONS)) == len(CONDITIONS)
    seen = set()
    for layer_type in LAYER_TYPES:
        for dtype in DTYPES:
            info = LayerInfo("experts.0", 0, layer_type, dtype)
            names = Counter(
                condition.name
                for rule in RULES
                if rule.applies(info)
                for cascade in rule.row_conditions(info, row(0), Thresholds())
                for condition in cascade.conditions
            )
            assert set(names.values()) == {1}, info
            seen |= set(names)
    assert {"dead", "saturated", "exploding", "near_overflow", "near_underflow", "faint", "faded"} <= seen
