"""What a segment holds: its Arrow columns, derived from `fields.ROW`, and its header in the schema's metadata.

``layer`` is a plain utf8 column. Dictionary codes would be smaller before compression, but then one damaged dictionary
message would cost all batches after it, and readers differ in how they take dictionaries that grow within a stream.
Plain strings make each batch whole by itself, every Arrow implementation reads them, and compression takes the
repetition away. What is null is said in `fastact.log`; `to_rows` gives back the row as it was appended.
"""

import functools
import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fastact.checks import check_integer, check_text, check_type
from fastact.errors import ArgumentTypeError, ArgumentValueError, LogError
from fastact.fields import COLUMN, COPY, NEURON, ROW, ROW_DTYPE, SCHEMA_VERSION, Field
from fastact.history import LayerInfo, Mode
from fastact.remote import is_uri, redacted

#: A batch of this many rows with names of this length stays under the largest message that a reader accepts.
MAX_BATCH_ROWS: Final = 65_536
MAX_NAME_BYTES: Final = 4_096
#: Names of user metadata are stored with this prefix, so that they cannot collide with fastact's own or with Arrow's.
_RUN: Final = "run."
#: What a field holds when there was nothing to measure; stored as null, and put back on reading.
_FILL: Final[dict[str, float]] = {f.name: f.nothing for f in ROW if f.nothing is not None}


_LAYER: Final = COLUMN["layer"]


def columns_of(version: tuple[int, int]) -> Any:
    """The columns of a version that is not newer than this one, without a header: a `pyarrow.Schema`."""
    columns = []
    for f in ROW:
        if f.since > version:
            continue
        name = f.name
        if name == "layer":
            columns.append(pa.field("layer", pa.utf8(), nullable=False, metadata={"meaning": "the layer's name"}))
            name = "layer_order"
        arrow_type = pa.int64() if f.dtype == "int64" else pa.float64()
        columns.append(pa.field(name, arrow_type, nullable=name in _FILL, metadata={"meaning": f.meaning}))
    return pa.schema(columns)


#: The columns of this version, without a header.
COLUMNS: Final[Any] = columns_of(SCHEMA_VERSION)


@dataclass(frozen=True, slots=True)
class Header:
    """What a segment says about itself, in the metadata of its Arrow schema.

    Attributes:
        session: 16 hex digits, drawn anew by each writer; segments of one writer share it.
        first_row: rows that this writer had taken in before the first row of this segment.
        layers: the layers of the writer's last segment, or those known when its first one was begun. Since 1.5 a layer
            that comes later is named by the first batch that has a row of it (``fastact.layers`` in the batch's
            metadata), where a new segment was begun before.
        metadata: the run's own metadata.
        version: (major, minor) of `fields.SCHEMA_VERSION` when it was written.
        dropped: rows that this writer had dropped before the first row of this segment, because the disk refused.
            They are not counted in `first_row`. Since 1.1.
        merged_steps: k of a thinned segment, whose rows stand for up to k steps each; 1 where each row is one step.
            Since 1.1.
        next_row: rows that this writer had taken in before the first row after a thinned segment: its rows stand for
            rows `first_row` to ``next_row - 1``. None where a row is a row. Since 1.1.
        unseen: what was watched and not recorded by then, by name, and why. Since 1.3; since 1.5 a batch may replace it
            (``fastact.unseen`` in its metadata), where a new segment was begun before.
        run_session: which session of the run the writer is of, from 0 (`fastact.log.sessions`). Since 1.5.
        start_step: the step at which the writer resumed the session; None where it began it. Since 1.5.
        started: when the writer began, in nanoseconds since 1970-01-01 UTC; 0 where that is not known. Since 1.5.
    """

    session: str
    first_row: int = 0
    layers: tuple[LayerInfo, ...] = ()
    metadata: dict[str, str] = field(default_factory=dict)
    version: tuple[int, int] = SCHEMA_VERSION
    dropped: int = 0
    merged_steps: int = 1
    next_row: int | None = None
    unseen: dict[str, str] = field(default_factory=dict)
    run_session: int = 0
    start_step: int | None = None
    started: int = 0

    def schema(self, fastact_version: str, stamp: str) -> Any:
        """The Arrow schema with this header in it; `stamp` is the text that `frames.finish` completes."""
        own = {
            "fastact.stamp": stamp,
            "fastact.schema_version": f"{self.version[0]}.{self.version[1]}",
            "fastact.version": fastact_version,
            "fastact.session": self.session,
            "fastact.first_row": str(self.first_row),
            "fastact.layers": layers_to_json(self.layers),
            "fastact.run_session": str(self.run_session),
            "fastact.started": str(self.started),
        }
        if self.start_step is not None:
            own["fastact.start_step"] = str(self.start_step)
        if self.dropped:
            own["fastact.dropped"] = str(self.dropped)
        if self.unseen:
            own["fastact.unseen"] = json.dumps(self.unseen)
        if self.next_row is not None:
            own |= {"fastact.merged_steps": str(self.merged_steps), "fastact.next_row": str(self.next_row)}
        return COLUMNS.with_metadata(own | {_RUN + key: value for key, value in self.metadata.items()})

    @classmethod
    def read(cls, schema: Any) -> "Header":
        """The header of a segment's schema. Raises `LogError` for a newer major version, ValueError for nonsense."""
        raw: dict[str, str] = {key.decode(): value.decode() for key, value in (schema.metadata or {}).items()}
        try:
            major, minor = raw["fastact.schema_version"].split(".")
            version = (int(major), int(minor))
            check_version(version)
            return cls(
                session=raw["fastact.session"],
                first_row=_count(raw["fastact.first_row"]),
                layers=layers_from_json(raw["fastact.layers"]),
                metadata={key[len(_RUN) :]: value for key, value in raw.items() if key.startswith(_RUN)},
                version=version,
                dropped=_count(raw.get("fastact.dropped", "0")),
                merged_steps=max(1, _count(raw.get("fastact.merged_steps", "1"))),
                next_row=_count(raw["fastact.next_row"]) if "fastact.next_row" in raw else None,
                unseen=unseen_from_json(raw.get("fastact.unseen", "{}")),
                run_session=_count(raw.get("fastact.run_session", "0")),
                start_step=_count(raw["fastact.start_step"]) if "fastact.start_step" in raw else None,
                started=_time(raw.get("fastact.started", "0")),
            )
        except (KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"incomplete header: {error!r}") from error


