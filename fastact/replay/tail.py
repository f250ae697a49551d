"""Watches a run while it is written: what `fastact tail` shows.

Nothing is read twice: the first look reads the whole log, each further one what was written since.
"""

import os
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from fastact.diagnosis.diagnoser import Diagnoser
from fastact.diagnosis.report import Diagnosis
from fastact.diagnosis.schema import report_schema
from fastact.history import History
from fastact.json_schema import document
from fastact.log.follower import RunFollower
from fastact.replay.blocks import Block, LayerNumbers, add_block, in_blocks, make_diagnoser
from fastact.replay.ranks import check_rank, rank_folders


class Tail:
    """The state of a run that is being written.

    Args:
        path: the run's directory, which may be empty yet, or the parent of its ranks' directories.
        window_size: as in `Log.diagnose`.
        rank: the rank to follow; by default the lowest.
        lost: called with what is missing, in words.
        seen: called with each block of rows, and the numbers of the layers in it, once the diagnosis has it. A block is
            overwritten afterwards.
        anew: called where what was seen does not hold any more: a new session of the run has begun, or it was resumed
            at a step that was seen. All rows that hold are seen again after that.

    Raises:
        ArgumentValueError: `window_size` is out of range, or `rank` is not there.
        LogError: the directory cannot be read.

    Example:
        >>> import tempfile, fastact
        >>> run = tempfile.mkdtemp()
        >>> with fastact.ActivationMonitor(run) as monitor:
        ...     stats = monitor.record("encoder.0", memoryview(b"abc"))
        ...     monitor.step()
        ...     monitor.flush()
        ...     tail = Tail(run)
        ...     tail.look(), tail.rows, tail.closed
        (1, 1, False)
        >>> tail.look(), tail.closed
        (0, True)
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        window_size: int | None = None,
        rank: int | None = None,
        lost: Callable[[str], None] = lambda _: None,
        seen: Callable[[Block, LayerNumbers], None] = lambda *_: None,
        anew: Callable[[], None] = lambda: None,
    ) -> None:
        place, folders = rank_folders(path)
        rank = min(folders) if rank is None and folders else rank
        check_rank(rank, folders)
        #: The last step seen; None before the first row.
        self.step: int | None = None
        #: Rows seen, and rows a second over the last few looks: 0.0 before the second look.
        self.rows, self.rate = 0, 0.0
        #: The rank that is followed; None for a run of one process.
        self.rank = rank if folders else None
        self._place, self._lost = place / folders[rank] if rank in folders else place, lost
        self._follower = RunFollower(self._place, lost)
        self._window_size = window_size
        self._tell, self._tell_anew = seen, anew
        #: Held while rows come into `history`: for a thread that reads it while another one looks.
        self.lock = threading.Lock()
        self._diagnoser: Diagnoser | None = None
        self._layers = LayerNumbers()
        #: When the last few looks were, and the rows seen by then.
        self._seen: list[tuple[float, int]] = []

    @property
    def closed(self) -> bool:
        """Whether the run's writer closed it, and all of it was seen. A writer that was killed leaves it open."""
        return self._follower.closed

    @property
    def written(self) -> bool | None:
        """Whether a writer is at work on the run; None where the system does not tell."""
        return self._follower.written

    @property
    def history(self) -> History:
        """The last rows of each layer; empty before the first row."""
        return History() if self._diagnoser is None else self._diagnoser.history

    def look(self) -> int:
        """Reads what was written since the last look; returns the number of rows. Raises LogError as `RunFollower`."""
        before = self.rows
        self._read()
        if self._follower.void:
            self._follower = RunFollower(self._place, self._lost)
            with self.lock:
                self._diagnoser, self._layers = None, LayerNumbers()
            self.step, self.rows, before, self._seen = None, 0, 0, []
            self._tell_anew()
            self._read()
        self._seen = [*self._seen[-9:], (time.monotonic(), self.rows)]
        (begin, first), (end, last) = self._seen[0], self._seen[-1]
        self.rate = (last - first) / (end - begin) if end > begin else 0.0
        return self.rows - before

    def _read(self) -> None:
        for block in in_blocks(self._follower.read(), self._layers):
            if self._diagnoser is None:
                self._diagnoser = make_diagnoser(self._follower.metadata, None, self._window_size)
            with self.lock:
                add_block(self._diagnoser, block, self._layers.infos)
            self._tell(block, self._layers)
            self.rows += len(block.rows)
            self.step = int(block.rows["step"][-1])

    def diagnose(self) -> Diagnosis:
        """What is wrong by the rows seen so far: equal to `Log.diagnose` of the same rows."""
        diagnoser = self._diagnoser or make_diagnoser({}, None, self._window_size)
        diagnoser.unseen = self._follower.unseen
        return diagnoser.diagnose()

    def to_dict(self) -> dict[str, Any]:
        """The state as plain dicts, lists, text and finite numbers: a line of ``fastact tail --json``."""
        facts = {name: getattr(self, name) for name in _FACTS}
        return facts | {"diagnosis": self.diagnose().to_dict()}


#: What is told of a run that is followed: the schema and the meaning of each number.
_FACTS: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "rank": ({"type": ["integer", "null"]}, "the rank that is followed; null for a run of one process"),
    "step": ({"type": ["integer", "null"]}, "the last step seen; null before the first row"),
    "rows": ({"type": "integer"}, "rows seen"),
    "rate": ({"type": "number"}, "rows a second over the last few looks; 0 before the second one"),
    "closed": ({"type": "boolean"}, "whether the run's writer closed it, and all of it was seen"),
}


def tail_schema() -> dict[str, Any]:
    """The JSON Schema of `Tail.to_dict`."""
    whole = report_schema()
    diagnosis = {name: whole[name] for name in ("type", "properties", "required")}
    properties: dict[str, Any] = {name: {**kind, "description": said} for name, (kind, said) in _FACTS.items()}
    properties["diagnosis"] = {"$ref": "#/$defs/Diagnosis", "description": "what is wrong by the rows seen so far"}
    root = {"type": "object", "properties": properties, "required": list(properties)}
    return document("tail:1", "Tail", root, ("Diagnosis", diagnosis), *whole["$defs"].items())
