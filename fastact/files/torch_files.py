"""Files of `torch.save`, by safe loading alone: what holds more than tensors and plain data is refused."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from fastact.errors import ArgumentValueError, MissingExtraError
from fastact.files.array import ArrayStats, Ask, sweep_slabs
from fastact.files.source import Source
from fastact.packages import needs_extra

#: Before this release a file could run code even where it was loaded by `weights_only` (CVE-2025-32434).
_SAFE_SINCE = (2, 6)


def read_torch(source: Source, ask: Ask) -> Iterator[ArrayStats]:
    """The tensors of a file, by the keys that lead to them: ``model.fc.weight``. Local ones are mapped."""
    import pickle

    with needs_extra("fastact.files", "files of torch.save", "torch", extra="torch"):
        import torch

    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    if version < _SAFE_SINCE:
        raise MissingExtraError(
            f"files of torch.save need torch 2.6, which loads them safely; here is {torch.__version__}: "
            "pip install 'torch>=2.6'"
        )
    try:
        if source.local:
            try:
                content = torch.load(source.path, map_location="cpu", weights_only=True, mmap=True)
            except RuntimeError as error:
                if "mmap" not in str(error):
                    raise
                content = torch.load(source.path, map_location="cpu", weights_only=True)  # the format before 1.6
        else:
            with source.filesystem.open_input_file(source.path) as file:
                content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # Torch's own words are advice to load it all the same.
        wanted = re.search(r"GLOBAL (\S+)", str(error))
        reason = f" It asks for {wanted[1]}." if wanted else ""
        raise ArgumentValueError(
            f"FILE: {source.name!r} holds more than tensors and plain data, or is damaged; loading it would run its "
            f"code, so it is not loaded: save a dict of tensors.{reason}"
        ) from None
    except RuntimeError as error:
        raise ArgumentValueError(f"FILE: {source.name!r} cannot be read: {str(error).splitlines()[0]}") from None
    for name, tensor in _tensors(content, ""):
        if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_complex() or tensor.is_nested:
            raise ArgumentValueError(f"FILE: tensor {name!r} of {source.name!r} is {tensor.layout}, want a dense one")
        dtype = str(tensor.dtype).removeprefix("torch.")
        plain = tensor.detach()
        yield sweep_slabs(name, dtype, tuple(plain.shape), iter([plain] if plain.numel() else []), ask)


def _tensors(content: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    import torch

    if isinstance(content, torch.Tensor):
        yield prefix, content
        return
    if isinstance(content, Mapping):
        items = content.items()
    elif isinstance(content, (list, tuple)):
        items = enumerate(content)  # type: ignore[assignment]
    else:
        return
    for key, value in items:
        yield from _tensors(value, f"{prefix}.{key}" if prefix else str(key))
