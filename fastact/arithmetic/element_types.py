"""The one table of element types: how each is stored, and what follows from its format.

A new element type is a line in `ELEMENT_TYPES` and, where no conversion of the machine's or a shift shows it as a
float, a case in the decoder, `cpu.widen`. Everything else derives from the line: kernels, protocols, file formats, and
the rules about overflow and underflow. NumPy alone is imported.
"""

from typing import Any, Final, NamedTuple

import numpy as np


class FloatFormat(NamedTuple):
    """A binary floating-point format: a sign bit, an exponent with the usual bias, and a mantissa.

    Rounding is to nearest, ties to even, as IEEE 754 has it. Sources: IEEE 754 for binary16, 32 and 64; the OCP 8-bit
    floating point specification, 2023, for float8.

    Attributes:
        exponent_bits: bits of the exponent.
        mantissa_bits: stored bits of the mantissa, without the leading one.
        infinities: True where the largest exponent is kept for Inf and NaN; False ("fn", finite) where it is one more
            exponent of numbers, and all ones in exponent and mantissa are the only NaN.

    Example:
        >>> half, e4m3fn = FloatFormat(5, 10), FloatFormat(4, 3, infinities=False)
        >>> half.largest, e4m3fn.largest
        (65504.0, 448.0)
        >>> half.smallest_normal == 2.0**-14, half.smallest_subnormal == 2.0**-24
        (True, True)
    """

    exponent_bits: int
    mantissa_bits: int
    infinities: bool = True

    @property
    def bias(self) -> int:
        """What is subtracted from the stored exponent; also the largest exponent of a format with infinities."""
        return (1 << (self.exponent_bits - 1)) - 1

    @property
    def _last_place(self) -> float:
        """The distance between the two largest finite numbers."""
        return 2.0 ** (self.bias + (not self.infinities) - self.mantissa_bits)

    @property
    def largest(self) -> float:
        """The largest finite number."""
        # In units of its last place: all ones, or one less where all ones are NaN.
        return ((2 << self.mantissa_bits) - (1 if self.infinities else 2)) * self._last_place

    @property
    def smallest_normal(self) -> float:
        """The smallest positive number with all digits; those below are denormal (subnormal) and have fewer."""
        return 2.0 ** (1 - self.bias)

    @property
    def smallest_subnormal(self) -> float:
        """The smallest positive number."""
        return 2.0 ** (1 - self.bias - self.mantissa_bits)

    @property
    def zero_up_to(self) -> float:
        """The largest |x| that rounds to zero: half of the smallest number, which goes to the even neighbour, zero."""
        return 0.5 * self.smallest_subnormal

    @property
    def denormal_up_to(self) -> float:
        """The float64 up to which |x| rounds to a denormal number or to zero.

        Halfway from the largest denormal number to the smallest normal one goes to the latter, which is even.
        """
        return float(np.nextafter(self.smallest_normal - 0.5 * self.smallest_subnormal, 0.0))

    @property
    def finite_up_to(self) -> float:
        """The float64 up to which |x| rounds to a finite number; what is larger is lost.

        Halfway from the largest number to what would follow it goes to the even neighbour. With infinities that is Inf,
        so the answer is the float64 before; without them it is the largest number itself.
        """
        halfway = self.largest + 0.5 * self._last_place
        return float(np.nextafter(halfway, 0.0)) if self.infinities else halfway


class Plain(NamedTuple):
    """The stored value converts to float32 exactly."""


class Wide(NamedTuple):
    """The stored value converts to float64."""


class Float16(NamedTuple):
    """IEEE half precision, seen as uint16."""


class BFloat16(NamedTuple):
    """The upper half of a float32, seen as uint16."""


class Float8E5M2(NamedTuple):
    """The upper half of an IEEE half, seen as uint8."""


class Float8E4M3(NamedTuple):
    """1 sign, 4 exponent (bias 7), 3 mantissa bits, no Inf, NaN where all but the sign are set; seen as uint8."""


