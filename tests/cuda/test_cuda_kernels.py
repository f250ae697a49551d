"""The CUDA kernels: in Numba's simulator against the oracle, and compiled to PTX for real machines.

The simulator is chosen when `numba.cuda` is first imported, so each test that needs it or the compiler runs this file
as a program of its own.
"""

import functools
import json
import math
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from golden import store
from golden.ptx import compiler, histogram
from oracle import describe, nasty

from fastact.arithmetic.element_types import ELEMENT_TYPES

COUNTS = ("count", "nans", "pos_infs", "neg_infs", "zeros", "saturated")
NUMBERS = ("mean", "std", "abs_mean", "min", "max")
FLOATS: dict[str, Any] = {
    "float32": np.float32,
    "float64": np.float64,
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
}
#: What the kernels are compiled for: A100, H100.
MACHINES = ((8, 0), (9, 0))
#: Kinds that are folded each in a way of its own; the others only widen by another instruction.
UNLIKE = ("float32", "float64", "bfloat16", "float8_e5m2", "int64")
#: Kinds whose kernels of rows are compiled: the others fold as in a sweep, and end as one of these.
RECORDED = ("float32", "int64")
#: What a few roundings among denormals take.
DENORMALS = 1e-322
ERROR = {"float64": 1e-13, "int32": 1e-13, "uint32": 1e-13, "int64": 1e-13, "uint64": 1e-13}


