"""Mistakes of the network: activations, initialisation, what its output goes through, and the loss that it meets."""

# ruff: noqa: D102 (`Injection` says what the methods are for)

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from bench.faults.mutants.injection import Injection, replaced, without_functions
from bench.faults.mutants.learning import alone, updates
from bench.faults.mutants.operator import operator
from bench.faults.mutants.profile import ACTIVATIONS, LAYERS, Profile

#: Losses that take what is no probability, by what they do with it.
SOFTMAX, SIGMOID = "CrossEntropyLoss", "BCEWithLogitsLoss"
REGRESSION = ("MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss")


class _AfterLast(Injection):
    """Something follows the last layer."""

    added: Callable[[], nn.Module]

    def watched(self, model: nn.Module, loss: nn.Module | None) -> None:
        if model is self.model:
            added = type(self).added()
            replaced(model, self.profile.last, lambda head: nn.Sequential(head, added))
            self.touched += 1


def headed(it: Profile) -> bool:
    """Whether the model's output is that of a linear layer or a convolution."""
    return it.models == 1 and updates(it) and it.last in it.layers and bool(it.criterion)


def by_class(it: Profile) -> bool:
    """Whether classes lie on the last axis of the output, which a cross entropy takes."""
    return headed(it) and it.criterion == SOFTMAX and len(it.out_shape) == 2 and it.out_shape[1] > 1


@operator("double_softmax", by_class)
class SoftmaxBeforeCrossEntropy(_AfterLast):
    """A softmax before a loss that applies one itself."""

    added = staticmethod(lambda: nn.Softmax(-1))


@operator("wrong_axis double_softmax", by_class)
class SoftmaxOverTheBatch(_AfterLast):
    """A softmax over the samples before a cross entropy."""

    added = staticmethod(lambda: nn.Softmax(0))


@operator(
    lambda it: "double_sigmoid" if it.criterion == SIGMOID else "wrong_output_activation bounded_output double_softmax",
    lambda it: headed(it) and it.criterion in (SIGMOID, SOFTMAX),
)
class SigmoidBeforeLogits(_AfterLast):
    """A sigmoid before a loss that takes logits."""

    added = nn.Sigmoid


@operator(
    "relu_on_output wrong_output_activation dead_units bounded_output",
    lambda it: headed(it) and it.criterion in (SIGMOID, SOFTMAX, *REGRESSION),
)
class ReluOnOutput(_AfterLast):
    """A ReLU after the last layer."""

    added = nn.ReLU


@operator(
    "bounded_output wrong_output_activation", lambda it: headed(it) and it.criterion in (SIGMOID, SOFTMAX, *REGRESSION)
)
class TanhOnOutput(_AfterLast):
    """A tanh after the last layer."""

    added = nn.Tanh


@operator("bounded_output wrong_output_activation", lambda it: headed(it) and it.criterion in REGRESSION)
class SigmoidOnOutput(_AfterLast):
    """A sigmoid after the last layer of a regression."""

    added = nn.Sigmoid


@operator(
    "softmax_over_one_unit", lambda it: headed(it) and len(it.out_shape) == 2 and it.out_shape[1] == 1, plain=True
)
class SoftmaxOverOneUnit(_AfterLast):
    """A softmax over the only unit."""

    added = staticmethod(lambda: nn.Softmax(-1))


class _OtherLoss(Injection):
    """Another criterion in the place of the program's."""

    other: type[nn.Module]

    def watched(self, model: nn.Module, loss: nn.Module | None) -> None:
        assert loss is not None
        made = self.other()
        for name in made.__dict__:
            if name not in loss.__dict__:
                setattr(loss, name, getattr(made, name))
        for name, value in made._buffers.items():
            loss._buffers.setdefault(name, value)
        loss.__class__ = self.other
        self.touched += 1


@operator(
    "missing_log_softmax",
    lambda it: headed(it) and it.criterion == SOFTMAX and it.y == "int" and it.y_shape,
    plain=True,
)
class NllOfScores(_OtherLoss):
    """NLLLoss is given scores, not logarithms of probabilities."""

    other = nn.NLLLoss


@operator(
    "targets_outside_loss_range wrong_loss",
    lambda it: headed(it) and it.criterion == "MSELoss" and it.y == "float" and it.y_shape == it.out_shape,
)
class BinaryLossOfNumbers(_OtherLoss):
    """BCEWithLogitsLoss for a regression."""

    other = nn.BCEWithLogitsLoss


@operator(
    "softmax_over_one_unit wrong_loss binary_loss_on_classes class_index_beyond_units",
    lambda it: headed(it) and it.criterion in ("MSELoss", SIGMOID) and it.out_shape[1:] == [1] == it.y_shape[1:],
    plain=True,
)
class CrossEntropyOfOneUnit(_OtherLoss):
    """CrossEntropyLoss of a single unit."""

    other = nn.CrossEntropyLoss


