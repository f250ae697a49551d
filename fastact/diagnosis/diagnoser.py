"""From rows to a diagnosis: follows onsets while rows arrive, asks the rules, and links what they find.

Rows come from a live monitor, one at a time, or from a log, many at once. Both give one diagnosis, since a rule's
tracks are written once (`rules.base.Condition`); the rules themselves see the window only.
"""

from typing import Final, NoReturn

import numpy as np
import numpy.typing as npt

from fastact.checks import check_type
from fastact.diagnosis import layer_types
from fastact.diagnosis.finding import SEVERITIES, Finding
from fastact.diagnosis.onsets import Follower
from fastact.diagnosis.presets import judge
from fastact.diagnosis.report import Diagnosis, LayerHealth
from fastact.diagnosis.rule import COLUMN, LayerView, Network, Outcome, Row
from fastact.diagnosis.rules import RULES
from fastact.diagnosis.thresholds import Thresholds
from fastact.errors import ArgumentTypeError, ArgumentValueError
from fastact.fields import ROW, ROW_DTYPE
from fastact.history import History, LayerInfo

__all__ = ["Diagnoser", "Diagnosis", "LayerHealth"]

_STEP, _MEAN = COLUMN["step"], COLUMN["mean"]
#: For each condition, the conditions that can explain it.
_CAUSES: Final = {
    "exploding": {"exploding", "non_finite"},
    "outlier_channels": {"exploding", "outlier_channels"},
    "overflow_risk": {"exploding", "outlier_channels", "overflow_risk"},
    "non_finite": {"exploding", "overflow_risk", "non_finite"},
    "saturated": {"exploding", "non_finite"},
    "underflow_risk": {"vanishing", "underflow_risk"},
    "dead": {"exploding", "non_finite", "saturated", "underflow_risk", "dead", "vanishing", "constant"},
    "vanishing": {"exploding", "non_finite", "underflow_risk", "dead", "saturated", "vanishing"},
    "constant": {"exploding", "non_finite", "underflow_risk", "dead", "saturated", "vanishing", "constant"},
    "oscillating": {rule.condition for rule in RULES} - {"drifting"},
    "drifting": {rule.condition for rule in RULES},
}
#: Told of a layer in which nothing else was found: other words for the same, or the mark that it left.
_ALONE: Final = frozenset({"constant", "oscillating", "drifting"})
#: What can be said of a gradient: it is zero where a neuron is off, small by design, and of any shape.
_OF_GRADIENTS: Final = frozenset({"exploding", "non_finite", "overflow_risk", "underflow_risk"})
_GRADIENT_RULES: Final = tuple(rule for rule in RULES if rule.condition in _OF_GRADIENTS)
_FIRST_ONLY: Final = frozenset({"exploding", "non_finite"})
_RANK: Final = {rule.condition: rank for rank, rule in enumerate(RULES)}


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
        >>> diagnoser.add(LayerInfo("act", 0, "Tanh"))
        >>> for step in range(5):  # 1000 elements, 900 of them beyond ±0.99
        ...     state = (1000, 0, 0, 0, 0, 900, 0.0, 0.95, 0.94, -1.0, 1.0)
        ...     diagnoser.append("act", (step, 0, 0, *state, 0, 0, 0, 0, 0, float("nan"), -1, float("nan")))
        >>> [(f.layer, f.condition, f.severity, f.first_step) for f in diagnoser.diagnose().findings]
        [('act', 'saturated', 'critical', 0)]
    """

    def __init__(self, window_size: int = 100, thresholds: Thresholds | None = None) -> None:
        if thresholds is None:
            thresholds = Thresholds()
        self.thresholds = check_type("thresholds", thresholds, Thresholds, "a Thresholds")
        self.history = History(window_size)
        self._followers: dict[str, Follower] = {}

    def add(self, info: LayerInfo) -> None:
        """Makes a layer known; before its first row. A layer that is known already stays as it is."""
        if info.name not in self._followers:
            rules = _GRADIENT_RULES if info.layer_type == layer_types.GRADIENT else RULES
            self._followers[info.name] = Follower(self.history.add(info), rules, self.thresholds)

    def append(self, name: str, row: Row) -> None:
        """Appends one row of a layer: the numbers of `fields.ROW` in that order, steps rising within a layer."""
        follower = self._followers.get(name) or self._unknown(name)
        if len(row) != len(ROW):
            raise ArgumentValueError(f"row: got {len(row)} numbers, want {len(ROW)} as in fields.ROW")
        follower.append(row)

    def extend(self, name: str, rows: npt.NDArray[np.void]) -> None:
        """Appends many rows of a layer at once: the same as `append` of each, however they are split.

        Args:
            name: a layer that was added before.
            rows: structured array of `fields.ROW_DTYPE`, shape (rows,), steps rising. It is not kept.

        Raises:
            ArgumentTypeError: `rows` is no array of `fields.ROW_DTYPE`.
            ArgumentValueError: the layer is unknown, or `rows` has another shape.

        Example:
            >>> from fastact.history import LayerInfo
            >>> diagnoser = Diagnoser()
            >>> diagnoser.add(LayerInfo("act", 0))
            >>> rows = np.zeros(1000, ROW_DTYPE)
            >>> rows["step"] = np.arange(1000)
            >>> diagnoser.extend("act", rows)
            >>> diagnoser.history["act"].total
            1000
        """
        follower = self._followers.get(name) or self._unknown(name)
        if not isinstance(rows, np.ndarray) or rows.dtype != ROW_DTYPE:
            got = f"an array of {rows.dtype}" if isinstance(rows, np.ndarray) else type(rows).__name__
            raise ArgumentTypeError(f"rows: got {got}, want an array of fields.ROW_DTYPE")
        if rows.ndim != 1:
            raise ArgumentValueError(f"rows: got shape {rows.shape}, want (rows,)")
        follower.extend(rows)

    def _unknown(self, name: str) -> NoReturn:
        raise ArgumentValueError(f"name: got {name!r}, want a layer that was added before")

    def diagnose(self, preset: str | None = None) -> Diagnosis:
        """What is wrong now, from the rows in the window and the onsets followed so far. Changes nothing.

        Args:
            preset: one of `rules.PRESETS` ("naive", "sagemaker", "deepdiagnosis", "torchmortem", "autotrainer"): the
                published rules of others instead of our own, to compare with. They judge the window alone and link
                no causes.

        Raises:
            ArgumentValueError: there is no such preset.
        """
        followers = sorted(self._followers.values(), key=lambda item: (item.layer.info.order, item.layer.info.name))
        seen = [follower for follower in followers if follower.layer.total]
        # Layers are compared with layers, gradients with gradients.
        groups = (
            [follower for follower in seen if follower.layer.info.layer_type != layer_types.GRADIENT],
            [follower for follower in seen if follower.layer.info.layer_type == layer_types.GRADIENT],
        )
        views: dict[Follower, LayerView] = {}
        networks: dict[Follower, Network] = {}
        findings: list[Finding] = []
        unknown: dict[str, tuple[str, ...]] = {}
        for group in groups:
            own_views = {follower: follower.view(place) for place, follower in enumerate(group)}
            network = Network(list(own_views.values()), self.thresholds)
            views |= own_views
            networks |= dict.fromkeys(group, network)
            if preset is None:
                findings += self._judge(own_views, network, unknown)
            elif group is groups[0]:
                findings += judge(preset, network.layers)
        linked = _link(findings, list(views.values()), self.thresholds) if preset is None else tuple(findings)
        own: dict[str, list[Finding]] = {}
        for finding in linked:
            own.setdefault(finding.layer, []).append(finding)
        layers = []
        for follower in followers:
            name = follower.layer.info.name
            network_of = networks.get(follower)
            health = self._health(follower, views.get(follower), network_of, own.get(name, []), unknown.get(name, ()))
            layers.append(health)
        return Diagnosis(findings=linked, layers=tuple(layers))

    def _judge(
        self, views: dict[Follower, LayerView], network: Network, unknown: dict[str, tuple[str, ...]]
    ) -> list[Finding]:
        """The findings; and into `unknown`, for each layer, the conditions for which there was not enough data."""
        findings: list[Finding] = []
        needs = {rule: min(rule.needs(self.thresholds), self.history.window_size) for rule in RULES}
        for follower, view in views.items():
            missing = []
            before = len(findings)
            for rule in follower.rules:
                if rule.condition in _ALONE and len(findings) > before:
                    continue
                enough = len(view.rows) >= needs[rule]
                result = rule.check(view, network, self.thresholds) if enough else Outcome.NOT_ENOUGH_DATA
                if isinstance(result, Finding):
                    findings.append(result)
                elif result is Outcome.NOT_ENOUGH_DATA:
                    missing.append(rule.condition)
            unknown[view.info.name] = tuple(missing)
        return findings

    def _health(
        self,
        follower: Follower,
        view: LayerView | None,
        network: Network | None,
        own: list[Finding],
        missing: tuple[str, ...],
    ) -> LayerHealth:
        info = follower.layer.info
        if view is None or network is None:
            return LayerHealth(info.name, info.layer_type, None, None, None, None, _UNKNOWN, "", (), 0, None, None)
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
            kind=info.layer_type,
            mean=_finite(last[_MEAN]),
            std=_finite(last[COLUMN["std"]]),
            dead=dead,
            saturated=min(network.saturated[view.place], 1.0) if info.layer_type in layer_types.BOUNDED else None,
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
    There are no circles: an explanation goes from an earlier to a later condition of `RULES`, or down the network
    (from vanishing to underflow to a layer strictly after), or within one condition on in time.
    """
    place = {view.info.name: place for place, view in enumerate(views)}
    feeds = _feeds(views)
    slack = thresholds.min_rows * max((_stride(view) for view in views), default=1.0)

    passing = {view.info.name for view in views if layer_types.is_passing(view.info.layer_type)}
    # Dropout and pooling make no NaN, they hand it on. One dropout that serves a block in several places counts from
    # its first one, so that it seems to come before the layer whose NaN it got.
    born = {f.first_step for f in findings if f.condition == "non_finite" and f.layer not in passing}

    def key(finding: Finding) -> tuple[int, bool, int, int]:
        handed_on = finding.condition == "non_finite" and finding.layer in passing and finding.first_step in born
        return finding.first_step, handed_on, place[finding.layer], _RANK[finding.condition]

    ordered = sorted(findings, key=key)
    order = {_name(finding): i for i, finding in enumerate(ordered)}
    # Of explosions and of NaN and Inf the first one explains all that any would.
    first = {finding.condition: finding for finding in reversed(ordered)}
    causes = [f for f in ordered if f.condition not in _FIRST_ONLY or f is first[f.condition]]
    able = {condition: [c for c in causes if c.condition in _CAUSES[condition]] for condition in first}
    parent = {}
    for effect in ordered:
        cause = next(
            (c for c in able[effect.condition] if c is not effect and _explains(c, effect, place, order, feeds, slack)),
            None,
        )
        if cause is not None:
            parent[_name(effect)] = _name(cause)
    root = {_name(f): _follow(_name(f), parent) for f in ordered}
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
        result += [finding.following(culprit.layer) for finding in follow]
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
        layer_type = view.info.layer_type
        passing = layer_types.is_passing(layer_type)
        if passing or layer_types.is_norm(layer_type) or layer_types.is_activation(layer_type):
            feeds[view.info.name] = source
        if not passing:
            source = view.info.name
    return feeds


