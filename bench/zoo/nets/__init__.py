"""The networks of the zoo, written as people write them.

Each function takes what its `data.Task` has (inputs, outputs) and options by name, and returns a network whose layers
have the names that `recipes` speaks of.
"""

from collections.abc import Callable
from typing import Final

from torch import nn

from bench.zoo.nets import (
    dense,
    experts,
    fifth_dense,
    fifth_images,
    fifth_sequences,
    fourth_dense,
    fourth_images,
    fourth_sequences,
    functional,
    images,
    looking,
    others,
    pictures,
    sequences,
    series,
    seventh_held_out_dense,
    seventh_held_out_images,
    seventh_held_out_sequences,
    sixth_dense,
    sixth_images,
    sixth_sequences,
    third_dense,
    third_images,
    third_sequences,
)  # fmt: skip

__all__ = ["NETS"]

_FAMILIES: Final = (
    dense, experts, functional, images, looking, others, pictures, sequences, series, third_dense, third_images,
    third_sequences, fourth_dense, fourth_images, fourth_sequences, fifth_dense, fifth_images,
    fifth_sequences, sixth_dense, sixth_images, sixth_sequences, seventh_held_out_dense,
    seventh_held_out_images, seventh_held_out_sequences,
)  # fmt: skip

#: By name.
NETS: Final[dict[str, Callable[..., nn.Module]]] = {
    name: getattr(family, name) for family in _FAMILIES for name in family.__all__
}
