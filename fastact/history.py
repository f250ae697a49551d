"""The history: a ring of the recent rows of each layer.

Each layer owns one array of `window_size` fixed-size rows, allocated when the layer is first seen. Appending packs the
numbers into it in place; nothing is allocated per step. The history knows rows and layers and nothing of buffers,
kernels or files, so a live run and a replayed log fill it in the same way.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import numpy.typing as npt

from fastact import frames
from fastact.checks import check_integer, renamed
from fastact.estimates import Estimate, estimate
from fastact.fields import PACK_ROW, ROW_BYTES, ROW_DTYPE
from fastact.text import number, shown

if TYPE_CHECKING:
    from fastact.html.notebook import Card

#: What a model was in when its rows were recorded.
Mode = Literal["", "evaluation"]
#: Rows of the largest window: 160 MB a layer. A larger one is a mistake, and fails only when a layer is recorded.
MAX_WINDOW: Final = 1_000_000
#: Layers that a notebook shows.
_MOST_SHOWN: Final = 100
#: A row as bytes: numpy copies structured rows field by field, in seven times the time.
_RAW: Final = np.dtype((np.void, ROW_BYTES))


@dataclass(frozen=True, slots=True, init=False)
class LayerInfo:
    """What is known of a layer besides its numbers. It travels in the log's schema.

    Args:
        name: the layer's name, as in ``model.named_modules()`` where there is one.
        order: its place in forward order, from 0; rows refer to the layer by this number.
        layer_type: its type, such as "ReLU", "Tanh", "Linear", "BatchNorm1d"; "" when unknown.
        dtype: the dtype of its activations, such as "float32", as first seen; "" when unknown.
        saturation: the interval (lo, hi) outside which an element was counted as saturated.
        mode: "evaluation" where these are the rows of a model in evaluation mode; "" in training, or where nobody said.
        sparse: whether its neurons fire seldom by design, so that it takes more samples to call one dead.
        source: the name of the layer whose output it was given; "" when unknown.
        facts: what else was known at its first row and stays so, such as the function of a loss and the shape of its
            targets: names to text, numbers, booleans, or lists and mappings of these. Not compared or hashed.
        kind: the older name of `layer_type`, as an argument and as an attribute.
    """

    name: str
    order: int
    layer_type: str = ""
    dtype: str = ""
    saturation: tuple[float, float] = (-0.99, 0.99)
    mode: Mode = ""
    sparse: bool = False
    source: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __init__(
        self,
        name: str,
        order: int,
        layer_type: str = "",
        dtype: str = "",
        saturation: tuple[float, float] = (-0.99, 0.99),
        mode: Mode = "",
        sparse: bool = False,
        source: str = "",
        facts: Mapping[str, Any] | None = None,
        *,
        kind: str | None = None,
    ) -> None:
        layer_type = renamed("layer_type", layer_type, "kind", kind)
        values = name, order, layer_type, dtype, saturation, mode, sparse, source, dict(facts or {})
        for slot, value in zip(self.__slots__, values, strict=True):
            object.__setattr__(self, slot, value)

    @property
    def kind(self) -> str:
        """The older name of `layer_type`."""
        return self.layer_type


class LayerHistory:
    """The last `window_size` rows of one layer, oldest first.

    Example:
        >>> from fastact.fields import ROW
        >>> layer = LayerHistory(LayerInfo("encoder.0", 0), window_size=2)
        >>> for step in range(3):
        ...     layer.append((step, *[0] * (len(ROW) - 1)))
        >>> len(layer), layer.total, layer["step"].tolist()
        (2, 3, [1, 2])
    """

    __slots__ = ("_buffer", "_raw", "_steps", "info", "total", "window_size")

    def __init__(self, info: LayerInfo, window_size: int) -> None:
        self.info = info
        self.window_size = check_integer("window_size", window_size, 1, MAX_WINDOW)
        #: Rows appended since the start, those that have left the window included.
        self.total = 0
        rows = np.zeros(window_size, ROW_DTYPE)
        self._raw = rows.view(_RAW)
        self._buffer = rows.data.cast("B")
        self._steps = rows["step"]

    def append(self, row: tuple[Any, ...]) -> None:
        """Appends one row: the numbers of `fields.ROW`, in that order. The oldest one leaves a full window."""
        put(self, PACK_ROW(*row))

    def extend(self, rows: npt.NDArray[np.void]) -> None:
        """Appends many rows: shape (rows,) of `fields.ROW_DTYPE`. Only the last `window_size` of them are copied."""
        window, kept = self.window_size, rows[-self.window_size :].view(_RAW)
        self.total += len(rows)
        start = (self.total - len(kept)) % window
        head = min(len(kept), window - start)
        self._raw[start : start + head] = kept[:head]
        self._raw[: len(kept) - head] = kept[head:]

    def step_of(self, row: int) -> int:
        """The step of a row that is in the window; rows are counted from 1, the first one appended."""
        return int(self._steps[(row - 1) % self.window_size])

    @property
    def steps(self) -> npt.NDArray[np.int64]:
        """The step of each row in the window, oldest first: a copy, as ``layer["step"]`` is, which copies all rows."""
        oldest = self.total % self.window_size if self.total > self.window_size else 0
        return np.concatenate((self._steps[oldest : len(self)], self._steps[:oldest]))

    def __len__(self) -> int:
        return min(self.total, self.window_size)

    @property
    def rows(self) -> npt.NDArray[np.void]:
        """The rows as a structured array of `fields.ROW_DTYPE`, oldest first: a copy, safe to keep."""
        return rows_of([self])

    def _copy_into(self, raw: npt.NDArray[np.void], start: int) -> int:
        """Copies the rows to where `raw` has place for them, from `start` on; returns the end."""
        length = len(self)
        oldest = self.total % length if self.total > length else 0
        middle, end = start + length - oldest, start + length
        raw[start:middle] = self._raw[oldest:length]
        if oldest:
            raw[middle:end] = self._raw[:oldest]
        return end

    def __getitem__(self, field: str) -> npt.NDArray[Any]:
        """One field over the window, oldest first (int64 or float64, one entry per row)."""
        return self.rows[field]

    def estimate(self, field: str) -> Estimate:
        """One field over the window as an estimate of all samples there were, where only a share was swept.

        Args:
            field: a count or a moment of the state, such as "zeros" or "mean"; extremes are those of what was swept.

        Returns:
            Its ``value``, with counts scaled to all elements, and its standard ``error``, at most; 0 where all samples
            were swept. Both are float64[rows], oldest first.

        Raises:
            ArgumentValueError: there is no such number.
        """
        return estimate(self.rows, field)

    def to_pandas(self) -> Any:
        """The rows as a `pandas.DataFrame`, oldest first: see `History.to_pandas`."""
        return frames.to_pandas(_columns([self]))

    def to_polars(self) -> Any:
        """The rows as a `polars.DataFrame`, oldest first: see `History.to_polars`."""
        return frames.to_polars(_columns([self]))

    def _repr_html_(self) -> str:
        return _card([self], repr(self)).to_html()

    def __repr__(self) -> str:
        return f"LayerHistory({self.info.name!r}, rows={len(self)}, total={self.total})"


def rows_of(layers: Sequence[LayerHistory]) -> npt.NDArray[np.void]:
    """The `rows` of all of them, one layer after the other: hundreds of pieces of memory take four times as long."""
    table = np.empty(sum(map(len, layers)), ROW_DTYPE)
    raw, start = table.view(_RAW), 0
    for layer in layers:
        start = layer._copy_into(raw, start)
    return table


def put(layer: LayerHistory, row: bytes) -> None:
    """Appends one row, as `fields.PACK_ROW` packs it."""
    start = layer.total % layer.window_size * ROW_BYTES
    layer._buffer[start : start + ROW_BYTES] = row
    layer.total += 1


def newest(layer: LayerHistory, count: int) -> npt.NDArray[np.void]:
    """The newest of the rows as bytes, for `joined`, oldest first; not to be kept, for it may be no copy."""
    start = (layer.total - count) % layer.window_size
    if start + count <= layer.window_size:
        return layer._raw[start : start + count]
    return np.concatenate((layer._raw[start:], layer._raw[: start + count - layer.window_size]))


def joined(parts: Sequence[npt.NDArray[np.void]]) -> npt.NDArray[np.void]:
    """A copy of rows, of `fields.ROW_DTYPE` or as bytes, one part after the other."""
    return np.concatenate([part if part.dtype is _RAW else part.view(_RAW) for part in parts]).view(ROW_DTYPE)


def _columns(layers: Sequence[LayerHistory]) -> dict[str, frames.Column]:
    places = np.repeat(np.arange(len(layers)), [len(layer) for layer in layers])
    return frames.columns_of_rows(rows_of(layers), places, [layer.info.name for layer in layers])


def rms_of(layer: LayerHistory) -> npt.NDArray[np.float64]:
    """The root mean square of each row in the window, oldest first; NaN without a finite element."""
    rows = layer.rows
    with np.errstate(over="ignore"):
        found: npt.NDArray[np.float64] = np.hypot(rows["mean"], rows["std"])
    return found


def _card(layers: Sequence[LayerHistory], title: str) -> "Card":
    """What a notebook shows of layers: their last rows, and the root mean squares of the window."""
    from fastact.html.notebook import Card, Line, Table, small_curve  # only a notebook pays for it

    lines = []
    for layer in layers[:_MOST_SHOWN]:
        rms, rows = rms_of(layer), layer.rows[-1:]
        last = [(rms[-1], rows["std"][0], rows["count"][0], rows["step"][0])] if len(rows) else []
        cells = [(*map(number, each[:2]), f"{each[2]:,}", f"{each[3]:,}") for each in last] or [("-",) * 4]
        name = shown(layer.info.name, 60), shown(layer.info.layer_type, 24), f"{layer.total:,}"
        lines.append(Line((*name, *cells[0]), curve=small_curve(rms) if len(rms) else ""))
    head = [("layer", False), ("type", False), *((name, True) for name in ("rows", "rms", "std", "elements", "step"))]
    return Card(title, table=Table(head, lines, "rms of the window", max(0, len(layers) - _MOST_SHOWN)))


class History(Mapping[str, LayerHistory]):
    """The layers' histories by name, in forward order (the order in which they were added)."""

    def __init__(self, window_size: int = 100) -> None:
        self.window_size = check_integer("window_size", window_size, 1, MAX_WINDOW)
        self._layers: dict[str, LayerHistory] = {}

    def add(self, info: LayerInfo) -> LayerHistory:
        """Adds a layer and allocates its window; a layer that is known already is returned as it is."""
        if info.name not in self._layers:
            self._layers[info.name] = LayerHistory(info, self.window_size)
        return self._layers[info.name]

    def __getitem__(self, name: str) -> LayerHistory:
        return self._layers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)

    def to_pandas(self) -> Any:
        """All rows in the window as a `pandas.DataFrame`: layer after layer in forward order, oldest first.

        The columns are the fields of `fields.ROW`: ``layer`` is a categorical with the layers in forward order,
        ``time`` a datetime64[ns, UTC], all else nullable Int64 and Float64 with NA where there was nothing to measure.

        Raises:
            MissingExtraError: pandas is not installed.

        Example:
            >>> import fastact
            >>> with fastact.ActivationMonitor() as monitor:
            ...     for _ in range(3):
            ...         stats = monitor.record("encoder.0", np.ones((4, 2)), axis=-1)
            ...         monitor.step()
            >>> monitor.history.to_pandas()[["step", "layer", "mean", "neurons"]]
               step      layer  mean  neurons
            0     0  encoder.0   1.0        2
            1     1  encoder.0   1.0        2
            2     2  encoder.0   1.0        2
        """
        return frames.to_pandas(_columns(list(self.values())))

    def to_polars(self) -> Any:
        """All rows in the window as a `polars.DataFrame`, as `to_pandas` has them; ``layer`` is an Enum.

        Raises:
            MissingExtraError: polars is not installed.
        """
        return frames.to_polars(_columns(list(self.values())))

    def _repr_html_(self) -> str:
        return _card(list(self.values()), repr(self)).to_html()

    def __repr__(self) -> str:
        return f"History(layers={len(self)}, window_size={self.window_size})"
