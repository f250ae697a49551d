"""From rows to a diagnosis: follows onsets while rows arrive, asks the rules, and links what they find.

Rows come from a live monitor or from a log; both go through `Diagnoser.append`, so a replay of the same rows gives
the same diagnosis by construction.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np

from fastact.errors import ArgumentTypeError, ArgumentValueError
from fastact.fields import ROW
from fastact.history import History, LayerHistory, LayerInfo
from fastact.report import Diagnosis, LayerHealth
from fastact.rules import COLUMN, RULES, SEVERITIES, Finding, LayerView, Network, Outcome, Row, Streak, kinds
from fastact.thresholds import Thresholds

__all__ = ["Diagnoser", "Diagnosis", "LayerHealth"]

_STEP, _MEAN = COLUMN["step"], COLUMN["mean"]
#: For each condition, the conditions that can explain it.
_CAUSES: Final = {
    "exploding": {"exploding"},
    "non_finite": {"exploding", "non_finite"},
    "saturated": {"exploding", "non_finite"},
    "dead": {"exploding", "non_finite", "dead", "vanishing"},
    "vanishing": {"exploding", "non_finite", "dead", "saturated", "vanishing"},
}
_FIRST_ONLY: Final = frozenset({"exploding", "non_finite"})
_RANK: Final = {rule.condition: rank for rank, rule in enumerate(RULES)}


class _Follower:
    """Follows one layer: its tracks' runs, in a few comparisons a row."""

    __slots__ = ("_chains", "_settled", "first", "layer", "start", "streaks")

    def __init__(self, layer: LayerHistory) -> None:
        self.layer = layer
        self.start = 0
        self.first: Row | None = None
        self._settled = False
        #: name -> [start step, rows before the run, row of the last hit, patience]
        self.streaks: dict[str, list[int]] = {}
        self._chains: list[list[tuple[Callable[[Row], bool | None], list[int], int]]] = []

    def _begin(self, row: Row, thresholds: Thresholds) -> None:
        """Takes the first row, or the first with finite elements, as what the tracks compare with."""
        if self.first is None:
            self.start = int(row[_STEP])
        self.first = row
        self._chains = []
        for rule in RULES:
            if not rule.applies(self.layer.info):
                continue
            chain = []
            for track in rule.tracks(self.layer.info, row, thresholds):
                patience = track.patience or self.layer.window_size
                state = self.streaks.setdefault(track.name, [0, 0, -patience, patience])
                chain.append((track.holds, state, track.lookback))
            self._chains.append(chain)

    def append(self, row: Row, thresholds: Thresholds) -> None:
        if not self._settled:
            self._settled = not math.isnan(row[_MEAN])
            if self.first is None or self._settled:
                self._begin(row, thresholds)
        layer = self.layer
        layer.append(row)
        total = layer.total
        for chain in self._chains:
            for holds, state, lookback in chain:
                held = holds(row)
                if held:
                    if total - state[2] > state[3]:
                        back = min(lookback, len(layer))
                        state[0] = int(row[_STEP]) if back == 1 else int(layer["step"][-back])
                        state[1] = total - back
                    state[2] = total
                elif held is None:
                    if state[2] == total - 1:
                        state[2] = total
                else:
                    break  # the others of the chain are narrower

    def view(self, place: int) -> LayerView:
        assert self.first is not None
        total = self.layer.total
        return LayerView(
            info=self.layer.info,
            rows=self.layer.rows,
            start=self.start,
            first=self.first,
            streaks={
                name: Streak(step, total - before)
                for name, (step, before, last, patience) in self.streaks.items()
                if last > 0 and total - last < patience
            },
            place=place,
        )


