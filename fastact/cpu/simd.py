"""Vector registers for kernels: 8 or 16 float32 or half as many float64, with the arithmetic of a sweep.

The compiler makes vectors out of a loop by itself where neighbours are summed into one number (`cpu.flat`). Where each
of many columns has sums of its own it keeps them in memory, and loads and stores each of them for every few elements.
With vectors the sums of some columns stay in registers while the loop runs down the rows. LLVM splits a vector that is
wider than the machine's into several, so this is written for no one machine.

Kernels call these functions by the module, as in ``simd.load(x, offset, example)``; names are in the style of Highway
(load, splat, reduce_sum), and a vector's numbers are its lanes.
"""

import operator
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

from fastact.arithmetic.element_types import Wide
from fastact.cpu.jit import COMPILED, VECTOR_BYTES
from fastact.cpu.widen import emit_widen, widen_array

__all__ = [
    "absolute",
    "count_at_most",
    "count_outside",
    "lanes",
    "load",
    "load_minmax_key",
    "load_tuple",
    "load_widened",
    "maximum",
    "minimum",
    "no_counts",
    "prefetch",
    "reduce_max",
    "reduce_min",
    "reduce_sum",
    "select_from",
    "splat",
    "store_tuple",
]


#: Bytes of a vector of widened elements. A sweep has eight vectors of sums, and they must stay in registers: 32 of 64
#: bytes with AVX-512, else 16 of 32 (or 32 of 16) bytes, where vectors of 64 bytes took up to twice as long.
_VECTOR_BYTES: Final = 64 if VECTOR_BYTES == 64 else 32


class VectorType(types.Type):  # type: ignore[misc]
    """A vector of `width` numbers of the Numba type `scalar`."""

    def __init__(self, scalar: Any, width: int) -> None:
        self.scalar = scalar
        self.width = width
        super().__init__(name=f"Vector({scalar}, {width})")


@register_model(VectorType)
class _VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, vector: VectorType) -> None:
        element = manager.lookup(vector.scalar).get_value_type()
        super().__init__(manager, vector, ir.VectorType(element, vector.width))


def _widened_type(tag: Any) -> VectorType:
    scalar = types.float64 if tag.instance_class is Wide else types.float32
    return VectorType(scalar, _VECTOR_BYTES * 8 // scalar.bitwidth)


def _pointer(context: Any, builder: Any, x: Any, array: Any, offset: Any, kind: Any) -> Any:
    data = context.make_array(x)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [offset]), kind.as_pointer())


def _read(context: Any, builder: Any, x: Any, array: Any, offset: Any, vector: VectorType) -> Any:
    stored = ir.VectorType(context.get_data_type(x.dtype), vector.width)
    value = builder.load(_pointer(context, builder, x, array, offset, stored))
    value.align = x.dtype.bitwidth // 8  # rows begin anywhere
    return value


