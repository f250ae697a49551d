"""Forward passes: where one begins and ends, and what is counted and known in it.

A module that is called in several places of one pass has a row for each place, and what a pass is follows from the
outermost module that is called. All of it is known while the code runs, in compiled code too: there the hooks leave
calls in the graph that say when a pass begins and ends.
"""

import threading
from typing import Any, Final

import torch
from torch import nn
from torch._C import (
    _get_function_stack_at,
    _len_torch_function_stack,
    _pop_torch_function_stack,
    _push_on_torch_function_stack,
)
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import _push_mode

from fastact.torch.drawn import Draw
from fastact.torch.functional import FunctionMode, switch_off
from fastact.torch.sites import Quick
from fastact.torch.tensors import find_tensors

#: Places of a module, or of a function in a module, that have rows of their own; further calls join the last one.
MOST_PLACES: Final = 8


class Passes(threading.local):
    """The pass that this thread is in, of one `Watch`; a thread runs one at a time.

    Attributes:
        outermost: the scope of the module with which the pass began; None outside of one.
        due: whether the step is recorded that the pass is in.
        recorded: whether the rows of this pass are recorded.
        training: whether the outermost module was in training mode.
        running: the scopes of the modules that run, innermost last.
        sources: which row's output lies in a storage, while that is looked at; None where it is not.
        last_sources: that of the last pass which had one, for the loss that follows.
        draw: the samples that are drawn in this pass; None where all are swept.
        drawn: whether it is known which; in compiled code the first tensor tells.
        function: the last function that was called in a module which is no more than a function, and its result.
        hushed: whether the mode is off while one of torch's layers runs.
        quick: what holds for all of its rows that may take the short way; None where none may.
        counts: how often each row was recorded so far, by the name that it has in the first place.
    """

    def __init__(self, mode: FunctionMode | None) -> None:
        self._mode = mode
        self.outermost: object | None = None
        self.due = self.recorded = self.hushed = False
        self.training = True
        self.draw: Draw | None = None
        self.quick: Quick | None = None
        self.drawn = False
        self.running: list[Any] = []
        self.sources: Sources | None = None
        self.last_sources: Sources | None = None
        self.function: tuple[torch.Tensor, str] | None = None
        self._depth = 0
        self._step = -1
        self.counts: dict[str, int] = {}

    def again(self, step: int) -> bool:
        """Whether a pass begins when the outermost module is called inside of itself, as it seems, in this step."""
        if step != self._step:  # an interrupt has ended the pass before, and no hook was called
            return True
        self._depth += 1
        return False

    def begin(self, scope: object, module: nn.Module, step: int) -> None:
        """Begins a pass that is recorded."""
        self.outermost, self._depth, self._step = scope, 1, step
        self.due = self.recorded = True
        self.quick = None
        self.draw, self.drawn = None, False
        self.training = module.training
        self.running.clear()
        self.counts.clear()

    def skip(self, scope: object, step: int, *, due: bool) -> None:
        """Begins a pass that is not recorded, or, where it is `due`, whose functions and inputs are not."""
        self.outermost, self._depth, self._step = scope, 1, step
        self.due, self.recorded, self.quick = due, False, None

    def functions_on(self) -> None:
        """From here on functions are seen."""
        self.hushed = False
        if self._mode is not None:
            switch_off(self._mode)
            _push_mode(self._mode)

    def functions_off(self) -> None:
        """From here on they are not."""
        self.hushed = False
        if self._mode is not None:
            switch_off(self._mode)

    def hush(self) -> None:
        """Functions are not seen until `speak`, unless another mode lies above ours."""
        count = _len_torch_function_stack()
        if count and _get_function_stack_at(count - 1) is self._mode:
            _pop_torch_function_stack()
            self.hushed = True

    def speak(self) -> None:
        """Ends what `hush` began."""
        self.hushed = False
        _push_on_torch_function_stack(self._mode)

    def leaves(self, scope: object) -> None:
        """Ends the pass, if it began with this module."""
        if self.outermost is scope:
            self._depth -= 1
            if self._depth <= 0:
                self.end()

    def end(self) -> None:
        """Ends the pass."""
        self.outermost = self.draw = self.quick = None
        self.due = self.recorded = False
        self.last_sources = self.sources or self.last_sources
        self.sources = self.function = None
        self.running.clear()
        self.functions_off()

    def place(self, name: str, *, count: bool = True) -> str:
        """What follows a name where it is recorded for the second time and later in this pass: ``":2"``."""
        if self.outermost is None:
            return ""
        number = min(self.counts.get(name, 0) + 1, MOST_PLACES)
        if count:
            self.counts[name] = number
        return f":{number}" if number > 1 else ""


class Sources:
    """Which layer's output a tensor is, by the memory that it lies in; asked in one pass, where layers are first seen.

    Views have the memory of what they view. What was overwritten since, as by a sum in place, is nobody's output.
    """

    def __init__(self) -> None:
        self._names: dict[int, tuple[StorageWeakRef, int, str, torch.Size]] = {}

    def of(self, args: object, result: object = None) -> str:
        """The row whose output the first tensor of `args` is; `result` may have been written in its place."""
        tensors = find_tensors(args)
        if not tensors:
            return ""
        x = tensors[0][1]
        key = _storage(x)
        found = None if key is None else self._names.get(key)
        if found is None:
            return ""
        in_place = isinstance(result, torch.Tensor) and _storage(result) == key
        return found[2] if x._version - found[1] in ((0, 1) if in_place else (0,)) else ""

    def add(self, x: torch.Tensor, name: str) -> None:
        """Notes that `x` is the output of row `name`."""
        if (key := _storage(x)) is not None:
            # While there is a reference, even a weak one, no other storage takes this address.
            self._names[key] = StorageWeakRef(x.untyped_storage()), x._version, name, x.shape

    def find(self, x: torch.Tensor) -> tuple[str, torch.Size] | None:
        """The row whose output `x` is, or is a view of, and the shape of that output."""
        key = _storage(x)
        found = None if key is None else self._names.get(key)
        return None if found is None or x._version != found[1] else found[2:]


def _storage(x: torch.Tensor) -> int | None:
    """The address of the storage of a plain tensor; None where it has none, or does not count what is written to it."""
    if type(x) not in (torch.Tensor, nn.Parameter) or x.is_inference() or x.layout is not torch.strided:
        return None
    return int(x.untyped_storage()._cdata)
