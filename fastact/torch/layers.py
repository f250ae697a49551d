"""What a module's type tells: where its neurons are, what rules call it, and which tensors are in its output."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Final

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence

__all__ = ["axis_rule", "backward_pass", "tensors", "type_name"]

#: The number of the backward pass that this thread is in, -1 outside of one: inside, only activation checkpointing runs
#: a layer, for the second time.
backward_pass: Final[Callable[[], int]] = torch._C._current_graph_task_id

#: How deep tuples, lists, dicts and dataclasses are searched for tensors: enough for real outputs, and an end for
#: a structure that contains itself.
_DEPTH: Final = 8

#: Layers that put their neurons (features) on the last axis.
_LAST: Final = (
    nn.Linear,
    nn.Bilinear,
    nn.LayerNorm,
    nn.RMSNorm,
    nn.RNNBase,
    nn.RNNCellBase,
    nn.Embedding,
    nn.EmbeddingBag,
    nn.MultiheadAttention,
)
#: Layers that put their neurons (channels) on axis 1, batched or not at all.
_SECOND: Final = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.SyncBatchNorm,
    nn.GroupNorm,
    nn.LocalResponseNorm,
)
#: Layers that put their channels before this many spatial axes; a batch axis may be missing.
_SPATIAL: Final = (
    ((nn.Conv1d, nn.ConvTranspose1d, nn.InstanceNorm1d), 1),
    ((nn.Conv2d, nn.ConvTranspose2d, nn.InstanceNorm2d), 2),
    ((nn.Conv3d, nn.ConvTranspose3d, nn.InstanceNorm3d), 3),
)


def axis_rule(module: nn.Module) -> Callable[[int], int] | None:
    """How to get the neuron axis from the number of axes of the output; None: the type does not say."""
    if isinstance(module, _LAST):
        return lambda ndim: ndim - 1
    if isinstance(module, _SECOND):
        return lambda ndim: 1
    for types, spatial in _SPATIAL:
        if isinstance(module, types):
            return lambda ndim: ndim - spatial - 1
    return None


def type_name(module: nn.Module) -> str:
    """The type's name; for a type derived from one of torch's layers the name of that, since it is known to rules."""
    own = ""
    for base in type(module).__mro__:
        if base.__module__.startswith("torch.nn.modules.") and base not in (nn.Module, nn.Sequential):
            if not base.__name__.startswith("_"):
                return base.__name__
        # `parametrize` and `fully_shard` put types of torch's before the module's own: ParametrizedSwish, FSDPSwish.
        elif not own and not base.__module__.startswith("torch."):
            own = base.__name__
    return own if own and own != "object" else type(module).__name__


def tensors(output: object, place: str = "", depth: int = 0) -> list[tuple[str, torch.Tensor]]:
    """The tensors inside a module's output, each with its place as Python would write it."""
    if isinstance(output, torch.Tensor):
        return [(place, output)]
    if depth == _DEPTH or output is None:
        return []
    found: list[tuple[str, torch.Tensor]] = []
    if isinstance(output, PackedSequence):  # its other tensors are lengths and positions
        found += tensors(output.data, place + ".data", depth + 1)
    elif isinstance(output, Mapping):
        for key, value in output.items():
            found += tensors(value, f"{place}[{key!r}]", depth + 1)
    elif isinstance(output, tuple | list):
        for index, value in enumerate(output):
            found += tensors(value, f"{place}[{index}]", depth + 1)
    elif dataclasses.is_dataclass(output) and not isinstance(output, type):
        for field in dataclasses.fields(output):
            found += tensors(getattr(output, field.name, None), f"{place}.{field.name}", depth + 1)
    return found
