"""The directories of a run's ranks, and the forward order of all their layers."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from fastact.errors import ArgumentValueError, LogError
from fastact.history import LayerInfo
from fastact.log.reader import RunReader
from fastact.log.schema import check_path
from fastact.ranks import RANK_FOLDER
from fastact.remote import is_uri, redacted
from fastact.replay.blocks import LayerNumbers, placed


class OfRanks:
    """What `Log` knows of the layers of its ranks."""

    runs: dict[int, RunReader]

    @property
    def layers(self) -> tuple[LayerInfo, ...]:
        """The layers in forward order; where ranks or resumed runs differ, the last one counts."""
        orders = self._orders()
        layers = {info.name: placed(info, orders) for run in self.runs.values() for info in run.layers}
        return tuple(sorted(layers.values(), key=lambda info: info.order))

    def numbers(self, rank: int | None = None) -> LayerNumbers:
        """Numbers for the layers of `Log.read_blocks`, in the forward order of a rank, or of all together."""
        return LayerNumbers(self._orders() if rank is None else None)

    def _orders(self) -> dict[str, int]:
        return forward_order(run.layers for run in self.runs.values())


def rank_folders(path: str | os.PathLike[str]) -> tuple[Path, dict[int, str]]:
    """The path of a run's directory, and the names of its ranks' directories by their ranks; raises as `open_log`."""
    place = check_path(path)
    if is_uri(place):
        raise LogError(
            f"{redacted(place)!r} is not local, want a run's local directory: open_log reads what is elsewhere"
        )
    try:
        names = sorted(item.name for item in place.iterdir())
    except (OSError, ValueError) as error:
        raise LogError(f"cannot read the log {str(place)!r}, want a run's directory: {error}") from None
    return place, {int(match[1]): name for name in names if (match := RANK_FOLDER.fullmatch(name))}


def check_rank(rank: int | None, folders: dict[int, str]) -> None:
    """Whether the rank is one of those in `rank_folders`; a run of one process has rank 0. None is any.

    Raises:
        ArgumentValueError: it is not.
    """
    if rank is not None and rank not in (folders or (0,)):
        there = ", ".join(map(str, sorted(folders))) or "0, since the run has no directories of ranks"
        raise ArgumentValueError(f"rank: got {rank!r}, want one of {there}")


def forward_order(ranks: Iterable[Sequence[LayerInfo]]) -> dict[str, int]:
    """The places of all ranks' layers in one forward order, by name; empty where their own places fit together.

    Each rank counts its layers from 0. Where they are not the same on all, as in a pipeline, one place may belong to
    different layers. Then those that a rank alone has come before the next layer that it shares with ranks before it,
    and behind all others where it shares none after them.

    Example:
        >>> first = [LayerInfo("stem", 0), LayerInfo("experts.0", 1), LayerInfo("head", 2)]
        >>> second = [LayerInfo("stem", 0), LayerInfo("experts.1", 1), LayerInfo("head", 2), LayerInfo("loss", 3)]
        >>> forward_order([first, second])
        {'stem': 0, 'experts.0': 1, 'experts.1': 2, 'head': 3, 'loss': 4}
        >>> forward_order([first, first])
        {}
    """
    ranks = list(ranks)
    if len(ranks) < 2:
        return {}
    owner: dict[int, str] = {}
    #: What comes right before a layer, in its order; under "" what is behind all.
    before: dict[str, list[str]] = {"": []}
    fit = True
    for layers in ranks:
        new: list[str] = []
        for info in sorted(layers, key=lambda each: each.order):
            fit = fit and owner.setdefault(info.order, info.name) == info.name
            if info.name in before:
                before[info.name] += new
                new = []
            else:
                new.append(info.name)
        before[""] += new
        before |= {name: [] for layer in layers if (name := layer.name) not in before}
    if fit:
        return {}
    names: list[str] = []
    waiting = before[""][::-1]
    while waiting:
        name = waiting.pop()
        if before[name]:
            waiting += [name, *reversed(before[name])]
            before[name] = []
        else:
            names.append(name)
    return {name: place for place, name in enumerate(names)}