class Diagnoser:
    """Keeps the recent window of every layer and says what is wrong with it.

    Args:
        window_size: rows kept for each layer.
        thresholds: what the rules compare with.

    Raises:
        ArgumentTypeError: thresholds is not a `Thresholds`, window_size no int.
        ArgumentValueError: window_size is not 1 to `MAX_WINDOW`; a row is appended to an unknown layer or is no row.

    Example:
        >>> from fastact.history import LayerInfo
        >>> diagnoser = Diagnoser()
        >>> diagnoser.add(LayerInfo("act", 0, kind="Tanh"))
        >>> for step in range(5):  # 1000 elements, 900 of them beyond ±0.99
        ...     state = (1000, 0, 0, 0, 0, 900, 0.0, 0.95, 0.94, -1.0, 1.0)
        ...     diagnoser.append("act", (step, 0, 0, *state, 0, 0, 0, 0, 0, float("nan")))
        >>> [(f.layer, f.condition, f.severity, f.first_step) for f in diagnoser.diagnose().findings]
        [('act', 'saturated', 'critical', 0)]
    """

    def __init__(self, window_size: int = 100, thresholds: Thresholds | None = None) -> None:
        if thresholds is None:
            thresholds = Thresholds()
        if not isinstance(thresholds, Thresholds):
            raise ArgumentTypeError(f"thresholds: got {type(thresholds).__name__}, want a Thresholds")
        self.thresholds = thresholds
        self.history = History(window_size)
        self._followers: dict[str, _Follower] = {}

    def add(self, info: LayerInfo) -> None:
        """Makes a layer known; before its first row. A layer that is known already stays as it is."""
        if info.name not in self._followers:
            self._followers[info.name] = _Follower(self.history.add(info))

    def append(self, name: str, row: Row) -> None:
        """Appends one row of a layer: the numbers of `fields.ROW` in that order, steps rising within a layer."""
        follower = self._followers.get(name)
        if follower is None:
            raise ArgumentValueError(f"name: got {name!r}, want a layer that was added before")
        if len(row) != len(ROW):
            raise ArgumentValueError(f"row: got {len(row)} numbers, want {len(ROW)} as in fields.ROW")
        follower.append(row, self.thresholds)

    def diagnose(self) -> Diagnosis:
        """What is wrong now, from the rows in the window and the onsets followed so far. Changes nothing."""
        followers = sorted(self._followers.values(), key=lambda item: (item.layer.info.order, item.layer.info.name))
        views = [follower.view(place) for place, follower in enumerate(f for f in followers if f.layer.total)]
        network = Network(views, self.thresholds)
        findings: list[Finding] = []
        unknown: dict[str, tuple[str, ...]] = {}
        for view in views:
            missing = []
            for rule in RULES:
                if not rule.applies(view.info):
                    continue
                enough = len(view.rows) >= min(rule.needs(self.thresholds), self.history.window_size)
                result = rule.check(view, network, self.thresholds) if enough else Outcome.NOT_ENOUGH_DATA
                if isinstance(result, Finding):
                    findings.append(result)
                elif result is Outcome.NOT_ENOUGH_DATA:
                    missing.append(rule.condition)
            unknown[view.info.name] = tuple(missing)
        linked = _link(findings, views, self.thresholds)
        own: dict[str, list[Finding]] = {}
        for finding in linked:
            own.setdefault(finding.layer, []).append(finding)
        seen = {view.info.name: view for view in views}
        layers = []
        for follower in followers:
            name = follower.layer.info.name
            health = self._health(follower, seen.get(name), network, own.get(name, []), unknown.get(name, ()))
            layers.append(health)
        return Diagnosis(findings=linked, layers=tuple(layers))

    def _health(
        self,
        follower: _Follower,
        view: LayerView | None,
        network: Network,
        own: list[Finding],
        missing: tuple[str, ...],
    ) -> LayerHealth:
        info = follower.layer.info
        if view is None:
            return LayerHealth(info.name, info.kind, None, None, None, None, _UNKNOWN, "", (), 0, None, None)
        last: Row = view.rows[-1].item()
        neurons, count = last[COLUMN["neurons"]], last[COLUMN["count"]]
        dead = None
        if neurons > 0:
            dead = min(last[COLUMN["dead_neurons"]] / neurons, 1.0)
        elif last[COLUMN["zeros"]] >= count > 0:
            dead = 1.0
        gravest = max(own, key=lambda finding: SEVERITIES.index(finding.severity), default=None)
        few = len(view.rows) < min(self.thresholds.min_rows, self.history.window_size)
        return LayerHealth(
            name=info.name,
            kind=info.kind,
            mean=_finite(last[_MEAN]),
            std=_finite(last[COLUMN["std"]]),
            dead=dead,
            saturated=min(network.saturated[view.place], 1.0) if info.kind in kinds.BOUNDED else None,
            status=gravest.condition if gravest else _UNKNOWN if few else "healthy",
            severity=gravest.severity if gravest else "",
            not_judged=missing,
            rows=follower.layer.total,
            first_step=follower.start,
            last_step=last[_STEP],
        )


