"""Activations, and dropout, that are called as functions: `F.relu` in the middle of a forward pass.

No module's hook sees them. A `TorchFunctionMode` does, which PyTorch itself asks at each call of one of its functions;
it is on while a watched model runs a pass that is recorded, and no longer. Functions that a module took hold of when
it was built (``self.activation = F.gelu``) come by it as well, which they would not if `F.gelu` were replaced; and
compilers know such modes, so compiled code records what eager code does.
"""

from collections.abc import Mapping
from typing import Any, Final, Protocol

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack, _pop_mode, _push_mode

from fastact.torch.criteria import LOSS_OF

#: The layer type of each function, by the function's name: that of the module which does the same.
TYPE_OF: Final[Mapping[str, str]] = {
    "relu": "ReLU", "relu6": "ReLU6", "leaky_relu": "LeakyReLU", "prelu": "PReLU", "rrelu": "RReLU", "elu": "ELU",
    "celu": "CELU", "selu": "SELU", "gelu": "GELU", "silu": "SiLU", "mish": "Mish", "softplus": "Softplus",
    "hardswish": "Hardswish", "hardtanh": "Hardtanh", "hardsigmoid": "Hardsigmoid", "hardshrink": "Hardshrink",
    "softshrink": "Softshrink", "tanhshrink": "Tanhshrink", "threshold": "Threshold", "logsigmoid": "LogSigmoid",
    "softsign": "Softsign", "tanh": "Tanh", "sigmoid": "Sigmoid", "softmax": "Softmax", "softmin": "Softmin",
    "gumbel_softmax": "Softmax", "log_softmax": "LogSoftmax", "normalize": "Normalize",
    "scaled_dot_product_attention": "ScaledDotProductAttention", "dropout": "Dropout",
}  # fmt: skip

#: What a module that has no weights, and so is a function itself, may still call inside: what weighs other tensors.
INSIDE: Final = frozenset({"softmax", "softmin", "gumbel_softmax", "log_softmax", "scaled_dot_product_attention"})


def _functions() -> dict[Any, str]:
    """The name of each function, by all that PyTorch hands to a mode for it: `F.relu`, `torch.relu_`, `Tensor.relu`."""
    found: dict[Any, str] = {}
    for name in TYPE_OF:
        for place in (functional, torch, torch.Tensor, torch._C._nn):
            for spelled in (name, f"{name}_"):
                function = getattr(place, spelled, None)
                if callable(function):
                    found[function] = name
    found[torch.sigmoid] = found[torch.special.expit] = "sigmoid"
    found[torch.special.softmax], found[torch.special.log_softmax] = "softmax", "log_softmax"
    return found


#: Functions by which a network chooses rows of a table, and by which it looks them up: see `usage`.
CHOICE: Final = "choice"
LOOK_UP: Final = "look-up"
SELECTION: Final = "selection"
OF_TABLES: Final[Mapping[Any, str]] = {
    getattr(place, name): CHOICE
    for place in (torch, torch.Tensor)
    for name in ("argmin", "argmax", "min", "max", "topk", "multinomial")
} | {functional.embedding: LOOK_UP, torch.Tensor.__getitem__: SELECTION}

#: Stands before the name of a loss function.
LOSS: Final = "loss:"

FUNCTIONS: Final = {**_functions(), **OF_TABLES, **{function: LOSS + name for function, name in LOSS_OF.items()}}


class Calls(Protocol):
    """What the mode needs of a `Watch`."""

    def _called(self, function: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None: ...


class FunctionMode(TorchFunctionMode):
    """Tells a watch which functions were called, and with what result. Dynamo traces it."""

    def __init__(self, watch: Calls) -> None:
        super().__init__()
        self.watch = watch

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Called by torch in place of `func`; the mode is off meanwhile."""
        result = func(*args, **kwargs) if kwargs else func(*args)
        function = FUNCTIONS.get(func)
        if function is not None:
            self.watch._called(function, args, kwargs or {}, result)
        return result


def switch_off(mode: TorchFunctionMode) -> None:
    """Takes a mode off this thread's stack, wherever it is; does nothing where it is not on."""
    stack = _get_current_function_mode_stack()
    if mode not in stack:
        return
    above: list[Any] = []
    while (top := _pop_mode()) is not mode:
        above.append(top)
    for other in reversed(above):
        _push_mode(other)
