"""The records of a log, and filters that choose among them."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fastact.errors import ArgumentTypeError, ArgumentValueError
from fastact.estimates import Estimate, estimate
from fastact.fields import NEURON, NEURON_PART, ROW, STATE_PART
from fastact.history import LayerInfo
from fastact.json_schema import document
from fastact.log.schema import numbers_of
from fastact.replay.blocks import Ints, LayerNumbers
from fastact.stats.activation import ActivationStats


@dataclass(frozen=True, slots=True)
class Record:
    """One layer in one step, as the monitor saw it.

    Attributes:
        step: the training step.
        layer: the layer's name.
        info: what the log knows of the layer.
        row: the numbers of `fields.ROW`, exactly as they were recorded.
        rank: the process that recorded it, from the directory's name; 0 for a run of one process.
    """

    step: int
    layer: str
    info: LayerInfo
    row: tuple[Any, ...]
    rank: int = 0

    @property
    def stats(self) -> ActivationStats:
        """The layer's summary in this step."""
        return ActivationStats.from_state(self.row[STATE_PART])

    @property
    def neurons(self) -> dict[str, int | float] | None:
        """The fields of `fields.NEURON` by name, None where the layer was not swept per neuron."""
        values = self.row[NEURON_PART]
        return dict(zip((field.name for field in NEURON), values, strict=True)) if values[0] else None

    def estimate(self, field: str) -> Estimate:
        """A count or a moment as an estimate of all samples there were: see `fastact.estimates.estimate`."""
        return estimate({each.name: value for each, value in zip(ROW, self.row, strict=True)}, field)

    def to_dict(self) -> dict[str, Any]:
        """The row as plain numbers and text by the names of `Log.to_table`, None where there was nothing to measure."""
        result: dict[str, Any] = {"rank": self.rank}
        for field, value in zip(ROW, self.row, strict=True):
            there = not isinstance(value, float) or math.isfinite(value)
            result["layer_order" if field.name == "layer" else field.name] = value if there else None
        return result | {"layer": self.layer}


def record_schema() -> dict[str, Any]:
    """The JSON Schema of `Record.to_dict`: a line of ``fastact replay --json``."""
    properties: dict[str, Any] = {"rank": {"type": "integer", "description": "the process that recorded it"}}
    for field in ROW:
        plain = "integer" if field.dtype == "int64" else "number"
        about = {"type": [plain, "null"] if plain == "number" else plain, "description": field.meaning}
        properties["layer_order" if field.name == "layer" else field.name] = about
    properties["layer"] = {"type": "string", "description": "the layer's name"}
    root = {"type": "object", "properties": properties, "required": list(properties)}
    return document("record:1", "Record", root)


class RowFilter(NamedTuple):
    """Which rows are wanted: those of the steps from `first` to `last`, of these layers. None: no bound, all layers."""

    first: int | None
    last: int | None
    layers: tuple[str, ...] | None

    @classmethod
    def of_arguments(cls, from_step: Any, to_step: Any, layers: Any, known: Iterable[LayerInfo]) -> "RowFilter":
        """The filter for the arguments of `Log.replay`, which it checks; `known` are the layers that the log has."""
        for argument, step in (("from_step", from_step), ("to_step", to_step)):
            if step is not None and not isinstance(step, (int, np.integer)):
                raise ArgumentTypeError(f"{argument}: got {type(step).__name__}, want an integer or None")
        if layers is None:
            return cls(from_step, to_step, None)
        try:
            wanted = (layers,) if isinstance(layers, str) else tuple(layers)
        except TypeError:
            raise ArgumentTypeError(f"layers: got {type(layers).__name__}, want names of layers") from None
        names = {info.name for info in known}
        unknown = [name for name in wanted if name not in names]
        if unknown:
            raise ArgumentValueError(f"layers: got {unknown[0]!r}, want one of {', '.join(map(repr, sorted(names)))}")
        return cls(from_step, to_step, wanted)

    @property
    def steps(self) -> tuple[int | None, int | None] | None:
        """The first and the last step, where there is a bound."""
        return None if self.first is None and self.last is None else (self.first, self.last)

    def in_batch(self, batch: Any) -> npt.NDArray[np.bool_]:
        """Which rows of a `pyarrow.RecordBatch` are wanted, bool[rows]."""
        keep = self._of_steps(numbers_of(batch.column("step")))
        if self.layers is not None:
            named = pc.is_in(batch.column("layer"), value_set=pa.array(self.layers, pa.utf8()))
            keep &= named.to_numpy(zero_copy_only=False)
        return keep

    def in_rows(self, steps: Ints, numbers: Ints, layers: LayerNumbers) -> npt.NDArray[np.bool_]:
        """Which rows of these steps and layers are wanted, bool[rows]."""
        keep = self._of_steps(steps)
        if self.layers is not None:
            keep &= np.array([info.name in self.layers for info in layers.infos], np.bool_)[numbers]
        return keep

    def _of_steps(self, steps: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        keep = np.ones(len(steps), np.bool_)
        if self.first is not None:
            keep &= steps >= self.first
        if self.last is not None:
            keep &= steps <= self.last
        return keep