_UNKNOWN: Final = "not enough data"


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _link(findings: list[Finding], views: list[LayerView], thresholds: Thresholds) -> tuple[Finding, ...]:
    """Tells causes from consequences, and puts each culprit before what follows from it, the first culprit first.

    A finding is a consequence of the earliest one that explains it (`_explains`); chains end at their first cause.
    There are no circles: an explanation goes from an earlier to a later condition of `RULES`, or down the network, or
    within one condition on in time.
    """
    place = {view.info.name: view.place for view in views}
    feeds = _feeds(views)
    slack = thresholds.min_rows * max((_stride(view) for view in views), default=1.0)

    def key(finding: Finding) -> tuple[int, int, int]:
        return finding.first_step, place[finding.layer], _RANK[finding.condition]

    ordered = sorted(findings, key=key)
    # Of explosions and of NaN and Inf the first one explains all that any would.
    first = {finding.condition: finding for finding in reversed(ordered)}
    causes = [f for f in ordered if f.condition not in _FIRST_ONLY or f is first[f.condition]]
    able = {condition: [c for c in causes if c.condition in _CAUSES[condition]] for condition in first}
    parent = {}
    for effect in ordered:
        cause = next(
            (c for c in able[effect.condition] if c is not effect and _explains(c, effect, place, feeds, slack)), None
        )
        if cause is not None:
            parent[_name(effect)] = _name(cause)
    root = {_name(f): _follow(_name(f), parent) for f in ordered}
    passing = {view.info.name for view in views if kinds.is_passing(view.info.kind)}
    consequences: dict[tuple[str, str], list[Finding]] = {}
    for finding in ordered:
        if _name(finding) in parent:
            consequences.setdefault(root[_name(finding)], []).append(finding)
    result: list[Finding] = []
    for culprit in ordered:
        if _name(culprit) in parent:
            continue
        follow = consequences.get(_name(culprit), [])
        if culprit.layer in passing and culprit.condition == "dead" and not follow and not _hands_on_nothing(culprit):
            # It hands on what it is given, and no layer that is watched gave it: zeros in the data, such as pixels.
            continue
        result.append(culprit)
        result += [replace(finding, consequence_of=culprit.layer) for finding in follow]
    return tuple(result)


def _stride(view: LayerView) -> float:
    """The steps from one row to the next, on average over the window."""
    return (int(view.rows[-1]["step"]) - int(view.rows[0]["step"])) / max(len(view.rows) - 1, 1)


def _name(finding: Finding) -> tuple[str, str]:
    return finding.layer, finding.condition


def _follow(name: tuple[str, str], parent: dict[tuple[str, str], tuple[str, str]]) -> tuple[str, str]:
    while name in parent:
        name = parent[name]
    return name


def _feeds(views: list[LayerView]) -> dict[str, str]:
    """For each layer that acts element by element or hands on, the nearest layer before it that does not hand on."""
    feeds = {}
    source = ""
    for view in views:
        kind = view.info.kind
        passing = kinds.is_passing(kind)
        if passing or kinds.is_norm(kind) or kinds.is_activation(kind):
            feeds[view.info.name] = source
        if not passing:
            source = view.info.name
    return feeds


def _explains(cause: Finding, effect: Finding, place: dict[str, int], feeds: dict[str, str], slack: float) -> bool:
    """Whether `cause` explains `effect`: by condition, by place in forward order and by time."""
    before = place[cause.layer] < place[effect.layer]
    earlier = cause.first_step <= effect.first_step
    first = (cause.first_step, place[cause.layer]) < (effect.first_step, place[effect.layer])
    match cause.condition, effect.condition:
        case ("exploding", "exploding") | ("non_finite", "non_finite"):
            return first  # updates tie all layers together, so what comes later follows
        case "exploding", _:
            # An explosion shows when it is a thousandfold; the updates that drive it kill neurons some rows before.
            return cause.first_step - slack <= effect.first_step
        case "non_finite", "saturated" | "dead" | "vanishing":
            # In the step in which it comes up it reaches the layers after it alone.
            return first or (earlier and cause.layer == effect.layer)
        case "dead", "dead":
            if feeds.get(effect.layer) == cause.layer:
                return True
            return before and earlier and _hands_on_nothing(cause)
        case "dead", "vanishing":
            return cause.severity == "critical" and place[cause.layer] <= place[effect.layer]
        case "vanishing", "dead":
            # Where the samples are all alike each neuron is on for all of them or off. What is dead for the most part
            # may as well be the reason, so there it takes a layer before it.
            part = effect.severity != "critical" and cause.layer == effect.layer
            return (before or part) and cause.first_step - slack <= effect.first_step
        case "saturated", "vanishing":
            return place[cause.layer] <= place[effect.layer]
        case "vanishing", "vanishing":
            return before
    return False


def _hands_on_nothing(dead: Finding) -> bool:
    """Whether so few neurons are left (one less the share that is healthy) that dead layers after it follow."""
    return float(dead.evidence["dead_ratio"]) >= 0.95
