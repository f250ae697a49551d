"""Threads that take denormal numbers for zero, and those that do not, get the same answers, bit for bit."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from llvmlite import binding, ir

import fastact
from fastact.cpu.float_mode import emit_mode, emit_set_mode
from fastact.cpu.sweep import SMALL

SMALLEST = {"float32": 1e-45, "float64": 5e-324, "float16": 6e-8, "bfloat16": 1e-40}
DTYPES = ("float32", "float64", "float16", "bfloat16", "float8_e5m2", "float8_e4m3fn")


@pytest.fixture
def flushing() -> Iterator[Callable[..., Any]]:
    """Calls a function where denormal numbers are taken for zero, and says whether they still are afterwards."""

    def run(function: Callable[[], Any]) -> Any:
        found: list[Any] = []

        def work() -> None:
            assert torch.set_flush_denormal(True)
            tiny = np.full(1, 1e-310)
            assert (tiny == 0.0).all(), "the processor does not flush"
            found.append(function())
            assert (tiny == 0.0).all(), "the mode was not restored"

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return found[0]

    if not torch.set_flush_denormal(False):
        pytest.skip("this processor has no such mode")
    yield run
    torch.set_flush_denormal(False)


def tiny(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Denormal numbers of both signs, zeros, and here and there a normal number."""
    bits = {"float32": torch.int32, "float64": torch.int64, "float16": torch.int16, "bfloat16": torch.int16}.get(name)
    low = torch.randint(-60, 60, shape, generator=torch.Generator().manual_seed(0))
    if bits is None:  # the denormal numbers of 8-bit floats: those with an exponent of zero, and zero
        mask = 3 if name == "float8_e5m2" else 7
        return ((low.abs() & mask) | torch.where(low < 0, 0x80, 0)).to(torch.uint8).view(getattr(torch, name))
    sign = torch.where(low < 0, torch.iinfo(bits).min, 0)
    return (low.abs() | sign).to(bits).view(getattr(torch, name))


def answers(x: torch.Tensor) -> list[Any]:
    flat, image = x.reshape(-1), x.reshape(8, 16, -1)
    found: list[Any] = [fastact.summarize(flat), fastact.summarize(flat[: SMALL // 2])]
    found += fastact.summarize_many([flat, flat[:100], image])
    found += [fastact.summarize(flat, extras=("shape", "exponents", "quantiles")).zeros]
    accumulator = fastact.Accumulator()
    for part in flat[:1000].split(100):
        accumulator.update(part)
    merged = accumulator.stats  # in Python, whose moments follow the mode
    found += [merged.count, merged.zeros, merged.saturated, merged.min, merged.max]
    for axis, y in ((1, image), (-1, x.reshape(-1, 64)), (0, x.reshape(64, -1))):
        neurons = fastact.summarize(y, axis=axis)
        found += [neurons.total, *(getattr(neurons, of).tobytes() for of in ("zeros", "min", "max", "mean", "std"))]
    with fastact.ActivationMonitor() as monitor:
        for _ in range(2):
            monitor.record("a", image, axis=1)
            monitor.step()
    history = monitor.history["a"]
    found += [history[of].tobytes() for of in ("zeros", "min", "max", "mean", "dead_neurons")]
    return found


@pytest.mark.parametrize("name", DTYPES)
def test_answers_do_not_depend_on_the_mode_of_the_thread(name: str, flushing: Callable[..., Any]) -> None:
    x = tiny(name, (8, 16, 2048))
    want = answers(x)
    zeros = int((x.view({1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[x.itemsize]) << 1 == 0).sum())
    assert want[0].zeros == zeros < x.numel() // 2
    assert want[0].min < 0 < want[0].max
    assert flushing(lambda: answers(x)) == want


def test_merging_is_exact_in_any_mode(flushing: Callable[..., Any]) -> None:
    parts = [fastact.summarize(np.array([value])) for value in (0.0, 5e-324, -5e-324, 1e-310)]

    def ends() -> list[bytes]:
        return [np.array([(a | b).min, (a | b).max, (b | a).min, (b | a).max]).tobytes() for a in parts for b in parts]

    assert flushing(ends) == ends()
    both = parts[1] | parts[2]
    assert (both.min, both.max) == (-5e-324, 5e-324)


@pytest.mark.parametrize(
    ("machine", "triple", "wanted"),
    [("x86", "x86_64-linux-gnu", ("stmxcsr", "ldmxcsr")), ("arm", "aarch64-linux-gnu", ("fpcr",)), ("", "", ())],
)
def test_the_mode_is_read_and_set_on_each_machine(machine: str, triple: str, wanted: tuple[str, ...]) -> None:
    module = ir.Module()
    function = ir.Function(module, ir.FunctionType(ir.IntType(64), [ir.IntType(64)]), "both")
    builder = ir.IRBuilder(function.append_basic_block())
    mode = emit_mode(builder, machine)
    emit_set_mode(builder, machine, function.args[0])
    builder.ret(mode)
    binding.initialize_native_target()
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    try:
        target = binding.Target.from_triple(triple or binding.get_process_triple())
    except RuntimeError:
        pytest.skip(f"this LLVM has no {triple}")
    parsed = binding.parse_assembly(str(module))
    parsed.verify()
    assembly = target.create_target_machine().emit_assembly(parsed).lower()
    assert all(word in assembly for word in wanted)
