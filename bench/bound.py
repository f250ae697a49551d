"""What bounds a sweep per neuron: the instructions of its loop for each vector, the CPU's units, and the memory.

    python -m bench.bound            # the table, and bench/results/bound.json
    python -m bench.bound --quick    # short timings, nothing written

The loop is taken from the code that the compiler emits for float32 here, and its instructions are counted. How many
cycles each takes, and which units it shares with an addition and with a product, is measured: many copies of it that do
not wait for each other, alone and by turns with one of these. Where sums and products have units of their own, as on
Zen 4, a vector takes at least as long as the busier half of the units works for it, and half of all that it asks for.
Beside that stands what the kernel reaches where its data stay in the second cache, and what one core and two make of
arithmetic alone: two threads of one core would not make twice as much.
"""

import ctypes
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, NamedTuple
from unittest import mock

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from rich.console import Console

from bench.run import Benchmark, command
from bench.tables import bound_table
from fastact.cpu import neuron_kernels
from fastact.cpu.simd import REGISTER_BYTES
from fastact.cpu.workspace import NeuronWorkspace, plan_neurons

#: Of which instructions the units are known as `adds` and `products`: a sum, and a product that is added at once.
ADD, PRODUCT = "vaddps zmm,zmm,zmm", "vfmadd231ps zmm,zmm,zmm"
_COPIES: Final = 48
#: How often each is timed; the fastest counts.
_TURNS: Final = 30
#: Shapes of one task or a few whose elements stay in the second cache.
_CACHED: Final = {"columns": (4096, 32, 1), "runs": (32, 1, 4096)}


class Loop(NamedTuple):
    """The loop of a kernel: vectors of elements in each round, and its vector instructions by kind; loads, the rest."""

    vectors: int
    kinds: Counter[str]
    loads: int
    others: int


def emitted(*, runs: bool) -> str:
    """The assembly of the kernel for float32, compiled afresh."""
    make: Any = neuron_kernels.fold_kernel
    with (
        mock.patch("fastact.cpu.jit.code_file", return_value=None),
        mock.patch("fastact.cpu.jit.prebuilt_entry", side_effect=LookupError),
    ):
        entry = make.__wrapped__("float32", runs=runs)
    (result,) = entry.overloads.values()
    return str(result.library.get_asm_str())


def _kind(line: str) -> str:
    """An instruction with the kinds of its operands, such as ``vpaddd zmm,zmm,zmm{k}``; memory counts as a register."""
    name, _, operands = line.partition("\t")
    operands = re.sub(r"-?\w*\(%[^)]*\)(\{1to\d+\})?", "%zmm0", operands)
    kinds = re.sub(r"%(zmm|ymm|xmm|k)[0-9]+", lambda match: match[1], operands)
    return f"{name} {kinds.replace(', ', ',').replace(' {', '{')}"


def loop_of(assembly: str) -> Loop | None:
    """The innermost loop that folds a vector by fewest instructions, known by its masked counts.

    That is the one for neurons whose mean is no larger than their spread, as with the benchmarks' data. None without
    AVX-512.
    """
    lines = [line.strip() for line in assembly.splitlines()]
    labels = {line[:-1]: number for number, line in enumerate(lines) if re.fullmatch(r"\.?L\w+:", line)}
    best: Loop | None = None
    fewest = 0.0
    for end, line in enumerate(lines):
        jump = re.fullmatch(r"j\w+\s+(\.?L\w+)", line)
        if jump is None or labels.get(jump[1], end) >= end:
            continue
        body = lines[labels[jump[1]] + 1 : end + 1]
        # Branches, as around what asks for memory ahead and out of the loop, are no loops within it.
        start = labels[jump[1]]
        inner = any(_loops(entry, labels, start, number) for number, entry in enumerate(body[:-1], start + 1))
        vectors = sum(entry.startswith("vminps") for entry in body)
        counted = any(re.fullmatch(r"vpaddd\s+.*zmm.*\{%k\d\}", entry) for entry in body)
        if inner or not counted:
            continue
        code = [entry for entry in body if entry and not entry.startswith((".", "#")) and not entry.endswith(":")]
        moves = [entry for entry in code if re.match(r"v(mov|broadcast)", entry)]
        kinds = Counter(_kind(entry) for entry in code if entry.startswith(("v", "k")) and entry not in moves)
        loads = sum("(" in entry for entry in moves)
        found = Loop(vectors, kinds, loads, len(code) - sum(kinds.values()) - loads)
        if vectors and (best is None or len(code) / vectors < fewest):
            best, fewest = found, len(code) / vectors
    return best


def _loops(line: str, labels: dict[str, int], start: int, number: int) -> bool:
    """Whether a line of assembly, this one by its number, jumps to one before it that comes after `start`."""
    jump = re.fullmatch(r"j\w+\s+(\.?L\w+)", line)
    return jump is not None and start < labels.get(jump[1], number) < number


def _copy(kind: str, number: int) -> str:
    """One of many instructions of a kind: sources are the same, results are not."""
    name, operands = kind.split(" ")
    parts = operands.split(",")
    *sources, result = parts
    given = ["%k1" if part == "k" else f"%{part}{16 + place}" for place, part in enumerate(sources)]
    into = f"%k{2 + number % 6}" if result.startswith("k") else f"%zmm{number % 14}"
    return f"{name} {', '.join([*given, into])}{' {%k1}' if result.endswith('{k}') else ''}"


