"""Short ways for a buffer like one seen before: what its class, dtype and shape tell is found out once.

`fastact.arrays` knows what anything is, but takes longer to say so than a small sweep takes: of 1,000 float32 the short
way takes 1.0 µs in all. `remember` is told what `arrays` found, and the next buffer of that dtype is not shown to it.
In a training step, whose data drive all code out of the caches, what need not run counts even more: there a layer of
the same type and shape as before is swept by the `Plan` that is kept for it, and NumPy is not asked for.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fastact import arithmetic
from fastact.arithmetic.element_types import ELEMENT_TYPES
from fastact.arrays.host import is_plain_tensor, tensor_view_type
from fastact.cpu.sweep import SMALL, small_kernel
from fastact.cpu.workspace import NeuronWorkspace, Plan, plan_neurons
from fastact.stats.options import Bounds

#: What a dtype of NumPy or torch tells. The kernel that sweeps a small array: (contiguous 1-D storage array, lo, hi,
#: zero_tol) to a state. The dtype of the same library as which elements are shown to it, if not as their own. The name
#: of the element type. A plain tuple, which is unpacked in half the time of a named one.
Known = tuple[Callable[..., arithmetic.State], Any, str]

#: By dtype, as each is first seen: those of NumPy in this machine's byte order, and those of torch.
KNOWN: Final[dict[Any, Known]] = {}
#: torch.Tensor and torch.nn.Parameter themselves, once one was seen; subclasses may be anything.
TENSOR_CLASSES: Final[set[type]] = set()


def remember(x: Any, name: str) -> None:
    """Lets the next buffer of this dtype take the short way; `name` is its element type, as `arrays` found it."""
    if type(x) is np.ndarray:
        storage: Any = ELEMENT_TYPES[name].storage
        if x.dtype.isnative and x.dtype not in KNOWN:
            KNOWN[x.dtype] = (_loader(x.dtype), None if x.dtype == storage else storage, name)
    elif is_plain_tensor(x):
        TENSOR_CLASSES.add(type(x))
        if x.dtype not in KNOWN:
            KNOWN[x.dtype] = (_loader(x.dtype), tensor_view_type(name), name)


def _unchecked(kernel: Any) -> Callable[..., arithmetic.State]:
    """An entry point without the dispatcher, which looks at the types of the arguments: a sixth of a small sweep.

    Here they are right: `KNOWN` tells by the dtype, and who asks it has seen that the elements lie side by side.
    """
    compiled = getattr(kernel, "overloads", None)
    return next(iter(compiled.values())).entry_point if compiled else kernel  # type: ignore[no-any-return]


def _loader(dtype: Any) -> Callable[..., arithmetic.State]:
    """Stands for the kernel until that is needed, and compiled or loaded from disk."""

    def sweep_first(x: npt.NDArray[Any], lo: float, hi: float, tol: float) -> arithmetic.State:
        _, shown_as, name = KNOWN[dtype]
        kernel = _unchecked(small_kernel(name))
        KNOWN[dtype] = (kernel, shown_as, name)
        return kernel(x, lo, hi, tol)

    return sweep_first


def sweep_tensor(x: Any, bounds: Bounds) -> arithmetic.State | None:
    """The state of a small torch tensor; None for all that `arrays` must have a look at."""
    known = KNOWN.get(x.dtype)
    if known is None:
        return None
    kernel, shown_as, _ = known
    try:
        if x.requires_grad:
            x = x.detach()
        # torch itself refuses to show what is sparse, on a GPU, meta, or lazily negated. An array, although the address
        # is had in half the time: the kernel takes arrays, and NumPy's own would pay for it.
        array: npt.NDArray[Any] = x.numpy() if shown_as is None else x.view(shown_as).numpy()
        if not (0 < array.size <= SMALL and array.flags.carray and x.data_ptr()):
            return None
    except (RuntimeError, TypeError, ValueError):
        return None
    return kernel(array if array.ndim == 1 else array.ravel(), *bounds)


def sweep_whole(x: Any, bounds: Bounds) -> arithmetic.State | None:
    """The state of a small array or torch tensor of a known dtype; None for all that `arrays` must have a look at."""
    if type(x) is not np.ndarray:
        return sweep_tensor(x, bounds) if type(x) in TENSOR_CLASSES else None
    if not (0 < x.size <= SMALL and x.flags.carray) or (known := KNOWN.get(x.dtype)) is None:
        return None
    kernel, shown_as, _ = known
    flat = x if x.ndim == 1 else x.ravel()
    lo, hi, tol = bounds
    return kernel(flat if shown_as is None else flat.view(shown_as), lo, hi, tol)


def tensor_address(x: Any) -> int:
    """Where the elements of a plain torch tensor lie side by side in memory; 0 for what `arrays` must have a look at.

    Asked for these few things, a tensor answers in a third of the time in which it is shown to NumPy.
    """
    try:
        if x.is_cpu and x.is_contiguous() and not x.is_neg():
            return x.data_ptr()  # type: ignore[no-any-return]  # refused of what is sparse, fake or transformed
    except (RuntimeError, TypeError, ValueError):
        pass
    return 0


def sweep_tensor_neurons(x: Any, axis: int, bounds: Bounds) -> NeuronWorkspace | None:
    """Sweeps a contiguous torch tensor of a known dtype per neuron; None for all others."""
    try:
        plan = _tensor_plan(x.dtype, x.shape, axis, bounds)
    except (KeyError, RuntimeError):  # an unknown dtype; a nested tensor, which has no shape
        return None
    return None if plan is None else _sweep_as_planned(x, plan, [])


def _sweep_as_planned(x: Any, plan: Plan, free: list[NeuronWorkspace]) -> NeuronWorkspace | None:
    """Sweeps a tensor by its plan, in one of the `free` workspaces or a new one; None where that cannot be."""
    address = tensor_address(x)
    if not address or address % plan.itemsize:
        return None
    workspace = _workspace(plan, free)
    workspace.sweep(address, x, tensor=True)
    return workspace


def _workspace(plan: Plan, free: list[NeuronWorkspace]) -> NeuronWorkspace:
    """One of the `free` ones, or a new one."""
    try:
        workspace = free.pop()  # no two threads get the same
    except IndexError:
        return NeuronWorkspace(plan)
    return workspace if workspace.plan is plan else NeuronWorkspace(plan)


@functools.lru_cache(maxsize=4096)
def _tensor_plan(dtype: Any, shape: tuple[int, ...], axis: int, bounds: Bounds) -> Plan | None:
    """How to sweep tensors of this shape; None where there is nothing to sweep, or no such axis."""
    name = KNOWN[dtype][2]  # a KeyError is not kept: the dtype may be known another time
    if not -len(shape) <= axis < len(shape) or 0 in shape:
        return None
    axis %= len(shape)
    return plan_neurons(name, math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :]), *bounds)


def plan_memory(dtype: Any, sizes: tuple[int, int, int], bounds: Bounds) -> Plan | None:
    """How to sweep tensors of this dtype that lie as [outer, neurons, inner]; None where `arrays` must have a look."""
    known = KNOWN.get(dtype)
    return None if known is None or 0 in sizes else plan_neurons(known[2], *sizes, *bounds)


class PlanCache:
    """The plan of the tensor that a layer gave last, which the next one most likely fits as well."""

    __slots__ = ("_last", "bounds", "free")

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        #: dtype, shape and axis of the last tensor, and its plan; replaced as a whole, for there are other threads.
        self._last: tuple[Any, Any, Any, Plan | None] = (None, None, None, None)
        #: Workspaces that nobody looks at any more, for `sweep` to use again.
        self.free: list[NeuronWorkspace] = []

    def sweep(self, x: Any, axis: Any, free: list[NeuronWorkspace]) -> NeuronWorkspace | None:
        """Sweeps a tensor or array like the last, in one of the `free` workspaces or a new one; None for any other."""
        dtype, shape, along, plan = self._last
        if plan is None or (type(x) is not np.ndarray and type(x) not in TENSOR_CLASSES):
            return None
        if x.dtype is not dtype or x.shape != shape or axis != along:
            return None
        if type(x) is not np.ndarray:
            return _sweep_as_planned(x, plan, free)
        if not x.flags.carray:
            return None
        workspace = _workspace(plan, free)
        workspace.sweep(x.__array_interface__["data"][0], x)  # half of the time that x.ctypes takes
        return workspace

    def learn(self, x: Any, axis: Any) -> None:
        """Keeps the plan of a buffer that was swept in another way, if it is a tensor or array of a known dtype."""
        if type(axis) is int and (type(x) is np.ndarray or type(x) in TENSOR_CLASSES) and x.dtype in KNOWN:
            self._last = (x.dtype, x.shape, axis, _tensor_plan(x.dtype, x.shape, axis, self.bounds))
