"""What the statistics are by definition, in exact integer arithmetic, and data on which sums go wrong.

Independent of fastact: every finite float is an integer multiple of a power of two, so sums and sums of squares are
exact integers; one rounding at the end.
"""

import math
from typing import Any

import mpmath
import numpy as np
import numpy.typing as npt

SATURATION = (-0.99, 0.99)


def describe(
    x: npt.NDArray[Any], saturation: tuple[float, float] = SATURATION, zero_tol: float = 0.0
) -> dict[str, Any]:
    """Every statistic of `x`, a float, integer or bool array; floats correctly rounded."""
    values = [
        float(v) if isinstance(v, float) else int(v) for v in np.asarray(x).astype(_python_type(x)).reshape(-1).tolist()
    ]
    finite = [v for v in values if isinstance(v, int) or math.isfinite(v)]
    lo, hi = saturation
    result: dict[str, Any] = {
        "count": len(values),
        "nans": sum(v != v for v in values),
        "pos_infs": sum(v == math.inf for v in values),
        "neg_infs": sum(v == -math.inf for v in values),
        "zeros": sum(abs(v) <= zero_tol for v in values),
        "saturated": sum(v < lo or v > hi for v in values),
    }
    if not finite:
        return result | dict.fromkeys(("mean", "std", "abs_mean", "min", "max"), math.nan)
    ratios = [v.as_integer_ratio() for v in finite]
    scale = max(denominator for _, denominator in ratios)
    integers = [numerator * (scale // denominator) for numerator, denominator in ratios]
    n = len(integers)
    total = sum(integers)
    spread = n * sum(i * i for i in integers) - total * total
    with mpmath.workprec(300):
        denominator = mpmath.mpf(n) * scale
        return result | {
            "mean": float(mpmath.mpf(total) / denominator),
            "std": float(mpmath.sqrt(mpmath.mpf(spread)) / denominator),
            "abs_mean": float(mpmath.mpf(sum(abs(i) for i in integers)) / denominator),
            "min": min(finite),
            "max": max(finite),
        }


def _python_type(x: npt.NDArray[Any]) -> Any:
    return np.asarray(x).dtype if np.asarray(x).dtype.kind in "iub" else np.float64


def nasty(dtype: Any) -> dict[str, npt.NDArray[Any]]:
    """Named arrays of a float dtype on which naive sums fail, most of them two blocks of 4096 long and a bit."""
    rng = np.random.default_rng(7)
    info = np.finfo(dtype) if np.dtype(dtype).name in ("float16", "float32", "float64") else None
    normal = rng.standard_normal(9001)
    big = float(info.max) if info else 3e38
    tiny = float(info.smallest_subnormal) if info else 1e-40
    data = {
        "one": np.array([3.5]),
        "two": np.array([-1.5, 2.0]),
        "zeros": np.zeros(5000),
        "negative zero": np.array([0.0, -0.0, -0.0]),
        "constant": np.full(9001, 1.1),
        "normal": normal,
        "relu": np.maximum(normal, 0.0),
        "offset 1e2": normal + 1e2,
        "offset 1e4": normal + 1e4,
        "jump": np.concatenate([normal, normal + 1e4]),
        "drift": np.linspace(-1.0, 1e4, 9001),
        "outlier first": np.concatenate([[1e4], normal]),
        "outlier last": np.concatenate([normal, [-1e4]]),
        "nan": np.where(rng.random(9001) < 0.3, np.nan, normal),
        "one nan": np.concatenate([normal[:5000], [np.nan], normal[:100]]),
        "infs": np.concatenate([[np.inf], normal, [-np.inf, np.inf]]),
        "all nan": np.full(5000, np.nan),
        "all inf": np.full(10, -np.inf),
        "nan block": np.concatenate([np.full(4096, np.nan), normal]),
        "inf first, offset": np.concatenate([[-np.inf], normal + 1e3]),
        "huge": normal / 5.0 * big / 2.0,
        "huge of both signs": np.array([big, -big] * 2500 + [big]),
        "denormals": rng.integers(-1000, 1000, 9001) * tiny,
        "small": normal * (1e-20 if big > 1e10 else 1e-3),
        "small beside zero": np.concatenate([np.zeros(8192), normal * (1e-20 if big > 1e10 else 1e-3)]),
    }
    if np.dtype(dtype) == np.float64:
        data |= {
            # Shaped like NIST StRD's NumAcc 3 and 4 and their harder kin: a large offset, a small spread.
            "numacc3": np.array([1000000.2] + [1000000.1, 1000000.3] * 500),
            "numacc4": np.array([10000000.2] + [10000000.1, 10000000.3] * 500),
            "numacc 1e13": np.array([1e13 + 0.2] + [1e13 + 0.1, 1e13 + 0.3] * 500),
            "alternating": np.array([1e8, -1e8, 1.0, -1.0] * 2500),
            "1e300": normal * 1e300,
            "1e-300": normal * 1e-300,
            "1e-300 on top of 1": 1.0 + normal * 1e-15,
            "blocks far apart": np.repeat([1e-200, 3e-200, 1e200, -1e200], 4096),
        }
    with np.errstate(over="ignore"):
        return {name: values.astype(dtype) for name, values in data.items()}


COUNTS = ("count", "nans", "pos_infs", "neg_infs", "zeros", "saturated")
#: Bounds of the relative error of std, and of the mean's error relative to the larger of |mean| and std.
ERROR = {"float64": 1e-13, "float32": 1e-6, "float16": 1e-6, "bfloat16": 1e-6}


def check(stats: Any, x: Any, error: float, **options: Any) -> None:
    """Compares stats of `x` with what they are by definition; `error` bounds those of the moments."""
    want = describe(np.asarray(x), **options)
    for name in COUNTS:
        assert getattr(stats, name) == want[name], name
    for name in ("min", "max"):
        assert getattr(stats, name) == want[name] or (math.isnan(stats.min) and math.isnan(want["min"])), name
    if math.isnan(want["mean"]):
        assert math.isnan(stats.mean)
        assert math.isnan(stats.std)
        return
    size = max(abs(want["mean"]), want["std"])
    assert abs(stats.mean - want["mean"]) <= error * size, (stats.mean, want["mean"])
    assert abs(stats.std - want["std"]) <= error * want["std"], (stats.std, want["std"])
    assert abs(stats.abs_mean - want["abs_mean"]) <= max(error, 1e-15) * want["abs_mean"]
