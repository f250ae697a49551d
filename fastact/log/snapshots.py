"""Which neurons were dead at some steps, on the way to the disk and back: in the metadata of a batch.

``fastact.neurons`` of a batch is a JSON list of objects, each a layer's snapshot (`fastact.neurons`): its name as
``layer``, its ``step``, how many ``neurons`` it has, and ``dead`` and ``silent``: a bit for each neuron, the first one
lowest in the first byte, deflated by zlib, in base64; "" where no bit is set. ``covered`` is how many neurons from the
first the bitmaps are of, where these are not all. They come with, or soon after, the rows of their step.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from fastact.log.codec import NONSENSE, Decoder, read_header
from fastact.log.folder import segment_frames
from fastact.log.schema import columns_of
from fastact.neurons import Snapshot, from_json, to_json

#: Snapshots that wait while the disk does not take them, and characters of those that go with one batch.
_MOST_WAITING, _MOST_TEXT = 4096, 1 << 22
#: Of a thinned segment a layer keeps one for so many of its rows.
_ROWS: Final = 10


class WaitingSnapshots:
    """Snapshots that wait for the next batch: one thread appends, another one takes."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[str, Snapshot]] = deque(maxlen=_MOST_WAITING)
        #: Those of the batch that is being written.
        self._texts: list[str] = []

    def __bool__(self) -> bool:
        return bool(self._texts or self._waiting)

    def append(self, layer: str, found: Snapshot) -> None:
        """Takes one in; where too many wait, the oldest is forgotten."""
        self._waiting.append((layer, found))

    def text(self) -> str:
        """Those of the next batch, as its metadata have them; "" for none. The same ones again until `written`."""
        size = 0
        while not self._texts or size:
            with suppress(IndexError):  # the other thread may have made room
                self._texts.append(to_json(*self._waiting.popleft()))
                size += len(self._texts[-1])
                if size < _MOST_TEXT:
                    continue
            break
        return f"[{', '.join(self._texts)}]" if self._texts else ""

    def written(self) -> None:
        """To be called once they are."""
        self._texts = []


class ThinnedSnapshots:
    """Those of segments that are made one: all where `k` is 1, else of each layer the last of ``10 * k`` steps.

    None of `before` on, a step from which on a writer that resumed has recorded again.
    """

    def __init__(self, k: int, before: int | None) -> None:
        self._each = _ROWS * k if k > 1 else 1
        self._before = before
        self._kept: dict[tuple[str, int], tuple[str, Snapshot]] = {}

    def add(self, text: bytes) -> None:
        """Takes in those of a batch; what is no list of them is left out."""
        with suppress(ValueError):
            for name, found in from_json(text):
                if self._before is None or found.step < self._before:
                    self._kept[name, found.step // self._each] = name, found

    def texts(self) -> Iterator[str]:
        """Gives out all that was taken in, in pieces for a batch each."""
        waiting = WaitingSnapshots()
        kept, self._kept = list(self._kept.values()), {}
        for begin in range(0, len(kept), _MOST_WAITING):
            for each in kept[begin : begin + _MOST_WAITING]:
                waiting.append(*each)
            while waiting:
                yield waiting.text()
                waiting.written()


def read_snapshots(
    folder: Path, names: Iterable[str], cut: Callable[[str], int | None], shown: Path
) -> Iterator[tuple[str, Snapshot]]:
    """The snapshots in segments, with their layers, in the order in which they were written.

    Batches without any are not decoded. `cut` has the step from which on a writer's rows were recorded again. What is
    damaged is passed over: who reads the rows tells of it. Raises LogError as `segment_frames`.
    """
    for name in names:
        decoder: Decoder | None = None
        for frame in segment_frames(folder, name, lambda _: None, shown=shown):
            with suppress(*NONSENSE):
                if frame.kind == "schema":
                    decoder = read_header(frame)[1]
                elif frame.message.find(b"fastact.neurons", 0, frame.metadata) >= 0:
                    decoder = decoder or Decoder(columns_of(frame.version), frame.version)
                    last = cut(frame.session)
                    for layer, found in from_json(decoder.batch(frame)[1].get(b"fastact.neurons", b"[]")):
                        if last is None or found.step < last:
                            yield layer, found
