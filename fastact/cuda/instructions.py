"""Single instructions of the device: what the threads of a block do together, and a division without branches."""

from typing import Any, Final

from llvmlite import ir
from numba import cuda, types

from fastact.cuda.compiler import device, intrinsic

#: Threads of a block.
THREADS: Final = 256
#: Threads that run in step: neighbouring ones read neighbouring memory at once.
WARP: Final = 32

_I64: Final = ir.IntType(64)
_GLOBAL: Final = 1  # the address space of device memory


@device
def barrier() -> None:
    """All threads of the block come here before one goes on."""
    cuda.syncthreads()


@device
def fence() -> None:
    """Whoever sees what is written after this sees what was written before it."""
    cuda.threadfence()


def global_pointer(builder: Any, address: Any, pointee: Any) -> Any:
    """LLVM's pointer to device memory at an address."""
    return builder.inttoptr(address, ir.PointerType(pointee, addrspace=_GLOBAL))


@intrinsic
def divide(typingctx: Any, a: Any, b: Any) -> Any:
    """a // b of two numbers of at least 0, b > 0. Python's own checks for zero and rounds down: some branches."""
    return types.int64(types.int64, types.int64), lambda context, builder, signature, args: builder.udiv(*args)


@intrinsic
def ticket(typingctx: Any, address: Any) -> Any:
    """The int64 at an address before one was added to it: atomic, over the whole device."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.atomic_rmw("add", global_pointer(builder, args[0], _I64), _I64(1), "monotonic")

    return types.int64(types.int64), codegen
