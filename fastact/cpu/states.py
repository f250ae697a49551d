"""States in memory, as `arithmetic.state` lays them out: how kernels write and read them, and Python after them.

`States` are three arrays (counts, moments, extremes), each [numbers, parts, columns]. Kernels take them as one tuple.
"""

import struct
from collections.abc import Iterable
from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt
from numba import types
from numba.core import cgutils

from fastact.arithmetic.state import EMPTY, MAX, MIN, N_COUNTS, N_EXTREMES, N_MOMENTS, STORED_AT
from fastact.cpu.intrinsics import array_at, intrinsic_of, item_pointer, view_into
from fastact.cpu.jit import array_type, exact_jit

States = tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[Any]]

#: Words of 64 bits that a state takes.
STATE_WORDS: Final = len(EMPTY)
#: Rows of each array, and of those before it.
_ROWS: Final = (N_COUNTS, N_MOMENTS, N_EXTREMES)
_MOMENTS_FROM, _EXTREMES_FROM = N_COUNTS, N_COUNTS + N_MOMENTS


def allocate(extreme: np.dtype[Any], parts: int, columns: int) -> States:
    """Memory for states whose min and max have this dtype."""
    shapes = [(rows, parts, columns) for rows in _ROWS]
    return np.empty(shapes[0], np.int64), np.empty(shapes[1], np.float64), np.empty(shapes[2], extreme)


def in_order(counts: Iterable[Any], moments: Iterable[Any], extremes: Iterable[Any]) -> list[Any]:
    """The rows of the three arrays in the order of a state."""
    rows = [list(part) for part in (counts, moments, extremes)]
    return [rows[array][row] for array, row in STORED_AT]


def states_in(memory: npt.NDArray[np.int64], parts: int, columns: int, extreme: np.dtype[Any]) -> States:
    """Contiguous states in the words of `memory`."""
    size = parts * columns
    moments_from, extremes_from = _MOMENTS_FROM * size, _EXTREMES_FROM * size  # np.split takes 2 µs more
    return (
        memory[:moments_from].reshape(N_COUNTS, parts, columns),
        memory[moments_from:extremes_from].view(np.float64).reshape(N_MOMENTS, parts, columns),
        # Of 32 bits, they take the first half of their words.
        memory[extremes_from:].view(extreme)[: N_EXTREMES * size].reshape(N_EXTREMES, parts, columns),
    )


def state_struct(extreme: np.dtype[Any]) -> struct.Struct:
    """Reads a state from the words that `store_words` wrote."""
    letters = ["q"] * N_COUNTS + ["d"] * (STATE_WORDS - N_COUNTS)
    letters[MIN] = letters[MAX] = {"f": "d", "i": "q", "u": "Q"}[extreme.kind]
    return struct.Struct("=" + "".join(letters))


def state_type(extreme: np.dtype[Any]) -> Any:
    """The Numba type of a state."""
    arrays = (types.int64, types.float64, numba.from_dtype(extreme))
    return types.Tuple([arrays[array] for array, _ in STORED_AT])


def array_types(extreme: np.dtype[Any], layout: str = "C", *, readonly: bool = False) -> list[Any]:
    """The Numba types of the three arrays of `States`, contiguous unless told otherwise."""
    return [array_type(dtype, 3, layout, readonly=readonly) for dtype in (np.int64, np.float64, extreme)]


@exact_jit
def states_at(address: int, parts: int, columns: int, extreme: Any) -> Any:
    """Contiguous states at an address; `extreme` is an example of min and max."""
    size = parts * columns
    return (
        array_at(address, (N_COUNTS, parts, columns), 0),
        array_at(address + 8 * _MOMENTS_FROM * size, (N_MOMENTS, parts, columns), 0.0),
        array_at(address + 8 * _EXTREMES_FROM * size, (N_EXTREMES, parts, columns), extreme),
    )


@exact_jit
def strided_states_at(address: int, size: int, parts: int, columns: int, extreme: Any) -> Any:
    """The first parts of states at an address that have room for `size` in all."""
    memory = array_at(address, (STATE_WORDS * size,), 0)
    return (
        view_into(memory, 0, (N_COUNTS, parts, columns), (size, columns, 1), 0),
        view_into(memory, _MOMENTS_FROM * size, (N_MOMENTS, parts, columns), (size, columns, 1), 0.0),
        view_into(memory, _EXTREMES_FROM * size, (N_EXTREMES, parts, columns), (size, columns, 1), extreme),
    )


def _store_state(state: Any, states: Any, part: int, column: int) -> None:
    for (array, row), number in zip(STORED_AT, state, strict=True):
        states[array][row, part, column] = number


def _store_words(numbers: Any, memory: Any, at: int) -> None:
    for i, number in enumerate(numbers):
        real = isinstance(number, (float, np.floating))
        memory[at + i : at + i + 1].view(np.float64 if real else np.uint64)[0] = (
            number if real else int(number) % (1 << 64)
        )


@intrinsic_of(lambda state, states, part, column: types.void(state, states, types.intp, types.intp), _store_state)
def store_state(context: Any, builder: Any, signature: Any, args: Any) -> None:
    """Writes a state to its place in `States`."""
    state, states = signature.args[:2]
    numbers, arrays = (cgutils.unpack_tuple(builder, args[i]) for i in (0, 1))
    for number, number_type, (array, row) in zip(numbers, state, STORED_AT, strict=True):
        places = [args[2].type(row), args[2], args[3]]
        pointer = item_pointer(context, builder, states[array], arrays[array], places)
        builder.store(context.cast(builder, number, number_type, states[array].dtype), pointer)


@intrinsic_of(
    lambda states, part, column: types.Tuple([states[i].dtype for i, _ in STORED_AT])(states, types.intp, types.intp),
    lambda states, part, column: tuple(states[array][row, part, column] for array, row in STORED_AT),
)
def load_state(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """The state that `store_state` wrote."""
    states, arrays, numbers = signature.args[0], cgutils.unpack_tuple(builder, args[0]), []
    for array, row in STORED_AT:
        places = [args[1].type(row), args[1], args[2]]
        numbers.append(builder.load(item_pointer(context, builder, states[array], arrays[array], places)))
    return context.make_tuple(builder, signature.return_type, numbers)


@intrinsic_of(
    lambda state: types.Tuple([types.float64 if isinstance(number, types.Float) else number for number in state])(
        state
    ),
    lambda state: tuple(float(number) if isinstance(number, np.floating) else number for number in state),
)
def wide_state(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """A state whose floats have 64 bits."""
    wide, found = signature.return_type, cgutils.unpack_tuple(builder, args[0])
    numbers = [context.cast(builder, *both) for both in zip(found, signature.args[0], wide, strict=True)]
    return context.make_tuple(builder, wide, numbers)


@intrinsic_of(lambda numbers, memory, at: types.void(numbers, memory, types.intp), _store_words)
def store_words(context: Any, builder: Any, signature: Any, args: Any) -> None:
    """Writes the numbers of a tuple, as float64 or 64-bit integers, to the words of `memory` from `at` on."""
    numbers, memory, _ = signature.args
    data = context.make_array(memory)(context, builder, args[1]).data
    for i, (value, number_type) in enumerate(zip(cgutils.unpack_tuple(builder, args[0]), numbers, strict=True)):
        word = types.float64 if isinstance(number_type, types.Float) else types.unliteral(number_type)
        pointer = builder.gep(data, [builder.add(args[2], args[2].type(i))])
        pointer = builder.bitcast(pointer, context.get_data_type(word).as_pointer())
        builder.store(context.cast(builder, value, number_type, word), pointer)
