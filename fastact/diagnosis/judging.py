"""Asks each layer's rules what they find there: those of which a look at all layers at once says that they may."""

import itertools
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from fastact.diagnosis.evidence import baselines
from fastact.diagnosis.finding import NOTE, Finding
from fastact.diagnosis.network import LayerView, Network
from fastact.diagnosis.rule import Outcome, Rule
from fastact.diagnosis.thresholds import CommonThresholds
from fastact.text import shown
from fastact.warn import warn

_NOT_FOUND, _NOT_ENOUGH_DATA = Outcome.NOT_FOUND, Outcome.NOT_ENOUGH_DATA
#: The conditions whose rules have failed, so that each is told once.
_FAILED: Final[set[str]] = set()


class Judge:
    """Judges the layers of one network.

    Args:
        network: the layers.
        thresholds: what the rules compare with.
        needs: the rows that each rule needs.
    """

    def __init__(self, network: Network, thresholds: CommonThresholds, needs: Mapping[Rule[Any], int]) -> None:
        self._network, self._thresholds, self._needs = network, thresholds, needs
        self._suspects = _Suspects(network, thresholds)

    def ask(self, rules: Iterable[Rule[Any]], view: LayerView) -> tuple[list[Finding], tuple[str, ...]]:
        """The findings for a layer, and the conditions for which there was not enough data."""
        findings: list[Finding] = []
        missing = []
        told, rows, place = False, len(view.rows), view.place
        needs, suspects = self._needs, self._suspects
        for rule in rules:  # some 25 of each layer: what is done here for each is done a hundred thousand times
            if told and rule.only_alone:
                continue
            if rows < needs[rule]:
                missing.append(rule.condition)
                continue
            places = suspects[rule]
            if places is not None and place not in places:
                continue
            try:
                result = rule.check(view, self._network, self._thresholds)
            except Exception as error:  # noqa: BLE001 - the others go on
                result = _failed(rule, view, error)
            if result is _NOT_FOUND:
                continue
            if isinstance(result, Finding):
                findings.append(result)
                told = told or result.severity != NOTE
            elif result is _NOT_ENOUGH_DATA:
                missing.append(rule.condition)
        return findings, tuple(missing)


def without_harm(linked: Sequence[Finding], rules: Iterable[Rule[Any]], network: Network) -> tuple[Finding, ...]:
    """The findings, of which those are notes that matter by harm alone (`Rule.by_harm`) and do none that shows.

    A warning of that kind is one while each loss is below a constant answer's, with all that follows from it, unless
    something graver does: what harms learning, or soon will, is graver.

    Args:
        linked: culprits, each before its consequences.
        rules: all of them.
        network: any of the run's.
    """
    by_harm = {rule.condition: rule for rule in rules if rule.by_harm}
    mild = [it.severity in ("warning", NOTE) and it.condition in by_harm for it in linked]
    if not any(mild) or not baselines.is_learning(network):
        return tuple(linked)
    if not baselines.learns(network):
        mild = [each and by_harm[it.condition].passes for each, it in zip(mild, linked, strict=True)]
    starts = [place for place, it in enumerate(linked) if it.consequence_of is None]
    found = list(linked)
    for start, end in itertools.pairwise([*starts, len(linked)]):
        if all(mild[start:end]):
            found[start:end] = [replace(it, severity=NOTE) for it in linked[start:end]]
    return tuple(found)


class _Suspects(dict[Rule[Any], Container[int] | None]):
    """For each rule the places of the layers that it is to be asked of (`Rule.suspects`), once one is."""

    def __init__(self, network: Network, thresholds: CommonThresholds) -> None:
        self._network, self._thresholds = network, thresholds

    def __missing__(self, rule: Rule[Any]) -> Container[int] | None:
        try:
            found = rule.suspects(self._network, self._thresholds)
        except Exception:  # noqa: BLE001 - it is asked of each layer then, and told where that fails too
            found = None
        self[rule] = found
        return found


def _failed(rule: Rule[Any], view: LayerView, error: Exception) -> Outcome:
    """A rule that fails, be it ours or the user's, takes no other with it, and is told once."""
    if rule.condition not in _FAILED:
        _FAILED.add(rule.condition)
        warn(
            f"fastact: the rule of {rule.condition!r} failed for layer {shown(view.info.name)!r} and is left out "
            f"wherever it does ({type(error).__name__}: {error})"
        )
    return _NOT_ENOUGH_DATA