def _machine_code(lines: list[str]) -> tuple[Callable[[int], int], Any]:
    """A function that runs these instructions as often as it is told."""
    module, i64 = ir.Module(), ir.IntType(64)
    module.triple = llvm.get_process_triple()
    function = ir.Function(module, ir.FunctionType(i64, [i64]), "repeat")
    builder = ir.IRBuilder(function.append_basic_block())
    text = "\n".join(["1:", *lines, "sub $$1, $0", "jnz 1b"])
    clobbers = [*(f"xmm{i}" for i in range(16)), *(f"k{i}" for i in range(1, 8)), "r10", "flags"]
    constraint = ",".join(["=r", "0", *(f"~{{{name}}}" for name in clobbers)])
    builder.ret(builder.asm(ir.FunctionType(i64, [i64]), text, constraint, [function.args[0]], True))
    target = llvm.Target.from_triple(module.triple).create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten()
    )
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(str(module)), target)
    engine.finalize_object()
    return ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(engine.get_function_address("repeat")), engine


def _seconds(lines: list[str], seconds: float, threads: int = 1) -> float:
    """How long these instructions take, once, at best; on several threads all of them at once."""
    call, engine = _machine_code(lines)
    rounds = 1000
    while _once(call, rounds, 1) < seconds / _TURNS:
        rounds *= 2
    best = min(_once(call, rounds, threads) for _ in range(_TURNS))
    del engine
    return best / rounds


def _once(call: Callable[[int], int], rounds: int, threads: int) -> float:
    others = [threading.Thread(target=call, args=(rounds,)) for _ in range(threads - 1)]
    start = time.perf_counter()
    for other in others:
        other.start()
    call(rounds)
    for other in others:
        other.join()
    return time.perf_counter() - start


def _cached_rate(shape: tuple[int, int, int], seconds: float) -> float:
    """Bytes a second that one thread folds of an array in the second cache."""
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    plan = plan_neurons("float32", *shape, -0.99, 0.99, 0.0)
    workspace = NeuronWorkspace(plan)
    workspace.sweep(x.ctypes.data, x)
    best = 0.0
    for _ in range(10):
        start, calls = time.perf_counter(), 0
        while time.perf_counter() - start < seconds / 10:
            plan.fold(workspace.address, 0, plan.tasks)
            calls += 1
        best = max(best, calls * x.nbytes / (time.perf_counter() - start))
    return best


def run(console: Console, quick: bool, step: Callable[[str], None]) -> dict[str, Any]:
    """The instructions, their cycles and the bound of each loop."""
    seconds = 0.02 if quick else 0.3
    llvm.initialize_native_asmparser()
    loops: dict[str, Loop] = {}
    for name in _CACHED if REGISTER_BYTES == 64 else ():
        step(f"compiling {name}")
        if loop := loop_of(emitted(runs=name == "runs")):
            loops[name] = loop
    if not loops:
        console.print("the loops are counted where they are AVX-512 code: not here")
        return {"whole": False, "rows": [], "units": [], "clock": 0.0, "threads": 0.0}
    step("clock")
    tick = _seconds(["add $$1, %r10"] * _COPIES, seconds) / _COPIES
    units: dict[str, dict[str, float]] = {}
    for kind in sorted({kind for loop in loops.values() for kind in loop.kinds} | {ADD, PRODUCT}):
        step(kind)
        alone = [_copy(kind, i) for i in range(_COPIES)]
        taken = {"alone": _seconds(alone, seconds) / tick / _COPIES}
        for beside, other in (("add", ADD), ("product", PRODUCT)):
            both = [line for i in range(_COPIES // 2) for line in (_copy(kind, 2 * i), _copy(other, 2 * i + 1))]
            taken[beside] = _seconds(both, seconds) / tick / (_COPIES // 2)
        units[kind] = taken
    adds = [_copy(ADD, i) for i in range(_COPIES)]
    step("two threads")
    # Long enough that a second thread has come to a core of its own.
    twice = 2 * _seconds(adds, 2.0) / _seconds(adds, 2.0, 2)
    rows = [_row(name, loop, units, 1 / tick, _cached_rate(_CACHED[name], seconds)) for name, loop in loops.items()]
    return {"rows": rows, "units": [{"kind": kind, **taken} for kind, taken in units.items()], "clock": 1 / tick,
            "threads": twice}  # fmt: skip


def _row(name: str, loop: Loop, units: dict[str, dict[str, float]], clock: float, cached: float) -> dict[str, Any]:
    """The bound of a loop, in cycles a vector and bytes a second of one core."""
    halves = {"add": 0.0, "product": 0.0, "any": 0.0}
    for kind, number in loop.kinds.items():
        taken = units[kind]
        share = number / loop.vectors
        # What shares its units with an addition takes as long as both one after the other.
        shared = {beside: taken[beside] - max(taken["alone"], units[other]["alone"]) for beside, other in
                  (("add", ADD), ("product", PRODUCT))}  # fmt: skip
        half = next((beside for beside, more in shared.items() if more > 0.75 * taken["alone"]), "any")
        halves[half] += share * taken["alone"] * (1.0 if half != "any" else 2.0)
    cycles = max(halves["add"], halves["product"], sum(halves.values()) / 2, loop.loads / loop.vectors)
    return {
        "loop": name, "vectors": loop.vectors, "kinds": dict(loop.kinds), "loads": loop.loads, "others": loop.others,
        "halves": halves, "cycles": cycles, "bound": REGISTER_BYTES / cycles * clock, "cached": cached,
    }  # fmt: skip


BENCHMARK = Benchmark("bound", "what bounds a sweep per neuron, float32", run, bound_table)

if __name__ == "__main__":
    command([BENCHMARK])
