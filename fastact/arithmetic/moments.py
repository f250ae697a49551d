"""The formulas, written once: plain leaf functions that every target compiles for itself.

Nothing here is decorated, and no function calls another: a plain Python caller, `numba.njit` and `cuda.jit` each
take these bodies as they are. Only scalars and tuples of scalars go in and out, so one source runs on every target.
"""

import math

from fastact.arithmetic.state import (
    ABS_MEAN,
    COUNT,
    MAX,
    MEAN,
    MIN,
    NANS,
    NEG_INFS,
    POS_INFS,
    REST,
    SATURATED,
    STD,
    ZEROS,
    Shape,
    State,
    Sums,
)


def merge(a: State, b: State) -> State:
    """The state of the union of two disjoint sets of elements, from the state of each.

    Counts add, min and max are exact, moments follow Chan, Golub, LeVeque (1979):
    ``var = w1 var1 + w2 var2 + w1 w2 (mean2 - mean1)^2`` with ``w = n / (n1 + n2)`` over the finite elements.
    They are computed relative to the largest of std1, std2 and |mean2 - mean1|, so that squares of 1e300 do not
    overflow and squares of 1e-300 do not vanish. Equal means and zero stds give exactly zero. A side without finite
    elements adds its counts only.
    """
    count1, nans1, pos1, neg1, zeros1, sat1, mean1, std1, abs1, min1, max1, rest1 = a
    count2, nans2, pos2, neg2, zeros2, sat2, mean2, std2, abs2, min2, max2, rest2 = b
    n1 = count1 - nans1 - pos1 - neg1
    n2 = count2 - nans2 - pos2 - neg2
    mean = mean1
    std = std1
    abs_mean = abs1
    rest = rest1
    if n1 == 0:
        mean = mean2
        std = std2
        abs_mean = abs2
        rest = rest2
    elif n2 > 0:
        w1 = n1 / (n1 + n2)
        w2 = n2 / (n1 + n2)
        # Half of the difference: the whole may be out of range where the two means are not.
        half = (0.5 * mean2 - 0.5 * mean1) + (0.5 * rest2 - 0.5 * rest1)
        scale = max(max(std1, std2), abs(half))
        if scale > 0.0:
            p = std1 / scale
            q = std2 / scale
            d = half / scale
            std = scale * math.sqrt(w1 * p * p + w2 * q * q + 4.0 * w1 * w2 * d * d)
            # A step from the mean of the larger side: exact where the means agree, and small errors otherwise.
            if n1 >= n2:
                step = 2.0 * (half * w2) + rest1
                mean = mean1 + step
                rest = step - (mean - mean1)
            else:
                step = rest2 - 2.0 * (half * w1)
                mean = mean2 + step
                rest = step - (mean - mean2)
        abs_mean = abs1 + (abs2 - abs1) * w2
        # No std exceeds half the range: rounding must not lift one of 1.8e308 to inf.
        std = min(std, 0.5 * max(max1, max2) - 0.5 * min(min1, min2))
    return (
        count1 + count2, nans1 + nans2, pos1 + pos2, neg1 + neg2, zeros1 + zeros2, sat1 + sat2, mean, std, abs_mean,
        min(min1, min2), max(max1, max2), rest,
    )  # fmt: skip