def _count(text: str) -> int:
    """A number of rows or steps from a header; ValueError for what is none."""
    if not re.fullmatch("[0-9]{1,18}", text):
        raise ValueError(f"a count of {text[:40]!a}")
    return int(text)


def _time(text: str) -> int:
    """A time in nanoseconds from a header; ValueError for what is none."""
    if not re.fullmatch("[0-9]{1,19}", text):
        raise ValueError(f"a time of {text[:40]!a}")
    return int(text)


def check_version(version: tuple[int, int]) -> None:
    """Refuses what a newer major version wrote: the meaning of its fields is not known here."""
    if version[0] > SCHEMA_VERSION[0]:
        raise LogError(
            f"log of schema version {version[0]}.{version[1]}, want at most {SCHEMA_VERSION[0]}.x: "
            "it was written by a newer fastact, which is needed to read it"
        )


def layers_to_json(layers: Iterable[LayerInfo]) -> str:
    """Layers as a header has them: a JSON list of objects."""
    items = []
    for info in layers:
        facts: dict[str, Any] = {"name": info.name, "order": info.order, "kind": info.layer_type, "dtype": info.dtype}
        facts |= {name: value for name in ("mode", "sparse", "source", "facts") if (value := getattr(info, name))}
        # JSON has no infinities, and repr of a float reads back exactly: so the bounds travel as text.
        items.append(facts | {"saturation": [repr(float(bound)) for bound in info.saturation]})
    return json.dumps(items)


@functools.lru_cache(maxsize=16)  # ranks have the same ones, as a rule
def layers_from_json(text: str | bytes) -> tuple[LayerInfo, ...]:
    """Layers from the text that `layers_to_json` made. Raises ValueError for nonsense."""
    try:
        return tuple(_layer_from_json(item) for item in json.loads(text))
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"no list of layers: {error!r}") from error


def unseen_from_json(text: str | bytes) -> dict[str, str]:
    """What was not seen, by name, and why. Raises ValueError for nonsense."""
    try:
        return {str(name): str(why) for name, why in dict(json.loads(text)).items()}
    except (TypeError, RecursionError) as error:
        raise ValueError(f"no mapping of names to reasons: {error!r}") from error


def _layer_from_json(item: dict[str, Any]) -> LayerInfo:
    name, layer_type, dtype = (str(item[key]) for key in ("name", "kind", "dtype"))
    low, high = item["saturation"]
    mode: Mode = "evaluation" if item.get("mode") == "evaluation" else ""  # what a newer version may add is ignored
    sparse, source = bool(item.get("sparse", False)), str(item.get("source", ""))
    facts = item.get("facts", {})
    bounds = float(low), float(high)
    known = facts if isinstance(facts, dict) else None
    return LayerInfo(name, int(item["order"]), layer_type, dtype, bounds, mode, sparse, source, known)