def _explains(
    cause: Finding,
    effect: Finding,
    place: dict[str, int],
    order: dict[tuple[str, str], int],
    feeds: dict[str, str],
    slack: float,
) -> bool:
    """Whether `cause` explains `effect`: by condition, by place in forward order and by time (`order` has both)."""
    before = place[cause.layer] < place[effect.layer]
    earlier = cause.first_step <= effect.first_step
    first = order[_name(cause)] < order[_name(effect)]
    match cause.condition, effect.condition:
        case (
            ("exploding", "exploding")
            | ("non_finite", "non_finite")
            | ("overflow_risk", "overflow_risk")
            | ("oscillating", "oscillating")
            | ("drifting", "drifting")
        ):
            return first  # updates tie all layers together, so what comes later follows
        case _, "oscillating" | "drifting":
            # The weakest of all: it stands for itself only where nothing else is wrong that it could come from.
            return earlier or place[cause.layer] <= place[effect.layer]
        case "non_finite", "exploding":
            return cause.first_step < effect.first_step - slack  # else the explosion explains it, below
        case "exploding", _:
            # An explosion shows when it is a hundredfold; the updates that drive it kill neurons some rows before.
            # One that grows with depth is in the forward pass alone.
            after = place[cause.layer] <= place[effect.layer] or "rms_first_layer" not in cause.evidence
            return after and cause.first_step - slack <= effect.first_step
        case "non_finite", "saturated" | "dead" | "vanishing" | "constant":
            # In the step in which it comes up it reaches the layers after it alone.
            return first or (earlier and cause.layer == effect.layer)
        case "saturated", "dead":
            return cause.layer == effect.layer  # at zero for good: a bound, or behind a gate that is shut
        case "outlier_channels", "outlier_channels":
            return before
        case "outlier_channels", _:
            return earlier and place[cause.layer] <= place[effect.layer]
        case "vanishing" | "underflow_risk", "underflow_risk":
            return before
        case "underflow_risk", "dead" | "vanishing" | "constant":
            return earlier and place[cause.layer] <= place[effect.layer]
        case "dead", "dead":
            if "expert" in cause.evidence:
                return before and cause.evidence["expert"] == effect.evidence.get("expert")
            if feeds.get(effect.layer) == cause.layer:
                return True
            return before and earlier and _hands_on_nothing(cause)
        case "overflow_risk", "non_finite":
            return earlier and place[cause.layer] <= place[effect.layer]
        case "dead", "vanishing" | "constant":
            return cause.severity == "critical" and place[cause.layer] <= place[effect.layer]
        case "vanishing", "dead":
            # Where the samples are all alike each neuron is on for all of them or off. What is dead for the most part
            # may as well be the reason, so there it takes a layer before it.
            part = effect.severity != "critical" and cause.layer == effect.layer
            return (before or part) and cause.first_step - slack <= effect.first_step
        case "saturated" | "vanishing", "constant":
            return place[cause.layer] <= place[effect.layer]
        case "constant", "constant":
            return before
        case "constant", "dead":
            return before and earlier  # each neuron after it is on for all samples or off for all of them
        case "saturated", "vanishing":
            return place[cause.layer] <= place[effect.layer]
        case "vanishing", "vanishing":
            # With depth it is lost in one pass; what fades over steps later than a layer after it was not its reason.
            fades = cause.evidence["reference_layer"] == cause.layer
            return before and (not fades or cause.first_step - slack <= effect.first_step)
    return False


def _hands_on_nothing(dead: Finding) -> bool:
    """Whether so few neurons are left (one less the share that is healthy) that dead layers after it follow."""
    return float(dead.evidence.get("dead_ratio", 0.0)) >= 0.95
