"""The few instructions that Numba has no name for: views that own nothing, calls of C functions, atomics, selections.

Each stands twice: as instructions, and in Python for NUMBA_DISABLE_JIT=1.
"""

import ctypes
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastact.cpu.jit import COMPILED, exact_jit

__all__ = [
    "array_at",
    "call_c",
    "call_c_for_int",
    "cast_like",
    "fetch_add",
    "item_pointer",
    "load_scalar",
    "load_tuple",
    "max_no_nan",
    "min_no_nan",
    "store_tuple",
    "sub_no_reassoc",
    "subarray",
    "view_into",
]


@exact_jit
def sub_no_reassoc(a: Any, b: Any) -> Any:
    """a - b, never regrouped. Numba marks all that `jit` compiles; what is inlined from here keeps its own flags.

    sum + (a - b) became (sum - b) + a, which rounds the same way each time: means of |x| were 1e-6 too large.
    """
    return a - b


def item_pointer(context: Any, builder: Any, kind: Any, array: Any, places: list[Any]) -> Any:
    """Where an item of an array lies, whose places are known to be in range."""
    view = context.make_array(kind)(context, builder, array)
    return cgutils.get_item_pointer(context, builder, kind, view, places)


if not COMPILED:

    def cast_like(value: Any, example: Any) -> Any:
        return type(example)(value)

    def subarray(x: Any, offset: int, size: int) -> Any:
        return x.reshape(-1)[offset : offset + size]

    def array_at(address: int, shape: tuple[int, ...], example: Any) -> Any:
        kind, size = np.dtype(type(example)), int(math.prod(shape))
        memory: Any = (ctypes.c_uint8 * (size * kind.itemsize)).from_address(int(address))
        return np.frombuffer(memory, kind, size).reshape(shape)

    def view_into(memory: Any, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], example: Any) -> Any:
        kind = np.dtype(type(example))
        strides = tuple(stride * kind.itemsize for stride in strides)
        return np.lib.stride_tricks.as_strided(memory[offset:].view(kind), shape, strides)

    def load_scalar(address: int, example: Any) -> Any:
        return array_at(address, (1,), example)[0]

    def call_c(function: Any, arguments: tuple[Any, ...]) -> None:
        function(*arguments)

    def call_c_for_int(function: Any) -> int:
        return int(function())

    def fetch_add(counter: Any) -> int:
        counter[0] += 1
        return int(counter[0]) - 1

    def min_no_nan(a: Any, b: Any) -> Any:
        return b if b < a else a

    def max_no_nan(a: Any, b: Any) -> Any:
        return b if b > a else a

    def load_tuple(arrays: Any, i: int) -> Any:
        return tuple(array[i] for array in arrays)

    def store_tuple(arrays: Any, i: int, values: Any) -> None:
        for array, value in zip(arrays, values, strict=True):
            array[i] = value

