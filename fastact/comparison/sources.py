"""What can be compared: the path of a run, a log, or a monitor; each gives its rows once, and then its findings."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from fastact.diagnosis.report import Diagnosis
from fastact.errors import ArgumentTypeError, LogError
from fastact.history import LayerHistory, LayerInfo
from fastact.log.schema import check_path
from fastact.monitor.monitor import ActivationMonitor
from fastact.replay.blocks import Block, add_block
from fastact.replay.frames import Progress
from fastact.replay.log import Log, open_log

#: What `compare` takes.
Run = str | os.PathLike[str] | Log | ActivationMonitor


class Source:
    """A run that is compared.

    Attributes:
        name: how it is named.
        infos: its layers, in a list that grows while rows are read.
        known: the layers that are known before rows are read.
        place: the directory of its log, resolved; None without one.
    """

    def __init__(self, argument: str, run: Run, rank: int | None, progress: Progress | None) -> None:
        self.infos: Sequence[LayerInfo] = []
        self.known: Sequence[LayerInfo] = []
        self.place: Path | None = None
        self._blocks: Iterator[Block]
        self._diagnose: Callable[[], Diagnosis]
        if isinstance(run, ActivationMonitor):
            if run.path is None:
                self.name = "a monitor" if argument == "a" else "another monitor"
                self._take_history(run)
                return
            run.flush()
            run = open_log(run.path)
        elif not isinstance(run, Log):
            if not isinstance(run, (str, os.PathLike)):
                raise ArgumentTypeError(
                    f"{argument}: got {type(run).__name__}, want the path of a run, a log or a monitor"
                )
            run = open_log(run)
        self.name = str(run.path)
        self._take_log(run, rank, progress)

    def blocks(self) -> Iterator[Block]:
        """Its rows, in blocks; a block is overwritten when the next one is asked for."""
        return self._blocks

    def diagnosis(self) -> Diagnosis:
        """What is wrong in it; for the time after its rows were read to the end."""
        return self._diagnose()

    def _take_history(self, monitor: ActivationMonitor) -> None:
        history: Mapping[str, LayerHistory] = monitor.history
        layers = list(history.values())
        self.infos = self.known = [layer.info for layer in layers]
        self._blocks = (Block(np.full(len(layer), number, np.int64), layer.rows) for number, layer in enumerate(layers))
        self._blocks = iter([_joined(list(self._blocks))] if layers else [])
        self._diagnose = monitor.diagnose

    def _take_log(self, log: Log, rank: int | None, progress: Progress | None) -> None:
        self.known, self.place = log.layers, log.path.resolve()
        diagnoser, layers = log.diagnoser(rank), log.numbers(rank)
        self.infos, blocks = layers.infos, log.read_blocks(rank, layers, progress, diagnoser)

        def watched() -> Iterator[Block]:
            for block in blocks:
                add_block(diagnoser, block, self.infos)
                yield block

        def diagnose() -> Diagnosis:
            diagnoser.unseen = log.unseen_of(rank)
            return diagnoser.diagnose()

        self._blocks, self._diagnose = watched(), diagnose


def runs_in(folder: str | os.PathLike[str]) -> list[Log]:
    """The runs whose directories lie in a folder, by name. Raises as `open_log` where there is no such folder."""
    found = []
    try:
        places = sorted(place for place in check_path(folder).iterdir() if place.is_dir())
    except OSError as error:
        raise LogError(f"cannot read the runs in {str(folder)!r}: {error}") from None
    for place in places:
        with contextlib.suppress(LogError):  # what is no run is none
            found.append(open_log(place))
    return found


def _joined(blocks: Sequence[Block]) -> Block:
    return Block(np.concatenate([it.layers for it in blocks]), np.concatenate([it.rows for it in blocks]))
