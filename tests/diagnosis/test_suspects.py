"""What a rule says of all layers at once, that few of them may have it, changes nothing of what it finds."""

from unittest.mock import patch

import pytest
from hypothesis import given
from sick_networks import sick_networks

from bench.diagnose import NETWORKS, network
from fastact.diagnosis.diagnoser import Diagnoser
from fastact.diagnosis.report import Diagnosis
from fastact.diagnosis.rule import Rule
from fastact.diagnosis.rules import RULES


def asked_of_all(diagnoser: Diagnoser) -> Diagnosis:
    """The diagnosis where each rule is asked of each layer."""
    patches = [patch.object(type(rule), "suspects", Rule.suspects) for rule in RULES]
    for each in patches:
        each.start()
    try:
        return diagnoser.diagnose()
    finally:
        patch.stopall()


@given(sick_networks())
def test_a_rule_finds_nothing_but_where_it_suspects_something(diagnoser: Diagnoser) -> None:
    assert asked_of_all(diagnoser) == diagnoser.diagnose()


@pytest.mark.parametrize("name", NETWORKS)
def test_so_it_is_of_the_networks_whose_diagnosis_is_timed(name: str) -> None:
    diagnoser = network(NETWORKS[name])
    assert asked_of_all(diagnoser) == diagnoser.diagnose()
