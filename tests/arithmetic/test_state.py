"""The layout of a state follows from `fields.STATE`: nothing is lost on the way through the three arrays."""

import numpy as np

from fastact import arithmetic
from fastact.arithmetic import state
from fastact.cpu.states import allocate, in_order, state_struct, states_in
from fastact.fields import STATE


def test_every_number_has_a_place_of_its_own() -> None:
    assert len(arithmetic.EMPTY) == len(STATE) + 1 == len(set(state.STORED_AT))
    assert len(arithmetic.EMPTY) == state.N_COUNTS + state.N_MOMENTS + state.N_EXTREMES
    assert [STATE[place].name for place in (state.COUNT, state.ZEROS, state.STD, state.MIN)] == [
        "count", "zeros", "std", "min",
    ]  # fmt: skip
    for field, number, (array, _) in zip(STATE, arithmetic.EMPTY, state.STORED_AT, strict=False):
        assert (array == 0) == (field.dtype == "int64") == isinstance(number, int)
        assert (array == 2) == (field.name in ("min", "max"))


def test_rows_come_back_in_the_order_of_a_state() -> None:
    counts, moments, extremes = (array[:, 0, 0] for array in allocate(np.dtype(np.float64), 1, 1))
    counts[:], moments[:], extremes[:] = range(6), range(10, 14), range(20, 22)
    assert in_order(counts, moments, extremes) == [0, 1, 2, 3, 4, 5, 10, 11, 12, 20, 21, 13]


def test_states_in_memory_do_not_overlap() -> None:
    for dtype in ("float32", "float64", "uint64"):
        memory = np.zeros(12 * 3 * 5, np.int64)
        for array in states_in(memory, 3, 5, np.dtype(dtype)):
            assert array.shape[1:] == (3, 5)
            assert not array.any()
            array[:] = 1
    assert state_struct(np.dtype(np.uint64)).size == 8 * len(arithmetic.EMPTY)
