"""Vectors of elements on the device, in registers: loads of 16 bytes, and the arithmetic of a sweep on them.

A kernel sees the elements of one or several loads as one vector, which LLVM keeps in registers.
"""

import operator
from collections.abc import Callable
from typing import Any, Final

import numba
import numpy as np
from llvmlite import ir
from numba import types

from fastact.arithmetic.element_types import ElementType
from fastact.cpu.widen import emit_widen
from fastact.cuda.compiler import intrinsic, models, overload, register_model
from fastact.cuda.instructions import global_pointer

_I32: Final = ir.IntType(32)
_I64: Final = ir.IntType(64)
_PACKET: Final = 16


class _VectorType(types.Type):  # type: ignore[misc]
    """A vector of `width` numbers of the Numba type `scalar`."""

    def __init__(self, scalar: Any, width: int) -> None:
        self.scalar = scalar
        self.width = width
        super().__init__(name=f"DeviceVector({scalar}, {width})")


@register_model(_VectorType)
class _VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, lanes: _VectorType) -> None:
        super().__init__(manager, lanes, _vector(lanes))


def _element(scalar: Any) -> Any:
    if isinstance(scalar, types.Float):
        return ir.FloatType() if scalar.bitwidth == 32 else ir.DoubleType()
    return ir.IntType(scalar.bitwidth)


def _vector(lanes: _VectorType) -> Any:
    return ir.VectorType(_element(lanes.scalar), lanes.width)


def _filled(element: Any, width: int, value: Any) -> Any:
    return ir.Constant(ir.VectorType(element, width), [value] * width)


def _scalar(context: Any, builder: Any, value: Any, scalar: Any, lanes: _VectorType) -> Any:
    """A number of the type `scalar` in each lane of a vector of the type `lanes`."""
    value = context.cast(builder, value, scalar, lanes.scalar)
    blank = ir.Constant(ir.VectorType(value.type, lanes.width), ir.Undefined)
    return builder.shuffle_vector(builder.insert_element(blank, value, _I32(0)), blank, _filled(_I32, lanes.width, 0))


def _halves(builder: Any, value: Any) -> tuple[Any, Any]:
    half = value.type.count // 2
    blank = ir.Constant(value.type, ir.Undefined)
    places = ir.VectorType(_I32, half)
    return (
        builder.shuffle_vector(value, blank, ir.Constant(places, list(range(half)))),
        builder.shuffle_vector(value, blank, ir.Constant(places, list(range(half, 2 * half)))),
    )


def _reduced(builder: Any, value: Any, join: Callable[[Any, Any], Any]) -> Any:
    """The lanes joined to one, halves with halves: the order is fixed, and rounding errors grow with its depth."""
    while value.type.count > 1:
        value = join(*_halves(builder, value))
    return builder.extract_element(value, _I32(0))


