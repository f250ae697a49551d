"""The tensors inside of a module's output, whatever holds them."""

import dataclasses
from collections.abc import Mapping
from typing import Final

import torch
from torch.nn.utils.rnn import PackedSequence

#: How deep tuples, lists, dicts and dataclasses are searched: enough for real outputs, and an end for a structure that
#: contains itself.
_DEPTH: Final = 8


def find_tensors(output: object, place: str = "", depth: int = 0) -> list[tuple[str, torch.Tensor]]:
    """The tensors inside a module's output, each with its place as Python would write it: ``"[0]"``, ``".logits"``."""
    if isinstance(output, torch.Tensor):
        return [(place, output)]
    if depth == _DEPTH or output is None:
        return []
    parts: list[tuple[str, object]] = []  # Dynamo traces lists in every release, generators only in newer ones
    if isinstance(output, PackedSequence):  # its other tensors are lengths and positions
        parts = [(".data", output.data)]
    elif isinstance(output, Mapping):
        parts = [(f"[{key!r}]", value) for key, value in output.items()]
    elif isinstance(output, tuple | list):
        parts = [(f"[{index}]", value) for index, value in enumerate(output)]
    elif dataclasses.is_dataclass(output) and not isinstance(output, type):
        parts = [(f".{each.name}", getattr(output, each.name, None)) for each in dataclasses.fields(output)]
    return [found for inner, value in parts for found in find_tensors(value, place + inner, depth + 1)]


def local_values(x: torch.Tensor) -> torch.Tensor:
    """The dense values of a tensor.

    A nested tensor's rows are stacked; of a DTensor it is this process's part, of a sparse tensor what is stored, of a
    quantised one what its numbers stand for.
    """
    if x.is_nested:
        return x.values() if x.layout is torch.jagged else x.values().reshape(-1, x.size(-1))
    to_local = getattr(x, "to_local", None)
    local: torch.Tensor = x if to_local is None else to_local()
    if local.is_quantized:
        return local.dequantize()
    if local.layout is torch.sparse_coo:
        return local._values()  # of an index that occurs twice both, unsummed: summing sorts all of them
    if local.layout is not torch.strided:
        return local.to_dense() if local.is_mkldnn else local.values()
    return local


def is_part(x: torch.Tensor) -> bool:
    """Whether other processes have other parts of this tensor: a DTensor that is sharded, or a parameter of FSDP's."""
    placements = getattr(x, "placements", None)
    if placements is not None:
        return not all(placement.is_replicate() for placement in placements)
    return bool(getattr(x, "_fsdp_flattened", False))


def real_numbers(x: torch.Tensor) -> torch.Tensor:
    """A tensor's numbers as real ones: of complex numbers both parts, along a last axis that is added."""
    return torch.view_as_real(x.resolve_conj().resolve_neg()) if x.is_complex() else x
