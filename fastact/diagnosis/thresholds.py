"""How a rule declares the numbers that it compares with, and what all rules share.

Each rule's file has a class with its own thresholds, their defaults and sources; `rules.Thresholds`, the public
one, is all of them together. A default is either published (the source stands beside it) or chosen (it says so). All
are shares, factors or counts of rows, so none depends on a framework, a batch size or a device.
"""

import math
import os
from dataclasses import Field, dataclass, field, fields
from typing import Any, ClassVar, Self, dataclass_transform

from fastact.checks import check_integer
from fastact.diagnosis.settings import read_settings
from fastact.errors import ArgumentTypeError, ArgumentValueError


def share_field(default: float, doc: str, at_least: str = "", low: float = 0.0, high: float = 1.0) -> Any:
    """A threshold above 0 and up to 1. `doc` is "unit; condition: meaning. Source"; `at_least` another one's name."""
    return field(default=default, metadata={"low": low, "high": high, "doc": doc, "at_least": at_least})


def factor_field(default: float, doc: str, at_least: str = "") -> Any:
    """A threshold above 1; else as `share_field`."""
    return share_field(default, doc, at_least, 1.0, math.inf)


def positive_field(default: float, doc: str) -> Any:
    """A threshold above 0; else as `share_field`."""
    return share_field(default, doc, "", 0.0, math.inf)


def count_field(default: int, doc: str) -> Any:
    """A whole number from 1 on; else as `share_field`."""
    return share_field(default, doc, "", 1, 1 << 53)  # the largest int that a float64 holds exactly


@dataclass_transform(kw_only_default=True, frozen_default=True)
class _Declared:
    """Makes one frozen dataclass of those classes that join several rules' thresholds.

    A single rule's class stays a declaration: ten more dataclasses would double the time that the rules take to load.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def __init_subclass__(cls) -> None:
        if len(cls.__bases__) > 1:
            made = getattr(cls, "__dataclass_fields__", {})
            declared = ((base, vars(base).get("__annotations__", {})) for base in cls.__mro__[-3::-1])
            cls.__annotations__ = {
                name: hint for base, own in declared for name, hint in own.items() if base is cls or name not in made
            }
            dataclass(frozen=True, kw_only=True)(cls)


class CommonThresholds(_Declared):
    """What all rules compare with, and the base class of each rule's own thresholds.

    Raises:
        ArgumentTypeError: a value is not a number of the field's type.
        ArgumentValueError: a value is out of range, or less than the field that it has to be at least.
    """

    min_rows: int = count_field(5, "rows; a layer with fewer is not judged (but for NaN and Inf). Chosen")
    recent_rows: int = count_field(10, "rows; the end of the window that counts as now. Chosen")
    near_rows: int = count_field(
        20, "rows; a grave finding explains an oscillation or a drift that began within so many rows after it. Chosen"
    )

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            low, high = item.metadata["low"], item.metadata["high"]
            if isinstance(item.default, int):
                check_integer(item.name, value, low)
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise ArgumentTypeError(f"{item.name}: got {type(value).__name__}, want a float")
            # A share of 0 or a factor of 1 would call everything sick; `not >` also refuses NaN.
            if not value > low or not value <= high or math.isinf(value):
                bound = f" and at most {high:g}" if math.isfinite(high) else ""
                raise ArgumentValueError(f"{item.name}: got {value}, want more than {low:g}{bound}")
        for item in fields(self):
            other = item.metadata["at_least"]
            if other and getattr(self, item.name) < getattr(self, other):
                value, least = getattr(self, item.name), getattr(self, other)
                raise ArgumentValueError(f"{item.name}: got {value:g}, want at least {other}, which is {least:g}")

    @classmethod
    def from_toml(cls, path: str | os.PathLike[str]) -> Self:
        """The thresholds that a TOML file overrides; all others keep their defaults.

        The keys are the fields' names, at the top of the file or, where there is one, in its table
        ``[tool.fastact.thresholds]``, so that a ``pyproject.toml`` can hold them. A table ``[accept]`` beside them is
        for `accept_from_toml`.

        Args:
            path: the file.

        Raises:
            ArgumentTypeError: `path` is no path, or a value is not a number of the field's type.
            ArgumentValueError: the file cannot be read or is no TOML, a key is unknown, or a value is out of range.

        Example:
            >>> import tempfile
            >>> from pathlib import Path
            >>> from fastact import Thresholds
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     file = Path(folder) / "thresholds.toml"
            ...     _ = file.write_text("dead_warning = 0.1  # small layers")
            ...     Thresholds.from_toml(file).dead_warning
            0.1
        """
        table, _ = read_settings(path)
        shown = repr(os.fspath(path))
        names = [item.name for item in fields(cls)]
        for name in table or ():
            if name not in names:
                import difflib

                near = difflib.get_close_matches(name, names, n=1, cutoff=0.0)[0]
                raise ArgumentValueError(f"{shown}: got the unknown key {name!r}; the nearest known one is {near!r}")
        try:
            return cls(**table or {})
        except (ArgumentTypeError, ArgumentValueError) as error:
            raise type(error)(f"{shown}: {error}") from None

    @classmethod
    def describe(cls) -> dict[str, str]:
        """Each field's unit, default, meaning and source, in the order of declaration."""
        result = {}
        for item in fields(cls):
            unit, _, rest = item.metadata["doc"].partition(";")
            result[item.name] = f"{unit} (default {item.default:g});{rest}"
        return result