else:

    @intrinsic
    def cast_like(typingctx: Any, value: Any, example: Any) -> Any:
        """`value` in the type of `example`."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return context.cast(builder, args[0], value, example)

        return example(value, example), codegen

    @intrinsic
    def subarray(typingctx: Any, x: Any, offset: Any, size: Any) -> Any:
        """The `size` elements from `offset` on of a contiguous array's memory, as a 1-D array that owns nothing.

        A slice would count a reference up and down, atomically, which on x86 waits for all loads under way: a bubble
        of 100 ns for each block.
        """
        result = types.Array(x.dtype, 1, "C", readonly=not x.mutable)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            array = context.make_array(x)(context, builder, args[0])
            view = context.make_array(result)(context, builder)
            context.populate_array(
                view,
                data=builder.gep(array.data, [args[1]]),
                shape=(args[2],),
                strides=(array.itemsize,),
                itemsize=array.itemsize,
                meminfo=None,
            )
            return view._getvalue()

        return result(x, types.intp, types.intp), codegen

    @intrinsic
    def array_at(typingctx: Any, address: Any, shape: Any, example: Any) -> Any:
        """The memory at an address as a contiguous array of `shape` of what `example` is, which owns nothing."""
        example = types.unliteral(example)
        result = types.Array(example, len(shape), "C")

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            sizes = cgutils.unpack_tuple(builder, args[1])
            itemsize = context.get_constant(types.intp, example.bitwidth // 8)
            strides = [itemsize]
            for size in reversed(sizes[1:]):
                strides.insert(0, builder.mul(strides[0], size))
            data = builder.inttoptr(args[0], context.get_data_type(example).as_pointer())
            return _view(context, builder, result, data, sizes, strides, itemsize)

        return result(types.intp, shape, example), codegen

    @intrinsic
    def view_into(typingctx: Any, memory: Any, offset: Any, shape: Any, strides: Any, example: Any) -> Any:
        """An array of what `example` is in `memory` (contiguous, 1-D) from an element on; `strides` are in elements."""
        result = types.Array(example, len(shape), "A")

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            array = context.make_array(memory)(context, builder, args[0])
            itemsize = context.get_constant(types.intp, example.bitwidth // 8)
            start = builder.gep(array.data, [args[1]])
            data = builder.bitcast(start, context.get_data_type(example).as_pointer())
            steps = [builder.mul(stride, itemsize) for stride in cgutils.unpack_tuple(builder, args[3])]
            return _view(context, builder, result, data, cgutils.unpack_tuple(builder, args[2]), steps, itemsize)

        return result(memory, types.intp, shape, strides, example), codegen

    def _view(context: Any, builder: Any, kind: Any, data: Any, shape: Any, strides: Any, itemsize: Any) -> Any:
        view = context.make_array(kind)(context, builder)
        context.populate_array(view, data=data, shape=shape, strides=strides, itemsize=itemsize, meminfo=None)
        return view._getvalue()

    @intrinsic
    def load_scalar(typingctx: Any, address: Any, example: Any) -> Any:
        """The number at an address, of the type of `example`."""
        example = types.unliteral(example)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.load(builder.inttoptr(args[0], args[1].type.as_pointer()))

        return example(types.intp, example), codegen

    @intrinsic
    def call_c(typingctx: Any, function: Any, arguments: Any) -> Any:
        """Calls the C function at an address, which returns nothing, with a tuple of integers or addresses."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            values = cgutils.unpack_tuple(builder, args[1])
            kind = ir.FunctionType(ir.VoidType(), [value.type for value in values])
            builder.call(builder.inttoptr(args[0], kind.as_pointer()), values)
            return context.get_dummy_value()

        return types.void(types.intp, arguments), codegen

    @intrinsic
    def call_c_for_int(typingctx: Any, function: Any) -> Any:
        """The int that the C function at an address returns, which takes nothing."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            kind = ir.FunctionType(ir.IntType(32), [])
            answer = builder.call(builder.inttoptr(args[0], kind.as_pointer()), [])
            return context.cast(builder, answer, types.int32, types.intp)

        return types.intp(types.intp), codegen

    @intrinsic
    def fetch_add(typingctx: Any, counter: Any) -> Any:
        """The value of `counter[0]`, an int64, before one was added to it: atomic, so that threads share out work."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            array = context.make_array(counter)(context, builder, args[0])
            return builder.atomic_rmw("add", array.data, ir.Constant(ir.IntType(64), 1), "monotonic")

        return types.int64(counter), codegen

    @intrinsic
    def load_tuple(typingctx: Any, arrays: Any, i: Any) -> Any:
        """Item `i` of each 1-D array of a tuple.

        Each array that a function takes out of a tuple is counted up and down, atomically, which may take longer than
        what is done with the item. Here none is.
        """
        result = types.Tuple([array.dtype for array in arrays])

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            pairs = zip(arrays, cgutils.unpack_tuple(builder, args[0]), strict=True)
            items = [builder.load(item_pointer(context, builder, kind, array, [args[1]])) for kind, array in pairs]
            return context.make_tuple(builder, result, items)

        return result(arrays, types.intp), codegen

    @intrinsic
    def store_tuple(typingctx: Any, arrays: Any, i: Any, values: Any) -> Any:
        """Writes the values of a tuple to item `i` of the 1-D arrays of another, each of the array's own type."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            found = (cgutils.unpack_tuple(builder, args[0]), cgutils.unpack_tuple(builder, args[2]))
            for kind, given, array, value in zip(arrays, values, *found, strict=True):
                pointer = item_pointer(context, builder, kind, array, [args[1]])
                builder.store(context.cast(builder, value, given, kind.dtype), pointer)
            return context.get_dummy_value()

        return types.void(arrays, types.intp, values), codegen

    def _select(name: str, comparison: str) -> Callable[..., Any]:
        # Python's own min and max compile to a branch, or to a select that must honour NaN: 7 GB/s instead of 80.
        # NaN is promised away on these two instructions alone; a block that holds one is folded again with care.
        def define(typingctx: Any, a: Any, b: Any) -> Any:
            def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                a_value, b_value = args
                if isinstance(a, types.Integer):
                    compare = builder.icmp_signed if a.signed else builder.icmp_unsigned
                    return builder.select(compare(comparison, b_value, a_value), b_value, a_value)
                test = builder.fcmp_ordered(comparison, b_value, a_value, flags=("nnan", "nsz"))
                return builder.select(test, b_value, a_value, flags=("nnan", "nsz"))

            return a(a, a), codegen

        define.__name__ = define.__qualname__ = name
        return intrinsic(define)  # type: ignore[no-any-return]

    min_no_nan = _select("min_no_nan", "<")
    max_no_nan = _select("max_no_nan", ">")
