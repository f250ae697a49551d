"""The few instructions that Numba has no name for: views that own nothing, calls of C functions, atomics, selections.

`intrinsic_of` makes each of a function that emits its instructions; beside that stands what it does in Python, for
NUMBA_DISABLE_JIT=1.
"""

import ctypes
import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastact.cpu.jit import COMPILED, exact_jit


@exact_jit
def sub_no_reassoc(a: Any, b: Any) -> Any:
    """a - b, never regrouped. Numba marks all that `jit` compiles; what is inlined from here keeps its own flags.

    sum + (a - b) became (sum - b) + a, which rounds the same way each time: means of |x| were 1e-6 too large.
    """
    return a - b


def intrinsic_of(signature: Callable[..., Any], python: Callable[..., Any]) -> Callable[..., Callable[..., Any]]:
    """A decorator: makes a function for kernels of one that emits its instructions.

    That one takes Numba's context, llvmlite's builder, the signature and the arguments' values. `signature` gives the
    Numba signature for the types of the arguments; `python` runs in its place without a compiler.
    """

    def decorate(emit: Callable[[Any, Any, Any, Any], Any]) -> Callable[..., Any]:
        def codegen(context: Any, builder: Any, signed: Any, args: Any) -> Any:
            value = emit(context, builder, signed, args)
            return context.get_dummy_value() if value is None else value

        def define(typingctx: Any, *args: Any) -> Any:
            return signature(*args), codegen

        names = ("typingctx", *inspect.signature(signature).parameters)
        parameters = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names]
        define.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return intrinsic(define) if COMPILED else python

    return decorate


def item_pointer(context: Any, builder: Any, array_type: Any, array: Any, places: list[Any]) -> Any:
    """Where an item of an array lies, whose places are known to be in range."""
    view = context.make_array(array_type)(context, builder, array)
    return cgutils.get_item_pointer(context, builder, array_type, view, places)


def emit_choice(builder: Any, scalar: Any, comparison: str, a: Any, b: Any) -> Any:
    """The instructions that choose the smaller ("<") or larger (">") of two numbers, or in each lane of two vectors.

    Python's own min and max compile to a branch, or to a select that must honour NaN: 7 GB/s instead of 80. NaN is
    promised away on these two instructions alone; a block that holds one is folded again with care.
    """
    if isinstance(scalar, types.Integer):
        compare = builder.icmp_signed if scalar.signed else builder.icmp_unsigned
        return builder.select(compare(comparison, b, a), b, a)
    test = builder.fcmp_ordered(comparison, b, a, flags=("nnan", "nsz"))
    return builder.select(test, b, a, flags=("nnan", "nsz"))


def hidden(builder: Any, value: Any) -> Any:
    """The same integer or address, of which the compiler does not see what it is: no instruction."""
    return builder.asm(ir.FunctionType(value.type, [value.type]), "", "=r,0", [value], False)


def emit_llvm(builder: Any, name: str, answer: Any, *arguments: Any) -> Any:
    """A call of one of LLVM's own functions, an instruction or a few."""
    function_type = ir.FunctionType(answer, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), arguments)


def _view(context: Any, builder: Any, array_type: Any, data: Any, shape: Any, strides: Any, itemsize: Any) -> Any:
    view = context.make_array(array_type)(context, builder)
    context.populate_array(view, data=data, shape=shape, strides=strides, itemsize=itemsize, meminfo=None)
    return view._getvalue()


def _array_at(address: int, shape: tuple[int, ...], example: Any) -> Any:
    dtype, size = np.dtype(type(example)), int(math.prod(shape))
    memory: Any = (ctypes.c_uint8 * (size * dtype.itemsize)).from_address(int(address))
    return np.frombuffer(memory, dtype, size).reshape(shape)


def _view_into(memory: Any, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], example: Any) -> Any:
    dtype = np.dtype(type(example))
    steps = tuple(stride * dtype.itemsize for stride in strides)
    return np.lib.stride_tricks.as_strided(memory[offset:].view(dtype), shape, steps)


def _fetch_add(counter: Any) -> int:
    counter[0] += 1
    return int(counter[0]) - 1


def _store_tuple(arrays: Any, i: int, values: Any) -> None:
    for array, value in zip(arrays, values, strict=True):
        array[i] = value


