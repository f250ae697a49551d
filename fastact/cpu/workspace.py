"""Runs a sweep per neuron: in which memory, and on how many threads.

As in `cpu.sweep`, the answer is the same, bit for bit, for any number of threads.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastact import arithmetic
from fastact.arithmetic.state import N_COUNTS, N_MOMENTS, RESTS
from fastact.cpu.neuron_kernels import (
    ELEMENTS,
    FIRST_STATE,
    HEAD_WORDS,
    ROW,
    ROW_WORDS,
    SHARED,
    TOTAL,
    row_kernel,
    summary_kernel,
)
from fastact.cpu.openmp import fold_by_team
from fastact.cpu.plan import Plan, plan_neurons
from fastact.cpu.states import states_in
from fastact.cpu.sweep import PARALLEL_FROM, share

__all__ = ["NeuronStates", "NeuronWorkspace", "summarize_neurons", "sweep_neurons"]


class NeuronStates(NamedTuple):
    """The states of all neurons: counts int64[6, neurons], moments float64[4, neurons], extremes [2, neurons].

    Rows in the order of `arithmetic.state`; `total` is the state of all neurons together.
    """

    counts: npt.NDArray[np.int64]
    moments: npt.NDArray[np.float64]
    extremes: npt.NDArray[Any]
    total: arithmetic.State


class NeuronWorkspace:
    """Memory for sweeps by one plan, and what the last of them left there.

    Attributes:
        plan: the plan.
        address: of the memory.
    """

    __slots__ = ("_memory", "address", "plan")

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._memory = np.empty(plan.words, np.int64)
        self.address = self._memory.ctypes.data

    def sweep(self, x: int, owner: object, *, tensor: bool = False) -> None:
        """Sweeps the array of the planned shape at the address `x`, in memory that `owner` keeps alive.

        Args:
            x: the address.
            owner: what keeps the memory.
            tensor: whether torch has just computed it, by threads that are awake and may share the work.
        """
        plan, address, head, fold = self.plan, self.address, self.plan.begin, self.plan.entry
        if tensor and fold_by_team(plan, address, x):
            head = fold = 0
        elif plan.nbytes >= PARALLEL_FROM:
            self._memory[:HEAD_WORDS] = plan.head
            self._memory[ELEMENTS] = x
            # A thread that an interrupt leaves behind still has the owner, and both memories that it uses.
            share(lambda: (plan.fold(address, SHARED, 0), owner, self)[0], plan.nbytes, plan.tasks)
            head = 0
        plan.run(address, head, x, fold)

    @property
    def total(self) -> arithmetic.State:
        """The state of all neurons together."""
        return self.plan.total.unpack_from(self._memory.data, 8 * TOTAL)

    def numbers(
        self, silent_share: float, saturated_share: float, silent_rows: npt.NDArray[np.int64], dead_after: int
    ) -> tuple[Any, ...]:
        """A row's `fields.STATE` and `fields.NEURON`; the arguments are those of `neuron_summary`."""
        row = np.empty(ROW_WORDS, np.int64)
        row_kernel(self.plan.extremes)(self.address, silent_share, saturated_share, silent_rows, dead_after, row)
        return ROW.unpack(row.data)

    def arrays(self) -> NeuronStates:
        """What was found as arrays, which share the memory."""
        plan = self.plan
        memory = self._memory[FIRST_STATE:]
        counts, moments, extremes = states_in(memory, plan.slots, plan.neurons, plan.extremes)
        return NeuronStates(counts[:, 0], moments[:, 0], extremes[:, 0], self.total)


def sweep_neurons(x: npt.NDArray[Any], name: str, lo: float, hi: float, tol: float) -> NeuronStates | NeuronWorkspace:
    """The states of the neurons of a contiguous [outer, neurons, inner] array.

    `x` has the storage dtype of the element type `name`.
    """
    neurons = x.shape[1]
    if x.size == 0:
        counts = np.zeros((N_COUNTS, neurons), np.int64)
        moments = np.full((N_MOMENTS, neurons), np.nan)
        moments[RESTS] = 0.0
        return NeuronStates(counts, moments, np.array([[np.inf], [-np.inf]]).repeat(neurons, 1), arithmetic.EMPTY)
    workspace = NeuronWorkspace(plan_neurons(name, *x.shape, lo, hi, tol))
    workspace.sweep(x.ctypes.data, x)
    return workspace


def summarize_neurons(
    found: NeuronStates,
    silent_share: float,
    saturated_share: float,
    silent_rows: npt.NDArray[np.int64],
    dead_after: int,
) -> tuple[int, int, int, int, float, int, float]:
    """`neuron_summary` of what a sweep found."""
    states = (array[:, None] for array in found[:3])
    return summary_kernel(found.extremes.dtype)(*states, silent_share, saturated_share, silent_rows, dead_after)
