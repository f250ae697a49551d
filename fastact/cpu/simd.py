"""Vector registers for kernels: `Lanes`, 8 or 16 float32 or half as many float64, with the arithmetic of a sweep.

The compiler makes vectors out of a loop by itself where neighbours are summed into one number (`cpu`). Where each of
many columns has sums of its own it keeps them in memory, and loads and stores each of them for every few elements.
With `Lanes` the sums of some columns stay in registers while the loop runs down the rows. LLVM splits a vector that is
wider than the machine's into several, so this is written for no one machine.
"""

import operator
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, models, overload, register_model

from fastact.arithmetic.element_types import Wide
from fastact.cpu.jit import COMPILED, VECTOR_BYTES
from fastact.cpu.widen import emit_widen, widen_array

__all__ = [
    "LANE_BYTES",
    "count_at_most",
    "count_outside",
    "lanes_abs",
    "lanes_fetch",
    "lanes_from",
    "lanes_least",
    "lanes_max",
    "lanes_min",
    "lanes_most",
    "lanes_of",
    "lanes_ordered",
    "lanes_store",
    "lanes_sum",
    "lanes_widen",
    "lanes_width",
    "prefetch",
]


#: Bytes of a vector of widened elements. A sweep has eight vectors of sums, and they must stay in registers: 32 of 64
#: bytes with AVX-512, else 16 of 32 (or 32 of 16) bytes, where vectors of 64 bytes took up to twice as long.
LANE_BYTES: Final = 64 if VECTOR_BYTES == 64 else 32


class LanesType(types.Type):  # type: ignore[misc]
    """A vector of `width` numbers of the Numba type `scalar`."""

    def __init__(self, scalar: Any, width: int) -> None:
        self.scalar = scalar
        self.width = width
        super().__init__(name=f"Lanes({scalar}, {width})")


@register_model(LanesType)
class _LanesModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, lanes: LanesType) -> None:
        element = manager.lookup(lanes.scalar).get_value_type()
        super().__init__(manager, lanes, ir.VectorType(element, lanes.width))


def _widened_type(tag: Any) -> LanesType:
    scalar = types.float64 if tag.instance_class is Wide else types.float32
    return LanesType(scalar, LANE_BYTES * 8 // scalar.bitwidth)


def _pointer(context: Any, builder: Any, x: Any, array: Any, offset: Any, kind: Any) -> Any:
    data = context.make_array(x)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [offset]), kind.as_pointer())


def _read(context: Any, builder: Any, x: Any, array: Any, offset: Any, lanes: LanesType) -> Any:
    stored = ir.VectorType(context.get_data_type(x.dtype), lanes.width)
    value = builder.load(_pointer(context, builder, x, array, offset, stored))
    value.align = x.dtype.bitwidth // 8  # rows begin anywhere
    return value