def check_layer(info: object) -> None:
    """Refuses a layer whose name cannot be stored; the message names the argument."""
    info = check_type("info", info, LayerInfo, "a LayerInfo")
    for name in ("name", "layer_type", "dtype", "source"):
        check_text(f"info.{name}", getattr(info, name), MAX_NAME_BYTES)
    check_integer("info.order", info.order, 0, 2**63 - 1)


def check_path(path: object) -> Path:
    """The path of a run's directory. Refuses what names none."""
    text: object = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(text, str) or not text:
        raise ArgumentTypeError(f"path: got {path!r}, want the path of a run's directory as text")
    return Path(text)


def check_local(path: object) -> Path:
    """The path of a directory to write a run to. Refuses the address of a store, of which no folder is ever made."""
    place = check_path(path)
    if is_uri(place):
        raise ArgumentValueError(
            f"path: got {redacted(place)!r}, want a local directory: rows are written there first, and move on with "
            f"LogOptions(upload={redacted(place)!r})"
        )
    return place


def check_metadata(metadata: object) -> dict[str, str]:
    """The metadata as a dict; None is none. Refuses what is not text to text."""
    if metadata is None:
        return {}
    if not isinstance(metadata, Mapping):
        raise ArgumentTypeError(f"metadata: got {type(metadata).__name__}, want a mapping of str to str")
    for key, value in metadata.items():
        check_text("metadata key", key, 4096)
        check_text(f"metadata[{key!r}]", value, 1 << 20)
    return dict(metadata)


def check_schema(schema: Any, version: tuple[int, int]) -> None:
    """Raises ValueError unless every column of its version is there with its type, and the others are plain.

    Columns that are not known come from a newer minor version and are ignored; nested and extension types never
    do, and are refused so that foreign code paths are not reached.
    """
    for column in schema:
        if not any(plain(column.type) for plain in (pa.types.is_integer, pa.types.is_floating, pa.types.is_string)):
            raise ValueError(f"a column of type {column.type}")
    for want in columns_of(version):
        found = schema.get_all_field_indices(want.name)
        if len(found) != 1 or schema.field(found[0]).type != want.type:
            raise ValueError(f"no single column {want.name!r} of type {want.type}")


#: The columns that may be null, by what they then hold: NaN; these bits; and 0, where nothing was swept per neuron.
_NAN: Final = [COLUMN[name] for name, fill in _FILL.items() if math.isnan(fill)]
_EQUAL: Final = [COLUMN[name] for name, fill in _FILL.items() if fill and not math.isnan(fill)]
_EQUAL_TO: Final = [np.array(_FILL[ROW[place].name], ROW[place].dtype).view(np.int64) for place in _EQUAL]
_UNSWEPT: Final = [COLUMN[field.name] for field in NEURON if field.nothing == 0]
# 0 may have been measured as well, but for what is never 0; of the state it always was.
_UNTAKEN: Final = [COLUMN[field.name] for field in COPY]
_NULLABLE: Final = [*_NAN, *_EQUAL, *_UNSWEPT, *_UNTAKEN]
_FILLS: Final = np.array([*_EQUAL_TO, *[0] * len(_UNSWEPT + _UNTAKEN)], np.int64)[:, None]
#: Orders below this are looked up in a table.
_FEW: Final = 1 << 20


def to_batch(rows: npt.NDArray[np.void], names: Mapping[int, str]) -> Any:
    """Rows of `fields.ROW_DTYPE` as a `pyarrow.RecordBatch`; `names` maps a layer's order to its name.

    From buffers alone, here and where rows are read: `pyarrow.array` and `to_numpy` import pandas where it is
    installed, which takes half a second of the training's time and 30 MB, and fails while the interpreter ends: the
    last rows would be lost. (In pyarrow 18, `to_pandas_dtype` needs it.)

    All columns at once: numpy gives Python's lock away in each call, and beside a training that does not let go of it
    has it back 5 ms later. Column by column a batch took half a second.
    """
    many = len(rows)
    columns = np.ascontiguousarray(np.ascontiguousarray(rows).view(np.int64).reshape(many, len(ROW)).T)
    null = np.empty((len(_NULLABLE), many), np.bool_)
    equal, unswept = null[len(_NAN) :], null[len(_NAN) + len(_EQUAL) : len(_NULLABLE) - len(_UNTAKEN)]
    np.isnan(columns[_NAN].view(np.float64), out=null[: len(_NAN)])
    # Null only where the value is the one that reading puts back: an odd row comes back as it was.
    np.equal(columns[_NULLABLE[len(_NAN) :]], _FILLS, out=equal)
    unswept &= unswept[0]  # where there were no neurons
    valid = dict(zip(_NULLABLE, np.packbits(~null, axis=1, bitorder="little"), strict=True))
    some = np.logical_or.reduce(null, axis=1).tolist()
    whole = {place for place, any_is in zip(_NULLABLE, some, strict=True) if not any_is}
    found = []
    for place, values in enumerate(columns):
        if place == _LAYER:
            orders, codes = numbered(values)
            text = _text(tuple(map(names.__getitem__, orders)))
            found.append(pa.DictionaryArray.from_arrays(_column(codes, pa.int32()), text).dictionary_decode())
        bits = None if place in whole else valid.get(place)
        found.append(_column(values, COLUMNS.field(len(found)).type, bits))
    return pa.RecordBatch.from_arrays(found, schema=COLUMNS)


