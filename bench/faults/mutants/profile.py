"""What a program is: a first look at its model, data, loss and optimiser, by which is decided what mistakes fit."""

import contextlib
import copy
import io
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn
from torch.optim import Optimizer
from torch.overrides import TorchFunctionMode

from bench.faults.case import Case
from bench.faults.mutants.injection import FUNCTIONS, Injection, Unrecorded, injected, replaced, without_functions

__all__ = ["ACTIVATIONS", "Profile", "profile"]

ACTIVATIONS: Final = (
    nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU, nn.Softplus, nn.Tanh, nn.Sigmoid, nn.CELU, nn.Mish,
    nn.Hardswish, nn.ReLU6, nn.PReLU,
)  # fmt: skip
NORMS: Final = nn.modules.batchnorm._BatchNorm
LAYERS: Final = (nn.Linear, nn.modules.conv._ConvNd)


@dataclass(slots=True)
class Profile:
    """A program at its first step.

    Attributes:
        amiss: why no mistake fits; "" where some may.
        family: of its architecture.
        models: how many are watched.
        criterion: the class of its loss module; "" where it has none.
        reduction: that module's.
        x, y: "float", "int", or "" where batches are not drawn by `batches`; `y` may be "binary" (floats 0 and 1).
        x_shape, y_shape, out_shape: of a batch.
        last: name of the layer whose output is the model's, "" where it is another's.
        last_type: its class, or that of the activation.
        layers: names of linear and convolutional layers, in the order of their registration.
        activations: names of hidden modules that are activations.
        functions: hidden activations that are called as functions.
        norms, dropouts: names of batch norms and dropouts.
        optimisers: classes of those made before the first step.
        rate: the largest learning rate of the first.
        momentum: its momentum, 0 where it has none.
        clears, steps, passes: whether zero_grad, an optimiser's step and a backward pass were called.
        affine: whether the model is affine once its activations are taken away.
        size: parameters.
    """

    amiss: str = ""
    family: str = ""
    models: int = 0
    criterion: str = ""
    reduction: str = ""
    x: str = ""
    y: str = ""
    x_shape: list[int] = field(default_factory=list)
    y_shape: list[int] = field(default_factory=list)
    out_shape: list[int] = field(default_factory=list)
    last: str = ""
    last_type: str = ""
    layers: list[str] = field(default_factory=list)
    activations: list[str] = field(default_factory=list)
    functions: list[str] = field(default_factory=list)
    norms: list[str] = field(default_factory=list)
    dropouts: list[str] = field(default_factory=list)
    optimisers: list[str] = field(default_factory=list)
    rate: float = 0.0
    momentum: float = 0.0
    clears: bool = False
    steps: bool = False
    passes: bool = False
    affine: bool = False
    size: int = 0

    @property
    def hidden(self) -> int:
        """Hidden activations."""
        return len(self.activations) + len(self.functions)


class _Enough(Exception):  # noqa: N818
    """The first step is over."""


