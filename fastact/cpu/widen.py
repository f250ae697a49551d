"""Stored elements as float32 or float64, exactly: the one decoder of narrow floats, for machine code and for NumPy.

`emit_widen` writes the instructions for a number or for a vector, on the CPU and on a GPU; `widen_array` does the same
in NumPy, for elements that are counted by their bits and for kernels that run without a compiler.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from fastact.arithmetic.element_types import BFloat16, Float8E4M3, Float8E5M2, Float16, Truth, Wide
from fastact.cpu.intrinsics import intrinsic_of

#: Makes up for the exponent's bias where float8_e4m3fn's bits stand in a float32: 127 instead of 7.
_E4M3_SCALE = 2.0**120


def emit_widen(builder: Any, value: Any, stored: Any, tag: type) -> Any:
    """The instructions that widen a stored number of a Numba type, or a vector of them: one or two, which vectorise.

    `tag` is the element type's tag, as a class.
    """

    def shaped(scalar: Any) -> Any:
        return ir.VectorType(scalar, value.type.count) if isinstance(value.type, ir.VectorType) else scalar

    def constant(scalar: Any, number: Any) -> Any:
        whole = shaped(scalar)
        return ir.Constant(whole, number if whole is scalar else [number] * value.type.count)

    def half(bits: Any) -> Any:
        return builder.fpext(builder.bitcast(bits, shaped(ir.HalfType())), floats)

    i16, i32 = ir.IntType(16), ir.IntType(32)
    scalar = ir.DoubleType() if tag is Wide else ir.FloatType()
    floats = shaped(scalar)
    if tag is Float16:
        return half(value)
    if tag is Float8E5M2:
        return half(builder.shl(builder.zext(value, shaped(i16)), constant(i16, 8)))
    if tag is BFloat16:
        return builder.bitcast(builder.shl(builder.zext(value, shaped(i32)), constant(i32, 16)), floats)
    if tag is Float8E4M3:
        # Sign, exponent and mantissa go to their places in a float32.
        bits = builder.zext(value, shaped(i32))
        sign = builder.shl(builder.and_(bits, constant(i32, 0x80)), constant(i32, 24))
        rest = builder.and_(bits, constant(i32, 0x7F))
        small = builder.bitcast(builder.or_(sign, builder.shl(rest, constant(i32, 20))), floats)
        number = builder.fmul(small, constant(scalar, _E4M3_SCALE))
        is_nan = builder.icmp_unsigned("==", rest, constant(i32, 0x7F))
        return builder.select(is_nan, constant(scalar, float("nan")), number)
    if tag is Truth:
        return builder.uitofp(builder.icmp_unsigned("!=", value, constant(ir.IntType(8), 0)), floats)
    if isinstance(stored, types.Integer):
        return builder.sitofp(value, floats) if stored.signed else builder.uitofp(value, floats)
    return value


def widen_array(stored: Any, tag: Any) -> Any:
    """A stored NumPy number or array as float32 (float64 for wide element types); `tag` is the element type's."""
    if isinstance(tag, BFloat16):
        return (stored.astype(np.uint32) << np.uint32(16)).view(np.float32)
    if isinstance(tag, Float8E4M3):
        bits = stored.astype(np.uint32)
        sign, rest = (bits & np.uint32(0x80)) << np.uint32(24), bits & np.uint32(0x7F)
        number = (sign | rest << np.uint32(20)).view(np.float32) * np.float32(_E4M3_SCALE)
        return np.where(rest == 0x7F, np.float32(np.nan), number)[()]
    if isinstance(tag, Truth):
        stored = stored != 0
    if isinstance(tag, Float8E5M2):
        stored = stored.astype(np.uint16) << np.uint16(8)
    if isinstance(tag, (Float16, Float8E5M2)):
        stored = stored.view(np.float16)
    return stored.astype(np.float64 if isinstance(tag, Wide) else np.float32)


def _widened(stored: Any, tag: Any) -> Any:
    return (types.float64 if tag.instance_class is Wide else types.float32)(stored, tag)


@intrinsic_of(_widened, widen_array)
def widen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """The stored value as float32 (float64 for wide element types), exactly."""
    stored, tag = signature.args
    return emit_widen(builder, args[0], stored, tag.instance_class)


@intrinsic_of(
    lambda stored, tag: stored(stored, tag) if stored in (types.int64, types.uint64) else _widened(stored, tag),
    lambda stored, tag: int(stored) if isinstance(stored, (np.int64, np.uint64)) else widen_array(stored, tag),
)
def minmax_key(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """What min and max compare: the widened value, or the integer itself where float64 cannot hold it."""
    stored, tag = signature.args
    return args[0] if signature.return_type == stored else emit_widen(builder, args[0], stored, tag.instance_class)


def _narrow(value: Any, tag: Any) -> Any:
    if isinstance(tag, BFloat16):
        return np.uint16(np.float32(value).view(np.uint32) >> np.uint32(16))
    with np.errstate(over="ignore"):
        return np.float32(value).astype(np.float16).view(np.uint16)


@intrinsic_of(lambda value, tag: types.uint16(value, tag), _narrow)
def narrow(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """The bits of a float of 16 bits beside a float32: of float16 the nearest, of bfloat16 that towards zero."""
    i16, i32 = ir.IntType(16), ir.IntType(32)
    if signature.args[1].instance_class is Float16:
        return builder.bitcast(builder.fptrunc(args[0], ir.HalfType()), i16)
    return builder.trunc(builder.lshr(builder.bitcast(args[0], i32), ir.Constant(i32, 16)), i16)
