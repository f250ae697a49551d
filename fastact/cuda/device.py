"""How device code is written for numba-cuda and its simulator: with `host` and `simulator`, all that knows them.

A kernel reads `Lanes`, the elements of one or several 16-byte loads side by side, which LLVM keeps in registers. It
takes addresses, not arrays: each array that numba-cuda passes costs a launch some microseconds, a number a fraction.

Each function below stands twice: as instructions for the device, and in NumPy for Numba's simulator, where a vector is
a small array and device memory is the host's. The simulator (NUMBA_ENABLE_CUDASIM=1) runs the same kernels, right and
slow, on any machine. numba-cuda is in maintenance; its successor has to be fitted in here and nowhere else.
"""

import ctypes
import importlib.util
import threading
from collections.abc import Callable
from typing import Any, Final

import numba
import numpy as np
from numba.core import config

from fastact.arithmetic.element_types import ElementType
from fastact.cpu.widen import emit_widen, widen_array

__all__ = [
    "INSTALLED",
    "MIX",
    "SIMULATED",
    "as_double",
    "barrier",
    "beside",
    "count_at_most",
    "count_equal",
    "count_nan",
    "count_outside",
    "device",
    "divide",
    "fence",
    "fetch_word",
    "finite_or",
    "lanes_count",
    "least",
    "loader",
    "magnitude",
    "mixed",
    "most",
    "spread",
    "store_word",
    "ticket",
    "total",
    "widener",
]

#: What `mixed` multiplies by: odd, with bits all over (2^64 over the golden ratio).
MIX: Final = 0x9E3779B97F4A7C15

#: Whether the extra fastact[cuda] is there. Numba's own `numba.cuda` has none of the compiler.
INSTALLED: Final = importlib.util.find_spec("numba_cuda") is not None
SIMULATED: Final = bool(config.ENABLE_CUDASIM)

