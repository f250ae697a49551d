"""Which ranks have what was found in all of them together."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastact.diagnosis.finding import Finding
from fastact.diagnosis.network import LayerView
from fastact.diagnosis.ranks import RankTable
from fastact.diagnosis.rule import Rule
from fastact.diagnosis.thresholds import CommonThresholds
from fastact.fields import ROW
from fastact.text import some_ranks


def named(
    finding: Finding, rule: Rule[Any], view: LayerView, table: RankTable, thresholds: CommonThresholds
) -> Finding:
    """The finding with the ranks that have it, where these are known and are not all; otherwise as it is.

    NaN and Inf are told of the ranks on which they began. Of other conditions, those ranks have one whose last rows
    fulfil what the condition asks of single rows.
    """
    if finding.of_ranks:
        return finding
    of = table.of(finding.layer)
    if of < 2:
        return finding
    born = table.born(finding.layer)
    if finding.condition == "non_finite" and born is not None and born.step == finding.first_step:
        if len(born.ranks) == born.of:
            return finding.on_ranks(born.ranks, born.of)
        return finding.on_ranks(born.ranks, born.of, f" It began on {some_ranks(born.ranks, born.of)}.")
    ranks, rows = table.last(finding.layer)
    cells = [rows[field.name] for field in ROW]
    holds = np.zeros(len(rows), np.bool_)
    with np.errstate(all="ignore"):
        for cascade in rule.row_conditions(view.info, view.first, thresholds):
            for condition in cascade.conditions:
                if condition.name in view.streaks:
                    holds |= condition.holds(cells)
    which = tuple(sorted(ranks[at] for at in np.flatnonzero(holds).tolist()))
    if not which or len(which) == of:
        return finding.on_ranks(which, of) if which else finding
    return finding.on_ranks(which, of, f" It is so on {some_ranks(which, of)}.")


def name_ranks(
    findings: Sequence[Finding],
    rules: Sequence[Rule[Any]],
    views: Mapping[str, LayerView],
    table: RankTable,
    thresholds: CommonThresholds,
) -> list[Finding]:
    """The findings, each with the ranks that have it."""
    by_condition = {rule.condition: rule for rule in rules}
    return [named(each, by_condition[each.condition], views[each.layer], table, thresholds) for each in findings]
