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
from numba.extending import models, overload, register_model

from fastact.arithmetic.element_types import Wide
from fastact.cpu.intrinsics import emit_choice, intrinsic_of
from fastact.cpu.jit import VECTOR_BYTES
from fastact.cpu.widen import emit_widen, widen_array

#: Bytes of a vector of widened elements. A sweep has eight vectors of sums, and they must stay in registers: 32 of 64
#: bytes with AVX-512, else 16 of 32 (or 32 of 16) bytes, where vectors of 64 bytes took up to twice as long.
REGISTER_BYTES: Final = 64 if VECTOR_BYTES == 64 else 32
#: Where in a number of 32 bits `tally.count_second` counts: above what `tally.count` counts in it.
SECOND_BITS: Final = 16
SECOND_COUNT: Final = 1 << SECOND_BITS


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
    return VectorType(scalar, REGISTER_BYTES * 8 // scalar.bitwidth)


def _pointer(context: Any, builder: Any, x: Any, array: Any, offset: Any, pointee: Any) -> Any:
    data = context.make_array(x)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [offset]), pointee.as_pointer())


def read(context: Any, builder: Any, x: Any, array: Any, offset: Any, vector: VectorType) -> Any:
    stored = ir.VectorType(context.get_data_type(x.dtype), vector.width)
    value = builder.load(_pointer(context, builder, x, array, offset, stored))
    value.align = x.dtype.bitwidth // 8  # rows begin anywhere
    return value


def _lanes(tag: Any) -> int:
    return REGISTER_BYTES // (8 if isinstance(tag, Wide) else 4)


def _load_widened(x: Any, offset: int, tag: Any) -> Any:
    return widen_array(x.reshape(-1)[offset : offset + _lanes(tag)], tag)