if SIMULATED or not INSTALLED:
    # Without the extra too: so that the modules can be imported, and read.

    def device(function: Callable[..., Any]) -> Callable[..., Any]:
        return function

    def _memory(address: int, dtype: Any, count: int) -> Any:
        size = count * np.dtype(dtype).itemsize
        return np.frombuffer((ctypes.c_char * size).from_address(int(address)), dtype)

    def loader(kind: ElementType, width: int) -> Callable[..., Any]:
        def load(address: int) -> Any:
            assert address % (width * kind.storage.itemsize) == 0, "a load must be aligned"
            return _memory(address, kind.storage, width).copy()

        return load

    def widener(kind: ElementType) -> Callable[..., Any]:
        def widened(raw: Any) -> Any:
            return widen_array(raw, kind.tag)

        return widened

    def beside(a: Any, b: Any) -> Any:
        return np.concatenate([a, b])

    def lanes_count(a: Any) -> int:
        return len(a)

    def spread(value: Any, like: Any) -> Any:
        return np.full(len(like), value, like.dtype)

    def magnitude(a: Any) -> Any:
        return np.abs(a)

    def as_double(a: Any) -> Any:
        return a.astype(np.float64)

    def finite_or(x: Any, a: Any, b: Any) -> Any:
        return np.where(np.abs(x) < np.inf, a, b)

    def total(a: Any) -> Any:
        while len(a) > 1:
            a = a[: len(a) // 2] + a[len(a) // 2 :]
        return a[0]

    def least(a: Any) -> Any:
        return a.min()

    def most(a: Any) -> Any:
        return a.max()

    def count_at_most(a: Any, bound: Any) -> int:
        return int((a <= bound).sum())

    def count_outside(a: Any, low: Any, high: Any) -> int:
        return int(((a < low) | (a > high)).sum())

    def count_equal(a: Any, value: Any) -> int:
        return int((a == value).sum())

    def count_nan(a: Any) -> int:
        return int(np.isnan(a).sum())

    def divide(a: int, b: int) -> int:
        return a // b

    def _word(value: Any) -> Any:
        if isinstance(value, (float, np.floating)):
            return np.float64
        return np.uint64 if isinstance(value, np.uint64) else np.int64

    def store_word(address: int, value: Any) -> None:
        kind: Any = _word(value)
        _memory(address, kind, 1)[0] = kind(value)

    def fetch_word(address: int, example: Any) -> Any:
        return type(example)(_memory(address, _word(example), 1)[0])

    def mixed(check: int, value: Any) -> int:
        kind: Any = _word(value)
        bits = int(np.array(value, kind).view(np.uint64))
        check = (int(check) * MIX + (bits ^ bits >> 32)) & (1 << 64) - 1
        return check - (check >> 63 << 64)

    def barrier() -> None:
        # What `cuda.syncthreads` does within the simulated kernel's own module, and there alone.
        threading.current_thread().syncthreads()  # type: ignore[attr-defined]

    def fence() -> None:
        pass

    def ticket(address: int) -> int:
        counter = _memory(address, np.int64, 1)
        counter[0] += 1
        return int(counter[0]) - 1

    if SIMULATED:
        from fastact.cuda import simulator

        simulator.install()

else:
    import operator

    from llvmlite import ir
    from numba import cuda, types
    from numba.cuda.extending import intrinsic, models, overload, register_model

    #: Inlined always: a call would pass its tuples through memory.
    device = cuda.jit(device=True, forceinline=True)

    @device
    def barrier() -> None:  # type: ignore[misc]
        """All threads of the block come here before one goes on."""
        cuda.syncthreads()

    @device
    def fence() -> None:  # type: ignore[misc]
        """Who sees what is written after this sees what was written before it."""
        cuda.threadfence()

    class _LanesType(types.Type):  # type: ignore[misc]
        """A vector of `width` numbers of the Numba type `scalar`."""

        def __init__(self, scalar: Any, width: int) -> None:
            self.scalar = scalar
            self.width = width
            super().__init__(name=f"DeviceLanes({scalar}, {width})")

    @register_model(_LanesType)
    class _LanesModel(models.PrimitiveModel):  # type: ignore[misc]
        def __init__(self, manager: Any, lanes: _LanesType) -> None:
            super().__init__(manager, lanes, _vector(lanes))

    _I1 = ir.IntType(1)
    _I32 = ir.IntType(32)
    _I64 = ir.IntType(64)
    _PACKET = 16
    _GLOBAL = 1  # the address space of device memory

    def _element(scalar: Any) -> Any:
        if isinstance(scalar, types.Float):
            return ir.FloatType() if scalar.bitwidth == 32 else ir.DoubleType()
        return ir.IntType(scalar.bitwidth)

    def _vector(lanes: _LanesType) -> Any:
        return ir.VectorType(_element(lanes.scalar), lanes.width)

    def _filled(kind: Any, width: int, value: Any) -> Any:
        return ir.Constant(ir.VectorType(kind, width), [value] * width)

    def _broadcast(builder: Any, value: Any, width: int) -> Any:
        blank = ir.Constant(ir.VectorType(value.type, width), ir.Undefined)
        return builder.shuffle_vector(builder.insert_element(blank, value, _I32(0)), blank, _filled(_I32, width, 0))

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

    def _pointer(builder: Any, address: Any, kind: Any) -> Any:
        return builder.inttoptr(address, ir.PointerType(kind, addrspace=_GLOBAL))

    def loader(kind: ElementType, width: int) -> Callable[..., Any]:
        """The function that loads `width` stored elements from an address, which is a multiple of their size."""
        lanes = _LanesType(numba.from_dtype(kind.storage), width)

        @intrinsic
        def load(typingctx: Any, address: Any) -> Any:
            def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                size = width * kind.storage.itemsize
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
                value = builder.load(_pointer(builder, args[0], _vector(lanes)))
                value.align = size
                return value

            return lanes(types.int64), codegen

        return load  # type: ignore[no-any-return]

    def widener(kind: ElementType) -> Callable[..., Any]:
        """The function that shows stored elements as float32 (float64 for wide kinds), exactly."""
        work = numba.from_dtype(np.dtype(kind.work))

        @intrinsic
        def widened(typingctx: Any, raw: Any) -> Any:
            lanes = _LanesType(work, raw.width)

            def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                return emit_widen(builder, args[0], raw.scalar, type(kind.tag))

            return lanes(raw), codegen

        return widened  # type: ignore[no-any-return]

    @intrinsic
    def beside(typingctx: Any, a: Any, b: Any) -> Any:
        """The lanes of `a`, then those of `b`."""
        result = _LanesType(a.scalar, a.width + b.width)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            places = ir.Constant(ir.VectorType(_I32, result.width), list(range(result.width)))
            return builder.shuffle_vector(*args, places)

        return result(a, b), codegen

    @intrinsic
    def lanes_count(typingctx: Any, a: Any) -> Any:
        """How many lanes there are."""
        return types.int64(a), lambda context, builder, signature, args: _I64(a.width)

    @intrinsic
    def spread(typingctx: Any, value: Any, like: Any) -> Any:
        """`value` in as many lanes, of the same type, as `like` has."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return _broadcast(builder, context.cast(builder, args[0], value, like.scalar), like.width)

        return like(value, like), codegen

    @intrinsic
    def magnitude(typingctx: Any, a: Any) -> Any:
        """|a|, lane by lane."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            bits = a.scalar.bitwidth
            mask = _filled(ir.IntType(bits), a.width, (1 << (bits - 1)) - 1)
            return builder.bitcast(builder.and_(builder.bitcast(args[0], mask.type), mask), args[0].type)

        return a(a), codegen

    @intrinsic
    def as_double(typingctx: Any, a: Any) -> Any:
        """The lanes as float64."""
        result = _LanesType(types.float64, a.width)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return args[0] if a == result else builder.fpext(args[0], _vector(result))

        return result(a), codegen

    @intrinsic
    def finite_or(typingctx: Any, x: Any, a: Any, b: Any) -> Any:
        """The lanes of `a` where those of `x` are finite, elsewhere those of `b`."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            bits = x.scalar.bitwidth
            mask = _filled(ir.IntType(bits), x.width, (1 << (bits - 1)) - 1)
            size = builder.bitcast(builder.and_(builder.bitcast(args[0], mask.type), mask), args[0].type)
            inf = _filled(_element(x.scalar), x.width, float("inf"))
            return builder.select(builder.fcmp_ordered("<", size, inf), args[1], args[2])

        return a(x, a, b), codegen

    @intrinsic
    def total(typingctx: Any, a: Any) -> Any:
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
                while len(lanes) > 1:
                    half = len(lanes) // 2
                    lanes = [join(x, y) for x, y in zip(lanes[:half], lanes[half:], strict=True)]
                return lanes[0]

            return a.scalar(a), codegen

        choose.__name__ = choose.__qualname__ = "least" if name == "min" else "most"
        return intrinsic(choose)  # type: ignore[no-any-return]

    least = _extreme("min", "<")
    most = _extreme("max", ">")

    def _counted(builder: Any, tests: Any) -> Any:
        ones = builder.zext(tests, ir.VectorType(_I32, tests.type.count))
        return builder.zext(_reduced(builder, ones, builder.add), _I64)

    def _scalar(context: Any, builder: Any, value: Any, kind: Any, lanes: Any) -> Any:
        return _broadcast(builder, context.cast(builder, value, kind, lanes.scalar), lanes.width)

    @intrinsic
    def count_at_most(typingctx: Any, a: Any, bound: Any) -> Any:
        """In how many lanes a <= bound."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            limit = _scalar(context, builder, args[1], bound, a)
            return _counted(builder, builder.fcmp_ordered("<=", args[0], limit))

        return types.int64(a, bound), codegen

    @intrinsic
    def count_outside(typingctx: Any, a: Any, low: Any, high: Any) -> Any:
        """In how many lanes a < low or a > high."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            below = builder.fcmp_ordered("<", args[0], _scalar(context, builder, args[1], low, a))
            above = builder.fcmp_ordered(">", args[0], _scalar(context, builder, args[2], high, a))
            return _counted(builder, builder.or_(below, above))

        return types.int64(a, low, high), codegen

    @intrinsic
    def count_equal(typingctx: Any, a: Any, value: Any) -> Any:
        """In how many lanes a == value."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            other = _scalar(context, builder, args[1], value, a)
            return _counted(builder, builder.fcmp_ordered("==", args[0], other))

        return types.int64(a, value), codegen

    @intrinsic
    def count_nan(typingctx: Any, a: Any) -> Any:
        """In how many lanes there is NaN."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return _counted(builder, builder.fcmp_unordered("uno", args[0], args[0]))

        return types.int64(a), codegen

    @intrinsic
    def divide(typingctx: Any, a: Any, b: Any) -> Any:
        """a // b of two numbers of at least 0, b > 0. Python's own checks for zero and rounds down: some branches."""
        return types.int64(types.int64, types.int64), lambda context, builder, signature, args: builder.udiv(*args)

    @intrinsic
    def store_word(typingctx: Any, address: Any, value: Any) -> Any:
        """Writes a number as 8 bytes: integers as they are, floats as float64."""
        value = types.unliteral(value)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            word = (
                args[1] if not isinstance(value, types.Float) else context.cast(builder, args[1], value, types.float64)
            )
            builder.store(word, _pointer(builder, args[0], word.type), align=8)
            return context.get_dummy_value()

        return types.void(types.int64, value), codegen

    @intrinsic
    def fetch_word(typingctx: Any, address: Any, example: Any) -> Any:
        """The number that `store_word` wrote, in the type of `example`; what other blocks wrote is seen."""
        example = types.unliteral(example)
        stored = types.float64 if isinstance(example, types.Float) else example

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            word = builder.load(_pointer(builder, args[0], context.get_value_type(stored)))
            word.align = 8
            return context.cast(builder, word, stored, example)

        return example(types.int64, example), codegen

    @intrinsic
    def mixed(typingctx: Any, check: Any, value: Any) -> Any:
        """The check word of some words and then of this one, as `store_word` writes it."""
        value = types.unliteral(value)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            word = args[1]
            if isinstance(value, types.Float):
                word = builder.bitcast(context.cast(builder, word, value, types.float64), _I64)
            folded = builder.xor(word, builder.lshr(word, _I64(32)))
            return builder.add(builder.mul(args[0], _I64(MIX)), folded)

        return types.int64(types.int64, value), codegen

    @intrinsic
    def ticket(typingctx: Any, address: Any) -> Any:
        """The int64 at an address before one was added to it: atomic, over the whole device."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.atomic_rmw("add", _pointer(builder, args[0], _I64), _I64(1), "monotonic")

        return types.int64(types.int64), codegen

    def _binary(name: str) -> Callable[..., Any]:
        @intrinsic
        def operate(typingctx: Any, a: Any, b: Any) -> Any:
            def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                # "contract": a product that is added at once is one instruction, rounded once.
                return getattr(builder, name)(*args, flags=("contract",))

            return a(a, b), codegen

        return operate  # type: ignore[no-any-return]

    _add = _binary("fadd")
    _subtract = _binary("fsub")
    _multiply = _binary("fmul")

    @overload(operator.sub, strict=False)
    def _overload_subtract(a: Any, b: Any) -> Any:
        if isinstance(a, _LanesType) and a == b:
            return lambda a, b: _subtract(a, b)
        return None

    @overload(operator.mul, strict=False)
    def _overload_multiply(a: Any, b: Any) -> Any:
        if isinstance(a, _LanesType) and a == b:
            return lambda a, b: _multiply(a, b)
        return None