@operator("no_nonlinearity", lambda it: updates(it) and it.models == 1 and it.affine and it.hidden)
class NoActivations(Injection):
    """All hidden activations are left out."""

    def watched(self, model: nn.Module, loss: nn.Module | None) -> None:
        if model is not self.model:
            return
        for name in self.profile.activations:
            replaced(model, name, lambda _: nn.Identity())
            self.touched += 1
        if self.profile.functions:
            self.touched += 1
            forward = model.forward

            def without(*args: Any, **kwargs: Any) -> Any:
                with without_functions():
                    return forward(*args, **kwargs)

            model.forward = without


@operator("vanishing_depth", lambda it: updates(it) and it.models == 1 and len(it.activations) >= 4)
class SigmoidsInADeepNet(Injection):
    """All hidden activations of a deep network are sigmoids."""

    def watched(self, model: nn.Module, loss: nn.Module | None) -> None:
        for name in self.profile.activations if model is self.model else ():
            replaced(model, name, lambda _: nn.Sigmoid())
            self.touched += 1


def before_relu(it: Profile) -> bool:
    """Whether hidden layers are followed by ReLUs."""
    return updates(it) and it.models == 1 and len(it.layers) >= 2 and it.hidden > 0 and it.last in it.layers


class _Begins(Injection):
    """Weights begin wrongly."""

    def layers(self, model: nn.Module) -> list[nn.Module]:
        """The layers that are begun anew."""
        return [module for module in model.modules() if isinstance(module, LAYERS)]

    def begin(self, layer: Any) -> None:
        """Sets the parameters of one layer."""
        raise NotImplementedError

    def watched(self, model: nn.Module, loss: nn.Module | None) -> None:
        with torch.no_grad():
            for layer in self.layers(model):
                self.touched += 1
                self.begin(layer)


@operator(
    "dead_units initialisation_too_large",
    lambda it: (
        before_relu(it)
        and not it.norms
        and (set(it.functions) | set(it.activations))
        and (it.functions == ["relu"] * len(it.functions))
    ),
)
class BiasesFarBelowZero(_Begins):
    """The biases of the layers before ReLUs are -20."""

    def watched(self, model: nn.Module, loss: nn.Module | None) -> None:
        kinds = {type(module) for module in model.modules() if isinstance(module, ACTIVATIONS)}
        if kinds <= {nn.ReLU}:
            super().watched(model, loss)

    def layers(self, model: nn.Module) -> list[nn.Module]:
        return [model.get_submodule(name) for name in self.profile.layers if name != self.profile.last]

    def begin(self, layer: Any) -> None:
        if layer.bias is None:
            self.touched -= 1
        else:
            nn.init.constant_(layer.bias, -20.0)


@operator("zero_initialisation", lambda it: updates(it) and it.models == 1 and len(it.layers) >= 2)
class AllZero(_Begins):
    """All weights of linear and convolutional layers begin at zero."""

    def begin(self, layer: Any) -> None:
        nn.init.zeros_(layer.weight)


@operator("zero_initialisation", before_relu)
class AlikeInAHiddenLayer(_Begins):
    """All weights of hidden layers begin at the same number."""

    def layers(self, model: nn.Module) -> list[nn.Module]:
        return [model.get_submodule(name) for name in self.profile.layers if name != self.profile.last]

    def begin(self, layer: Any) -> None:
        nn.init.constant_(layer.weight, 0.05)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


@operator(
    "initialisation_too_large exploding_depth rate_too_large",
    lambda it: updates(it) and it.models == 1 and len(it.layers) >= 2,
)
class WeightsTimes30(_Begins):
    """All weights begin thirty times too large."""

    def begin(self, layer: Any) -> None:
        layer.weight.mul_(30.0)


@operator(
    "initialisation_too_small vanishing_depth zero_initialisation",
    lambda it: updates(it) and it.models == 1 and len(it.layers) >= 2,
)
class WeightsTimes003(_Begins):
    """All weights begin at three hundredths of what suits."""

    def begin(self, layer: Any) -> None:
        layer.weight.mul_(0.03)


@operator(
    "number_range",
    lambda it: (
        alone(it)
        and headed(it)
        and it.x == "float"
        and it.optimisers[0] in ("Adam", "AdamW", "RMSprop")
        and not it.norms
    ),
)
class HalfPrecision(Injection):
    """Everything is float16, and Adam's epsilon is zero in it."""

    def watched(self, model: nn.Module, loss: nn.Module | None) -> None:
        model.half()
        self.touched += 1

    def batch(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x.half(), y.half() if y.is_floating_point() else y

    def asked(self, x: torch.Tensor) -> torch.Tensor:
        return x.half()

    def answered(self, answer: torch.Tensor) -> torch.Tensor:
        return answer.float()
