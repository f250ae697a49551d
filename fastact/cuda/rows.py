"""A state as a row of words in device memory, for kernels and for the host; `arithmetic.state` has the layout."""

import functools
import struct
from typing import Any, Final

import numpy as np

from fastact.arithmetic.element_types import ELEMENT_TYPES
from fastact.arithmetic.state import EMPTY, MAX, MIN, N_COUNTS
from fastact.cuda.compiler import device
from fastact.cuda.instructions import barrier
from fastact.cuda.words import shared_words

STATE_WORDS: Final = len(EMPTY)
#: The places of min and max, whose type depends on the elements' (float32, float64, int64 or uint64), of the integers,
#: and of the other floats.
EXTREMES: Final = (MIN, MAX)
INTEGERS: Final = tuple(range(N_COUNTS))
FLOATS: Final = tuple(place for place in range(STATE_WORDS) if place not in (*INTEGERS, *EXTREMES))

#: A row has whole lines of the cache, 128 bytes each.
ROW_WORDS: Final = -(-STATE_WORDS // 16) * 16
ROW_BYTES: Final = 8 * ROW_WORDS

row_words: Final = shared_words(EXTREMES)


def with_extremes(row: tuple[Any, ...], low: Any, high: Any) -> tuple[Any, ...]:
    """`row` with other numbers for min and max."""
    ends = dict(zip(EXTREMES, (low, high), strict=True))
    return tuple(ends.get(place, number) for place, number in enumerate(row))


def example_row(end_type: Any) -> tuple[Any, ...]:
    """A row of the types that rows have whose min and max are of a type."""
    return with_extremes(EMPTY, end_type(1), end_type(1))


def stored_extreme(name: str) -> str:
    """The dtype of the words that hold min and max of elements of the type `name`: float64, int64 or uint64."""
    extreme = ELEMENT_TYPES[name].extreme
    return "float64" if extreme.kind == "f" else extreme.name


@functools.cache
def state_format(extremes: str) -> struct.Struct:
    """How a state's words are read; `extremes` is the `stored_extreme`."""
    ends = np.dtype(extremes).char.replace("l", "q").replace("L", "Q")
    return struct.Struct("".join("q" if i in INTEGERS else ends if i in EXTREMES else "d" for i in range(STATE_WORDS)))


def joiner(combine: Any, words: tuple[Any, Any], example: tuple[Any, ...]) -> Any:
    """The function that joins the rows of a block's threads in pairs with `combine`, through shared memory.

    It joins threads `span`, `span / 2` and so on to `last` apart; the first `last` threads have the results.
    `words` are `shared_words` for rows of the types of `example`.
    """
    put, take = words

    @device
    def joined(row: Any, thread: int, span: int, last: int, integers: Any, floats: Any, extremes: Any) -> Any:
        while span >= last:
            slot = thread - span
            if 0 <= slot < span:
                put(integers, floats, extremes, slot, row)
            barrier()
            if thread < span:
                row = combine(row, take(integers, floats, extremes, thread, example))
            barrier()
            span //= 2
        return row

    return joined