def orders_of(rows: npt.NDArray[np.void]) -> list[int]:
    """The layers of rows of `fields.ROW_DTYPE`, ascending: `np.unique`, which is several calls (`to_batch`)."""
    return sorted(set(rows["layer"].tolist()))


def numbered(orders: npt.NDArray[np.int64]) -> tuple[list[int], npt.NDArray[np.int32]]:
    """The layers of rows, ascending, and for each row which of them it is of: `np.unique`, in fewer calls."""
    different = sorted(set(orders.tolist()))
    if not different or different[0] < 0 or different[-1] >= _FEW:
        return different, np.unique(orders, return_inverse=True)[1].astype(np.int32)
    table = np.empty(different[-1] + 1, np.int32)
    table[different] = np.arange(len(different), dtype=np.int32)
    return different, table[orders]


@functools.lru_cache(maxsize=2)  # batch after batch has the same layers, as a rule
def _text(names: tuple[str, ...]) -> Any:
    """Text as an Arrow array."""
    known = [name.encode() for name in names]
    ends = np.cumsum([0, *map(len, known)], dtype=np.int32)
    return pa.StringArray.from_buffers(len(known), pa.py_buffer(ends), pa.py_buffer(b"".join(known)))


def _column(values: npt.NDArray[Any], arrow_type: Any, valid: npt.NDArray[np.uint8] | None = None) -> Any:
    """Contiguous numbers as an Arrow array; `valid` has a bit for each, None where all are."""
    bits = None if valid is None else pa.py_buffer(valid)
    return pa.Array.from_buffers(arrow_type, len(values), [bits, pa.py_buffer(values)])


def numbers_of(column: Any, dtype: str = "int64") -> npt.NDArray[Any]:
    """The numbers of an Arrow array of this type, whatever where it has nulls: a view of its memory."""
    if not len(column):
        return np.empty(0, dtype)
    return np.frombuffer(column.buffers()[1], dtype, column.offset + len(column))[column.offset :]


def to_columns(batch: Any, fields: Iterable[Field] = ROW) -> dict[str, npt.NDArray[Any]]:
    """The numbers of a batch with the columns `COLUMNS` by field; where there is no null, a view of its memory."""
    columns = {}
    for f in fields:
        column = batch.column("layer_order" if f.name == "layer" else f.name)
        columns[f.name] = numbers_of(column, f.dtype)
        if column.null_count:
            columns[f.name] = columns[f.name].copy()
            columns[f.name][_nulls(column)] = _FILL[f.name]
    return columns


def to_rows(batch: Any, out: Any = None) -> Any:
    """The rows of a batch or table with the columns `COLUMNS` as an array of `fields.ROW_DTYPE`, by default a new one.

    Nulls are put back to what they stand for.
    """
    rows = np.empty(batch.num_rows, ROW_DTYPE) if out is None else out
    for f in ROW:
        column = batch.column("layer_order" if f.name == "layer" else f.name)
        done = 0
        for part in column.chunks if isinstance(column, pa.ChunkedArray) else [column] * bool(len(column)):
            into = rows[f.name][done : (done := done + len(part))]
            into[:] = numbers_of(part, f.dtype)
            if part.null_count:
                into[_nulls(part)] = _FILL[f.name]
    return rows


def _nulls(column: Any) -> npt.NDArray[np.bool_]:
    """Where an Arrow array has nulls, of which there are some."""
    valid = np.frombuffer(column.buffers()[0], np.uint8)
    known = np.unpackbits(valid, count=column.offset + len(column), bitorder="little")[column.offset :]
    return ~known.view(np.bool_)
