"""From rows to a diagnosis: tracks onsets while rows arrive, asks the rules, and links what they find.

Rows come from a live monitor, one at a time, or from a log, many at once. Both give one diagnosis, since a row
condition is written once (`row_conditions.Holds`); the rules themselves see the window only.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from math import isfinite
from typing import Final, NoReturn

import numpy as np
import numpy.typing as npt

from fastact.checks import check_type
from fastact.diagnosis import layer_types, rules
from fastact.diagnosis.accept import Accept, check_accept, is_accepted, set_apart
from fastact.diagnosis.finding import NOTE, Finding, Severity, gravity
from fastact.diagnosis.judging import Judge, without_harm
from fastact.diagnosis.links import link
from fastact.diagnosis.named_ranks import name_ranks
from fastact.diagnosis.network import LayerView, Network
from fastact.diagnosis.notes import split
from fastact.diagnosis.onsets import Onsets, OnsetTracker
from fastact.diagnosis.ranks import Parts, RankTable
from fastact.diagnosis.report import Diagnosis, LayerHealth, Note
from fastact.diagnosis.row_conditions import Row
from fastact.diagnosis.rule import key
from fastact.diagnosis.rules import Thresholds
from fastact.diagnosis.rules.rank_differs import limits_of
from fastact.diagnosis.timeline import Found, Timeline, next_look
from fastact.errors import ArgumentTypeError, ArgumentValueError
from fastact.fields import COLUMN, PACK_ROW, ROW, ROW_DTYPE
from fastact.history import History, LayerInfo, rows_of

_UNKNOWN: Final = "not enough data"
_COUNT, _ZEROS, _MEAN, _STD = (COLUMN[name] for name in ("count", "zeros", "mean", "std"))
_NEURONS, _DEAD, _STEP = (COLUMN[name] for name in ("neurons", "dead_neurons", "step"))
#: Layers beyond which nothing is looked for on the way: a diagnosis of so many takes a part of a second.
_MOST_LOOKED_AT: Final = 2000


class Diagnoser:
    """Keeps the recent window of every layer and says what is wrong with it.

    Args:
        window_size: rows kept for each layer.
        thresholds: what the rules compare with.
        accept: findings that are known and do not count: name or pattern of layers -> a condition, a list of them, or a
            mapping of them to reasons; "*" is every condition.

    Attributes:
        history: the window.
        unseen: what was watched and not recorded, with the reason; layers that have rows are left out of the diagnosis.
        changes: how often there were other findings than at the look before, in all looks on the way so far.

    Raises:
        ArgumentTypeError: thresholds is not a `Thresholds`, window_size not an int, or accept no such mapping.
        ArgumentValueError: window_size is not 1 to `MAX_WINDOW`; a condition of accept is unknown; a row is malformed,
            or its layer unknown.

    Example:
        >>> from fastact.history import LayerInfo
        >>> diagnoser = Diagnoser()
        >>> diagnoser.add(LayerInfo("act", 0, "Tanh"))
        >>> for step in range(5):  # 1000 elements, 900 of them beyond ±0.99
        ...     state = (1000, 0, 0, 0, 0, 900, 0.0, 0.95, 0.94, -1.0, 1.0)
        ...     diagnoser.append("act", (step, 0, 0, *state, 0, 0, 0, 0, 0, float("nan"), -1, float("nan"), 0, 0, 0))
        >>> [(f.layer, f.condition, f.severity, f.first_step) for f in diagnoser.diagnose().findings]
        [('act', 'saturated', 'critical', 0)]
    """

    def __init__(
        self, window_size: int = 100, thresholds: Thresholds | None = None, accept: Accept | None = None
    ) -> None:
        if thresholds is None:
            thresholds = Thresholds()
        self.thresholds = check_type("thresholds", thresholds, Thresholds, "a Thresholds")
        self.accepted = check_accept(accept)
        self.history = History(window_size)
        self.unseen: Mapping[str, str] = {}
        self._ranks: RankTable | None = None
        self._trackers: dict[str, OnsetTracker] = {}
        self._in_order: list[OnsetTracker] = []
        self._onsets = Onsets(self.thresholds)
        self._timeline = Timeline()
        #: The last step, how many there were, and after how many the timeline is brought up to date.
        self._step, self._steps, self._due = -1, 0, next_look(0)
        self.changes, self._told = 0, frozenset[tuple[str, str, str]]()

    def judges_as(self, other: "Diagnoser") -> bool:
        """Whether both would say the same of the same rows."""
        settings = (self.thresholds, self.accepted, self.history.window_size)
        return settings == (other.thresholds, other.accepted, other.history.window_size)

    def take(self, before: "Diagnoser") -> None:
        """Goes on with the rows of one that judges as this one does, and is given no more."""
        self.__dict__.update({**before.__dict__, "unseen": {}})

    def add(self, info: LayerInfo) -> None:
        """Adds a layer, before its first row. A layer that is known already stays as it is."""
        if info.name not in self._trackers:
            group = layer_types.group_of(info.layer_type, info.mode)
            asked = [rule for rule in rules.RULES if group in rule.judges]
            self._trackers[info.name] = self._onsets.add(self.history.add(info), asked)

    def append(self, name: str, row: Row) -> None:
        """Appends one row of a layer: the numbers of `fields.ROW` in that order, steps rising within a layer."""
        tracker = self._trackers.get(name) or self._unknown(name)
        if len(row) != len(ROW):
            raise ArgumentValueError(f"row: got {len(row)} numbers, want {len(ROW)} as in fields.ROW")
        self._begin(row[0])
        self._onsets.append([(tracker, PACK_ROW(*row), tracker.layer.total)])

    def followed(self, name: str) -> OnsetTracker:
        """What is followed of a layer that was added before: what `append_step` knows it by."""
        return self._trackers[name]

    def append_step(self, step: int, rows: Iterable[tuple[OnsetTracker, bytes, int]]) -> None:
        """Appends the rows of a step; of layers that were added before.

        Args:
            step: not below those before.
            rows: each the layer as `followed` gives it, its row as `fields.PACK_ROW` packs it, and how many rows it has
                had before: one that was appended already, before something interrupted, is not appended again.
        """
        self._begin(step)
        self._onsets.append(rows)

    def _begin(self, step: int) -> None:
        """Counts a step, if it is a new one, before its first row."""
        if step > self._step:
            if self._steps >= self._due:
                self._look()
            self._step, self._steps = int(step), self._steps + 1

    def extend(self, name: str, rows: npt.NDArray[np.void]) -> None:
        """Appends many rows of a layer at once, with the result of `append` for each, however they are split.

        Rows of many layers are best given together, to `extend_all`.

        Args:
            name: a layer that was added before.
            rows: structured array of `fields.ROW_DTYPE`, shape (rows,), steps rising. It is not kept.

        Raises:
            ArgumentTypeError: `rows` is not an array of `fields.ROW_DTYPE`.
            ArgumentValueError: the layer is unknown, or `rows` has another shape.
        """
        tracker = self._trackers.get(name) or self._unknown(name)
        if not isinstance(rows, np.ndarray) or rows.dtype != ROW_DTYPE:
            got = f"an array of {rows.dtype}" if isinstance(rows, np.ndarray) else type(rows).__name__
            raise ArgumentTypeError(f"rows: got {got}, want an array of fields.ROW_DTYPE")
        if rows.ndim != 1:
            raise ArgumentValueError(f"rows: got shape {rows.shape}, want (rows,)")
        for part in self.stretches(rows["step"]):
            self._onsets.extend([tracker], [rows[part]])

    def extend_all(self, rows: Mapping[str, npt.NDArray[np.void]]) -> None:
        """Appends many rows of layers that were added before; for who has cut them by `stretches`.

        Args:
            rows: for each layer an array of `fields.ROW_DTYPE`, shape (rows,), steps rising. They are not kept.
        """
        trackers = [self._trackers.get(name) or self._unknown(name) for name in rows]
        self._onsets.extend(trackers, list(rows.values()))

    def stretches(self, steps: npt.NDArray[np.int64]) -> Iterator[slice]:
        """Cuts rows of all layers where the timeline is brought up to date; for who gives them layer by layer.

        The rows of a stretch are to be given before the next one is asked for.

        Args:
            steps: those of the rows, shape (rows,), in the order in which they were recorded.
        """
        if not len(steps) or steps.max() <= self._step:
            yield slice(0, len(steps))
            return
        before = np.maximum.accumulate(np.concatenate(([self._step], steps[:-1])))
        firsts = np.flatnonzero(steps > before)  # the first row of each new step
        begin = done = 0
        while (place := done + max(0, self._due - self._steps)) < len(firsts):
            end = int(firsts[place])
            self._steps += place - done
            self._step = int(before[end])
            if end > begin:
                yield slice(begin, end)
            self._look()
            begin, done = end, place
        self._steps, self._step = self._steps + len(firsts) - done, int(steps.max())
        yield slice(begin, len(steps))

    def _look(self) -> None:
        """Brings the timeline up to date."""
        self._due = next_look(self._steps)
        if len(self._trackers) > _MOST_LOOKED_AT:
            return
        unseen, self.unseen = self.unseen, {}  # a replay knows it at the end only
        # What fails here fails for who asks for a diagnosis, and is told there.
        with suppress(Exception):
            try:
                found = self.diagnose()
            finally:
                self.unseen = unseen
            self._timeline.take(self._step, _found(found.findings, found.notes))
            told = frozenset((each.layer, each.condition, each.severity) for each in found.findings)
            self.changes, self._told = self.changes + (told != self._told), told

    def compare(self, parts: Parts, infos: Sequence[LayerInfo]) -> None:
        """Takes the rows of several ranks before they were merged, beside the merged ones that `extend` gets.

        Args:
            parts: the rows of each rank, in the order of their steps.
            infos: the layers by their numbers in `parts`.
        """
        self._table().add(parts, infos)

    def remember(
        self, ranks: Sequence[int], column: int, layers: npt.NDArray[np.int64], rows: npt.NDArray[np.void],
        infos: Sequence[LayerInfo],
    ) -> None:  # fmt: skip
        """Takes the latest row of each of some layers on the rank at this place among `ranks`; before `compare`."""
        self._table().remember(ranks, column, layers, rows, infos)

    def _table(self) -> RankTable:
        if self._ranks is None:
            self._ranks = RankTable(limits_of(self.thresholds))
        return self._ranks

    def _unknown(self, name: str) -> NoReturn:
        raise ArgumentValueError(f"name: got {name!r}, want a layer that was added before")

    @np.errstate(all="ignore")  # rows hold what a run that goes wrong comes to: products of it overflow, and compare
    def diagnose(self, preset: str | None = None) -> Diagnosis:
        """What is wrong now, from the rows in the window and the onsets tracked so far. Changes nothing.

        Args:
            preset: one of `presets.PRESETS` ("naive", "sagemaker", "deepdiagnosis", "torchmortem", "autotrainer"): the
                published rules of others instead of our own, to compare with. They judge the window alone and link
                no causes.

        Raises:
            ArgumentValueError: there is no such preset.
        """
        trackers = self._in_order
        if len(trackers) < len(self._trackers):
            infos = {tracker: tracker.layer.info for tracker in self._trackers.values()}
            trackers = self._in_order = sorted(infos, key=lambda each: (infos[each].order, infos[each].name))
        limits = self.thresholds
        needs = {rule: min(rule.needs(limits), self.history.window_size) for rule in rules.RULES}
        saturated: dict[str, float] = {}
        findings: list[Finding] = []
        missing: dict[str, tuple[str, ...]] = {}
        groups: dict[str, list[OnsetTracker]] = {which: [] for which in layer_types.GROUPS}
        for tracker in trackers:
            if tracker.layer.total:
                info = tracker.layer.info
                groups[layer_types.group_of(info.layer_type, info.mode)].append(tracker)
        groups = {which: members for which, members in groups.items() if members or which == layer_types.LAYERS}
        tables = {which: rows_of([tracker.layer for tracker in members]) for which, members in groups.items()}
        viewed = {which: self._onsets.views(members, tables[which]) for which, members in groups.items()}
        views = {view.info.name: view for layers in viewed.values() for view in layers}
        unseen = self._without_rows(views)
        for which, members in groups.items():  # each is compared with its like
            layers = viewed[which]
            network = Network(
                layers, recent_rows=limits.recent_rows, min_samples=limits.vanish_samples, everything=views,
                unseen=dict(unseen) if which in layer_types.TOLD_UNSEEN else None, table=tables[which],
                ranks=self._ranks,
            )  # fmt: skip
            saturated |= zip((view.info.name for view in layers), network.saturated, strict=True)
            if preset is None:
                judge = Judge(network, limits, needs)
                for tracker, view in zip(members, layers, strict=True):
                    found, missing[view.info.name] = judge.ask(tracker.rules, view)
                    findings += found
            elif which == layer_types.LAYERS:
                from fastact.diagnosis import presets  # for comparisons alone

                findings += presets.judge(preset, layers)
        if self._ranks is not None and preset is None:
            findings = name_ranks(findings, rules.RULES, views, self._ranks, limits)
        linked = tuple(findings)
        if preset is None:
            accepted_of = frozenset(key(finding) for finding in findings if is_accepted(finding, self.accepted))
            linked = link(findings, list(views.values()), rules.RULES, limits, accepted_of)
            linked = without_harm(linked, rules.RULES, network) if linked else ()
        linked, accepted, in_vain = set_apart(linked, self.accepted)
        linked, notes = split(linked, views)
        own: dict[str, list[Finding]] = {}
        for finding in linked:
            own.setdefault(finding.layer, []).append(finding)
        # What differs in evaluation is a finding of the layer; its row in evaluation shows it too.
        for name in [name for name, view in views.items() if view.info.mode]:
            base = own.get(layer_types.without_mode(name), [])
            shown = [finding for finding in base if finding.condition == "eval_shift"]
            if shown and layer_types.without_mode(name) != name:
                own.setdefault(name, []).extend(shown)
        known = {each.finding.layer for each in accepted}
        table = []
        for tracker in trackers:
            name = tracker.layer.info.name
            if name not in views:
                layer_type = tracker.layer.info.layer_type
                table.append(LayerHealth(name, layer_type, None, None, None, None, _UNKNOWN, "", (), 0, None, None))
                continue
            rows, share = tracker.layer.total, saturated[name]
            health = self._health(views[name], rows, share, own.get(name, []), missing.get(name, ()))
            table.append(replace(health, status="accepted") if name in known and not health.severity else health)
        episodes = () if preset is not None else self._timeline.episodes(self._step, _found(linked, notes))
        return Diagnosis(linked, tuple(table), notes, accepted, unseen, in_vain, episodes)

    def views(self) -> dict[str, LayerView]:
        """The layers that have rows, as rules see them, by name; in the order in which they were added."""
        members = [tracker for tracker in self._trackers.values() if tracker.layer.total]
        views = self._onsets.views(members, rows_of([tracker.layer for tracker in members]))
        return {view.info.name: view for view in views}

    def _without_rows(self, views: Iterable[str]) -> tuple[tuple[str, str], ...]:
        """What was not seen; another rank may have seen it, or it has since run, and nobody has said so yet."""
        if not self.unseen:
            return ()
        # The places of its outputs follow a layer's name: "lstm[0]".
        seen = {name.split(mark)[0] for name in views for mark in "[:"} | set(views)
        return tuple((name, reason) for name, reason in self.unseen.items() if name not in seen)

    def _health(
        self, view: LayerView, rows: int, saturated: float, own: list[Finding], missing: tuple[str, ...]
    ) -> LayerHealth:
        """A layer's line in the health table: `rows` since the start, `saturated` the share over the recent rows."""
        info, last = view.info, view.last
        neurons, count = last[_NEURONS], last[_COUNT]
        dead = None
        if neurons > 0:
            dead = min(last[_DEAD] / neurons, 1.0)
        elif last[_ZEROS] >= count > 0:
            dead = 1.0
        gravest = own[0] if own else None
        if len(own) > 1:
            gravest = max(own, key=lambda finding: gravity(finding.severity))
        few = len(view.rows) < min(self.thresholds.min_rows, self.history.window_size)
        few = few and info.layer_type not in layer_types.OF_OPTIMISERS  # which have rows in some of the steps only
        status = gravest.condition if gravest else _UNKNOWN if few else "healthy"
        bounded = min(saturated, 1.0) if info.layer_type in layer_types.BOUNDED else None
        # In the order of its fields: by name, a hundred of them take a tenth of a millisecond longer.
        return LayerHealth(
            info.name, info.layer_type, _finite(last[_MEAN]), _finite(last[_STD]), dead, bounded, status,
            gravest.severity if gravest else "", missing, rows, view.start, last[_STEP],
        )  # fmt: skip


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None


def _found(findings: Iterable[Finding], notes: Iterable[Note]) -> Found:
    """What the timeline takes of a diagnosis."""
    found: dict[tuple[str, str], tuple[Severity, int]] = {
        (layer, note.condition): (NOTE, note.first_step) for note in notes for layer in note.layers
    }
    return found | {(each.layer, each.condition): (each.severity, each.first_step) for each in findings}
