"""Which fold a flat array of an element type is swept by."""

import functools
from typing import Any

from fastact.arithmetic.element_types import BFloat16, ElementType, Float16
from fastact.cpu import halves
from fastact.cpu.flat import fold_part, part_fold
from fastact.cpu.octets import fold_octets


@functools.cache
def fold_of(element_type: ElementType) -> Any:
    """The fastest fold of a contiguous, non-empty 1-D array into its state: (x, tag, bounds), as `flat.fold_part`."""
    if isinstance(element_type.tag, (BFloat16, Float16)):
        fold = halves.fold_halves_of(element_type.tag)
        return part_fold(fold, halves.BLOCK, halves.PAIR_BLOCK, prefers_zero=True)
    if element_type.bits == 8 and element_type.format is None:
        return fold_octets
    return fold_part
