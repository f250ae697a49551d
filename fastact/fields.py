"""The one home of what is kept about a layer: names, types and meanings of every stored number.

Everything that stores or moves summaries derives from the tuples here: the tuple a kernel returns, the ring buffer's
row, the Arrow schema, the columns that a replay reads. Change a field here and it changes everywhere.

The state of a summary is chosen so that two states merge into the state of the union, and so that nothing in it
overflows where the data does not: it holds mean and std, not sums of squares, since the sum of squares of 1e300
is out of range while its standard deviation is not.
"""

from typing import Final, Literal, NamedTuple

import numpy as np

__all__ = [
    "COLUMN",
    "NEURON",
    "NEURON_PART",
    "ROW",
    "ROW_DTYPE",
    "ROW_FORMAT",
    "SATURATED_SHARE",
    "SCHEMA_VERSION",
    "SILENT_SHARE",
    "STATE",
    "STATE_PART",
    "Field",
]


class Field(NamedTuple):
    """One stored number: its `name`, its `kind` ("int64" or "float64") and what it means."""

    name: str
    kind: Literal["int64", "float64"]
    meaning: str


#: (major, minor) of what a log holds. Minor: something was added that a reader may ignore (a column, an entry of the
#: metadata) and still be right about the rest. Major: something that was there means something else, or is gone. So
#: readers read every minor version of the majors that they know, older and newer, and refuse a newer major by name.
SCHEMA_VERSION: Final = (1, 1)

#: What one sweep yields, in the order in which every kernel returns it. Moments and extremes are over the finite
#: elements, counts are over all. Without a finite element mean, std and abs_mean are NaN, min is +inf, max is -inf.
STATE: Final = (
    Field("count", "int64", "elements swept"),
    Field("nans", "int64", "elements that are NaN"),
    Field("pos_infs", "int64", "elements that are +inf"),
    Field("neg_infs", "int64", "elements that are -inf"),
    Field("zeros", "int64", "elements with |x| <= zero_tol"),
    Field("saturated", "int64", "elements below or above the saturation interval"),
    Field("mean", "float64", "mean of the finite elements"),
    Field("std", "float64", "population standard deviation (ddof 0) of the finite elements"),
    Field("abs_mean", "float64", "mean of |x| over the finite elements"),
    Field("min", "float64", "smallest finite element"),
    Field("max", "float64", "largest finite element"),
)

#: A neuron is silent in a step with at most this share of non-zero elements (SageMaker Debugger's DeadRelu: active
#: under 1% of the time), and saturated with at least this share of saturated ones (fastact).
SILENT_SHARE: Final = 0.01
SATURATED_SHARE: Final = 0.95

#: What a row adds where the layer was swept per neuron; all zero (std NaN) with neurons == 0 where it was not.
NEURON: Final = (
    Field("neurons", "int64", "neurons (channels, features) of the layer; 0 when it was not swept per neuron"),
    Field("silent_neurons", "int64", f"neurons with at most {SILENT_SHARE:.0%} non-zero elements in this step"),
    Field("dead_neurons", "int64", "neurons silent in each of the last rows (thresholds.dead_window, or all so far)"),
    Field("saturated_neurons", "int64", f"neurons with at least {SATURATED_SHARE:.0%} saturated elements in this step"),
    Field("constant_neurons", "int64", "neurons whose elements in this step all have one same non-zero value"),
    Field("within_std", "float64", "root mean over the neurons of each neuron's variance: what the samples differ by"),
)

#: One row of the history and of the log: a layer in a step.
ROW: Final = (
    Field("step", "int64", "training step, from 0"),
    Field("layer", "int64", "the layer's place in forward order, from 0"),
    Field("time", "int64", "wall clock at the end of the step, nanoseconds since 1970-01-01 UTC"),
    *STATE,
    *NEURON,
)

#: The place of each field in a row, and the parts of a row that are its `STATE` and its `NEURON`.
COLUMN: Final = {field.name: place for place, field in enumerate(ROW)}
NEURON_PART: Final = slice(len(ROW) - len(NEURON), len(ROW))
STATE_PART: Final = slice(NEURON_PART.start - len(STATE), NEURON_PART.start)

#: The same row as a structured dtype (8 bytes a field, no padding) and as a `struct` format.
ROW_DTYPE: Final = np.dtype([(field.name, field.kind) for field in ROW])
ROW_FORMAT: Final = "=" + "".join("q" if field.kind == "int64" else "d" for field in ROW)
