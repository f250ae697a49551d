"""Vectors of elements of 16 and 8 bits as they are stored, of which a register holds two or four times as many.

What a sweep asks of them can be asked of their bits: order, ranges and counts at 16 bits instead of 32, and of bytes
the sums as well, in whole numbers. `cpu.halves` and `cpu.octets` are made of these, and of what `simd` has for all.
"""

from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import types

from fastact.arithmetic.element_types import BFloat16, Truth
from fastact.cpu.intrinsics import emit_llvm, hidden, intrinsic_of
from fastact.cpu.prebuilt import host_features
from fastact.cpu.simd import REGISTER_BYTES, VectorType, read
from fastact.cpu.widen import emit_widen, widen_array

_FEATURES: Final = host_features()
#: Whether the CPU adds up products of pairs of bfloat16 in float32, by registers of 64 bytes.
HAS_BFLOAT16_DOTS: Final = REGISTER_BYTES == 64 and "avx512bf16" in _FEATURES
#: Whether the CPU adds up products of bytes in registers of 64 bytes.
HAS_BYTE_DOTS: Final = REGISTER_BYTES == 64 and {"avx512bw", "avx512vnni"} <= _FEATURES
#: What x86 has for bytes in registers of this size: sums of eight neighbours, of products of two and again of two.
_X86_BYTES: Final = {
    64: ("llvm.x86.avx512.psad.bw.512", "llvm.x86.avx512.pmaddubs.w.512", "llvm.x86.avx512.pmaddw.d.512"),
    32: ("llvm.x86.avx2.psad.bw", "llvm.x86.avx2.pmadd.ub.sw", "llvm.x86.avx2.pmadd.wd"),
}[REGISTER_BYTES] if ("avx512bw" if REGISTER_BYTES == 64 else "avx2") in _FEATURES else None  # fmt: skip

_I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))