if not COMPILED:
    # The same in NumPy: a vector is a small array.
    def load_widened(x: Any, offset: int, tag: Any) -> Any:
        return widen_array(x.reshape(-1)[offset : offset + lanes(tag)], tag)

    def lanes(tag: Any) -> int:
        return _VECTOR_BYTES // (8 if isinstance(tag, Wide) else 4)

    def prefetch(x: Any, offset: int) -> None:
        pass

    def load_minmax_key(x: Any, offset: int, tag: Any) -> Any:
        if x.dtype in (np.int64, np.uint64):
            return x.reshape(-1)[offset : offset + _VECTOR_BYTES // 8].copy()
        return load_widened(x, offset, tag)

    def load(x: Any, offset: int, example: Any) -> Any:
        return x[offset : offset + example.size].copy()

    def load_tuple(arrays: Any, offset: int, example: Any) -> Any:
        return tuple(load(x, offset, example) for x in arrays)

    def store_tuple(arrays: Any, offset: int, values: Any) -> None:
        for x, value in zip(arrays, values, strict=True):
            x[offset : offset + value.size] = value

    def splat(value: Any, example: Any) -> Any:
        return np.full(example.size, value, example.dtype)

    def no_counts(example: Any) -> Any:
        return np.zeros(example.size, np.int32)

    def absolute(a: Any) -> Any:
        return np.abs(a)

    def minimum(a: Any, b: Any) -> Any:
        return np.where(b < a, b, a)

    def maximum(a: Any, b: Any) -> Any:
        return np.where(b > a, b, a)

    def select_from(first: int, value: Any, filler: Any) -> Any:
        return np.where(np.arange(value.size) >= first, value, filler)

    def _halved(combine: Callable[..., Any]) -> Callable[..., Any]:
        def reduce(a: Any) -> Any:
            while a.size > 1:
                a = combine(a[: a.size // 2], a[a.size // 2 :])
            return a[0]

        return reduce

    reduce_sum = _halved(operator.add)
    reduce_min = _halved(minimum)
    reduce_max = _halved(maximum)

    def count_at_most(counts: Any, a: Any, bound: Any) -> Any:
        return counts + (a <= bound).astype(counts.dtype)

    def count_outside(counts: Any, a: Any, low: Any, high: Any) -> Any:
        return counts + ((a < low) | (a > high)).astype(counts.dtype)

else:

    @intrinsic
    def load_widened(typingctx: Any, x: Any, offset: Any, tag: Any) -> Any:
        """The elements from the flat index `offset` of a contiguous array on, widened."""
        vector = _widened_type(tag)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            value = _read(context, builder, x, args[0], args[1], vector)
            return emit_widen(builder, value, x.dtype, tag.instance_class)

        return vector(x, types.intp, tag), codegen

    @intrinsic
    def lanes(typingctx: Any, tag: Any) -> Any:
        """How many elements of this type a vector holds once they are widened."""
        width = _widened_type(tag).width
        return types.intp(tag), lambda context, builder, signature, args: context.get_constant(types.intp, width)

    @intrinsic
    def prefetch(typingctx: Any, x: Any, offset: Any) -> Any:
        """Asks the cache for the line that holds the element at a flat index; any index will do, none is an error."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            i32 = ir.IntType(32)
            pointer = _pointer(context, builder, x, args[0], args[1], ir.IntType(8))
            kind = ir.FunctionType(ir.VoidType(), [pointer.type, i32, i32, i32])
            name = "llvm.prefetch.p0"
            function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
            read, keep, data = i32(0), i32(3), i32(1)
            builder.call(function, [pointer, read, keep, data])
            return context.get_dummy_value()

        return types.void(x, types.intp), codegen

    @intrinsic
    def load_minmax_key(typingctx: Any, x: Any, offset: Any, tag: Any) -> Any:
        """The same elements as min and max compare them: as they are where float64 cannot hold them."""
        vector = _widened_type(tag)
        exact = x.dtype in (types.int64, types.uint64)
        result = VectorType(x.dtype, vector.width) if exact else vector

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            value = _read(context, builder, x, args[0], args[1], vector)
            return value if exact else emit_widen(builder, value, x.dtype, tag.instance_class)

        return result(x, types.intp, tag), codegen

    @intrinsic
    def load(typingctx: Any, x: Any, offset: Any, example: Any) -> Any:
        """As many values of the 1-D array `x` as `example` has lanes."""
        vector = VectorType(x.dtype, example.width)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return _read(context, builder, x, args[0], args[1], vector)

        return vector(x, types.intp, example), codegen

    @intrinsic
    def load_tuple(typingctx: Any, arrays: Any, offset: Any, example: Any) -> Any:
        """A vector, with as many lanes as `example`, of each 1-D array of a tuple; none is counted on the way."""
        vectors = [VectorType(x.dtype, example.width) for x in arrays]
        result = types.Tuple(vectors)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            found = zip(arrays, cgutils.unpack_tuple(builder, args[0]), vectors, strict=True)
            values = [_read(context, builder, x, array, args[1], vector) for x, array, vector in found]
            return context.make_tuple(builder, result, values)

        return result(arrays, types.intp, example), codegen

    @intrinsic
    def store_tuple(typingctx: Any, arrays: Any, offset: Any, values: Any) -> Any:
        """Writes the vectors of a tuple into the 1-D arrays of another, each of its vector's scalar type."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            given = (cgutils.unpack_tuple(builder, args[0]), cgutils.unpack_tuple(builder, args[2]))
            for x, array, value in zip(arrays, *given, strict=True):
                pointer = _pointer(context, builder, x, array, args[1], value.type)
                builder.store(value, pointer, align=x.dtype.bitwidth // 8)
            return context.get_dummy_value()

        return types.void(arrays, types.intp, values), codegen

    @intrinsic
    def no_counts(typingctx: Any, example: Any) -> Any:
        """A vector of int32 zeros with as many lanes as `example`."""
        vector = VectorType(types.int32, example.width)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return ir.Constant(context.get_value_type(vector), [0] * vector.width)

        return vector(example), codegen

    @intrinsic
    def splat(typingctx: Any, value: Any, example: Any) -> Any:
        """A vector like `example` with `value` in every lane."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            scalar = context.cast(builder, args[0], value, example.scalar)
            i32 = ir.IntType(32)
            vector = builder.insert_element(ir.Constant(args[1].type, ir.Undefined), scalar, ir.Constant(i32, 0))
            mask = ir.Constant(ir.VectorType(i32, example.width), [0] * example.width)
            return builder.shuffle_vector(vector, ir.Constant(args[1].type, ir.Undefined), mask)

        return example(value, example), codegen

    @intrinsic
    def absolute(typingctx: Any, a: Any) -> Any:
        """|a|, lane by lane."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            bits = a.scalar.bitwidth
            integers = ir.VectorType(ir.IntType(bits), a.width)
            mask = ir.Constant(integers, [(1 << (bits - 1)) - 1] * a.width)
            return builder.bitcast(builder.and_(builder.bitcast(args[0], integers), mask), args[0].type)

        return a(a), codegen

    def _binary(name: str) -> Callable[..., Any]:
        @intrinsic
        def operate(typingctx: Any, a: Any, b: Any) -> Any:
            def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                # "contract": a product that is added at once is one instruction, rounded once.
                return getattr(builder, name)(*args, flags=() if name == "fsub" else ("contract",))

            return a(a, b), codegen

        return operate  # type: ignore[no-any-return]

    _add = _binary("fadd")
    _subtract = _binary("fsub")
    _multiply = _binary("fmul")

    @overload(operator.add, strict=False)
    def _overload_add(a: Any, b: Any) -> Any:
        if isinstance(a, VectorType) and a == b:
            return lambda a, b: _add(a, b)
        return None

    @overload(operator.sub, strict=False)
    def _overload_subtract(a: Any, b: Any) -> Any:
        if isinstance(a, VectorType) and a == b:
            return lambda a, b: _subtract(a, b)
        return None

    @overload(operator.mul, strict=False)
    def _overload_multiply(a: Any, b: Any) -> Any:
        if isinstance(a, VectorType) and a == b:
            return lambda a, b: _multiply(a, b)
        return None

    def _choice(comparison: str) -> Callable[..., Any]:
        def code(builder: Any, scalar: Any, first: Any, second: Any) -> Any:
            if isinstance(scalar, types.Integer):
                compare = builder.icmp_signed if scalar.signed else builder.icmp_unsigned
                return builder.select(compare(comparison, second, first), second, first)
            # NaN is promised away on these two instructions alone, as in `intrinsics.min_no_nan`.
            test = builder.fcmp_ordered(comparison, second, first, flags=("nnan", "nsz"))
            return builder.select(test, second, first, flags=("nnan", "nsz"))

        return code

    def _extreme(comparison: str) -> Callable[..., Any]:
        code = _choice(comparison)

        @intrinsic
        def choose(typingctx: Any, a: Any, b: Any) -> Any:
            def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                return code(builder, a.scalar, *args)

            return a(a, b), codegen

        return choose  # type: ignore[no-any-return]

    minimum = _extreme("<")
    maximum = _extreme(">")

    def _halved(combine: Callable[..., Any]) -> Callable[..., Any]:
        """What `combine` makes of a vector's upper half and its lower one, and so on down to a single number."""

        @intrinsic
        def reduce(typingctx: Any, a: Any) -> Any:
            def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                i32 = ir.IntType(32)
                value, width = args[0], a.width
                while width > 1:
                    width //= 2
                    halves = [
                        builder.shuffle_vector(
                            value,
                            ir.Constant(value.type, ir.Undefined),
                            ir.Constant(ir.VectorType(i32, width), list(range(first, first + width))),
                        )
                        for first in (0, width)
                    ]
                    value = combine(builder, a.scalar, *halves)
                return builder.extract_element(value, ir.Constant(i32, 0))

            return a.scalar(a), codegen

        return reduce  # type: ignore[no-any-return]

    def _sum(builder: Any, scalar: Any, first: Any, second: Any) -> Any:
        return builder.add(first, second) if isinstance(scalar, types.Integer) else builder.fadd(first, second)

    reduce_sum = _halved(_sum)
    reduce_min = _halved(_choice("<"))
    reduce_max = _halved(_choice(">"))

    @intrinsic
    def select_from(typingctx: Any, first: Any, value: Any, filler: Any) -> Any:
        """`value` in the lanes from number `first` on, `filler`, a vector as well, in those before."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            i32 = ir.IntType(32)
            vector = ir.VectorType(i32, value.width)
            start = builder.insert_element(
                ir.Constant(vector, ir.Undefined), builder.trunc(args[0], i32), ir.Constant(i32, 0)
            )
            mask = ir.Constant(vector, [0] * value.width)
            start = builder.shuffle_vector(start, ir.Constant(vector, ir.Undefined), mask)
            test = builder.icmp_signed(">=", ir.Constant(vector, list(range(value.width))), start)
            return builder.select(test, args[1], args[2])

        return value(types.intp, value, value), codegen

    @intrinsic
    def count_at_most(typingctx: Any, counts: Any, a: Any, bound: Any) -> Any:
        """`counts` plus one in each lane where a <= bound."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            test = builder.fcmp_ordered("<=", args[1], args[2])
            return builder.add(args[0], builder.zext(test, args[0].type))

        return counts(counts, a, bound), codegen

    @intrinsic
    def count_outside(typingctx: Any, counts: Any, a: Any, low: Any, high: Any) -> Any:
        """`counts` plus one in each lane where a < low or a > high."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            below = builder.fcmp_ordered("<", args[1], args[2])
            above = builder.fcmp_ordered(">", args[1], args[3])
            return builder.add(args[0], builder.zext(builder.or_(below, above), args[0].type))

        return counts(counts, a, low, high), codegen
