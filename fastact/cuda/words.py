"""Tuples of integers and floats, of any length, in device memory as words of 8 bytes, and in a block's shared memory.

Integers are stored as they are, floats as float64. Memory is given by its address: passing an array to a kernel costs a
launch some microseconds, passing a number a fraction of one.
"""

import operator
from collections.abc import Iterator
from typing import Any, Final

from llvmlite import ir
from numba import types

from fastact.cuda.compiler import intrinsic
from fastact.cuda.instructions import global_pointer

#: What a check word is multiplied by for each word: odd, with bits all over (2^64 over the golden ratio).
HASH_FACTOR: Final = 0x9E3779B97F4A7C15

_I64: Final = ir.IntType(64)


def _store(context: Any, builder: Any, address: Any, value: Any, scalar: Any) -> Any:
    word = context.cast(builder, value, scalar, types.float64) if isinstance(scalar, types.Float) else value
    builder.store(word, global_pointer(builder, address, word.type), align=8)
    return word


def _load(context: Any, builder: Any, address: Any, scalar: Any) -> Any:
    stored = types.float64 if isinstance(scalar, types.Float) else scalar
    word = builder.load(global_pointer(builder, address, context.get_value_type(stored)))
    word.align = 8
    return context.cast(builder, word, stored, scalar)


def _at(builder: Any, first: Any, place: int, apart: Any) -> Any:
    return builder.add(first, builder.mul(_I64(place), apart)) if place else first


@intrinsic
def store_word(typingctx: Any, address: Any, value: Any) -> Any:
    """Writes a number to an address."""
    value = types.unliteral(value)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _store(context, builder, args[0], args[1], value)
        return context.get_dummy_value()

    return types.void(types.int64, value), codegen


@intrinsic
def load_word(typingctx: Any, address: Any, example: Any) -> Any:
    """The number at an address, in the type of `example`; what other blocks wrote is seen."""
    example = types.unliteral(example)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _load(context, builder, args[0], example)

    return example(types.int64, example), codegen


@intrinsic
def store_words(typingctx: Any, first: Any, apart: Any, values: Any) -> Any:
    """Writes a tuple: the first number to the address `first`, each other one `apart` bytes after the one before."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        for place, scalar in enumerate(values):
            value = builder.extract_value(args[2], place)
            _store(context, builder, _at(builder, args[0], place, args[1]), value, scalar)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, values), codegen


@intrinsic
def load_words(typingctx: Any, first: Any, apart: Any, example: Any) -> Any:
    """Reads what `store_words` wrote, as a tuple of the types of `example`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        found = [
            _load(context, builder, _at(builder, args[0], place, args[1]), scalar)
            for place, scalar in enumerate(example)
        ]
        return context.make_tuple(builder, example, found)

    return example(types.int64, types.int64, example), codegen


@intrinsic
def store_hashed(typingctx: Any, first: Any, check: Any, values: Any) -> Any:
    """Writes a tuple side by side from an address on.

    Returns:
        The check word of what `check` was computed from and then of these words.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        check = args[1]
        for place, scalar in enumerate(values):
            address = _at(builder, args[0], place, _I64(8))
            word = _store(context, builder, address, builder.extract_value(args[2], place), scalar)
            word = builder.bitcast(word, _I64)
            folded = builder.xor(word, builder.lshr(word, _I64(32)))
            check = builder.add(builder.mul(check, _I64(HASH_FACTOR)), folded)
        return check

    return types.int64(types.int64, types.int64, values), codegen


def shared_words(extremes: tuple[int, ...]) -> tuple[Any, Any]:
    """Two functions that pass tuples from thread to thread through a block's shared memory.

    A tuple is a column of three shared arrays: a row for each integer, each float, and each number at the places
    `extremes`, which have a type of their own. `put(integers, floats, extremes, slot, values)` writes one;
    `take(integers, floats, extremes, slot, example)` reads it, in the types of `example`.
    """

    def lines(values: Any) -> Iterator[tuple[int, int, Any]]:
        """Of each number which array it goes to, the index's constant there, and its type."""
        used = [0, 0, 0]
        for place, scalar in enumerate(values):
            which = 2 if place in extremes else 0 if isinstance(scalar, types.Integer) else 1
            yield which, used[which], scalar
            used[which] += 1

    index = types.UniTuple(types.int64, 2)

    @intrinsic
    def put(typingctx: Any, integers: Any, floats: Any, ends: Any, slot: Any, values: Any) -> Any:
        arrays = (integers, floats, ends)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            for place, (which, line, scalar) in enumerate(lines(values)):
                array = arrays[which]
                at = context.make_tuple(builder, index, [_I64(line), args[3]])
                value = context.cast(builder, builder.extract_value(args[4], place), scalar, array.dtype)
                store = context.get_function(operator.setitem, types.none(array, index, array.dtype))
                store(builder, (args[which], at, value))
            return context.get_dummy_value()

        return types.void(*arrays, types.int64, values), codegen

    @intrinsic
    def take(typingctx: Any, integers: Any, floats: Any, ends: Any, slot: Any, example: Any) -> Any:
        arrays = (integers, floats, ends)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            found = []
            for which, line, scalar in lines(example):
                array = arrays[which]
                at = context.make_tuple(builder, index, [_I64(line), args[3]])
                load = context.get_function(operator.getitem, array.dtype(array, index))
                found.append(context.cast(builder, load(builder, (args[which], at)), array.dtype, scalar))
            return context.make_tuple(builder, example, found)

        return example(*arrays, types.int64, example), codegen

    return put, take
