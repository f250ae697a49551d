"""The kernels prove themselves: each is run on nasty data on the device when it is first needed, beside the host.

What fails, raises or cannot be compiled there is not used in this process: a framework's own operations give the same
numbers (`framework_sweep`), and one warning says so. The check of a kernel takes a few milliseconds beside compiling
it, which its first use would have cost as well.
"""

import functools
import math
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from fastact import arithmetic
from fastact.arithmetic.element_types import ELEMENT_TYPES
from fastact.arithmetic.silence import ROW_WEIGHT, SilenceLimits
from fastact.arithmetic.state import COUNT, MAX, MEAN, MIN, N_COUNTS, STD
from fastact.cpu.workspace import NeuronStates, sweep_neurons
from fastact.cuda.arrays import DeviceArray
from fastact.cuda.choice import choice
from fastact.cuda.driver import DeviceMemory, active, handle_of, pinned, processors, side_stream, unusable
from fastact.cuda.frameworks import Framework, framework
from fastact.cuda.layouts import COLUMNS, FLAT, ODD_RUNS, RUNS, Layout, plan
from fastact.fields import NEURON, SATURATED_SHARE, STATE

#: sweep: of one tensor; many: of several in a launch; record: a monitor's row, with or without its neurons.
Kind = Literal["sweep", "many", "record", "record neurons"]
_BOUNDS: Final = (-0.99, 0.99, 0.0)
_LIMITS: Final = SilenceLimits(20, 300, 10)
#: Of means, standard deviations and the like, over the larger of |mean| and std; kernels add in float32.
_TOLERANCE: Final = 1e-5
#: Seconds after which a row that has not arrived never will.
_PATIENCE: Final = 10.0
#: Shapes [outer, neurons, inner] by layout: more than a block's threads, and no multiple of what they load at a time.
_SHAPES: Final[dict[Layout, tuple[int, int, int]]] = {
    FLAT: (5003, 1, 1), RUNS: (5, 3, 208), ODD_RUNS: (5, 3, 67), COLUMNS: (301, 37, 1),
}  # fmt: skip
_COUNTED: Final = tuple(field.name for field in STATE[:N_COUNTS])

REPORT: Final = "please report it with what `fastact info --gpu` prints"


class Proof(NamedTuple):
    """What the check of one kernel came to."""

    kind: Kind
    name: str  #: the element type's
    layout: Layout
    device: int
    problem: str  #: empty where the kernel gave the host's numbers
    seconds: float  #: the time it took, compiling included

    def __str__(self) -> str:
        return f"{self.kind}, {self.layout.name}, {self.name}"


_lock = threading.Lock()
_proofs: dict[tuple[Kind, str, Layout, int], Proof] = {}
_warned: set[str] = set()


def stand_in(x: DeviceArray, shape: tuple[int, int, int], kind: Kind) -> Framework | None:
    """The framework whose operations sweep in a kernel's place; None where the kernel is to be used.

    Also None where no framework is imported that could: what fails is told by the kernel then.
    """
    if choice() == "native":
        return None
    if choice() == "torch" or (problem := unusable()) is not None:
        by = framework()
        if by is not None and choice() == "auto":
            _warn(by, f"{problem}: what lies on a GPU is swept")
        return by
    layout = _layout(x.array.ctypes.data % 16, x.name, shape, processors(x.device))
    proof = prove(kind, x.name, layout, x.device)
    if not proof.problem or (by := framework()) is None:
        return None
    _warn(by, f"a kernel of fastact fails on this GPU ({proof}: {proof.problem}; {REPORT}): sweeps of its kind run")
    return by


def _warn(by: Framework, what: str) -> None:
    if by.name not in _warned:
        _warned.add(by.name)
        words = f"{what} by {by.name}'s own operations, which is slower and gives the same numbers"
        warnings.warn(words, RuntimeWarning, stacklevel=2)


@functools.lru_cache(maxsize=4096)
def _layout(address: int, name: str, shape: tuple[int, int, int], count: int) -> Layout:
    return plan(address, name, shape, count).layout


def prove(kind: Kind, name: str, layout: Layout, device: int) -> Proof:
    """Checks a kernel on a device, once in the process."""
    key = (kind, name, layout, device)
    proof = _proofs.get(key)
    if proof is None:
        with _lock:
            proof = _proofs.get(key)
            if proof is None:
                begin = time.perf_counter()
                problem = _check(kind, name, layout, device)
                proof = _proofs[key] = Proof(kind, name, layout, device, problem, time.perf_counter() - begin)
    return proof


