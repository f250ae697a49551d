"""The samples that are drawn in a forward pass, and the elements that a tensor has of them."""

import threading
from collections.abc import Iterator, Mapping
from typing import Any, Final

import torch

from fastact._adapters.drawing import Drawing
from fastact.fields import DRAWN

#: Tensors for drawn elements that are kept, of as many shapes.
_MOST_KEPT: Final = 64
#: Where all samples are swept.
_ALL: Final = tuple(field.nothing for field in DRAWN)


class Draw:
    """The samples of one pass: the same in all layers, and in their gradients.

    Args:
        batch: how many samples the model was given.
        chosen: those that are drawn, an index tensor of shape (samples,), rising.
        kept: memory for drawn elements, by shape and dtype.
    """

    __slots__ = ("_chosen", "_kept", "batch", "samples")

    def __init__(self, batch: int, chosen: torch.Tensor, kept: dict[Any, torch.Tensor]) -> None:
        self.batch, self.samples = batch, len(chosen)
        self._chosen = {chosen.device: chosen}
        self._kept = kept

    def of(self, x: torch.Tensor) -> tuple[torch.Tensor, tuple[int, int]]:
        """What a tensor has of these samples, and `fields.DRAWN`.

        They are along its first axis, where that has as many entries as there are samples, or a multiple, as of a
        sample's positions: (batch * positions, features). Of anything else all is swept.
        """
        shape = x.shape
        if not shape or not shape[0] or shape[0] % self.batch or (x.is_cuda and is_captured()):
            return x, _ALL  # type: ignore[return-value] # two integers
        x = x.detach()
        chosen = self._chosen.get(x.device)
        if chosen is None:
            chosen = self._chosen[x.device] = next(iter(self._chosen.values())).to(x.device, non_blocking=True)
        if shape[0] == self.batch:
            found = self._select(x, chosen)
        else:
            found = self._select(x.unflatten(0, (self.batch, -1)), chosen).flatten(0, 1)
        return found, (self.samples, x.numel() - found.numel())

    def _select(self, x: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        if not x.is_contiguous():
            # As it lies in memory, where the samples are still apart: an element at a time takes ten times as long.
            strides = x.stride()
            order = sorted(range(x.ndim), key=lambda axis: (-strides[axis], axis))
            if order[0] == 0:
                back = sorted(range(x.ndim), key=order.__getitem__)
                return x.permute(order).index_select(0, chosen).permute(back)
        if not x.is_cpu:
            return x.index_select(0, chosen)
        # Into the same memory layer after layer, which is in the caches then.
        key = x.shape[1:], x.dtype
        kept = self._kept.get(key)
        if kept is None or kept.shape[0] < self.samples:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            with torch.inference_mode(False):  # what is made within cannot be changed after it
                kept = self._kept[key] = torch.empty((self.samples, *x.shape[1:]), dtype=x.dtype)
        into = kept if kept.shape[0] == self.samples else kept[: self.samples]
        torch.index_select(x, 0, chosen, out=into)
        return into


class Draws:
    """What is drawn in the passes of one `Watch`.

    Args:
        share: of the samples, above 0 and below 1.
        first: first steps of the monitor of which all samples are swept.
    """

    def __init__(self, share: float, first: int) -> None:
        self._drawing, self._first = Drawing(share), first
        #: The recorded steps, counted on from the number of the first one.
        self._count = -1
        #: The samples of the last pass, and of the last two the most: by these it is known beforehand in which steps
        #: something is drawn. By the last alone the short batch that ends an epoch would cost the steps after it.
        self._last = self._batch = 0
        self._step, self._passes = -1, 0
        self._kept = _Kept()

    def due(self, step: int) -> bool:
        """Whether something is drawn in this step, which would be recorded; to be asked once."""
        self._count = step if self._count == -1 else self._count + 1
        return step < self._first or not self._batch or self._drawing.due(self._count, self._batch)

    def draw(self, step: int, given: object) -> Draw | None:
        """Draws from what the model is `given` in a pass; None where all of it is swept."""
        batch = next((x.shape[0] for x in _tensors(given) if x.ndim), 0)
        self._passes = self._passes + 1 if step == self._step else 0
        self._step, self._last, self._batch = step, batch, max(batch, self._last)
        if step < self._first or self._drawing.parts(batch) == 1:
            return None
        chosen = torch.from_numpy(self._drawing.samples(self._count, self._passes, batch))
        return Draw(batch, chosen, self._kept.tensors)


class _Kept(threading.local):
    """Memory of this thread for drawn elements."""

    def __init__(self) -> None:
        self.tensors: dict[Any, torch.Tensor] = {}


def _tensors(given: object, depth: int = 4) -> Iterator[torch.Tensor]:
    """The tensors among a module's arguments, in their order."""
    if isinstance(given, torch.Tensor):
        yield given
    elif depth and isinstance(given, Mapping):
        for value in given.values():
            yield from _tensors(value, depth - 1)
    elif depth and isinstance(given, tuple | list):
        for value in given:
            yield from _tensors(value, depth - 1)


def is_captured() -> bool:
    """Whether a CUDA graph is being captured: its replays would all repeat what is done now, with the same samples."""
    return torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing()
