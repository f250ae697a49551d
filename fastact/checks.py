"""Checks of arguments, each with the one wording of its message: the argument, what it got, what it wants.

A wrong type raises `ArgumentTypeError`, a value out of range `ArgumentValueError`. A check that needs to know more
than the argument itself stands where that knowledge is, such as the axes of an array in `arrays`.
"""

from collections.abc import Iterable
from numbers import Real
from typing import Any, TypeVar

from fastact.errors import ArgumentTypeError, ArgumentValueError

_T = TypeVar("_T")


def check_type(name: str, value: object, wanted: type[_T], words: str) -> _T:
    """The value, an instance of `wanted`; `words` are what the message calls that, such as "a Thresholds"."""
    if not isinstance(value, wanted):
        raise ArgumentTypeError(f"{name}: got {type(value).__name__}, want {words}")
    return value


def check_integer(
    name: str, value: object, low: int, high: int | None = None, *, words: str = "an int", unit: str = ""
) -> int:
    """The value of the argument `name`, an int from `low` to `high`, both included; None for no upper bound.

    A bool is no int, nor is an integer of NumPy. The message calls a value of the right type `words`, and has `unit`,
    what is counted, after the bounds.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise ArgumentTypeError(f"{name}: got {type(value).__name__}, want {words}")
    if value < low or (high is not None and value > high):
        raise ArgumentValueError(f"{name}: got {value}, want {_range(low, high)}{unit and ' '}{unit}")
    return value


def check_number(
    name: str,
    value: Any,
    low: float,
    high: float | None = None,
    *,
    words: str = "a number",
    unit: str = "",
    types: tuple[type, ...] = (Real,),
) -> None:
    """Refuses what is no number from `low` to `high`: a bool, NaN, text; otherwise as `check_integer`.

    `types` are what counts as a number. NumPy's scalars do, where the value does not go on to the standard library,
    which refuses them.
    """
    numeric = isinstance(value, types) and not isinstance(value, bool)
    if not numeric:
        raise ArgumentTypeError(f"{name}: got {type(value).__name__}, want {words}")
    if not value >= low or (high is not None and not value <= high):  # `not >=` also refuses NaN
        raise ArgumentValueError(f"{name}: got {value}, want {_range(low, high)}{unit and ' '}{unit}")


def _range(low: float, high: float | None) -> str:
    return f"at least {low}" if high is None else f"{low} to {high}"


def check_share(name: str, value: Any) -> None:
    """Refuses what is no number from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ArgumentTypeError(f"{name}: got {type(value).__name__}, want a number from 0 to 1")
    if not 0 <= float(value) <= 1:
        raise ArgumentValueError(f"{name}: got {value}, want a number from 0 to 1")


def check_not_negative(name: str, value: Any) -> float:
    """The value as a float, from whatever `float` takes, if that is at least 0 (NaN is not)."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ArgumentTypeError(f"{name}: got {value!r}, want a number") from None
    if not number >= 0.0:
        raise ArgumentValueError(f"{name}: got {value!r}, want at least 0")
    return number


def check_saturation(saturation: Any) -> tuple[float, float]:
    """The interval's ends (lo, hi) as floats, lo <= hi."""
    try:
        lo, hi = saturation
        lo, hi = float(lo), float(hi)
    except (TypeError, ValueError):
        raise ArgumentTypeError(f"saturation: got {saturation!r}, want two numbers (lo, hi)") from None
    if not lo <= hi:
        raise ArgumentValueError(f"saturation: got {saturation!r}, want lo <= hi, neither of them NaN")
    return lo, hi


def check_choice(name: str, value: object, choices: Iterable[object]) -> None:
    """Refuses what is none of `choices`."""
    known = tuple(choices)
    if value not in known:
        # Quoted where a name could be taken for a value, such as None.
        shown = map(str if all(isinstance(choice, str) for choice in known) else repr, known)
        raise ArgumentValueError(f"{name}: got {value!r}, want one of {', '.join(shown)}")


def renamed(new: str, value: str, old: str, older: str | None) -> str:
    """What was given by an argument's new name or by its older one; refuses both where they differ."""
    if older is None or older == value:
        return value
    if value:
        both = f"{older!r} and {new}={value!r}"
        raise ArgumentValueError(f"{old}: got {both}, want one of them: {old} is the older name of {new}")
    return older


def check_text(name: str, value: object, most: int) -> None:
    """Refuses what is no text, no Unicode (lone surrogates) or longer than `most` bytes of UTF-8."""
    if not isinstance(value, str):
        raise ArgumentTypeError(f"{name}: got {type(value).__name__}, want str")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise ArgumentValueError(f"{name}: got {value!a}, want text without lone surrogates") from None
    if size > most:
        raise ArgumentValueError(f"{name}: got {size} bytes of UTF-8, want at most {most}")