class _Calls(TorchFunctionMode):
    """Notes which activations are called as functions."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.inside = 0

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(function, "__name__", "")
        if not self.inside and name in FUNCTIONS:
            self.seen.append(name)
        return function(*args, **(kwargs or {}))


class _Probe(Injection):
    """Looks, and changes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.found = Profile()
        self.given: Any = None
        self.output: Any = None
        self._made: dict[int, str] = {}
        self._calls = _Calls()
        self._kept: list[Any] = []
        self._hooks: list[Any] = []

    def watched(self, model: nn.Module, loss: nn.Module | None) -> None:
        self.found.models += 1
        if model is not self.model:
            return
        if any(optimiser.state for optimiser in self.optimisers):
            self.found.amiss = "trains before it is watched"
        self.found.criterion = type(loss).__name__ if loss is not None else ""
        self.found.reduction = str(getattr(loss, "reduction", ""))
        for name, module in model.named_modules():
            if not any(True for _ in module.children()):
                self._hooks.append(module.register_forward_pre_hook(self._enter))
                self._hooks.append(module.register_forward_hook(self._leaf(name)))
        self._hooks.append(model.register_forward_pre_hook(self._begin))
        self._hooks.append(model.register_forward_hook(self._end))

    def _leaf(self, name: str) -> Any:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            self._calls.inside -= 1
            if isinstance(output, torch.Tensor):
                self._kept.append(output)
                self._made[id(output)] = name

        return hook

    def _enter(self, module: nn.Module, args: Any) -> None:
        self._calls.inside += 1  # what a layer calls is its own

    def _begin(self, model: nn.Module, args: Any) -> None:
        if self.given is None:
            self.given = copy.deepcopy(args) if all(isinstance(x, torch.Tensor) and x.is_leaf for x in args) else ()
            self._calls.__enter__()  # type: ignore[no-untyped-call]

    def _end(self, model: nn.Module, args: Any, output: Any) -> None:
        if self.output is None and self.given is not None:
            self._calls.__exit__(None, None, None)  # type: ignore[no-untyped-call]
            self.output = output if isinstance(output, torch.Tensor) else ()

    def data(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.found.x:
            self.found.x, self.found.y = _kind(x), _kind(y)
            if self.found.y == "float" and bool(((y == 0) | (y == 1)).all()):
                self.found.y = "binary"
        return x, y

    def batch(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.found.x_shape = self.found.x_shape or list(x.shape)
        self.found.y_shape = self.found.y_shape or list(y.shape)
        return x, y

    def update(self, optimiser: Optimizer, step: Any) -> Any:
        self.found.steps = True
        return step()

    def clear(self, clear: Any) -> Any:
        self.found.clears = True
        return clear()

    def backward(self, loss: torch.Tensor) -> torch.Tensor | None:
        self.found.passes = True
        return loss

    def ended(self) -> None:
        if self.step < 2:
            return  # some clear their gradients after the first step only
        self._look()
        raise _Enough

    def _look(self) -> None:
        found, model = self.found, self.model
        assert model is not None
        while self._hooks:
            self._hooks.pop().remove()  # a copy would copy them
        found.size = sum(parameter.numel() for parameter in model.parameters())
        leaves = {name: module for name, module in model.named_modules() if not any(True for _ in module.children())}
        if isinstance(self.output, torch.Tensor):
            found.out_shape = list(self.output.shape)
            found.last = self._made.get(id(self.output), "")
        last = leaves.get(found.last)
        found.last_type = type(last).__name__ if last is not None else ""
        found.layers = [name for name, it in leaves.items() if isinstance(it, LAYERS)]
        found.activations = [name for name, it in leaves.items() if isinstance(it, ACTIVATIONS) and name != found.last]
        found.functions = self._calls.seen
        found.norms = [name for name, it in leaves.items() if isinstance(it, NORMS)]
        found.dropouts = [name for name, it in leaves.items() if isinstance(it, nn.modules.dropout._DropoutNd)]
        found.optimisers = [type(it).__name__ for it in self.optimisers]
        if self.optimisers:
            groups = self.optimisers[0].param_groups
            found.rate = float(max(group["lr"] for group in groups))
            found.momentum = float(groups[0].get("momentum") or 0.0)
        found.family = _family(model)
        found.affine = self._is_affine(model)

    def _is_affine(self, model: nn.Module) -> bool:
        """Whether the mean of two answers is the answer to the mean, once activations are taken away."""
        if not self.given or not all(x.is_floating_point() and x.shape[0] > 1 for x in self.given):
            return False
        try:
            plain = copy.deepcopy(model)
        except RuntimeError:
            return False  # it holds what a pass has given, which is no copy's
        for name, module in list(plain.named_modules()):
            if isinstance(module, ACTIVATIONS) and name:
                replaced(plain, name, lambda _: nn.Identity())
        plain.eval()
        with torch.no_grad(), without_functions(), contextlib.suppress(Exception):
            other = [x.roll(1, 0) for x in self.given]
            mean = plain(*((a + b) / 2 for a, b in zip(self.given, other, strict=True)))
            means = (plain(*self.given) + plain(*other)) / 2
            return bool((mean - means).abs().max() <= 1e-4 * means.abs().max() + 1e-6)
        return False


def profile(case: Case) -> Profile:
    """What a sound program is, by its first two steps."""
    probe = _Probe()
    with tempfile.TemporaryDirectory() as folder, quiet(), injected(probe):
        run = Unrecorded(Path(folder, "log"), probe)
        try:
            case.program(run, False)
            probe.found.amiss = "ends before its second step"
        except _Enough:
            pass
        finally:
            run.close()
    if not probe.found.models:
        probe.found.amiss = "watches no model"
    return probe.found


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Who makes a mistake has also overlooked the warning of it."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def _kind(x: torch.Tensor) -> str:
    return "float" if x.is_floating_point() else "int"


def _family(model: nn.Module) -> str:
    modules = list(model.modules())
    if any(isinstance(it, nn.MultiheadAttention) for it in modules):
        return "transformer"
    if any(isinstance(it, nn.RNNBase | nn.RNNCellBase) for it in modules):
        return "recurrent"
    if any(isinstance(it, nn.modules.conv._ConvNd) for it in modules):
        return "convolutional"
    if any(isinstance(it, nn.Embedding | nn.EmbeddingBag) for it in modules):
        return "embeddings"
    if any(isinstance(it, NORMS | nn.LayerNorm | nn.GroupNorm) for it in modules):
        return "dense with norms"
    return "dense, one hidden layer" if sum(isinstance(it, nn.Linear) for it in modules) <= 2 else "dense, deep"
