"""The options of a sweep: what counts as saturated and as zero, and which extras are wanted."""

from typing import Any, Final

from fastact.checks import check_not_negative, check_saturation
from fastact.errors import ArgumentTypeError, ArgumentValueError

#: The saturation interval's ends, and the largest |x| that counts as a zero.
Bounds = tuple[float, float, float]

#: The default saturation interval: tanh's ends.
SATURATION: Final = (-0.99, 0.99)
#: The default of `zero_tol`, recognised by identity.
ZERO_TOL: Final = 0.0
DEFAULT_BOUNDS: Final[Bounds] = (*SATURATION, ZERO_TOL)

#: Which of the extras of `summarize` brings which attribute of `DetailedStats`.
EXTRA_OF: Final = {
    **dict.fromkeys(("skewness", "kurtosis"), "shape"),
    **dict.fromkeys(("exponents", "overflow_share", "underflow_share", "denormal_share"), "exponents"),
    **dict.fromkeys(("quantile", "quantile_error"), "quantiles"),
    "outliers": "outliers",
}
#: The extras, in the order in which `DetailedStats.extras` names them.
EXTRAS: Final = tuple(dict.fromkeys(EXTRA_OF.values()))
#: No extras: the default, recognised by identity.
NO_EXTRAS: Final[tuple[()]] = ()


def check_options(saturation: Any, zero_tol: Any) -> Bounds:
    """The options as floats; raises `ArgumentTypeError` or `ArgumentValueError` where one of them is unusable."""
    return *check_saturation(saturation), check_not_negative("zero_tol", zero_tol)


def check_same_options(a: Bounds, b: Bounds, both: bool) -> None:
    """Refuses to merge stats that were counted with different options, unless one side is empty (not `both`)."""
    if both and a != b:
        raise ArgumentValueError(
            f"merge: got stats counted with saturation={a[:2]}, zero_tol={a[2]} and with saturation={b[:2]}, "
            f"zero_tol={b[2]}, want the same: their counts do not add up"
        )


def check_extras(extras: Any) -> tuple[str, ...]:
    """The extras asked for, each once and in order; refuses what is no string or iterable of strings, or unknown."""
    try:
        names = (extras,) if isinstance(extras, str) else tuple(extras)
    except TypeError:
        names = (None,)
    if not all(isinstance(name, str) for name in names):
        raise ArgumentTypeError(f"extras: got {extras!r}, want a string or an iterable of strings among {EXTRAS}")
    for name in names:
        if name not in EXTRAS:
            raise ArgumentValueError(f"extras: got {name!r}, want some of {EXTRAS}")
    return tuple(name for name in EXTRAS if name in names)


def missing_extra(name: str) -> AttributeError:
    """The error for an extra's attribute that is asked of stats made without that extra."""
    return AttributeError(f"{name}: these stats were made without it, want summarize(x, extras={EXTRA_OF[name]!r})")
