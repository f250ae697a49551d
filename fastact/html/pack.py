"""Arrays of numbers as text that a page can hold: rounded, as differences, deflated, in base64.

A number becomes a code of 16 bits: 0 is 0, and ±k is ±exp((k - `shift`) * `step`), so that the error is half a step of
the number itself, whatever its size; -32768 is none. Differences to the left neighbour (for quantiles: to the median)
are small numbers, which deflate well. `assets/data.js` undoes all of this.
"""

import base64
import math
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
_NONE: Final = -32768
_MOST: Final = 32766


@dataclass(frozen=True, eq=False)
class Cells:
    """Cells of a map for a page: row i has the layers ``rows[i]``, by their places; which these are is told apart.

    `parts` has for each statistic the least value, the lower quartile, the median, the upper quartile and the largest,
    or the median alone; each of shape (rows, columns). `count` has how many rows of the log a cell stands for.
    """

    rows: Sequence[Sequence[int]]
    origin: int
    width: int
    columns: int
    count: npt.NDArray[np.int64]
    parts: dict[str, tuple[Floats, ...]]


@dataclass(frozen=True)
class Packed:
    """Levels as a page holds them: what JSON says of them, and their numbers as base64."""

    levels: list[dict[str, Any]]
    blob: str


def pack(levels: Iterable[Cells], precision: float = 0.004, exact: Cells | None = None) -> Packed:
    """The cells of several levels.

    Args:
        levels: the map, and the single layers where its rows are several.
        precision: by which share of itself a number may be off, twice.
        exact: a last level, whose numbers are as exact as 16 bits allow.
    """
    content = bytearray()
    found: list[dict[str, Any]] = []
    for level in (*levels, *([] if exact is None else [exact])):
        statistics = {}
        start = len(content)
        content += _bytes(_along(np.minimum(level.count, 32767).astype(np.int16)))
        for name, parts in level.parts.items():
            step, shift = _fit(parts, 1e-6 if level is exact else precision)
            planes = [_code(part, step, shift) for part in parts]
            statistics[name] = {"at": len(content), "planes": len(planes), "step": step, "shift": shift}
            middle = planes[len(planes) // 2]
            content += _bytes(_along(middle))
            for plane in planes:
                if plane is not middle:
                    content += _bytes(plane - middle)
        facts = {"origin": level.origin, "width": level.width, "columns": level.columns, "count": start}
        found.append({"rows": len(level.rows), **facts, "statistics": statistics})
    return Packed(found, deflated(bytes(content)))


def deflated(content: bytes) -> str:
    """Bytes as text, in about 4/3 of the room that they take deflated."""
    return base64.b64encode(zlib.compress(content, 6)).decode()


def _fit(parts: Iterable[Floats], precision: float) -> tuple[float, int]:
    """The step and the shift with which all numbers have codes."""
    low, high = math.inf, 0.0
    for part in parts:
        size = np.abs(part[np.isfinite(part) & (part != 0.0)])
        if size.size:
            low, high = min(low, float(size.min())), max(high, float(size.max()))
    if high == 0.0:
        return precision, 1
    span = math.log(high) - math.log(low)
    step = max(precision, span / (_MOST - 4))
    # So that 1.0 is exact where it is within range.
    shift = 2 - math.floor(math.log(low) / step)
    return step, shift


def _code(values: Floats, step: float, shift: int) -> npt.NDArray[np.int16]:
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.rint(np.log(np.abs(values)) / step) + shift
    codes = np.where(values == 0.0, 0.0, np.sign(values) * np.clip(size, 1, _MOST))
    return np.where(np.isnan(values), _NONE, codes).astype(np.int16)


def _along(codes: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
    """Differences to the neighbour on the left, modulo 2^16; of the first column, to the row above."""
    found = codes.copy()
    found[:, 1:] -= codes[:, :-1]
    found[1:, 0] -= codes[:-1, 0]
    return found


def _bytes(codes: npt.NDArray[np.int16]) -> bytes:
    """Small numbers of either sign as small unsigned ones (0, -1, 1, -2, ...): all low bytes, then all high ones."""
    folded = ((codes << 1) ^ (codes >> 15)).astype(np.uint16)
    return (folded & 0xFF).astype(np.uint8).tobytes() + (folded >> 8).astype(np.uint8).tobytes()