if not COMPILED:
    # The same in NumPy: a vector is a small array.
    def lanes_widen(x: Any, offset: int, tag: Any) -> Any:
        return widen_array(x.reshape(-1)[offset : offset + lanes_width(tag)], tag)

    def lanes_width(tag: Any) -> int:
        return LANE_BYTES // (8 if isinstance(tag, Wide) else 4)

    def prefetch(x: Any, offset: int) -> None:
        pass

    def lanes_ordered(x: Any, offset: int, tag: Any) -> Any:
        if x.dtype in (np.int64, np.uint64):
            return x.reshape(-1)[offset : offset + LANE_BYTES // 8].copy()
        return lanes_widen(x, offset, tag)

    def lanes_fetch(x: Any, offset: int, example: Any) -> Any:
        return x[offset : offset + example.size].copy()

    def lanes_store(x: Any, offset: int, value: Any) -> None:
        x[offset : offset + value.size] = value

    def lanes_of(value: Any, example: Any) -> Any:
        return np.full(example.size, value, example.dtype)

    def lanes_abs(a: Any) -> Any:
        return np.abs(a)

    def lanes_min(a: Any, b: Any) -> Any:
        return np.where(b < a, b, a)

    def lanes_max(a: Any, b: Any) -> Any:
        return np.where(b > a, b, a)

    def lanes_from(first: int, value: Any, filler: Any) -> Any:
        return np.where(np.arange(value.size) >= first, value, filler)

    def _halved(combine: Callable[..., Any]) -> Callable[..., Any]:
        def reduce(a: Any) -> Any:
            while a.size > 1:
                a = combine(a[: a.size // 2], a[a.size // 2 :])
            return a[0]

        return reduce

    lanes_sum = _halved(operator.add)
    lanes_least = _halved(lanes_min)
    lanes_most = _halved(lanes_max)

    def count_at_most(counts: Any, a: Any, bound: Any) -> Any:
        return counts + (a <= bound).astype(counts.dtype)

    def count_outside(counts: Any, a: Any, low: Any, high: Any) -> Any:
        return counts + ((a < low) | (a > high)).astype(counts.dtype)

else:

    @intrinsic
    def lanes_widen(typingctx: Any, x: Any, offset: Any, tag: Any) -> Any:
        """The elements from the flat index `offset` of a contiguous array on, widened."""
        lanes = _widened_type(tag)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            value = _read(context, builder, x, args[0], args[1], lanes)
            return emit_widen(builder, value, x.dtype, tag.instance_class)

        return lanes(x, types.intp, tag), codegen

    @intrinsic
    def lanes_width(typingctx: Any, tag: Any) -> Any:
        """How many elements of this kind a vector holds once they are widened."""
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
    def lanes_ordered(typingctx: Any, x: Any, offset: Any, tag: Any) -> Any:
        """The same elements as min and max compare them: as they are where float64 cannot hold them."""
        lanes = _widened_type(tag)
        exact = x.dtype in (types.int64, types.uint64)
        result = LanesType(x.dtype, lanes.width) if exact else lanes

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            value = _read(context, builder, x, args[0], args[1], lanes)
            return value if exact else emit_widen(builder, value, x.dtype, tag.instance_class)

        return result(x, types.intp, tag), codegen

    @intrinsic
    def lanes_fetch(typingctx: Any, x: Any, offset: Any, example: Any) -> Any:
        """As many values of the 1-D array `x` as `example` has lanes."""
        lanes = LanesType(x.dtype, example.width)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return _read(context, builder, x, args[0], args[1], lanes)

        return lanes(x, types.intp, example), codegen

    @intrinsic
    def lanes_store(typingctx: Any, x: Any, offset: Any, value: Any) -> Any:
        """Writes a vector into a 1-D array of its scalar type."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            pointer = _pointer(context, builder, x, args[0], args[1], args[2].type)
            builder.store(args[2], pointer, align=x.dtype.bitwidth // 8)
            return context.get_dummy_value()

        return types.void(x, types.intp, value), codegen

    @intrinsic
    def lanes_of(typingctx: Any, value: Any, example: Any) -> Any:
        """A vector like `example` with `value` in every lane."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            scalar = context.cast(builder, args[0], value, example.scalar)
            i32 = ir.IntType(32)
            vector = builder.insert_element(ir.Constant(args[1].type, ir.Undefined), scalar, ir.Constant(i32, 0))
            mask = ir.Constant(ir.VectorType(i32, example.width), [0] * example.width)
            return builder.shuffle_vector(vector, ir.Constant(args[1].type, ir.Undefined), mask)

        return example(value, example), codegen

    @intrinsic
    def lanes_abs(typingctx: Any, a: Any) -> Any:
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
        if isinstance(a, LanesType) and a == b:
            return lambda a, b: _add(a, b)
        return None

    @overload(operator.sub, strict=False)
    def _overload_subtract(a: Any, b: Any) -> Any:
        if isinstance(a, LanesType) and a == b:
            return lambda a, b: _subtract(a, b)
        return None

    @overload(operator.mul, strict=False)
    def _overload_multiply(a: Any, b: Any) -> Any:
        if isinstance(a, LanesType) and a == b:
            return lambda a, b: _multiply(a, b)
        return None

    def _choice(comparison: str) -> Callable[..., Any]:
        def code(builder: Any, scalar: Any, first: Any, second: Any) -> Any:
            if isinstance(scalar, types.Integer):
                compare = builder.icmp_signed if scalar.signed else builder.icmp_unsigned
                return builder.select(compare(comparison, second, first), second, first)
            # NaN is promised away on these two instructions alone, as in `compile.lane_min`.
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

    lanes_min = _extreme("<")
    lanes_max = _extreme(">")

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

    lanes_sum = _halved(_sum)
    lanes_least = _halved(_choice("<"))
    lanes_most = _halved(_choice(">"))

    @intrinsic
    def lanes_from(typingctx: Any, first: Any, value: Any, filler: Any) -> Any:
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