def merge_shape(a: State, b: State, shape_a: Shape, shape_b: Shape) -> Shape:
    """The shape of the union of two disjoint sets of elements, from the state and the shape of each.

    Pébay (2008), "Formulas for robust, one-pass parallel computation of covariances and arbitrary-order statistical
    moments", with ``w = n / (n1 + n2)`` and ``d = mean2 - mean1``:

        var = w1 var1 + w2 var2 + w1 w2 d^2
        m3 = w1 m3_1 + w2 m3_2 + w1 w2 (w1 - w2) d^3 + 3 w1 w2 d (var2 - var1)
        m4 = w1 m4_1 + w2 m4_2 + w1 w2 (w1^2 - w1 w2 + w2^2) d^4 + 6 w1 w2 d^2 (w1 var2 + w2 var1)
             + 4 w1 w2 d (m3_2 - m3_1)

    relative to the largest of std1, std2 and |d| / 2, as in `merge`.
    """
    n1 = a[COUNT] - a[NANS] - a[POS_INFS] - a[NEG_INFS]
    n2 = b[COUNT] - b[NANS] - b[POS_INFS] - b[NEG_INFS]
    third1, fourth1 = shape_a
    third2, fourth2 = shape_b
    if n2 == 0:
        return (third1, fourth1)
    if n1 == 0:
        return (third2, fourth2)
    w1 = n1 / (n1 + n2)
    w2 = n2 / (n1 + n2)
    half = (0.5 * b[MEAN] - 0.5 * a[MEAN]) + (0.5 * b[REST] - 0.5 * a[REST])
    scale = max(max(a[STD], b[STD]), abs(half))
    if not scale > 0.0:
        return (0.0, 0.0)
    p = a[STD] / scale
    q = b[STD] / scale
    d = 2.0 * (half / scale)
    both = w1 * w2
    third1 *= p * p * p
    third2 *= q * q * q
    m2 = w1 * p * p + w2 * q * q + both * d * d
    m3 = w1 * third1 + w2 * third2 + both * d * ((w1 - w2) * d * d + 3.0 * (q * q - p * p))
    m4 = w1 * fourth1 * p * p * p * p + w2 * fourth2 * q * q * q * q
    m4 += both * d * d * ((w1 * w1 - both + w2 * w2) * d * d + 6.0 * (w1 * q * q + w2 * p * p))
    m4 += 4.0 * both * d * (third2 - third1)
    return (m3 / (m2 * math.sqrt(m2)), m4 / (m2 * m2))


def two_sum(origin: float, offset: float) -> tuple[float, float]:
    """``origin + offset``, and what rounding took from it (Møller, Knuth)."""
    mean = origin + offset
    return mean, (origin - (mean - (mean - origin))) + (offset - (mean - origin))


def unscaled(
    n: int, exponent: int, shift: float, total: float, squares: float, absolute: float
) -> tuple[float, float, float, float]:
    """Mean, std, mean of |x| and the mean's rest of `n` elements that were summed scaled by 2^-exponent.

    `total` and `squares` are the sums of y - shift and of its square, `absolute` that of |y|, with y = x * 2^-exponent.
    """
    rest = total / n
    variance = max(squares / n - rest * rest, 0.0)
    # ldexp, not a division by 2^-exponent: the product may be a denormal, or as large as the largest float.
    return (
        math.ldexp(shift + rest, exponent),
        math.ldexp(math.sqrt(variance), exponent),
        math.ldexp(absolute / n, exponent),
        math.ldexp(rest - ((shift + rest) - shift), exponent),
    )


def add_sums(a: Sums, b: Sums) -> Sums:
    """The sums over the union of two disjoint sets of elements, about the same origin.

    Where no square leaves the range of float64, this takes the place of `merge`: no division, no square root. The state
    that comes of it loses digits as the origin is far from the mean: ``1 + (mean - origin)^2 / var`` units of rounding.
    An origin that is one of the elements is off by at most sqrt(n) std.
    """
    return (
        a[COUNT] + b[COUNT], a[NANS] + b[NANS], a[POS_INFS] + b[POS_INFS], a[NEG_INFS] + b[NEG_INFS],
        a[ZEROS] + b[ZEROS], a[SATURATED] + b[SATURATED], a[MEAN] + b[MEAN], a[STD] + b[STD], a[ABS_MEAN] + b[ABS_MEAN],
        min(a[MIN], b[MIN]), max(a[MAX], b[MAX]), a[REST],
    )  # fmt: skip


def sums_to_state(sums: Sums) -> State:
    """The state of the elements that were summed."""
    count, nans, pos_infs, neg_infs, zeros, saturated, total, squares, absolute, smallest, largest, origin = sums
    n = count - nans - pos_infs - neg_infs
    mean = std = abs_mean = math.nan
    rest = 0.0
    if n > 0:
        offset = total / n
        mean = origin + offset
        rest = (origin - (mean - (mean - origin))) + (offset - (mean - origin))
        std = math.sqrt(max(squares - total * offset, 0.0) / n)
        if smallest == largest:
            mean = smallest * 1.0
            std = rest = 0.0
        # Of one sign, |x| is summed as precisely as x is.
        abs_mean = absolute / n if smallest < 0.0 < largest else abs(mean)
    return (count, nans, pos_infs, neg_infs, zeros, saturated, mean, std, abs_mean, smallest, largest, rest)
