"""What a module's type tells: its neurons' axis, the type that the rules know it by, its states, what it calls."""

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

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


#: Which functions are recorded that a module calls: all; those of `INSIDE`, by a module that is itself no more than a
#: function; none, by one of torch's, whose output is the function's.
Functions = Literal["all", "inside", "none"]

#: Layers that are one function, and not of Python: to turn functions off around it would cost what it saves.
_ONE_CALL: Final = (nn.Linear, nn.Bilinear, nn.modules.conv._ConvNd, nn.Flatten, nn.Identity)

#: Functions that share out one along an axis.
OVER_AN_AXIS: Final = frozenset({"softmax", "log_softmax", "softmin"})


def softmax_axis(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any] | None:
    """The axis along which a softmax is called, as a fact; None where it is not said."""
    axis = args[1] if len(args) > 1 else kwargs.get("dim")
    return {"axis": axis} if isinstance(axis, int) else None


def attention_scale(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any] | None:
    """By how much attention multiplies its scores, next to 1/sqrt(features); None where it does that, as is usual."""
    scale, query = kwargs.get("scale"), args[0] if args else kwargs.get("query")
    if not isinstance(scale, int | float) or not isinstance(query, torch.Tensor) or not query.ndim:
        return None
    return {"scale": float(scale), "features": int(query.shape[-1])}


def function_facts(function: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the arguments of a function tell that its result does not."""
    if function in OVER_AN_AXIS:
        return softmax_axis(args, kwargs)
    return attention_scale(args, kwargs) if function == "scaled_dot_product_attention" else None


def facts_of(module: nn.Module) -> dict[str, Any] | None:
    """What a layer tells that its type does not: the axis of a softmax, how large the scores of attention are."""
    if isinstance(module, nn.MultiheadAttention):
        return _scores_of(module)
    over = isinstance(module, nn.Softmax | nn.LogSoftmax | nn.Softmin) and isinstance(module.dim, int)
    return {"axis": module.dim} if over else None


@torch.no_grad()
def _scores_of(module: nn.MultiheadAttention) -> dict[str, Any] | None:
    """The features of a head, and the standard deviation of its scores where what it is given has an rms of 1.

    Queries and keys are made inside, where no hook sees them: of independent inputs with an rms of 1 those of weights W
    have one of |W| / sqrt(rows), and scaled products over a head the product of both.
    """
    pair: tuple[torch.Tensor, ...] = (module.q_proj_weight, module.k_proj_weight)
    if module.in_proj_weight is not None:
        pair = module.in_proj_weight.chunk(3)[:2]
    if not all(type(each) in (torch.Tensor, nn.Parameter) and each.device.type != "meta" for each in pair):
        return None
    gain = math.prod(float(each.float().norm()) / math.sqrt(each.shape[0]) for each in pair)
    return {"features": int(module.head_dim), "gain": gain} if math.isfinite(gain) else None


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


def functions_of(module: nn.Module, name: str) -> Functions:
    """Which functions are recorded that a module of this name calls."""
    if "parametrizations" in name.split("."):  # they compute weights
        return "none"
    if any(module.children()):
        return "all"
    if any(base.__module__ == nn.ReLU.__module__ for base in type(module).__mro__):
        return "none"
    # The model itself is more than a function, whatever it is made of.
    return "inside" if name and not any(True for _ in module.parameters(recurse=False)) else "all"


def calls_none(module: nn.Module) -> bool:
    """Whether the module is one of torch's that call no function that would be recorded: Linear, Conv2d, Dropout."""
    own = type(module).__module__
    return own.startswith("torch.nn.modules.") and own != nn.ReLU.__module__ and not any(module.children())


def is_hushed(module: nn.Module) -> bool:
    """Whether the module is one of torch's layers that is made of several functions, none of which is recorded."""
    own = type(module).__module__
    return own.startswith("torch.nn.modules.") and not any(module.children()) and not isinstance(module, _ONE_CALL)


def masks_of(module: nn.Module) -> tuple[int | str, ...]:
    """Places and names of the parameters of a module's `forward` that are masks."""
    try:
        names = list(inspect.signature(module.forward).parameters)
    except (TypeError, ValueError):
        return ()
    masks = [(place, name) for place, name in enumerate(names) if "mask" in name]
    return tuple(each for mask in masks for each in mask)
