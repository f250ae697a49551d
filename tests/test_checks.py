"""`fastact.checks`: what each check takes, and the messages of what it refuses."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import fastact
from fastact.checks import (
    check_choice,
    check_integer,
    check_not_negative,
    check_number,
    check_saturation,
    check_share,
    check_text,
    check_type,
    renamed,
)
from fastact.errors import ArgumentTypeError, ArgumentValueError

TYPE, VALUE = ArgumentTypeError, ArgumentValueError


def test_what_is_right_comes_back() -> None:
    assert check_integer("n", 1, 1) == 1
    assert check_integer("n", 2**70, 1) == 2**70
    assert check_integer("n", 4, 1, 4) == 4
    assert check_type("kind", "ReLU", str, "a str") == "ReLU"
    assert check_not_negative("tol", "0.5") == 0.5
    assert check_not_negative("tol", np.float32(0)) == 0.0
    assert check_saturation([0, np.inf]) == (0.0, np.inf)
    for share in (0, 1, 0.5, np.float32(0.25), np.int64(1), Fraction(1, 3)):
        check_share("share", share)
    check_choice("c", None, ("a", None))
    check_text("name", "é", 2)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: check_integer("n", True, 0), TYPE, "n: got bool, want an int"),
        (lambda: check_integer("n", np.int64(3), 0), TYPE, "n: got int64, want an int"),
        (lambda: check_integer("n", 2.0, 0, words="a number of steps"), TYPE, "n: got float, want a number of steps"),
        (lambda: check_integer("n", -1, 0), VALUE, "n: got -1, want at least 0"),
        (lambda: check_integer("n", 0, 1, unit="step"), VALUE, "n: got 0, want at least 1 step"),
        (lambda: check_integer("n", 5, 1, 4), VALUE, "n: got 5, want 1 to 4"),
        (lambda: check_number("t", "1", 0), TYPE, "t: got str, want a number"),
        (lambda: check_number("t", True, 0), TYPE, "t: got bool, want a number"),
        (lambda: check_number("t", 1j, 0), TYPE, "t: got complex, want a number"),
        (lambda: check_number("t", np.float32(1), 0, types=(int, float)), TYPE, "t: got float32, want a number"),
        (lambda: check_number("t", np.nan, 0), VALUE, "t: got nan, want at least 0"),
        (lambda: check_number("t", np.inf, 0.5, 2, unit="seconds"), VALUE, "t: got inf, want 0.5 to 2 seconds"),
        (lambda: check_share("s", None), TYPE, "s: got NoneType, want a number from 0 to 1"),
        (lambda: check_share("s", 1.5), VALUE, "s: got 1.5, want a number from 0 to 1"),
        (lambda: check_share("s", np.nan), VALUE, "s: got nan, want a number from 0 to 1"),
        (lambda: check_not_negative("tol", "x"), TYPE, "tol: got 'x', want a number"),
        (lambda: check_not_negative("tol", np.nan), VALUE, "tol: got nan, want at least 0"),
        (lambda: check_saturation(1.0), TYPE, "saturation: got 1.0, want two numbers (lo, hi)"),
        (lambda: check_saturation((1, 0)), VALUE, "saturation: got (1, 0), want lo <= hi, neither of them NaN"),
        (lambda: check_type("kind", 3, str, "a str"), TYPE, "kind: got int, want a str"),
        (lambda: check_choice("c", "x", ("a", "b", None)), VALUE, "c: got 'x', want one of 'a', 'b', None"),
        (lambda: check_choice("c", [], {"a": 1}), VALUE, "c: got [], want one of a"),
        (lambda: check_text("name", b"a", 9), TYPE, "name: got bytes, want str"),
        (lambda: check_text("name", "\ud800", 9), VALUE, "name: got '\\ud800', want text without lone surrogates"),
        (lambda: check_text("name", "é" * 5, 9), VALUE, "name: got 10 bytes of UTF-8, want at most 9"),
    ],
)
def test_what_is_wrong_is_refused_by_name(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message


def test_an_older_name_is_another_name() -> None:
    assert renamed("new", "a", "old", None) == renamed("new", "", "old", "a") == renamed("new", "a", "old", "a") == "a"
    with pytest.raises(ArgumentValueError, match="old: got 'b' and new='a', want one of them"):
        renamed("new", "a", "old", "b")
    with pytest.raises(ArgumentValueError, match="kind: got 'Tanh' and layer_type='ReLU'"):
        fastact.LayerInfo("a", 0, "ReLU", kind="Tanh")
    with fastact.ActivationMonitor() as monitor, pytest.raises(ArgumentValueError, match="kind: got 'Tanh'"):
        monitor.record("a", [1.0], layer_type="ReLU", kind="Tanh")
