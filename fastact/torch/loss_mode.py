"""How a loss is seen that the training loop computes: a mode that is on from the end of a pass to its backward pass.

PyTorch asks a `TorchFunctionMode` at each call of its functions, whoever took hold of them and when, so nothing of
PyTorch or of the user is replaced. As each call costs a microsecond then, it is taken off as soon as it has seen what
it is there for.
"""

import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import torch
from torch._C import _len_torch_function_stack
from torch.overrides import TorchFunctionMode, _pop_mode, _push_mode
from torch.utils._device import DeviceContext

from fastact.torch.by_hand import Compared
from fastact.torch.criteria import LOSS_OF, Call
from fastact.torch.functional import switch_off

#: What begins a backward pass; `grad` where nothing is differentiated after it.
_BACKWARD: Final = frozenset({torch.Tensor.backward, torch.autograd.backward, torch.autograd.grad})
#: What a `GradScaler` calls, and others who scale a loss.
_MULTIPLIES: Final = frozenset({torch.Tensor.mul, torch.mul})

#: Frames that are looked at for the user's line that has called a loss function.
_MOST_FRAMES: Final = 12
_INSIDE: Final = (str(Path(torch.__file__).parent), str(Path(__file__).parents[1]))


class Calls(Protocol):
    """What the mode needs of `Losses`."""

    def _look(self, function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None: ...
    def _called(self, function: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> bool: ...
    def _scaled(self, args: tuple[Any, ...], result: Any) -> None: ...
    def _backward(self, totals: Any, *, only: bool) -> bool: ...
    def _failed(self) -> None: ...


class Seen(threading.local):
    """What one thread has seen.

    Attributes:
        waiting: whether the mode is on after a pass; and how much had been compiled when it began to be.
        mode: whether the model trains, and whether autograd is on, in the pass that came last.
        losses: how many losses came since it began.
        calls: how many other functions were called since then.
        pending: the losses that wait for a backward pass, and the step that the first one was in.
        scaled: the number of the node of what a loss was multiplied to, and the loss.
        settled: how many were recorded since the last backward pass, without waiting for one.
        places: how often each place in the code has called a loss since the pass began.
        compared: what a loss that the loop writes by hand compares.
    """

    def __init__(self) -> None:
        self.waiting, self.compilations = False, 0
        self.mode = (True, True)
        self.losses = self.calls = self.settled = 0
        self.pending: list[Call] = []
        self.step = -1
        self.scaled = -2, torch.empty(0)
        self.places: dict[tuple[object, ...], int] = {}
        self.compared = Compared()

    def begin(self, training: bool) -> None:
        """A pass of the model begins, in training or not."""
        self.losses = self.calls = 0
        self.mode = (training, torch.is_grad_enabled())
        self.places.clear()
        self.compared.clear()

    def end(self) -> None:
        """No more of a pass's losses are waited for."""
        self.waiting = False
        self.compared.clear()


class LossMode(TorchFunctionMode):
    """Looks for losses after a pass, and for the beginning of the backward pass. Dynamo traces it."""

    def __init__(self, losses: Calls) -> None:
        super().__init__()
        self.losses = losses

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Called by torch in place of `func`; the mode is off meanwhile."""
        if torch.compiler.is_compiling():
            return func(*args, **kwargs) if kwargs else func(*args)
        if func in _BACKWARD:
            return self._backward(func, args, kwargs or {})
        result = func(*args, **kwargs) if kwargs else func(*args)
        name = LOSS_OF.get(func)
        if name is None:
            self.losses._look(func, args, kwargs or {}, result)
            if func in _MULTIPLIES:
                self.losses._scaled(args, result)
        elif self.losses._called(name, args, kwargs or {}, result) and kwargs:
            kwargs[""] = _End(self)
        return result

    def _backward(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        given = dict(kwargs)
        only = func is torch.autograd.grad
        if not (only and (given.get("create_graph") or given.get("retain_graph"))):
            totals = args[0] if isinstance(args[0], tuple | list) else args[:1]
            if self.losses._backward(totals, only=only) and kwargs:
                kwargs[""] = _End(self)
        try:
            return func(*args, **given)
        except BaseException:
            self.losses._failed()
            raise


class _End:
    """Takes the mode off the stack when the call is over that it saw: until then torch keeps it, to put it back.

    It dies with the keyword arguments of the call, of which loss functions and `backward` have some always.
    """

    __slots__ = ("mode",)

    def __init__(self, mode: TorchFunctionMode) -> None:
        self.mode = mode

    def __del__(self) -> None:
        switch_off(self.mode)


def push_below(mode: TorchFunctionMode) -> None:
    """Puts a mode under those that are on: who leaves one of these takes the uppermost off, whichever it is.

    Only a default device has its place below, and insists on it.
    """
    above = [_pop_mode() for _ in range(_len_torch_function_stack())]
    if above and isinstance(above[-1], DeviceContext):
        _push_mode(above.pop())
    _push_mode(mode)
    for other in reversed(above):
        _push_mode(other)


def caller() -> tuple[object, ...]:
    """The place in the user's code that has called PyTorch, which tells one loss of a program from the others."""
    frame = sys._getframe(1)
    for _ in range(_MOST_FRAMES):
        if not frame.f_code.co_filename.startswith(_INSIDE) or frame.f_back is None:
            break
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_code.co_firstlineno, frame.f_lasti
