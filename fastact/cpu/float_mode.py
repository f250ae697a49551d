"""The mode in which a thread's processor computes: whether it takes denormal numbers for zero.

A library may have asked for that (`torch.set_flush_denormal`, or one that was built with -ffast-math and sets it as it
is loaded), for some threads and not for others. Comparisons and conversions follow it, so that counts of zeros, min and
max would depend on the thread that happens to sweep. So each entry point computes as IEEE 754 has it, and leaves the
mode as it was.
"""

from typing import Any, Final

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils

from fastact.cpu.intrinsics import emit_llvm, intrinsic_of

_I32, _I64, _VOID = ir.IntType(32), ir.IntType(64), ir.VoidType()
#: Flush-to-zero and denormals-are-zero in the control register of x86, and flush-to-zero in that of ARM, for floats and
#: for those of 16 bits. Other processors are taken as they are.
_X86_FLUSH: Final = 0x8040
_ARM_FLUSH: Final = (1 << 24) | (1 << 19)
_MACHINE: Final = llvmlite.binding.get_process_triple().partition("-")[0]
_X86, _ARM = _MACHINE in ("x86_64", "i686"), _MACHINE in ("aarch64", "arm64")


def _slot(builder: Any) -> tuple[Any, Any]:
    """A word in memory, through which x86's control register goes, and its address as intrinsics take it."""
    word = cgutils.alloca_once(builder, _I32)
    return word, builder.bitcast(word, ir.IntType(8).as_pointer())


def emit_mode(builder: Any, machine: str) -> Any:
    """The instructions that read the control register, as 64 bits; 0 on other machines."""
    if machine == "x86":
        word, address = _slot(builder)
        emit_llvm(builder, "llvm.x86.sse.stmxcsr", _VOID, address)
        return builder.zext(builder.load(word), _I64)
    if machine == "arm":
        return emit_llvm(builder, "llvm.aarch64.get.fpcr", _I64)
    return ir.Constant(_I64, 0)


def emit_set_mode(builder: Any, machine: str, mode: Any) -> None:
    """The instructions that write the control register."""
    if machine == "x86":
        word, address = _slot(builder)
        builder.store(builder.trunc(mode, _I32), word)
        emit_llvm(builder, "llvm.x86.sse.ldmxcsr", _VOID, address)
    if machine == "arm":
        emit_llvm(builder, "llvm.aarch64.set.fpcr", _VOID, mode)


_HERE: Final = "x86" if _X86 else "arm" if _ARM else ""
_FLUSH: Final = _X86_FLUSH if _X86 else _ARM_FLUSH


@intrinsic_of(lambda: types.int64(), lambda: 0)  # noqa: PLW0108 - its name is the signature's
def begin_ieee(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """Has the thread compute with denormal numbers; returns the mode it had, or 0 where that was it already.

    Call it first in an entry point, and `end_ieee` with what it returned last.
    """
    mode = emit_mode(builder, _HERE)
    flushes = builder.icmp_unsigned("!=", builder.and_(mode, ir.Constant(_I64, _FLUSH)), ir.Constant(_I64, 0))
    with builder.if_then(flushes, likely=False):
        emit_set_mode(builder, _HERE, builder.and_(mode, ir.Constant(_I64, ~_FLUSH)))
    return builder.select(flushes, mode, ir.Constant(_I64, 0))


@intrinsic_of(lambda mode: types.void(types.int64), lambda mode: None)
def end_ieee(context: Any, builder: Any, signature: Any, args: Any) -> None:
    """Restores the mode that `begin_ieee` has changed."""
    with builder.if_then(builder.icmp_unsigned("!=", args[0], ir.Constant(_I64, 0)), likely=False):
        emit_set_mode(builder, _HERE, args[0])