def _load_minmax_key(x: Any, offset: int, tag: Any) -> Any:
    exact = x.dtype in (np.int64, np.uint64)
    return x.reshape(-1)[offset : offset + REGISTER_BYTES // 8].copy() if exact else _load_widened(x, offset, tag)


def _store_tuple(arrays: Any, offset: int, values: Any) -> None:
    for x, value in zip(arrays, values, strict=True):
        x[offset : offset + value.size] = value


@intrinsic_of(lambda x, offset, tag: _widened_type(tag)(x, types.intp, tag), _load_widened)
def load_widened(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """The elements from the flat index `offset` of a contiguous array on, widened."""
    x, _, tag = signature.args
    value = read(context, builder, x, args[0], args[1], signature.return_type)
    return emit_widen(builder, value, x.dtype, tag.instance_class)


@intrinsic_of(lambda tag: types.intp(tag), _lanes)
def lanes(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """How many elements of this type a vector holds once they are widened."""
    return context.get_constant(types.intp, _widened_type(signature.args[0]).width)


def _key_type(x: Any, tag: Any) -> VectorType:
    vector = _widened_type(tag)
    return VectorType(x.dtype, vector.width) if x.dtype in (types.int64, types.uint64) else vector


@intrinsic_of(lambda x, offset, tag: _key_type(x, tag)(x, types.intp, tag), _load_minmax_key)
def load_minmax_key(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """The same elements as min and max compare them: as they are where float64 cannot hold them."""
    x, _, tag = signature.args
    value = read(context, builder, x, args[0], args[1], signature.return_type)
    exact = x.dtype in (types.int64, types.uint64)
    return value if exact else emit_widen(builder, value, x.dtype, tag.instance_class)


@intrinsic_of(
    lambda x, offset, example: VectorType(x.dtype, example.width)(x, types.intp, example),
    lambda x, offset, example: x[offset : offset + example.size].copy(),
)
def load(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """As many values of the 1-D array `x` as `example` has lanes."""
    return read(context, builder, signature.args[0], args[0], args[1], signature.return_type)


@intrinsic_of(
    lambda arrays, offset, example: types.Tuple([VectorType(x.dtype, example.width) for x in arrays])(
        arrays, types.intp, example
    ),
    lambda arrays, offset, example: tuple(x[offset : offset + example.size].copy() for x in arrays),
)
def load_tuple(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """A vector, with as many lanes as `example`, of each 1-D array of a tuple; none is counted on the way."""
    arrays, vectors = cgutils.unpack_tuple(builder, args[0]), signature.return_type
    found = zip(signature.args[0], arrays, vectors, strict=True)
    values = [read(context, builder, x, array, args[1], vector) for x, array, vector in found]
    return context.make_tuple(builder, vectors, values)


@intrinsic_of(lambda arrays, offset, values: types.void(arrays, types.intp, values), _store_tuple)
def store_tuple(context: Any, builder: Any, signature: Any, args: Any) -> None:
    """Writes the vectors of a tuple into the 1-D arrays of another, each of its vector's scalar type."""
    given = (cgutils.unpack_tuple(builder, args[0]), cgutils.unpack_tuple(builder, args[2]))
    for x, array, value in zip(signature.args[0], *given, strict=True):
        pointer = _pointer(context, builder, x, array, args[1], value.type)
        builder.store(value, pointer, align=x.dtype.bitwidth // 8)


@intrinsic_of(
    lambda example: VectorType(types.int32, example.width)(example), lambda example: np.zeros(example.size, np.int32)
)
def no_counts(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """A vector of int32 zeros with as many lanes as `example`."""
    vector = signature.return_type
    return ir.Constant(context.get_value_type(vector), [0] * vector.width)


def splat_value(builder: Any, scalar: Any, vector_type: Any) -> Any:
    """The instructions for a vector with a number in every lane."""
    i32, undefined = ir.IntType(32), ir.Constant(vector_type, ir.Undefined)
    vector = builder.insert_element(undefined, scalar, ir.Constant(i32, 0))
    first = ir.Constant(ir.VectorType(i32, vector_type.count), [0] * vector_type.count)
    return builder.shuffle_vector(vector, undefined, first)


@intrinsic_of(
    lambda value, example: example(value, example), lambda value, example: np.full(example.size, value, example.dtype)
)
def splat(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """A vector like `example` with `value` in every lane."""
    value, example = signature.args
    return splat_value(builder, context.cast(builder, args[0], value, example.scalar), args[1].type)


@intrinsic_of(lambda a: a(a), np.abs)
def absolute(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """|a|, lane by lane."""
    bits, width = signature.return_type.scalar.bitwidth, signature.return_type.width
    integers = ir.VectorType(ir.IntType(bits), width)
    mask = ir.Constant(integers, [(1 << (bits - 1)) - 1] * width)
    return builder.bitcast(builder.and_(builder.bitcast(args[0], integers), mask), args[0].type)


def _arithmetic(operation: Any, name: str) -> None:
    """Has Numba emit one instruction for an operator between two vectors."""

    @intrinsic_of(lambda a, b: a(a, b), operation)
    def operate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if isinstance(signature.return_type.scalar, types.Integer):
            return getattr(builder, name[1:])(*args)
        # "contract": a product that is added at once is one instruction, rounded once.
        return getattr(builder, name)(*args, flags=() if name == "fsub" else ("contract",))

    @overload(operation, strict=False)
    def overloaded(a: Any, b: Any) -> Any:
        return (lambda a, b: operate(a, b)) if isinstance(a, VectorType) and a == b else None


for _operation, _name in (
    (operator.add, "fadd"), (operator.sub, "fsub"), (operator.mul, "fmul"), (operator.truediv, "fdiv"),
):  # fmt: skip
    _arithmetic(_operation, _name)


def mask_like(a: Any) -> VectorType:
    return VectorType(types.boolean, a.width)


def _comparison(sign: str, python: Any) -> Any:
    """What tells in which lanes two vectors of numbers compare so; of NaN none does."""

    @intrinsic_of(lambda a, b: mask_like(a)(a, b), python)
    def test(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        scalar = signature.args[0].scalar
        if isinstance(scalar, types.Integer):
            return (builder.icmp_signed if scalar.signed else builder.icmp_unsigned)(sign, *args)
        return builder.fcmp_ordered(sign, *args)

    return test


less: Final = _comparison("<", operator.lt)
equal: Final = _comparison("==", operator.eq)
at_most: Final = _comparison("<=", operator.le)


@intrinsic_of(lambda a, b: a(a, b), np.logical_and)
def both(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """The lanes that are in both masks."""
    return builder.and_(*args)


@intrinsic_of(lambda a, b: a(a, b), np.logical_or)
def either(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """The lanes that are in one mask at least."""
    return builder.or_(*args)


@intrinsic_of(lambda a: a(a), np.logical_not)
def no(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """The lanes that are not in a mask."""
    return builder.not_(args[0])


@intrinsic_of(lambda mask: types.boolean(mask), np.any)
def any_of(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """Whether a mask has a lane."""
    bits = ir.IntType(args[0].type.count)
    return builder.icmp_unsigned("!=", builder.bitcast(args[0], bits), ir.Constant(bits, 0))


@intrinsic_of(lambda mask, a, b: a(mask, a, b), np.where)
def where(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """`a` in the lanes of a mask, `b` in the others."""
    return builder.select(*args)


@intrinsic_of(lambda counts, mask: counts(counts, mask), lambda counts, mask: counts + mask.astype(counts.dtype))
def count_in(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """`counts` plus one in the lanes of a mask."""
    return builder.add(args[0], builder.zext(args[1], args[0].type))


def _store_mask(x: Any, offset: int, mask: Any) -> None:
    x[offset : offset + mask.size] = mask


@intrinsic_of(lambda x, offset, mask: types.void(x, types.intp, mask), _store_mask)
def store_mask(context: Any, builder: Any, signature: Any, args: Any) -> None:
    """Writes the lanes of a mask into a 1-D array of bool."""
    stored = ir.VectorType(ir.IntType(8), signature.args[2].width)
    pointer = _pointer(context, builder, signature.args[0], args[0], args[1], stored)
    builder.store(builder.zext(args[2], stored), pointer, align=1)


@intrinsic_of(
    lambda: VectorType(types.float64, REGISTER_BYTES // 8)(), lambda: np.zeros(REGISTER_BYTES // 8, np.float64)
)
def zeros_float64(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """As many zeros in float64 as a register holds."""
    vector = signature.return_type
    return ir.Constant(context.get_value_type(vector), [0.0] * vector.width)


@intrinsic_of(lambda: types.intp(), lambda: REGISTER_BYTES // 8)
def lanes_float64(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """How many float64 a register holds."""
    return context.get_constant(types.intp, REGISTER_BYTES // 8)


@intrinsic_of(lambda a: VectorType(types.float64, a.width)(a), lambda a: a.astype(np.float64))
def to_float64(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """A vector's numbers in float64."""
    scalar, target = signature.args[0].scalar, context.get_value_type(signature.return_type)
    if isinstance(scalar, types.Integer):
        return (builder.sitofp if scalar.signed else builder.uitofp)(args[0], target)
    return args[0] if scalar == types.float64 else builder.fpext(args[0], target)


@intrinsic_of(lambda a, example: example(a, example), lambda a, example: a.astype(example.dtype))
def from_float64(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """A vector of float64 as one of floats like `example`."""
    target = context.get_value_type(signature.return_type)
    return args[0] if signature.return_type.scalar == types.float64 else builder.fptrunc(args[0], target)


@intrinsic_of(lambda a: a(a), np.sqrt)
def sqrt(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """The square root, lane by lane."""
    vector = args[0].type
    name = f"llvm.sqrt.v{vector.count}f{signature.return_type.scalar.bitwidth}"
    root = builder.module.globals.get(name) or ir.Function(builder.module, ir.FunctionType(vector, [vector]), name)
    return builder.call(root, args)


@intrinsic_of(lambda a, b: a(a, b), lambda a, b: (a + b) - b)
def add_and_subtract(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """(a + b) - b, rounded twice: it is never simplified, nor fused with a product."""
    return builder.fsub(builder.fadd(*args), args[1])


@intrinsic_of(lambda a, b: a(a, b), lambda a, b: np.where(b < a, b, a))
def minimum(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """The smaller number in each lane, as in `intrinsics.min_no_nan`."""
    return emit_choice(builder, signature.return_type.scalar, "<", *args)


@intrinsic_of(lambda a, b: a(a, b), lambda a, b: np.where(b > a, b, a))
def maximum(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """The larger number in each lane, as in `intrinsics.max_no_nan`."""
    return emit_choice(builder, signature.return_type.scalar, ">", *args)


def _reduction(emit: Callable[..., Any], python: Callable[..., Any]) -> Callable[..., Any]:
    """What is made of a vector's lower half and its upper one, and so on down to a single number."""

    def halve(a: Any) -> Any:
        while a.size > 1:
            a = python(a[: a.size // 2], a[a.size // 2 :])
        return a[0]

    @intrinsic_of(lambda a: a.scalar(a), halve)
    def reduce(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        i32, value, width = ir.IntType(32), args[0], signature.args[0].width
        while width > 1:
            width //= 2
            undefined = ir.Constant(value.type, ir.Undefined)
            masks = [ir.Constant(ir.VectorType(i32, width), list(range(i, i + width))) for i in (0, width)]
            value = emit(builder, signature.return_type, *(builder.shuffle_vector(value, undefined, m) for m in masks))
        return builder.extract_element(value, ir.Constant(i32, 0))

    return reduce


def _emit_sum(builder: Any, scalar: Any, first: Any, second: Any) -> Any:
    return builder.add(first, second) if isinstance(scalar, types.Integer) else builder.fadd(first, second)


reduce_sum: Final = _reduction(_emit_sum, operator.add)
reduce_min: Final = _reduction(lambda b, scalar, *halves: emit_choice(b, scalar, "<", *halves), minimum)
reduce_max: Final = _reduction(lambda b, scalar, *halves: emit_choice(b, scalar, ">", *halves), maximum)


@intrinsic_of(
    lambda first, value, filler: value(types.intp, value, value),
    lambda first, value, filler: np.where(np.arange(value.size) >= first, value, filler),
)
def select_from(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """`value` in the lanes from number `first` on, `filler`, a vector as well, in those before."""
    i32, width = ir.IntType(32), signature.return_type.width
    vector = ir.VectorType(i32, width)
    start = splat_value(builder, builder.trunc(args[0], i32), vector)
    test = builder.icmp_signed(">=", ir.Constant(vector, list(range(width))), start)
    return builder.select(test, args[1], args[2])
