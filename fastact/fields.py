"""The one home of what is kept about a layer: names, types and meanings of every stored number.

Everything that stores or moves summaries derives from the tuples here: the tuple a kernel returns, the ring buffer's
row, the Arrow schema, the columns that a replay reads. Change a field here and it changes everywhere.

The state of a summary is chosen so that two states merge into the state of the union, and so that nothing in it
overflows where the data does not: it holds mean and std, not sums of squares, since the sum of squares of 1e300
is out of range while its standard deviation is not.
"""

import math
import struct
from typing import Final, Literal, NamedTuple

import numpy as np

#: How a number of several rows becomes that of their union (`replay.merge`):
#: "first", "sum", "min" and "max" are what they say, of the rows that have one;
#: "moment": that of all elements, as `arithmetic.merge` has it;
#: "equal": where the rows differ, the union has nothing in any field of `NEURON`;
#: "pooled": a standard deviation, from the rows' variances weighted by their finite elements;
#: "of the peak": that of the row with the largest |x|, the least of equals.
Merge = Literal["first", "sum", "min", "max", "moment", "equal", "pooled", "of the peak"]


class Field(NamedTuple):
    """One stored number."""

    name: str
    dtype: Literal["int64", "float64"]
    merge: Merge  # how the rows that several ranks have of one layer in one step become one row
    meaning: str  # what it means, and its unit
    #: What it holds where there was nothing to measure, or where an older log does not have it; None where there always
    #: is something.
    nothing: int | float | None = None
    since: tuple[int, int] = (1, 0)  # the (major, minor) version of the schema that brought it


#: (major, minor) of what a log holds. Minor: something was added that a reader may ignore (a column, an entry of the
#: metadata) and still be right about the rest. Major: something that was there means something else, or is gone. So
#: readers read every minor version of the majors that they know, older and newer, and refuse a newer major by name.
SCHEMA_VERSION: Final = (1, 6)

#: What one sweep yields, in the order in which every kernel returns it. Moments and extremes are over the finite
#: elements, counts are over all. Without a finite element mean, std and abs_mean are NaN, min is +inf, max is -inf.
STATE: Final = (
    Field("count", "int64", "sum", "elements swept"),
    Field("nans", "int64", "sum", "elements that are NaN"),
    Field("pos_infs", "int64", "sum", "elements that are +inf"),
    Field("neg_infs", "int64", "sum", "elements that are -inf"),
    Field("zeros", "int64", "sum", "elements with |x| <= zero_tol"),
    Field("saturated", "int64", "sum", "elements below or above the saturation interval"),
    Field("mean", "float64", "moment", "mean of the finite elements", math.nan),
    Field("std", "float64", "moment", "population standard deviation (ddof 0) of the finite elements", math.nan),
    Field("abs_mean", "float64", "moment", "mean of |x| over the finite elements", math.nan),
    Field("min", "float64", "min", "smallest finite element", math.inf),
    Field("max", "float64", "max", "largest finite element", -math.inf),
)

#: A neuron is saturated in a step with at least this share of saturated elements (fastact). It is silent without a
#: non-zero element, since one that fires seldom is alive (before schema 1.3 with at most 1% of them, as in SageMaker
#: Debugger's DeadRelu, which calls sparse autoencoders dead).
SATURATED_SHARE: Final = 0.95

#: What a row adds where the layer was swept per neuron; where it was not, each is `nothing` and `neurons` is 0.
NEURON: Final = (
    Field("neurons", "int64", "equal",
          "neurons (channels, features) of the layer; 0 when it was not swept per neuron", 0),
    Field("silent_neurons", "int64", "min",
          "neurons without a non-zero element in this step (before 1.3: with at most 1% of them)", 0),
    Field("dead_neurons", "int64", "min",
          "neurons that have been silent long enough to be dead: so many rows, samples, and fires of a typical neuron "
          "(thresholds.dead_window, dead_samples, dead_fires; before 1.3: in dead_window rows, or all so far)", 0),
    Field("saturated_neurons", "int64", "min",
          f"neurons with at least {SATURATED_SHARE:.0%} saturated elements in this step", 0),
    Field("constant_neurons", "int64", "min",
          "neurons whose elements in this step all have one same non-zero value", 0),
    Field("within_std", "float64", "pooled",
          "root mean over the neurons of each neuron's variance: what the samples differ by", math.nan),
    Field("peak_neuron", "int64", "of the peak",
          "the neuron, from 0, with the largest |x| of all, the first of equals; -1 without a finite element",
          -1, (1, 2)),
    Field("typical_peak", "float64", "max",
          "geometric mean over the neurons of each neuron's largest |x|, those that are zero left out",
          math.nan, (1, 2)),
)  # fmt: skip

#: What tells copies of one tensor apart, which several ranks should have the same; `nothing` where it was not taken.
COPY: Final = (
    Field("bit_sum", "int64", "sum",
          "of parameters where several ranks train: the sum of all elements' bits, taken as unsigned integers, modulo "
          "2^64; equal tensors have the same. 0 where it was not taken", 0, (1, 6)),
)  # fmt: skip

#: What a row adds where only some samples of a batch were drawn and swept (`watch(..., sample=)`); both are 0 where all
#: were. The counts of `STATE` are of what was swept: of all samples there are, as an estimate, ``(count + left_out) /
#: count`` times as many (`fastact.estimates`).
DRAWN: Final = (
    Field("drawn", "int64", "sum",
          "samples that were drawn and swept, where others of the batch were left out; 0 where none was", 0, (1, 6)),
    Field("left_out", "int64", "sum", "elements of the samples that were not drawn, so not swept", 0, (1, 6)),
)  # fmt: skip

#: One row of the history and of the log: a layer in a step.
ROW: Final = (
    Field("step", "int64", "first", "training step, from 0"),
    Field("layer", "int64", "first", "the layer's place in forward order, from 0"),
    Field("time", "int64", "max", "wall clock at the end of the step, nanoseconds since 1970-01-01 UTC"),
    *STATE,
    *NEURON,
    *COPY,
    *DRAWN,
)

#: The place of each field in a row, and the parts of a row that are its `STATE` and its `NEURON`.
COLUMN: Final = {field.name: place for place, field in enumerate(ROW)}
STATE_PART: Final = slice(COLUMN[STATE[0].name], COLUMN[STATE[0].name] + len(STATE))
NEURON_PART: Final = slice(STATE_PART.stop, STATE_PART.stop + len(NEURON))

#: The same row as a structured dtype (8 bytes a field, no padding), as a `struct` format, and packed into a buffer.
ROW_DTYPE: Final = np.dtype([(field.name, field.dtype) for field in ROW])
ROW_FORMAT: Final = "=" + "".join("q" if field.dtype == "int64" else "d" for field in ROW)
ROW_BYTES: Final = ROW_DTYPE.itemsize
PACK_ROW: Final = struct.Struct(ROW_FORMAT).pack_into
