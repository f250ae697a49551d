"""Every number that a rule compares with, in one typed place.

A default is either published (the source stands beside it) or chosen (it says so). All are shares, factors or counts
of rows, so none depends on a framework, a batch size or a device.
"""

import difflib
import math
import os
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Self

from fastact.checks import check_integer
from fastact.errors import ArgumentTypeError, ArgumentValueError

__all__ = ["Thresholds"]


def _share(default: float, doc: str) -> Any:
    return field(default=default, metadata={"low": 0.0, "high": 1.0, "doc": doc})


def _factor(default: float, doc: str, low: float = 1.0) -> Any:
    return field(default=default, metadata={"low": low, "high": math.inf, "doc": doc})


def _positive(default: float, doc: str) -> Any:
    return field(default=default, metadata={"low": 0.0, "high": math.inf, "doc": doc})


def _number(default: int, doc: str) -> Any:
    return field(default=default, metadata={"low": 1, "high": 1 << 53, "doc": doc})


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """What the rules compare with. Every field can be overridden; `Thresholds.describe()` lists them all.

    Raises:
        ArgumentTypeError: a value is not a number of the field's type.
        ArgumentValueError: a value is out of range, or the bands of one condition are not in order.

    Example:
        >>> Thresholds(dead_warning=0.1).dead_warning
        0.1
        >>> Thresholds(dead_warning=2.0)
        Traceback (most recent call last):
        fastact.errors.ArgumentValueError: dead_warning: got 2.0, want more than 0 and at most 1
        >>> Thresholds.describe()["dead_serious"]
        'share of neurons (default 0.2); dead: serious from here. fastact, the bands of the public contract'
    """

    # All conditions.
    min_rows: int = _number(5, "rows; a layer with fewer is not judged (but for NaN and Inf). Chosen")
    recent_rows: int = _number(10, "rows; the end of the window that counts as now. Chosen")

    # Dead.
    dead_window: int = _number(20, "rows; a neuron is dead when it was silent in each of the last so many. Chosen")
    dead_samples: int = _number(
        300,
        "samples; so many must have been seen of each neuron. A neuron that never fired in n samples fires in less "
        "than 3/n of them at 95% confidence (rule of three: Hanley and Lippman-Hand, JAMA 1983), so 300 show the less "
        "than 1% that SageMaker Debugger's DeadRelu calls dead",
    )
    dead_warning: float = _share(
        0.05, "share of neurons; dead: warning from here. fastact, the bands of the public contract"
    )
    dead_serious: float = _share(
        0.20, "share of neurons; dead: serious from here. fastact, the bands of the public contract"
    )
    dead_critical: float = _share(
        0.50,
        "share of neurons; dead: critical above. fastact, the bands of the public contract; "
        "SageMaker Debugger's DeadRelu fires here",
    )

    # Saturated.
    saturated_warning: float = _share(
        0.50,
        "share of elements; saturated: warning from here. SageMaker Debugger's SaturatedActivation and torchmortem",
    )
    saturated_serious: float = _share(0.65, "share of elements; saturated: serious from here. Chosen")
    saturated_critical: float = _share(
        0.80, "share of elements; saturated: critical above. Chosen; torchmortem's critical mean"
    )
    saturated_rows: int = _number(
        10, "rows; saturated: a layer that took longer from half of the warning to all of it has learned it. Chosen"
    )

    # Exploding.
    explode_growth: float = _factor(
        300.0, "factor; exploding: a layer's rms is so many times that of its first row. Chosen"
    )
    explode_serious: float = _factor(1e3, "factor; exploding: serious from this growth. Chosen")
    explode_depth: float = _factor(
        1e4, "factor; exploding over depth: a layer's rms is so many times that of the first layer. Chosen"
    )
    explode_scale: float = _positive(300.0, "rms; a layer below this is not exploding, whatever it grew from. Chosen")
    explode_critical: float = _factor(1e6, "factor; exploding: critical from this growth. Chosen")

    # Vanishing.
    vanish_ratio: float = _share(
        1e-3,
        "factor; vanishing: what the samples differ by is at most this share of what it was in a layer before. Chosen; "
        "AUTOTRAINER uses the same ratio of last to first gradient norm",
    )
    vanish_fade: float = _share(
        0.05, "factor; vanishing over steps: the same as a share of what it was in this layer's first row. Chosen"
    )
    vanish_fade_scale: float = _positive(
        0.1, "standard deviation; a layer whose samples differ by more has not vanished over steps. Chosen"
    )
    vanish_serious: float = _share(1e-4, "factor; vanishing: serious from this share down. Chosen")
    vanish_critical: float = _share(1e-6, "factor; vanishing: critical below this share. Chosen")
    vanish_scale: float = _positive(
        1e-2, "standard deviation; a layer whose samples differ by more is not vanishing. Chosen"
    )
    vanish_samples: int = _number(
        8, "samples; with fewer per neuron in a row, what the samples differ by is not judged. Chosen"
    )

    # Overflow risk.
    overflow_warning: float = _share(
        0.25, "share of the dtype's largest number; overflow risk: warning from here, two bits from the end. Chosen"
    )
    overflow_serious: float = _share(
        0.5, "share of the dtype's largest number; overflow risk: serious from here, one bit from the end. Chosen"
    )

    # Underflow risk.
    underflow_warning: float = _factor(
        1.0,
        "factor; underflow risk: a layer's typical value is at most so many times the dtype's smallest normal number, "
        "below which it has fewer digits. Chosen",
        low=0.0,
    )
    underflow_serious: float = _factor(
        8.0,
        "factor; underflow risk: serious from so many times the dtype's smallest subnormal number down, three bits. "
        "Chosen",
        low=0.0,
    )

    # Outlier channels.
    outlier_neurons: int = _number(8, "channels; outlier channels: a layer with fewer has no typical one. Chosen")
    outlier_warning: float = _factor(
        20.0,
        "factor; outlier channels: a channel's largest value is so many times the typical channel's. Chosen; "
        "internal-medicine sees a spike from 10 times the median, and healthy layers of the zoo reach 7",
    )
    outlier_serious: float = _factor(
        1000.0, "factor; outlier channels: serious from here. internal-medicine's band of severe ones"
    )
    outlier_share: float = _share(
        0.95, "share of rows; outlier channels: so many have the same channel on top. torch.ao's outlier detector"
    )

    # Oscillating.
    oscillate_rows: int = _number(20, "rows; oscillating: the swings must cover so many. Chosen")
    oscillate_factor: float = _factor(1.5, "factor; oscillating: the rms swings by so much, up and down. Chosen")
    oscillate_deviations: float = _positive(
        1.0, "standard deviations of the outputs; oscillating: their mean swings by so many. Chosen"
    )
    oscillate_share: float = _share(
        0.2, "swings a row; oscillating: at least so many. AUTOTRAINER's share of epochs in which the loss oscillates"
    )
    oscillate_regularity: float = _share(
        0.66,
        "autocorrelation; oscillating: minus that at half a period, or that at a whole one, is at least this. Chosen",
    )

    # Constant.
    constant_warning: float = _share(0.5, "share of neurons; constant: warning from here. Chosen")
    constant_serious: float = _share(0.8, "share of neurons; constant: serious from here. Chosen")
    constant_ratio: float = _share(
        1e-6,
        "factor; constant: what the samples differ by is less than this share of the standard deviation over all "
        "elements. Chosen, eight times float32's rounding unit",
    )

    # Drifting.
    drift_rows: int = _number(20, "rows; drifting: so many must come before the change. Chosen")
    drift_factor: float = _factor(4.0, "factor; drifting: the median rms changes by so much, up or down. Chosen")
    drift_deviations: float = _positive(
        6.0,
        "robust standard deviations (1.4826 MAD); drifting: the median of log rms changes by so many. trainscope's "
        "CUSUM and OLMo-core's spike filter use 6",
    )
    drift_chance: float = _share(
        1e-6, "probability; drifting: of Pettitt's statistic without a change, at most. Chosen"
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
        for name in _RISING:
            if getattr(self, f"{name}_warning") > getattr(self, f"{name}_serious"):
                raise ArgumentValueError(f"{name}_serious: got less than {name}_warning, want at least as much")
            if getattr(self, f"{name}_serious") > getattr(self, f"{name}_critical"):
                raise ArgumentValueError(f"{name}_critical: got less than {name}_serious, want at least as much")
        for name in ("overflow", "outlier", "constant"):
            if getattr(self, f"{name}_warning") > getattr(self, f"{name}_serious"):
                raise ArgumentValueError(f"{name}_serious: got less than {name}_warning, want at least as much")
        if not self.explode_growth <= self.explode_serious <= self.explode_critical:
            raise ArgumentValueError("explode_serious: want explode_growth <= explode_serious <= explode_critical")
        if not self.vanish_critical <= self.vanish_serious <= self.vanish_ratio:
            raise ArgumentValueError("vanish_serious: want vanish_critical <= vanish_serious <= vanish_ratio")

    @classmethod
    def from_toml(cls, path: str | os.PathLike[str]) -> Self:
        """The thresholds that a TOML file overrides; all others keep their defaults.

        The keys are the fields' names, at the top of the file or, where there is one, in its table
        ``[tool.fastact.thresholds]``, so that a ``pyproject.toml`` can hold them.

        Args:
            path: the file.

        Raises:
            ArgumentTypeError: `path` is no path, or a value is not a number of the field's type.
            ArgumentValueError: the file cannot be read or is no TOML, a key is unknown, or a value is out of range.

        Example:
            >>> import tempfile
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     file = Path(folder) / "thresholds.toml"
            ...     _ = file.write_text("dead_warning = 0.1  # small layers")
            ...     Thresholds.from_toml(file).dead_warning
            0.1
        """
        if not isinstance(path, (str, os.PathLike)):
            raise ArgumentTypeError(f"path: got {type(path).__name__}, want a str or an os.PathLike")
        shown = repr(os.fspath(path))
        try:
            table = tomllib.loads(Path(path).read_text("utf-8"))
        except (OSError, ValueError) as error:  # ValueError: no UTF-8, no TOML, or a NUL in the path
            raise ArgumentValueError(f"path: cannot read {shown}, want a TOML file: {error}") from None
        own = table.get("tool", {})
        if isinstance(own, dict) and own:
            own = own.get("fastact", {})
            table = own.get("thresholds", {}) if isinstance(own, dict) else {}
        if not isinstance(table, dict):
            raise ArgumentTypeError(f"{shown}: tool.fastact.thresholds: got {type(table).__name__}, want a table")
        names = [item.name for item in fields(cls)]
        for name in table:
            if name not in names:
                near = difflib.get_close_matches(name, names, n=1, cutoff=0.0)[0]
                raise ArgumentValueError(f"{shown}: got the unknown key {name!r}; the nearest known one is {near!r}")
        try:
            return cls(**table)
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


_RISING: Final = ("dead", "saturated")
