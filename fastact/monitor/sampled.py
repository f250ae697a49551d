"""What a graph hands over of a large tensor: the stats of all of it, and its first samples."""

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from fastact.stats.activation import ActivationStats
from fastact.stats.channel import ChannelStats


@dataclass(frozen=True, slots=True, eq=False)
class Sampled:
    """A tensor that stays on its device; `ActivationMonitor.record_loss` takes it for predictions or targets.

    Attributes:
        stats: what a sweep of all of it found; elements outside 0..1 are saturated. None where a layer's row has them.
        sample: its first samples, or a corner of the first one.
        shape: that of the tensor.
        dtype: that of the tensor.
    """

    stats: ActivationStats | ChannelStats | None
    sample: npt.NDArray[Any]
    shape: tuple[int, ...]
    dtype: str

    def __getitem__(self, key: Any) -> Any:
        return self.sample[key]