def prove_all(device: int, names: tuple[str, ...]) -> list[Proof]:
    """Checks every kernel for some element types."""
    kinds: list[tuple[Kind, Layout]] = [("sweep", layout) for layout in _SHAPES]
    kinds += [("many", FLAT), ("record", FLAT), *(("record neurons", layout) for layout in _SHAPES)]
    return [prove(kind, name, layout, device) for name in names for kind, layout in kinds]


def nasty(name: str, size: int) -> dict[str, npt.NDArray[Any]]:
    """Elements of a type, as they are stored, on which a careless sweep goes wrong, by what they are."""
    element = ELEMENT_TYPES[name]
    rng = np.random.default_rng(20)
    storage = element.storage
    if element.format is None:
        info = np.iinfo(storage)
        top = 1 if name == "bool" else info.max
        whole = rng.integers(0 if name == "bool" else info.min, top, size, storage, endpoint=True)
        return {"whole range": whole, "zeros": np.zeros(size, storage), "ends": np.resize(whole[:2], size)}
    normal = rng.standard_normal(size)
    relu = np.maximum(normal, 0.0)
    broken = relu.copy()
    broken[size // 3], broken[size // 2], broken[-1] = math.nan, math.inf, -math.inf
    limits = element.format
    values = {
        "rectified": relu, "far from zero": normal + 100.0, "NaN and Inf": broken, "zeros": np.zeros(size),
        "all NaN": np.full(size, math.nan), "one value": np.full(size, 1.5),
        "largest": np.where(normal > 0.0, limits.largest, -limits.largest) * 0.5,
        "smallest": np.where(normal > 0.0, limits.smallest_subnormal, 0.0),
        "jump": np.concatenate([normal[: size // 2], normal[size // 2 :] + 200.0]),
    }  # fmt: skip
    return {what: _stored(numbers, name) for what, numbers in values.items()}


def _stored(values: npt.NDArray[np.float64], name: str) -> npt.NDArray[Any]:
    element = ELEMENT_TYPES[name]
    if element.storage.kind == "f":
        return values.astype(element.storage)
    if element.bits == 16:
        if name == "float16":
            return values.astype(np.float16).view(np.uint16)
        bits = values.astype(np.float32).view(np.uint32)
        return (bits >> np.uint32(16)).astype(np.uint16)
    # Of 8 bits: all patterns, shuffled; what they mean is the decoder's to say.
    rng = np.random.default_rng(len(values) + int(np.isnan(values).sum()))
    return np.resize(rng.permutation(256), values.size).astype(np.uint8)


def _check(kind: Kind, name: str, layout: Layout, device: int) -> str:
    """What is wrong with a kernel; empty for nothing."""
    shape = _SHAPES[layout]
    try:
        with active(device), np.errstate(all="ignore"):
            for what, stored in nasty(name, math.prod(shape)).items():
                problem = _RUN[kind](stored, name, shape, device)
                if problem:
                    return f"{problem} for {what!r}"
    except Exception as error:  # noqa: BLE001 - whatever a driver or a compiler raises
        return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    return ""


class _OnDevice:
    """Elements that were copied to a device, one element behind a boundary where they are flat."""

    def __init__(self, stored: npt.NDArray[Any], name: str, shape: tuple[int, ...], device: int) -> None:
        self.stream = side_stream(device)
        shift = stored.itemsize if len(shape) == 1 else 0
        self._host = pinned(-(-(stored.nbytes + shift) // 8))
        self._host.view(np.uint8)[shift : shift + stored.nbytes] = stored.reshape(-1).view(np.uint8)
        self._memory = DeviceMemory(self._host.nbytes, self.stream)
        self._memory.copy_from(self._host, self.stream)
        fake = _at(self._memory.address + shift, stored.dtype, shape, self)
        self.array = DeviceArray(fake, name, device, handle_of(self.stream), True)


def _at(address: int, dtype: np.dtype[Any], shape: tuple[int, ...], owner: object) -> npt.NDArray[Any]:
    interface = {"data": (address, False), "shape": shape, "typestr": dtype.str, "version": 3}
    return np.asarray(type("Memory", (), {"__array_interface__": interface, "owner": owner})())


def _host(stored: npt.NDArray[Any], name: str, shape: tuple[int, int, int]) -> NeuronStates:
    found = sweep_neurons(stored.reshape(shape), name, *_BOUNDS)
    return found if isinstance(found, NeuronStates) else found.arrays()


def _differs(got: arithmetic.State, want: arithmetic.State) -> str:
    for place, field in enumerate(STATE):
        ours, right = got[place], want[place]
        exact = field.name in _COUNTED or place in (MIN, MAX)
        size = 0.0 if exact or not math.isfinite(want[STD]) else _TOLERANCE * max(abs(want[MEAN]), want[STD])
        if not _same(ours, right, size):
            return f"{field.name} {ours!r} instead of {right!r}"
    return ""


def _same(ours: float, right: float, size: float) -> bool:
    return ours == right or (math.isnan(ours) and math.isnan(right)) or abs(ours - right) <= size


def _run_sweep(stored: npt.NDArray[Any], name: str, shape: tuple[int, int, int], device: int) -> str:
    from fastact.cuda import sweep

    want = _host(stored, name, shape)
    if shape[1] == 1:
        x = _OnDevice(stored, name, (stored.size,), device)
        return _differs(sweep.native_sweep(x.array, _BOUNDS), want.total)
    x = _OnDevice(stored, name, shape, device)
    got = sweep.native_channels(x.array, _BOUNDS)
    for j in range(shape[1]):
        if problem := _differs(_neuron(got, j), _neuron(want, j)):
            return f"{problem} in neuron {j}"
    return _differs(got.total, want.total)


def _neuron(states: NeuronStates, j: int) -> arithmetic.State:
    from fastact.cpu.states import in_order

    return tuple(in_order(states.counts[:, j].tolist(), states.moments[:, j].tolist(), states.extremes[:, j].tolist()))


def _run_many(stored: npt.NDArray[Any], name: str, shape: tuple[int, int, int], device: int) -> str:
    from fastact.cuda.sweep import NativeManySweep

    parts = [stored[:1], stored[1:200], stored[200:]]
    there = [_OnDevice(part, name, (part.size,), device) for part in parts]
    got = NativeManySweep([x.array for x in there], _BOUNDS).states()
    for part, state in zip(parts, got, strict=True):
        if problem := _differs(state, _host(part, name, (part.size, 1, 1)).total):
            return f"{problem} in {part.size} elements"
    return ""


def _run_record(stored: npt.NDArray[Any], name: str, shape: tuple[int, int, int], device: int) -> str:
    return _record(stored, name, shape, device, per_neuron=False)


def _run_record_neurons(stored: npt.NDArray[Any], name: str, shape: tuple[int, int, int], device: int) -> str:
    return _record(stored, name, shape, device, per_neuron=True)


class _Waiting:
    """What `DeferredRow` asks of its owner; here whoever launched it waits."""

    broken: str | None = None

    def wait_until(self, done: Callable[[], bool]) -> None:
        """Never asked."""


def _record(stored: npt.NDArray[Any], name: str, shape: tuple[int, int, int], device: int, *, per_neuron: bool) -> str:
    from fastact.cuda.recorder import DeferredRow, DeviceRecorder

    x = _OnDevice(stored, name, shape if per_neuron else (stored.size,), device)
    recorder = DeviceRecorder(device, 2)
    row = DeferredRow(_Waiting(), 0, device, x)
    recorder.launch(row, 0, x.array, shape if per_neuron else None, _BOUNDS, _LIMITS, 0)
    until = time.perf_counter() + _PATIENCE
    while not row.done and time.perf_counter() < until:
        recorder.drain(lambda *_: None)
    if row.state is None:
        return row.lost or "no row came"
    want = _host(stored, name, shape)
    if problem := _differs(row.state, want.total):
        return problem
    return _differs_in_neurons(row.neurons, want, shape, name) if per_neuron else ""


def _differs_in_neurons(got: tuple[Any, ...], states: NeuronStates, shape: tuple[int, int, int], name: str) -> str:
    from fastact.cpu.neuron_kernels import summary_kernel

    silence = np.zeros(shape[1], np.int64)
    arrays = [array[:, None] for array in states[:3]]
    summarized = summary_kernel(ELEMENT_TYPES[name].extreme)
    weight = math.ceil(min(1.0, states.total[COUNT] // shape[1] * _LIMITS.rows / _LIMITS.samples) * ROW_WEIGHT)
    want = (shape[1], *summarized(*arrays, SATURATED_SHARE, silence, weight, _LIMITS.rows * ROW_WEIGHT))
    for field, ours, right in zip(NEURON, got, want, strict=True):
        size = 0.0 if field.dtype == "int64" else _TOLERANCE * abs(right)
        if not _same(ours, right, size):
            return f"{field.name} {ours!r} instead of {right!r}"
    return ""


_RUN: Final[dict[Kind, Callable[..., str]]] = {
    "sweep": _run_sweep, "many": _run_many, "record": _run_record, "record neurons": _run_record_neurons,
}  # fmt: skip
