"""Counting in the lanes of vectors, and constants that stay in registers.

What a sweep of many sums costs is the number of its instructions for each vector, and which units of the CPU they wait
for: `python -m bench.bound` counts both.
"""

from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import types

from fastact.cpu.intrinsics import emit_llvm, hidden, intrinsic_of
from fastact.cpu.prebuilt import host_features
from fastact.cpu.simd import REGISTER_BYTES, SECOND_COUNT, VectorType, mask_like, splat_value

#: Whether a product and a sum are one instruction.
_FUSES: Final = not {"fma", "neon"}.isdisjoint(host_features())


@intrinsic_of(lambda example: example(example), np.ones_like)
def one_like(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """A vector of 1.0 like `example`, of which the compiler does not see what it is; make it outside of the loop."""
    one = builder.sitofp(hidden(builder, ir.Constant(ir.IntType(64), 1)), args[0].type.element)
    return splat_value(builder, one, args[0].type)


@intrinsic_of(lambda a, b, one: a(a, b, one), lambda a, b, one: a - b)
def minus(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """a - b, with a `one_like`: as ``a * one - b``, the same number, where that is one instruction.

    Subtractions, sums and extremes wait for one half of the units of a Zen 4, products and comparisons for the other.
    """
    a, b, one = args
    if not _FUSES:
        return builder.fsub(a, b)
    vector = a.type
    name = f"llvm.fmuladd.v{vector.count}f{signature.return_type.scalar.bitwidth}"
    return emit_llvm(builder, name, vector, a, one, builder.fneg(b))


@intrinsic_of(
    lambda number, example: example(types.intp, example),
    lambda number, example: np.full(example.size, number, example.dtype),
)
def constant(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """A vector like `example` with `number` in every lane that stays in a register; make it outside of the loop.

    What the compiler knows to be constant it loads anew for every vector of elements: a fifth of a sweep of float16.
    """
    lane = builder.trunc(hidden(builder, args[0]), args[1].type.element)
    return splat_value(builder, lane, args[1].type)


@intrinsic_of(lambda counts, mask, one: counts(counts, mask, one), lambda counts, mask, one: counts + mask * one)
def count(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """`counts` plus one in the lanes of a mask; `one` is a `constant`.

    With a one that the compiler knows, AVX-512 is told to make a vector of the mask and to subtract that: two
    instructions where one does it.
    """
    counts, mask, one = args
    if REGISTER_BYTES != 64:
        return builder.add(counts, builder.zext(mask, counts.type))
    return builder.select(mask, builder.add(counts, one), counts)


@intrinsic_of(
    lambda counts, mask, second: counts(counts, mask, second), lambda counts, mask, second: counts + mask * second
)
def count_second(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """`counts` plus `SECOND_COUNT` in the lanes of a mask; `second` is a `constant` of that."""
    counts, mask, second = args
    if REGISTER_BYTES != 64:
        known = ir.Constant(counts.type, [SECOND_COUNT] * counts.type.count)
        return builder.add(counts, builder.select(mask, known, ir.Constant(counts.type, [0] * counts.type.count)))
    return builder.select(mask, builder.add(counts, second), counts)


@intrinsic_of(lambda a, low, high: mask_like(a)(a, low, high), lambda a, low, high: ~((a < low) | (a > high)))
def no_outside(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """The lanes that are neither below `low` nor above `high`, those of NaN among them."""
    a, low, high = args
    return builder.and_(builder.fcmp_unordered(">=", a, low), builder.fcmp_unordered("<=", a, high))


@intrinsic_of(lambda a, high: mask_like(a)(a, high), lambda a, high: ~(a > high))
def not_above(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """The lanes that are not above `high`, those of NaN among them."""
    return builder.fcmp_unordered("<=", *args)


@intrinsic_of(lambda a, mask: a(a, mask), lambda a, mask: np.abs(a))
def magnitude(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """|a|, lane by lane, by the `magnitude_mask` of a: that of `simd.absolute` is loaded anew in the loop."""
    a, mask = args
    return builder.bitcast(builder.and_(builder.bitcast(a, mask.type), mask), a.type)


def _mask_type(example: Any) -> Any:
    return VectorType(types.int32 if example.scalar.bitwidth == 32 else types.int64, example.width)


@intrinsic_of(
    lambda example: _mask_type(example)(example),
    lambda example: np.full(example.size, 2 ** (8 * example.itemsize - 1) - 1, f"i{example.itemsize}"),
)
def magnitude_mask(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """All bits but the sign, in each lane of a vector like `example`; make it outside of the loop."""
    bits, vector = signature.return_type.scalar.bitwidth, context.get_value_type(signature.return_type)
    return splat_value(builder, hidden(builder, ir.Constant(ir.IntType(bits), (1 << (bits - 1)) - 1)), vector)


@intrinsic_of(lambda x, offset: types.void(x, types.intp), lambda x, offset: None)
def ask_ahead(context: Any, builder: Any, signature: Any, args: Any) -> None:
    """Asks for the line of memory with the flat index `offset` of a contiguous array, which may lie beyond its end.

    Into the second cache: asked for in the first one, lines drive each other out of it before they are read.
    """
    data = context.make_array(signature.args[0])(context, builder, args[0]).data
    pointer = builder.bitcast(builder.gep(data, [args[1]]), ir.IntType(8).as_pointer())
    i32 = ir.IntType(32)
    read, second_cache, of_data = ir.Constant(i32, 0), ir.Constant(i32, 2), ir.Constant(i32, 1)
    emit_llvm(builder, "llvm.prefetch.p0i8", ir.VoidType(), pointer, read, second_cache, of_data)