class Truth(NamedTuple):
    """A byte that is 0 or 1; whatever else foreign code has left there is true, as C and NumPy have it, and so 1."""


class ElementType(NamedTuple):
    """How elements of one dtype are stored and computed with, and what others call it."""

    name: str  # the dtype's, as NumPy, ml_dtypes and torch have it
    storage: np.dtype[Any]  # of the array that kernels see: integers of the same size where NumPy lacks the type
    work: type[np.floating[Any]]  # float32 where that holds every value exactly and is worth it in speed, else float64
    tag: tuple[()]  # an empty named tuple, which carries the element type into compiled code as a type
    dlpack_code: int  # DLPack's type code (dlpack.h of DLPack 1.1, DLDataTypeCode)
    safetensors: str  # the name in the header of a .safetensors file
    format: FloatFormat | None = None  # None for integers and bool
    in_numpy: bool = True  # False where NumPy itself has no such dtype, and ml_dtypes does

    @property
    def bits(self) -> int:
        """Bits of an element in memory."""
        return 8 * self.storage.itemsize

    @property
    def extreme(self) -> np.dtype[Any]:
        """The dtype of min and max: the integer type itself where float64 is too narrow for it, else `work`."""
        return self.storage if self.storage.kind in "iu" and self.bits == 64 else np.dtype(self.work)

    @property
    def wide_extreme(self) -> np.dtype[Any]:
        """The same of 64 bits, for what Python reads: a thread may take denormal numbers for zero as it widens them."""
        return np.dtype(np.float64) if self.extreme.kind == "f" else self.extreme


def _float(
    name: str,
    storage: Any,
    tag: Any,
    float_format: FloatFormat,
    safetensors: str,
    dlpack_code: int = 2,
    in_numpy: bool = True,
) -> ElementType:
    work = np.float64 if tag is Wide else np.float32
    return ElementType(name, np.dtype(storage), work, tag(), dlpack_code, safetensors, float_format, in_numpy)


def _integer(name: str, storage: Any, dlpack_code: int, safetensors: str, tag: Any = Plain) -> ElementType:
    dtype = np.dtype(storage)
    # float32 holds integers of 16 bits exactly.
    work, tag = (np.float64, Wide) if dtype.itemsize > 2 else (np.float32, tag)
    return ElementType(name, dtype, work, tag(), dlpack_code, safetensors)


#: Every element type that can be swept, by name. bool is seen as uint8.
ELEMENT_TYPES: Final[dict[str, ElementType]] = {
    element_type.name: element_type
    for element_type in (
        _float("float32", np.float32, Plain, FloatFormat(8, 23), "F32"),
        _float("float64", np.float64, Wide, FloatFormat(11, 52), "F64"),
        _float("float16", np.uint16, Float16, FloatFormat(5, 10), "F16"),
        _float("bfloat16", np.uint16, BFloat16, FloatFormat(8, 7), "BF16", 4, in_numpy=False),
        _float("float8_e5m2", np.uint8, Float8E5M2, FloatFormat(5, 2), "F8_E5M2", 12, in_numpy=False),
        _float("float8_e4m3fn", np.uint8, Float8E4M3, FloatFormat(4, 3, False), "F8_E4M3", 10, in_numpy=False),
        *(_integer(f"int{bits}", f"int{bits}", 0, f"I{bits}") for bits in (8, 16, 32, 64)),
        *(_integer(f"uint{bits}", f"uint{bits}", 1, f"U{bits}") for bits in (8, 16, 32, 64)),
        _integer("bool", np.uint8, 6, "BOOL", Truth),
    )
}

#: The formats to which wider elements are rounded in training, by name, the most precise first.
NARROW_FLOATS: Final[dict[str, FloatFormat]] = dict(
    sorted(
        ((t.name, t.format) for t in ELEMENT_TYPES.values() if t.format is not None and t.bits <= 16),
        key=lambda item: -item[1].mantissa_bits,
    )
)
