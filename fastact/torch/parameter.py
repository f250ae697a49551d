"""One parameter of a watched model: where it is, and what is known of it."""

import weakref
from typing import Any, Final

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from fastact.torch.updates import Sample

#: Units along a parameter's first axis that are told apart; the rows of a larger one are those of a vocabulary.
_UNITS: Final = 4096
#: Modules that keep their units along the second axis; Conv1D is that of Transformers.
_SECOND: Final = ("ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d", "Conv1D")


class KnownParameter:
    """A parameter: where it is, and what is known of it. It is not kept alive."""

    __slots__ = ("attribute", "facts", "graded", "layer", "module", "name", "names", "sample", "weighed")

    def __init__(self, module: nn.Module, attribute: str, name: str, layer: str) -> None:
        self.module = weakref.ref(module)
        self.attribute = attribute
        self.name = name
        self.names = [name]
        self.layer = layer
        #: What its rows are described by, from the first one on.
        self.facts: dict[str, Any] | None = None
        #: Whether it has had a gradient, and whether it has a row of its own.
        self.graded = self.weighed = False
        #: What is looked at for its updates, from the first one on.
        self.sample: Sample | None = None

    def now(self) -> nn.Parameter | None:
        """The parameter that is there now; wrappers put others in its place."""
        module = self.module()
        parameter = None if module is None else module._parameters.get(self.attribute)
        return None if parameter is None or is_lazy(parameter) else parameter

    def axis(self, x: torch.Tensor) -> int | None:
        """The axis along which a tensor of the parameter's shape has the layer's units."""
        module = self.module()
        if x.ndim < 2 or isinstance(module, nn.Embedding | nn.EmbeddingBag):
            return None
        axis = int(type(module).__name__ in _SECOND)
        return axis if x.shape[axis] <= _UNITS else None
