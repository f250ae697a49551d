"""What a step of an optimiser adds to a parameter: the difference of a sample, from before the step and from after it.

There is no second copy of the model: small parameters are looked at whole, larger ones at some two thousand elements,
evenly spaced and always the same.
"""

import math
from collections.abc import Sequence
from typing import Final

import torch

from fastact.torch.tensors import local_values

#: Elements of a parameter that is looked at whole, and about how many of a larger one.
_WHOLE: Final = 4096
_SAMPLE: Final = 2048


class Sample:
    """The elements of one parameter that are looked at."""

    __slots__ = ("_address", "now", "old")

    def __init__(self) -> None:
        #: They as they are, a view of the parameter's memory wherever that can be; and as they were before a step.
        self.now = self.old = torch.empty(0)
        #: Where that memory is; 0 where they are a copy.
        self._address = 0

    def look(self, parameter: torch.Tensor) -> bool:
        """Finds the elements as they are now; False where this process has none, or they are no numbers."""
        if self._address and parameter.data_ptr() == self._address:
            return True
        if parameter.is_meta:
            return False
        x = parameter.detach()
        if type(parameter.data) is not torch.Tensor or x.is_quantized:
            x = local_values(x)
        if not x.numel() or not (x.is_floating_point() or x.is_complex()):
            return False
        if not x.is_contiguous():
            x = x.permute(sorted(range(x.ndim), key=x.stride, reverse=True))  # as it lies in memory
        self._address = x.data_ptr() if x.is_contiguous() else 0
        flat = x.reshape(-1)
        self.now = flat if x.numel() <= _WHOLE else flat[:: _stride(x.numel())]
        return True

    def release(self) -> None:
        """Lets go of the parameter's memory, which is not kept from step to step."""
        self.now, self._address = torch.empty(0), 0


def _stride(elements: int) -> int:
    """How far apart the elements of a sample are, so that it does not stay within a few columns."""
    stride = math.ceil(elements / _SAMPLE)
    while math.gcd(stride, elements) > 1:
        stride += 1
    return stride


def keep(samples: Sequence[Sample]) -> None:
    """Copies what is looked at, before a step."""
    for sample in samples:
        now, old = sample.now, sample.old
        if old.shape != now.shape or old.device != now.device or old.dtype != _exact(now):
            with torch.inference_mode(False):  # what is made within cannot be changed after it
                sample.old = torch.empty(now.shape, dtype=_exact(now), device=now.device)
    if samples:
        torch._foreach_copy_([sample.old for sample in samples], [sample.now for sample in samples])


def changes(samples: Sequence[Sample]) -> list[torch.Tensor]:
    """What has been added since `keep`, of each sample; exactly zero where nothing was.

    Numbers of two bytes are subtracted as float32.
    """
    if not samples:
        return []
    differences = list(torch._foreach_sub([x.now.to(x.old.dtype) for x in samples], [x.old for x in samples]))
    for sample in samples:
        sample.release()
    return differences


def _exact(x: torch.Tensor) -> torch.dtype:
    return torch.float32 if x.is_floating_point() and x.element_size() < 4 else x.dtype