@intrinsic_of(lambda value, example: example(value, example), lambda value, example: type(example)(value))
def cast_like(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """`value` in the type of `example`."""
    return context.cast(builder, args[0], *signature.args)


@intrinsic_of(
    lambda x, offset, size: types.Array(x.dtype, 1, "C", readonly=not x.mutable)(x, types.intp, types.intp),
    lambda x, offset, size: x.reshape(-1)[offset : offset + size],
)
def subarray(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """The `size` elements from `offset` on of a contiguous array's memory, as a 1-D array that owns nothing.

    A slice would count a reference up and down, atomically, which on x86 waits for all loads under way: a bubble of
    100 ns for each block.
    """
    array = context.make_array(signature.args[0])(context, builder, args[0])
    data, step = builder.gep(array.data, [args[1]]), array.itemsize
    return _view(context, builder, signature.return_type, data, (args[2],), (step,), step)


@intrinsic_of(
    lambda address, shape, example: types.Array(types.unliteral(example), len(shape), "C")(types.intp, shape, example),
    _array_at,
)
def array_at(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """The memory at an address as a contiguous array of `shape` of what `example` is, which owns nothing."""
    result = signature.return_type
    sizes = cgutils.unpack_tuple(builder, args[1])
    itemsize = context.get_constant(types.intp, result.dtype.bitwidth // 8)
    strides = [itemsize]
    for size in reversed(sizes[1:]):
        strides.insert(0, builder.mul(strides[0], size))
    data = builder.inttoptr(args[0], context.get_data_type(result.dtype).as_pointer())
    return _view(context, builder, result, data, sizes, strides, itemsize)


@intrinsic_of(
    lambda memory, offset, shape, strides, example: types.Array(types.unliteral(example), len(shape), "A")(
        memory, types.intp, shape, strides, example
    ),
    _view_into,
)
def view_into(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """An array of what `example` is in `memory` (contiguous, 1-D) from an element on; `strides` are in elements."""
    result = signature.return_type
    array = context.make_array(signature.args[0])(context, builder, args[0])
    itemsize = context.get_constant(types.intp, result.dtype.bitwidth // 8)
    start = builder.gep(array.data, [args[1]])
    data = builder.bitcast(start, context.get_data_type(result.dtype).as_pointer())
    steps = [builder.mul(stride, itemsize) for stride in cgutils.unpack_tuple(builder, args[3])]
    return _view(context, builder, result, data, cgutils.unpack_tuple(builder, args[2]), steps, itemsize)


@intrinsic_of(
    lambda address, example: types.unliteral(example)(types.intp, types.unliteral(example)),
    lambda address, example: _array_at(address, (1,), example)[0],
)
def load_scalar(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """The number at an address, of the type of `example`."""
    return builder.load(builder.inttoptr(args[0], args[1].type.as_pointer()))


@intrinsic_of(
    lambda function, arguments: types.void(types.intp, arguments), lambda function, arguments: function(*arguments)
)
def call_c(context: Any, builder: Any, signature: Any, args: Any) -> None:
    """Calls the C function at an address, which returns nothing, with a tuple of integers or addresses."""
    values = cgutils.unpack_tuple(builder, args[1])
    function_type = ir.FunctionType(ir.VoidType(), [value.type for value in values])
    builder.call(builder.inttoptr(args[0], function_type.as_pointer()), values)


@intrinsic_of(lambda function: types.intp(types.intp), lambda function: int(function()))
def call_c_for_int(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """The int that the C function at an address returns, which takes nothing."""
    function_type = ir.FunctionType(ir.IntType(32), [])
    answer = builder.call(builder.inttoptr(args[0], function_type.as_pointer()), [])
    return context.cast(builder, answer, types.int32, types.intp)


@intrinsic_of(lambda counter: types.int64(counter), _fetch_add)
def fetch_add(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """The value of `counter[0]`, an int64, before one was added to it: atomic, so that threads share out work."""
    array = context.make_array(signature.args[0])(context, builder, args[0])
    return builder.atomic_rmw("add", array.data, ir.Constant(ir.IntType(64), 1), "monotonic")


@intrinsic_of(
    lambda arrays, i: types.Tuple([array.dtype for array in arrays])(arrays, types.intp),
    lambda arrays, i: tuple(array[i] for array in arrays),
)
def load_tuple(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """Item `i` of each 1-D array of a tuple.

    Each array that a function takes out of a tuple is counted up and down, atomically, which may take longer than what
    is done with the item. Here none is.
    """
    pairs = zip(signature.args[0], cgutils.unpack_tuple(builder, args[0]), strict=True)
    items = [builder.load(item_pointer(context, builder, array_type, array, [args[1]])) for array_type, array in pairs]
    return context.make_tuple(builder, signature.return_type, items)


@intrinsic_of(lambda arrays, i, values: types.void(arrays, types.intp, values), _store_tuple)
def store_tuple(context: Any, builder: Any, signature: Any, args: Any) -> None:
    """Writes the values of a tuple to item `i` of the 1-D arrays of another, each of the array's own type."""
    arrays, _, values = signature.args
    found = (cgutils.unpack_tuple(builder, args[0]), cgutils.unpack_tuple(builder, args[2]))
    for array_type, given, array, value in zip(arrays, values, *found, strict=True):
        pointer = item_pointer(context, builder, array_type, array, [args[1]])
        builder.store(context.cast(builder, value, given, array_type.dtype), pointer)


@intrinsic_of(lambda a, b: a(a, a), lambda a, b: b if b < a else a)
def min_no_nan(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """The smaller of two numbers, neither of which is NaN."""
    return emit_choice(builder, signature.return_type, "<", *args)


@intrinsic_of(lambda a, b: a(a, a), lambda a, b: b if b > a else a)
def max_no_nan(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """The larger of two numbers, neither of which is NaN."""
    return emit_choice(builder, signature.return_type, ">", *args)