def program(*arguments: str, timeout: float = 600, **environment: str) -> str:
    # The tests' helpers, and the package that is tested here, whichever is installed.
    path = os.pathsep.join(str(Path(__file__).parents[i]) for i in (1, 2))
    done = subprocess.run(
        [sys.executable, __file__, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path, **environment},
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_in_the_simulator() -> None:
    """Prints what differs from the oracle, and at the end how many rows were compared."""
    pytest.importorskip("numba.cuda.simulator", reason="this Numba has no CUDA simulator")
    *wrong, compared = program("simulated", NUMBA_ENABLE_CUDASIM="1").splitlines()
    assert wrong == []
    assert int(compared) >= 200


@functools.cache
def ptx_lines() -> list[str]:
    """What each kernel's PTX has, compiled once for all tests, and in each line after that its histogram."""
    # Half of it in each of two processes. Of all kinds in all layouts: this file with `ptx all 0 1`.
    with ThreadPoolExecutor(2) as pool:
        outputs = pool.map(
            lambda part: program("ptx", "some", part, "2", timeout=1800, NUMBA_ENABLE_CUDASIM="0"), ("0", "1")
        )
        return [line for output in outputs for line in output.splitlines()]


def ptx_histograms() -> dict[str, dict[str, int | str]]:
    """The instructions of each kernel for each machine; see `golden.ptx`."""
    parts = [line.split("\t") for line in ptx_lines()]
    found = {facts.rsplit("/", 3)[0]: json.loads(counts) for facts, counts in parts}
    assert len(found) == len(parts)  # each has a name of its own
    return dict(sorted(found.items()))


@pytest.mark.e2e
def test_ptx_has_the_instructions_that_it_had() -> None:
    pytest.importorskip("numba_cuda", reason="the compiler for CUDA comes with the extra fastact[cuda]")
    stored = store.load("ptx")
    if stored["compiler"] != compiler():
        pytest.skip(f"stored of {stored['compiler']}, not of {compiler()}")
    wrong = store.differences(stored["kernels"], ptx_histograms(), exact=True)
    assert not wrong, f"{len(wrong)} differences, such as\n" + "\n".join(wrong[:20])


@pytest.mark.e2e
def test_ptx_keeps_to_registers_and_loads_16_bytes() -> None:
    pytest.importorskip("numba_cuda", reason="the compiler for CUDA comes with the extra fastact[cuda]")
    lines = [line.partition("\t")[0] for line in ptx_lines()]
    assert len(lines) == (len(ELEMENT_TYPES) + 4 * len(UNLIKE) + 5 * len(RECORDED) + 2) * len(MACHINES)
    for line in lines:
        *_, layout, local, calls, packets = line.split("/")
        assert (local, calls) == ("0", "0"), line
        if layout in ("flat", "runs", "many", "read"):
            # As many as a thread has under way, and one for what is left.
            assert int(packets) >= 3, line
        else:
            assert packets == "0", line


def compiled_to_ptx(what: str, part: int, parts: int) -> None:
    """Prints for every so-many-th kernel what its PTX has, for each machine."""
    from unittest import mock

    from numba.cuda import compiler

    from bench.gpu.reader import read_kernel
    from fastact.cuda import kernels, layouts
    from fastact.cuda.driver import signature
    from fastact.cuda.kernels import end_step_kernel, record_kernel

    others = (layouts.RUNS, layouts.ODD_RUNS, layouts.COLUMNS)
    unlike, recorded = (UNLIKE, RECORDED) if what == "some" else (tuple(ELEMENT_TYPES), tuple(ELEMENT_TYPES))
    made: list[tuple[str, Callable[[], Any]]] = [("end step/none", end_step_kernel), ("uint64/read", read_kernel)]
    made += [(f"{name}/flat", partial(kernels.sweep_kernel, name, layouts.FLAT)) for name in ELEMENT_TYPES]
    for name in unlike:
        made += [(f"{name}/{layout.name}", partial(kernels.sweep_kernel, name, layout)) for layout in others]
        made.append((f"{name}/many", partial(kernels.many_kernel, name)))
    for name in recorded:
        made += [
            (f"{name} recorded/{layout.name}", partial(record_kernel, name, layout, per_neuron=True))
            for layout in layouts.LAYOUTS
        ]
        made.append((f"{name} recorded unsurveyed/flat", partial(record_kernel, name, layouts.FLAT, per_neuron=False)))

    def compiled(kernel: Any) -> Any:
        # What `cuda.compile` does, but for all machines at once: most of the time goes into what Numba itself does.
        library, _ = compiler._compile_pyfunc_with_fixup(
            kernel, signature(kernel), device=True, cc=MACHINES[0], abi="numba"
        )
        return library

    # Device functions ask the current device what to be compiled for; there may be none.
    device = mock.Mock(compute_capability=MACHINES[0])
    with mock.patch("numba.cuda.dispatcher.get_current_device", return_value=device):
        for label, make in made[part::parts]:
            library = compiled(make())
            for machine in MACHINES:
                (ptx,) = library.get_asm_strs(cc=machine)
                assert f".target sm_{machine[0]}{machine[1]}" in ptx
                found = [ptx.count(".local"), *(len(re.findall(p, ptx)) for p in (r"\bcall", r"ld\.global\.v4\.u32"))]
                print(machine[0], label, *found, sep="/", end=f"\t{json.dumps(histogram(ptx))}\n")


def swept(x: Any, name: str, layout: Any, parts: int) -> list[dict[str, Any]]:
    """The rows of an [outer, neurons, inner] array, from the simulator; with parts > 1 twice, which must agree."""
    from numba import cuda

    from fastact.cuda import kernels, layouts
    from fastact.cuda.instructions import THREADS
    from fastact.cuda.layouts import work_bounds
    from fastact.cuda.rows import ROW_WORDS

    kind = ELEMENT_TYPES[name]
    stored = x.view(kind.storage)
    outer, neurons, inner = x.shape
    width, _ = layouts.loads_of(kind, layout)
    head = edges = 0
    packets = outer * inner // width
    if layout is layouts.FLAT:
        head = min(-stored.ctypes.data % 16 // stored.itemsize, x.size)
        packets = (x.size - head) // width
        edges = x.size - packets * width
    run = inner * stored.itemsize
    groups = -(-neurons // layout.beside)
    low, high, near = work_bounds((-0.99, 0.99, 0.0), name)
    work = np.full((groups * parts * layout.beside, ROW_WORDS), -1, np.int64)
    tickets = np.zeros(groups, np.int64)
    rows = [np.zeros((neurons, ROW_WORDS), np.int64) for _ in range(2)]
    for out in rows:
        cuda.jit(kernels.sweep_kernel(name, layout))[groups * parts, THREADS](
            *(stored.ctypes.data, head, edges, packets, neurons, max(1, inner // width), neurons * run, run, parts),
            *(low, high, near, work.ctypes.data, tickets.ctypes.data, out.ctypes.data),
        )
        assert not tickets.any()
        if parts == 1:
            rows[1] = rows[0]
            break
    assert np.array_equal(rows[0], rows[1])
    numbers = rows[0].view(np.float64)
    ends = rows[0].view(name) if name in ("int64", "uint64") else numbers
    return [
        dict(zip((*COUNTS, *NUMBERS), [*rows[0][i, :6], *numbers[i, 6:9], *ends[i, 9:11]], strict=True))
        for i in range(neurons)
    ]


def differences(got: dict[str, Any], x: Any, error: float) -> list[str]:
    want = describe(np.asarray(x))
    wrong = [name for name in COUNTS if got[name] != want[name]]
    if math.isnan(want["mean"]):
        return wrong + [name for name in ("mean", "std", "abs_mean") if not math.isnan(got[name])]
    wrong += [name for name in ("min", "max") if got[name] != want[name]]
    size = max(abs(want["mean"]), want["std"])
    bounds = {"mean": error * size, "std": error * want["std"], "abs_mean": max(error, 1e-15) * want["abs_mean"]}
    return wrong + [name for name, bound in bounds.items() if not abs(got[name] - want[name]) <= bound + DENORMALS]


def in_the_simulator() -> None:
    import simulated

    simulated.install()
    from fastact.cuda import layouts

    warnings.simplefilter("ignore", RuntimeWarning)  # NumPy's, of NaN and overflow, where a device says nothing
    compared = 0

    def compare(x: Any, name: str, layout: Any, parts: int, label: str) -> None:
        nonlocal compared
        for neuron, got in enumerate(swept(x, name, layout, parts)):
            compared += 1
            wrong = differences(got, x[:, neuron], ERROR.get(name, 1e-6))
            if wrong:
                print(name, layout.name, label, neuron, wrong, got)

    rng = np.random.default_rng(3)
    for dtype, scalar in FLOATS.items():
        for label, x in nasty(scalar).items():
            some = np.ascontiguousarray(x[:: max(1, x.size // 1000)])  # the simulator is slow
            compare(some[None, None], dtype, layouts.FLAT, 2, label)
    for name in ELEMENT_TYPES:
        if name.startswith("float8"):
            x = np.arange(256, dtype=np.uint8).view(getattr(ml_dtypes, name))
        elif name == "bool":
            x = np.arange(1001) % 3 == 0
        elif name in FLOATS:
            x = rng.standard_normal(1001).astype(FLOATS[name])
        else:
            info = np.iinfo(name)
            x = rng.integers(info.min, info.max, 1001, dtype=name, endpoint=True)
            x[-3:] = info.min, info.max, 0
        for start in (0, 1):  # aligned, and not
            compare(x[None, None, start:], name, layouts.FLAT, 1 + start, f"from {start}")
    shapes = {layouts.RUNS: (3, 5, 16), layouts.ODD_RUNS: (3, 5, 7), layouts.COLUMNS: (301, 13, 1)}
    for layout, shape in shapes.items():
        for name in ("float32", "float64", "int64"):
            x = (rng.standard_normal(shape) * 3 + 100).astype(FLOATS.get(name, name))
            if name != "int64":
                x[1, 2] = np.nan
            for parts in (1, 3) if name == "float32" else (3,):
                compare(x, name, layout, parts, f"in {parts} parts")
    print(compared)


if __name__ == "__main__":
    if sys.argv[1] == "ptx":
        compiled_to_ptx(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        in_the_simulator()
