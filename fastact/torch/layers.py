"""What a module's type tells: where its neurons are, the layer type that the rules know it by, its hidden states."""

from collections.abc import Callable
from typing import Final

import torch
from torch import nn

#: For the layers whose type tells it: from the output's number of axes to its neuron axis.
_AXIS_RULES: Final[tuple[tuple[tuple[type[nn.Module], ...], Callable[[int], int]], ...]] = (
    # Features on the last axis.
    ((nn.Linear, nn.Bilinear, nn.LayerNorm, nn.RMSNorm, nn.RNNBase, nn.RNNCellBase, nn.Embedding, nn.EmbeddingBag,
      nn.MultiheadAttention), lambda ndim: ndim - 1),
    # Channels on axis 1, whether there is a batch axis or not.
    ((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, nn.GroupNorm, nn.LocalResponseNorm),
     lambda ndim: 1),
    # Channels before the spatial axes; the batch axis may be missing.
    ((nn.Conv1d, nn.ConvTranspose1d, nn.InstanceNorm1d), lambda ndim: ndim - 2),
    ((nn.Conv2d, nn.ConvTranspose2d, nn.InstanceNorm2d), lambda ndim: ndim - 3),
    ((nn.Conv3d, nn.ConvTranspose3d, nn.InstanceNorm3d), lambda ndim: ndim - 4),
)  # fmt: skip


def axis_rule(module: nn.Module) -> Callable[[int], int] | None:
    """A function from the output's number of axes to its neuron axis; None where the module's type does not tell."""
    return next((rule for types, rule in _AXIS_RULES if isinstance(module, types)), None)


def layer_type_of(module: nn.Module) -> str:
    """The name of the module's type; if it derives from one of torch's layers, the name of that, which rules know."""
    own = ""
    for base in type(module).__mro__:
        if base.__module__.startswith("torch.nn.modules.") and base not in (nn.Module, nn.Sequential):
            if not base.__name__.startswith("_"):
                return base.__name__ + _variant(module)
        # `parametrize` and `fully_shard` insert torch types before the module's own: ParametrizedSwish, FSDPSwish.
        elif not own and not base.__module__.startswith("torch."):
            own = base.__name__
    return own if own and own != "object" else type(module).__name__


def _variant(module: nn.Module) -> str:
    """What is added to the type of a recurrent layer that has no bounds."""
    if isinstance(module, nn.RNN | nn.RNNCell) and module.nonlinearity == "relu":
        return "ReLU"
    return "Projected" if isinstance(module, nn.LSTM) and module.proj_size else ""


def states_apart(module: nn.Module | None, layer_type: str, place: str, x: torch.Tensor) -> tuple[int, str]:
    """Of a recurrent module's output at `place`: how many layers and directions have their states in it, and its type.

    One for outputs that are not states of several layers and directions, which have them on the first axis.
    """
    if not isinstance(module, nn.RNNBase | nn.LSTMCell):
        return 1, layer_type
    if isinstance(module, nn.LSTMCell):
        return 1, "LSTMState" if place == "[1]" else layer_type
    cell_state = isinstance(module, nn.LSTM) and place == "[1][1]"
    parts = module.num_layers * (2 if module.bidirectional else 1) if place.startswith("[1]") else 1
    return parts if len(x) == parts else 1, "LSTMState" if cell_state else layer_type