def _vector(scalar: Any, bits: int) -> VectorType:
    return VectorType(scalar, REGISTER_BYTES * 8 // bits)


def _full(vector: Any, number: int) -> Any:
    """A constant with `number` in each lane."""
    return ir.Constant(vector, [number] * vector.count)


def _load(x: Any, offset: int, size: int) -> Any:
    return x.reshape(-1)[offset : offset + size].copy()


@intrinsic_of(lambda x: types.intp(x), lambda x: REGISTER_BYTES // x.itemsize)  # noqa: PLW0108 - its name counts
def stored_lanes(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """How many elements of a contiguous array a vector holds as they are stored."""
    return context.get_constant(types.intp, REGISTER_BYTES * 8 // signature.args[0].dtype.bitwidth)


@intrinsic_of(
    lambda x, offset: _vector(x.dtype, x.dtype.bitwidth)(x, types.intp),
    lambda x, offset: _load(x, offset, REGISTER_BYTES // x.itemsize),
)
def load_stored(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """The elements of a contiguous array from the flat index `offset` on."""
    return read(context, builder, signature.args[0], args[0], args[1], signature.return_type)


def _split(x: Any, offset: int, tag: Any) -> Any:
    size = REGISTER_BYTES // 4
    return tuple(widen_array(_load(x, offset + i, size), tag) for i in (0, size))


@intrinsic_of(lambda x, offset, tag: types.UniTuple(_vector(types.float32, 32), 2)(x, types.intp, tag), _split)
def load_split(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """As many elements of 16 bits, widened into two vectors, in whatever order is the fastest."""
    x, _, tag = signature.args
    halves = _vector(x.dtype, 32)
    if tag.instance_class is BFloat16:
        # In place: to spread them over twice the bits takes shuffles.
        stored = read(context, builder, x, args[0], args[1], _vector(x.dtype, 16))
        pairs = builder.bitcast(stored, ir.VectorType(_I32, halves.width))
        floats = ir.VectorType(ir.FloatType(), halves.width)
        even = builder.shl(pairs, _full(pairs.type, 16))
        odd = builder.and_(pairs, _full(pairs.type, 0xFFFF0000))
        both = [builder.bitcast(part, floats) for part in (even, odd)]
    else:
        # From memory, which the compiler must not take for the vector that was loaded whole: to part that costs more.
        memory = hidden(builder, context.make_array(x)(context, builder, args[0]).data)
        both = []
        for place in (args[1], builder.add(args[1], args[1].type(halves.width))):
            stored = ir.VectorType(context.get_data_type(x.dtype), halves.width)
            part = builder.load(builder.bitcast(builder.gep(memory, [place]), stored.as_pointer()))
            part.align = x.dtype.bitwidth // 8
            both.append(emit_widen(builder, part, x.dtype, tag.instance_class))
    return context.make_tuple(builder, signature.return_type, both)


@intrinsic_of(lambda example: example(example), np.zeros_like)
def nothing_like(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """A vector of integer zeros like `example`."""
    return _full(args[0].type, 0)


@intrinsic_of(lambda bits: VectorType(types.int16, bits.width)(bits), lambda bits: bits.view(np.int16))
def as_signed(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """The same bits as signed integers."""
    return args[0]


def _order_key(bits: Any) -> Any:
    signed = bits.view(np.int16)
    return signed ^ ((signed >> 15) & np.int16(0x7FFF))


@intrinsic_of(lambda bits: VectorType(types.int16, bits.width)(bits), _order_key)
def order_key(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """Integers in the order of the floats whose 16 bits these are: -0.0 is -1, and NaN lies at both ends.

    Of such an integer it gives the bits again.
    """
    (bits,) = args
    sign = builder.ashr(bits, _full(bits.type, 15))
    return builder.xor(bits, builder.and_(sign, _full(bits.type, 0x7FFF)))


def _within(value: Any, first: Any, span: Any) -> Any:
    unsigned = f"u{value.itemsize}"
    return (value - first).view(unsigned) <= span.view(unsigned)


@intrinsic_of(lambda value, first, span: VectorType(types.boolean, value.width)(value, value, value), _within)
def within(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """The lanes in which a signed integer lies from `first` to `first + span`; `span` counts as unsigned."""
    return builder.icmp_unsigned("<=", builder.sub(args[0], args[1]), args[2])


@intrinsic_of(lambda bits, mask: bits(bits, mask), lambda bits, mask: bits & mask)
def masked(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """The bits that are set in both."""
    return builder.and_(*args)


@intrinsic_of(lambda a, mask: a(a, mask), lambda a, mask: (a.view(mask.dtype) & mask).view(a.dtype))
def masked_float(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """The float32 of the bits that are set in both, of floats and of a mask of integers."""
    return builder.bitcast(builder.and_(builder.bitcast(args[0], args[1].type), args[1]), args[0].type)


def _dot_bfloat16(sums: Any, a: Any, b: Any) -> Any:
    x, y = (widen_array(bits, BFloat16()).reshape(-1, 2) for bits in (a, b))
    return sums + (x * y).sum(axis=1)


@intrinsic_of(lambda sums, a, b: sums(sums, a, b), _dot_bfloat16)
def dot_bfloat16(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """`sums`, of float32, plus the products of each pair of neighbours of two vectors of bfloat16.

    Only where `HAS_BFLOAT16_DOTS`. Denormal numbers count as zero, whatever the mode.
    """
    sums, a, b = args
    # This is the intrinsic's form before LLVM 17, which later ones upgrade.
    integers = ir.VectorType(_I32, sums.type.count)
    pairs = [builder.bitcast(bits, integers) for bits in (a, b)]
    return emit_llvm(builder, "llvm.x86.avx512bf16.dpbf16ps.512", sums.type, sums, *pairs)


def _signed_bytes(x: Any, offset: int, tag: Any) -> Any:
    value = _load(x, offset, REGISTER_BYTES)
    if isinstance(tag, Truth):
        value = np.minimum(value, np.uint8(1))
    return value if value.dtype == np.int8 else (value ^ np.uint8(0x80)).view(np.int8)


@intrinsic_of(lambda x, offset, tag: _vector(types.int8, 8)(x, types.intp, tag), _signed_bytes)
def load_signed_bytes(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """Elements of 8 bits as signed integers: unsigned ones less 128, of bool those of 0 and 1."""
    x, _, tag = signature.args
    value = read(context, builder, x, args[0], args[1], _vector(x.dtype, 8))
    if tag.instance_class is Truth:
        one = _full(value.type, 1)
        value = builder.select(builder.icmp_unsigned("<", value, one), value, one)
    return value if x.dtype.signed else builder.xor(value, _full(value.type, 0x80))


@intrinsic_of(lambda x: types.intp(x), lambda x: 0 if x.dtype == np.int8 else 128)  # noqa: PLW0108 - its name counts
def bias_of(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """What `load_signed_bytes` takes from the elements of an array."""
    return context.get_constant(types.intp, 0 if signature.args[0].dtype.signed else 128)


@intrinsic_of(
    lambda a: VectorType(types.uint8, a.width)(a), lambda a: np.where(a < 0, -a.astype(np.int16), a).astype(np.uint8)
)
def absolute_bytes(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """|a| of signed bytes, as unsigned ones."""
    zero = _full(args[0].type, 0)
    negative = builder.icmp_signed("<", args[0], zero)
    return builder.select(negative, builder.sub(zero, args[0]), args[0])


@intrinsic_of(lambda a, sign: sign(a, sign), lambda a, sign: a.view(np.uint8) ^ sign)
def lifted_bytes(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """Signed bytes plus 128, as unsigned ones; `sign` has 128 in every lane."""
    return builder.xor(*args)


@intrinsic_of(
    lambda x, lifted, absolute: lifted(x, lifted, absolute),
    lambda x, lifted, absolute: absolute if x.dtype == np.int8 else lifted,
)
def magnitude_of(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """|x| of elements that `load_signed_bytes` has loaded from an array."""
    return args[2 if signature.args[0].dtype.signed else 1]


@intrinsic_of(
    lambda a: VectorType(types.int64, a.width // 8)(a), lambda a: a.reshape(-1, 8).sum(axis=1, dtype=np.int64)
)
def sum_bytes(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """The sums of each eight neighbours of a vector of unsigned bytes."""
    (a,) = args
    words = ir.VectorType(_I64, a.type.count // 8)
    if _X86_BYTES is not None:
        return emit_llvm(builder, _X86_BYTES[0], words, a, _full(a.type, 0))
    value = builder.bitcast(a, words)
    for bits, mask in ((8, 0x00FF00FF00FF00FF), (16, 0x0000FFFF0000FFFF), (32, 0x00000000FFFFFFFF)):
        upper = builder.lshr(value, _full(words, bits))
        value = builder.add(builder.and_(value, _full(words, mask)), builder.and_(upper, _full(words, mask)))
    return value


def _dot_bytes(sums: Any, unsigned: Any, signed: Any) -> Any:
    return sums + (unsigned.astype(np.int32) * signed).reshape(-1, 4).sum(axis=1, dtype=np.int32)


@intrinsic_of(lambda sums, unsigned, signed: sums(sums, unsigned, signed), _dot_bytes)
def dot_bytes(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """`sums`, of int32, plus the products of each four neighbours of two vectors of bytes; where `HAS_BYTE_DOTS`."""
    sums = args[0]
    # The intrinsic's form before LLVM 22, which later ones upgrade.
    words = [builder.bitcast(part, sums.type) for part in args[1:]]
    return emit_llvm(builder, "llvm.x86.avx512.vpdpbusd.512", sums.type, sums, *words)


def _square_bytes(a: Any) -> Any:
    return (a.astype(np.int32) * a.view(np.int8)).reshape(-1, 4).sum(axis=1, dtype=np.int32)


@intrinsic_of(lambda a: VectorType(types.int32, a.width // 4)(a), _square_bytes)
def square_bytes(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """The sums of the squares of each four neighbours of a vector of unsigned bytes up to 128.

    That of 128 is -16384, as if one of its factors were signed, which is what x86 multiplies.
    """
    (a,) = args
    lanes = ir.VectorType(_I32, a.type.count // 4)
    if _X86_BYTES is not None:
        words = ir.VectorType(_I16, a.type.count // 2)
        products = emit_llvm(builder, _X86_BYTES[1], words, a, a)
        return emit_llvm(builder, _X86_BYTES[2], lanes, products, _full(words, 1))
    value, total = builder.bitcast(a, lanes), _full(lanes, 0)
    for place in range(0, 32, 8):
        unsigned = builder.and_(builder.lshr(value, _full(lanes, place)), _full(lanes, 0xFF))
        signed = builder.ashr(builder.shl(value, _full(lanes, 24 - place)), _full(lanes, 24))
        total = builder.add(total, builder.mul(unsigned, signed))
    return total
