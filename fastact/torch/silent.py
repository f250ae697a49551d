"""Modules whose own code calls no function that is recorded, as far as that can be told from the code.

Blocks of convolutional networks mostly call layers and add up. Where no module of a model calls more than that, nobody
need be told of each call of PyTorch's functions, which costs microseconds each. Whatever is not known to be silent is
not: another name, a function from elsewhere, a callable that is handed in, code that Python's next version writes.
"""

import builtins
import dis
from types import FunctionType
from typing import Any, Final

import torch
from torch import nn

from fastact.torch.criteria import is_criterion
from fastact.torch.hooks import Uncopied
from fastact.torch.layers import calls_none

#: What a module may call, or ask for, whatever it is called on: what moves, adds and shapes tensors.
_NAMES: Final = frozenset({
    "T", "add", "add_", "arange", "cat", "chunk", "clone", "contiguous", "detach", "device", "dim", "div", "dtype",
    "expand", "expand_as", "flatten", "float", "mT", "matmul", "mean", "mul", "ndim", "numel", "ones", "ones_like",
    "permute", "repeat", "reshape", "shape", "size", "split", "squeeze", "stack", "sub", "sum", "to", "training",
    "transpose", "unbind", "unflatten", "unsqueeze", "view", "view_as", "zeros", "zeros_like",
})  # fmt: skip
_BUILTINS: Final = frozenset(
    {"bool", "enumerate", "float", "int", "isinstance", "len", "list", "range", "tuple", "zip"}
)
#: What Python's code is made of that calls nothing but what it has loaded by name.
_OPERATIONS: Final = frozenset({
    "BINARY_OP", "BUILD_LIST", "BUILD_SLICE", "BUILD_TUPLE", "CACHE", "CALL", "COMPARE_OP", "CONTAINS_OP", "COPY",
    "END_FOR", "FOR_ITER", "GET_ITER", "IS_OP", "JUMP_BACKWARD", "JUMP_FORWARD", "KW_NAMES", "LIST_APPEND",
    "LOAD_ATTR", "LOAD_CONST", "LOAD_FAST", "LOAD_GLOBAL", "LOAD_METHOD", "NOP", "POP_JUMP_BACKWARD_IF_FALSE",
    "POP_JUMP_BACKWARD_IF_NONE", "POP_JUMP_BACKWARD_IF_NOT_NONE", "POP_JUMP_BACKWARD_IF_TRUE",
    "POP_JUMP_FORWARD_IF_FALSE", "POP_JUMP_FORWARD_IF_NONE", "POP_JUMP_FORWARD_IF_NOT_NONE",
    "POP_JUMP_FORWARD_IF_TRUE", "POP_JUMP_IF_FALSE", "POP_JUMP_IF_NONE", "POP_JUMP_IF_NOT_NONE", "POP_JUMP_IF_TRUE",
    "POP_TOP", "PRECALL", "RESUME", "RETURN_CONST", "RETURN_VALUE", "STORE_FAST", "SWAP", "UNARY_NEGATIVE",
    "UNARY_NOT", "UNPACK_SEQUENCE",
})  # fmt: skip
#: How deep methods are followed that call methods.
_DEPTH: Final = 4


def is_silent(module: nn.Module) -> bool:
    """Whether the module's `forward` calls its children, and nothing else that could be recorded.

    Args:
        module: any module; of its children only the names are looked at.

    Example:
        >>> is_silent(nn.Sequential(nn.Linear(2, 2), nn.ReLU())), is_silent(nn.ReLU())
        (True, False)
    """
    kind = type(module)
    forward = getattr(kind, "forward", None)
    if "forward" in module.__dict__ or kind.__call__ is not nn.Module.__call__ or _has_other_hooks(module):
        return False
    if forward is nn.Sequential.forward:
        return getattr(kind, "__iter__", None) is nn.Sequential.__iter__
    # PyTorch's own modules are functions.
    return not kind.__module__.startswith("torch.") and _calls_none(module, forward, _DEPTH)


def is_one_layer(module: nn.Module) -> bool:
    """Whether the module is one of PyTorch's layers, of which at most the output is recorded; a loss is none."""
    return calls_none(module) and not is_criterion(module) and not _has_other_hooks(module)


def _has_other_hooks(module: nn.Module) -> bool:
    """Whether the module has hooks of somebody else's, which may call what they like."""
    hooks = (*module._forward_pre_hooks.values(), *module._forward_hooks.values())
    return not all(isinstance(hook, Uncopied) for hook in hooks)


def _calls_none(module: nn.Module, function: Any, depth: int) -> bool:
    if type(function) is not FunctionType or function.__closure__ or not depth:
        return False
    return all(_is_harmless(module, function, each, depth) for each in dis.get_instructions(function))


def _is_harmless(module: nn.Module, function: FunctionType, operation: dis.Instruction, depth: int) -> bool:
    name = operation.argval
    if operation.opname not in _OPERATIONS:
        return False
    if operation.opname == "LOAD_GLOBAL":
        if name in function.__globals__:
            return function.__globals__[name] is torch
        return name in _BUILTINS and hasattr(builtins, name)
    if operation.opname in ("LOAD_ATTR", "LOAD_METHOD"):
        return _is_known(module, name, depth)
    return True


def _is_known(module: nn.Module, name: str, depth: int) -> bool:
    """Whether what goes by this name, in the module or in a tensor, calls no function that is recorded."""
    if name in module._modules or name in module._parameters or name in module._buffers:
        return True
    if name in module.__dict__:
        return module.__dict__[name] is None or type(module.__dict__[name]) in (bool, int, float, str)
    own = getattr(type(module), name, None)
    if own is None or own is getattr(nn.Module, name, None):
        return name in _NAMES
    return name not in _NAMES and _calls_none(module, own, depth - 1)