def loader(element: ElementType, width: int) -> Callable[..., Any]:
    """The function that loads `width` stored elements from an address, which is a multiple of their size."""
    lanes = _VectorType(numba.from_dtype(element.storage), width)

    @intrinsic
    def load(typingctx: Any, address: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            size = width * element.storage.itemsize
            if size == _PACKET:
                # In PTX: of a load of 8 or 16 narrow elements, in whatever type, NVVM makes several.
                words = ir.LiteralStructType([_I32] * 4)
                load_words = ir.InlineAsm(
                    ir.FunctionType(words, [_I64]), "ld.global.v4.u32 {$0, $1, $2, $3}, [$4];", "=r,=r,=r,=r,l"
                )
                packet = builder.call(load_words, [args[0]])
                vector = ir.Constant(ir.VectorType(_I32, 4), ir.Undefined)
                for i in range(4):
                    vector = builder.insert_element(vector, builder.extract_value(packet, i), _I32(i))
                return builder.bitcast(vector, _vector(lanes))
            value = builder.load(global_pointer(builder, args[0], _vector(lanes)))
            value.align = size
            return value

        return lanes(types.int64), codegen

    return load  # type: ignore[no-any-return]


def widener(element: ElementType) -> Callable[..., Any]:
    """The function that shows stored elements as float32 (float64 for wide element types), exactly."""
    work = numba.from_dtype(np.dtype(element.work))

    @intrinsic
    def widened(typingctx: Any, raw: Any) -> Any:
        lanes = _VectorType(work, raw.width)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return emit_widen(builder, args[0], raw.scalar, type(element.tag))

        return lanes(raw), codegen

    return widened  # type: ignore[no-any-return]


@intrinsic
def concatenate(typingctx: Any, a: Any, b: Any) -> Any:
    """The lanes of `a`, then those of `b`."""
    result = _VectorType(a.scalar, a.width + b.width)
    places = ir.Constant(ir.VectorType(_I32, result.width), list(range(result.width)))
    return result(a, b), lambda context, builder, signature, args: builder.shuffle_vector(*args, places)


@intrinsic
def lane_count(typingctx: Any, a: Any) -> Any:
    """How many lanes there are."""
    return types.int64(a), lambda context, builder, signature, args: _I64(a.width)


@intrinsic
def splat(typingctx: Any, value: Any, like: Any) -> Any:
    """`value` in as many lanes, of the same type, as `like` has."""
    return like(value, like), lambda context, builder, signature, args: _scalar(context, builder, args[0], value, like)


def _absolute(builder: Any, value: Any, lanes: _VectorType) -> Any:
    bits = lanes.scalar.bitwidth
    mask = _filled(ir.IntType(bits), lanes.width, (1 << (bits - 1)) - 1)
    return builder.bitcast(builder.and_(builder.bitcast(value, mask.type), mask), value.type)


@intrinsic
def magnitude(typingctx: Any, a: Any) -> Any:
    """|a|, lane by lane."""
    return a(a), lambda context, builder, signature, args: _absolute(builder, args[0], a)


@intrinsic
def as_float64(typingctx: Any, a: Any) -> Any:
    """The lanes as float64."""
    result = _VectorType(types.float64, a.width)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return args[0] if a == result else builder.fpext(args[0], _vector(result))

    return result(a), codegen


@intrinsic
def where_finite(typingctx: Any, x: Any, a: Any, b: Any) -> Any:
    """The lanes of `a` where those of `x` are finite, elsewhere those of `b`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        inf = _filled(_element(x.scalar), x.width, float("inf"))
        finite = builder.fcmp_ordered("<", _absolute(builder, args[0], x), inf)
        return builder.select(finite, args[1], args[2])

    return a(x, a, b), codegen


@intrinsic
def reduce_sum(typingctx: Any, a: Any) -> Any:
    """The sum of the lanes, added up in pairs."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _reduced(builder, args[0], lambda x, y: builder.fadd(x, y, flags=("contract",)))

    return a.scalar(a), codegen


def _extreme(name: str, comparison: str) -> Callable[..., Any]:
    def choose(typingctx: Any, a: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            element = _element(a.scalar)

            def join(x: Any, y: Any) -> Any:
                if isinstance(a.scalar, types.Integer):
                    compare = builder.icmp_signed if a.scalar.signed else builder.icmp_unsigned
                    return builder.select(compare(comparison, y, x), y, x)
                # One instruction, which passes by NaN; NVVM does not make it of a comparison and a selection.
                symbol = f"llvm.nvvm.f{name}.{'f' if a.scalar.bitwidth == 32 else 'd'}"
                function = builder.module.globals.get(symbol) or ir.Function(
                    builder.module, ir.FunctionType(element, [element, element]), symbol
                )
                return builder.call(function, [x, y])

            lanes = [builder.extract_element(args[0], _I32(i)) for i in range(a.width)]
            while half := len(lanes) // 2:
                lanes = [join(x, y) for x, y in zip(lanes[:half], lanes[half:], strict=True)]
            return lanes[0]

        return a.scalar(a), codegen

    choose.__name__ = choose.__qualname__ = f"reduce_{name}"
    return intrinsic(choose)  # type: ignore[no-any-return]


reduce_min = _extreme("min", "<")
reduce_max = _extreme("max", ">")


def _counted(builder: Any, tests: Any) -> Any:
    ones = builder.zext(tests, ir.VectorType(_I32, tests.type.count))
    return builder.zext(_reduced(builder, ones, builder.add), _I64)


def _count_compared(comparison: str) -> Callable[..., Any]:
    @intrinsic
    def count(typingctx: Any, a: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            other = _scalar(context, builder, args[1], value, a)
            return _counted(builder, builder.fcmp_ordered(comparison, args[0], other))

        return types.int64(a, value), codegen

    return count  # type: ignore[no-any-return]


#: In how many lanes of a vector a <= value, and a == value.
count_at_most = _count_compared("<=")
count_equal = _count_compared("==")


@intrinsic
def count_outside(typingctx: Any, a: Any, low: Any, high: Any) -> Any:
    """In how many lanes a < low or a > high."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        below = builder.fcmp_ordered("<", args[0], _scalar(context, builder, args[1], low, a))
        above = builder.fcmp_ordered(">", args[0], _scalar(context, builder, args[2], high, a))
        return _counted(builder, builder.or_(below, above))

    return types.int64(a, low, high), codegen


@intrinsic
def count_nan(typingctx: Any, a: Any) -> Any:
    """In how many lanes there is NaN."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _counted(builder, builder.fcmp_unordered("uno", args[0], args[0]))

    return types.int64(a), codegen


def _lane_by_lane(function: Callable[..., Any], name: str) -> None:
    @intrinsic
    def operate(typingctx: Any, a: Any, b: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            # "contract": a product that is added at once is one instruction, rounded once.
            return getattr(builder, name)(*args, flags=("contract",))

        return a(a, b), codegen

    @overload(function, strict=False)
    def overloaded(a: Any, b: Any) -> Any:
        return (lambda a, b: operate(a, b)) if isinstance(a, _VectorType) and a == b else None


_lane_by_lane(operator.sub, "fsub")
_lane_by_lane(operator.mul, "fmul")
