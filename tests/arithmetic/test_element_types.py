"""The table of element types, against what NumPy, ml_dtypes and rounding itself say."""

import subprocess
import sys
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from fastact.arithmetic.element_types import ELEMENT_TYPES, NARROW_FLOATS, ElementType

FLOATS = [element_type for element_type in ELEMENT_TYPES.values() if element_type.format is not None]


def dtype_of(element_type: ElementType) -> Any:
    return np.dtype(getattr(ml_dtypes, element_type.name, element_type.name))


@pytest.mark.parametrize("element_type", ELEMENT_TYPES.values(), ids=ELEMENT_TYPES)
def test_storage_is_that_of_the_dtype(element_type: ElementType) -> None:
    dtype = dtype_of(element_type)
    assert dtype.name == element_type.name
    assert dtype.itemsize == element_type.storage.itemsize == element_type.bits // 8
    assert element_type.in_numpy == (not hasattr(ml_dtypes, element_type.name))


@pytest.mark.parametrize("element_type", ELEMENT_TYPES.values(), ids=ELEMENT_TYPES)
def test_the_working_type_holds_every_value_of_16_bits_or_less(element_type: ElementType) -> None:
    if element_type.bits > 16:
        assert element_type.work is (np.float32 if element_type.name == "float32" else np.float64)
    elif element_type.format is None:
        everything = np.arange(1 << element_type.bits).astype(element_type.storage)
        assert (everything.astype(element_type.work).astype(element_type.storage) == everything).all()
    exact = element_type.name in ("int64", "uint64")
    assert element_type.extreme == (element_type.name if exact else element_type.work)


@pytest.mark.parametrize("element_type", FLOATS, ids=lambda t: t.name)
def test_the_facts_of_a_format(element_type: ElementType) -> None:
    info: Any = ml_dtypes.finfo(dtype_of(element_type))  # type: ignore[no-untyped-call]
    facts = element_type.format
    assert facts is not None
    assert facts.largest == float(info.max)
    assert facts.smallest_normal == float(info.smallest_normal)
    assert facts.smallest_subnormal == float(info.smallest_subnormal)
    assert (facts.exponent_bits, facts.mantissa_bits) == (info.bits - 1 - info.nmant, info.nmant)
    assert np.isinf(np.array(np.inf).astype(info.dtype).astype(float)) == facts.infinities


@pytest.mark.parametrize(("name", "facts"), NARROW_FLOATS.items(), ids=NARROW_FLOATS)
def test_what_rounding_loses(name: str, facts: Any) -> None:
    dtype = dtype_of(ELEMENT_TYPES[name])

    # Of float32, which some conversions go through: from float64 they would round twice.
    def rounded(x: Any) -> float:
        with np.errstate(over="ignore"):
            return float(np.array(x, np.float32).astype(dtype).astype(np.float64))

    def after(x: Any) -> Any:
        return np.nextafter(np.float32(x), np.float32(np.inf))

    def before(x: Any) -> Any:
        return np.nextafter(np.float32(x), np.float32(0.0))

    assert rounded(facts.zero_up_to) == 0.0 < rounded(after(facts.zero_up_to)) == facts.smallest_subnormal
    small = np.float32(facts.denormal_up_to)
    small = small if float(small) <= facts.denormal_up_to else before(small)
    assert rounded(small) < facts.smallest_normal == rounded(after(small))
    kept = np.float32(facts.finite_up_to)
    kept = kept if float(kept) <= facts.finite_up_to else before(kept)
    assert rounded(kept) == facts.largest
    assert not rounded(after(kept)) <= facts.largest


def test_protocols_names() -> None:
    codes = {(t.dlpack_code, t.bits) for t in ELEMENT_TYPES.values()}
    assert len(codes) == len({t.safetensors for t in ELEMENT_TYPES.values()}) == len(ELEMENT_TYPES)
    for element_type in ELEMENT_TYPES.values():
        if element_type.in_numpy:
            capsule = np.zeros(1, element_type.name)
            assert np.from_dlpack(capsule).dtype == element_type.name
    assert list(NARROW_FLOATS) == ["float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"]


def test_the_table_needs_numpy_alone() -> None:
    code = "import sys, fastact.arithmetic.element_types; print('numba' in sys.modules, 'llvmlite' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.split() == ["False", "False"]
