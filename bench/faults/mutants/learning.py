"""Mistakes of rates, optimisers, and the loop."""

# ruff: noqa: D102 (`Injection` says what the methods are for)

from collections.abc import Callable
from typing import Any, Final

import torch
from torch import nn
from torch.optim import Optimizer

from bench.faults.mutants.injection import Injection, copied, replaced
from bench.faults.mutants.operator import operator
from bench.faults.mutants.profile import NORMS, Profile

#: The step from which on a late mistake is made.
LATE: Final = 20
#: Optimisers whose steps do not depend on how large gradients are.
ADAPTIVE: Final = frozenset({"Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "NAdam", "RAdam", "Adamax", "Rprop"})


def updates(it: Profile) -> bool:
    """Whether optimisers step as they usually do."""
    return it.steps and it.passes and "LBFGS" not in it.optimisers


def plain_sgd(it: Profile) -> bool:
    """Whether all optimisers step by their gradients as they are."""
    return updates(it) and not ADAPTIVE.intersection(it.optimisers)


def alone(it: Profile) -> bool:
    """Whether there is one model and one optimiser."""
    return updates(it) and it.models == 1 and len(it.optimisers) == 1


class _Rate(Injection):
    factor: float = 1.0
    since: int = 0

    def update(self, optimiser: Optimizer, step: Callable[[], Any]) -> Any:
        if self.step < self.since:
            return step()
        self.touched += 1
        groups = optimiser.param_groups
        before = [group["lr"] for group in groups]
        for group in groups:
            group["lr"] = group["lr"] * self.factor
        try:
            return step()
        finally:
            for group, rate in zip(groups, before, strict=True):
                group["lr"] = rate


@operator("rate_too_large", updates)
class RateTimes1000(_Rate):
    """The learning rate is a thousand times what suits."""

    factor = 1e3


@operator("rate_too_large", updates)
class RateTimes30(_Rate):
    """The learning rate is thirty times what suits."""

    factor = 30.0


@operator("rate_too_small rate_zero", updates)
class RateDividedBy100000(_Rate):
    """The learning rate is a hundred-thousandth of what suits."""

    factor = 1e-5


@operator("rate_zero rate_too_small", updates)
class RateZero(_Rate):
    """The learning rate is zero."""

    factor = 0.0


@operator("rate_too_large", updates, since=LATE)
class RateTimes1000Late(_Rate):
    """The learning rate is a thousand times what suits from step 20 on."""

    factor, since = 1e3, LATE


@operator("rate_zero rate_too_small", updates, since=4)
class RateZeroSoon(_Rate):
    """The learning rate is zero from step 4 on."""

    factor, since = 0.0, 4


@operator("momentum rate_too_large", lambda it: alone(it) and it.optimisers == ["SGD"])
class MomentumTooHigh(Injection):
    """SGD with a momentum of 0.999."""

    def made(self, optimiser: Optimizer) -> None:
        self.touched += 1
        for group in optimiser.param_groups:
            group["momentum"], group["nesterov"] = 0.999, False


@operator("weight_decay", alone)
class WeightDecay(Injection):
    """A weight decay of 1, of 30 where the rate multiplies it."""

    def made(self, optimiser: Optimizer) -> None:
        decoupled = "AdamW" in type(optimiser).__name__
        for group in optimiser.param_groups:
            if "weight_decay" in group:
                group["weight_decay"] = 30.0 if decoupled else 1.0
                self.touched += 1


@operator("no_zero_grad", lambda it: updates(it) and it.clears)
class NeverCleared(Injection):
    """Gradients are never cleared."""

    def clear(self, clear: Callable[[], Any]) -> Any:
        self.touched += 1


@operator("gradients_cleared", updates, plain=True)
class ClearedBeforeStep(Injection):
    """Gradients are cleared between the backward pass and the step."""

    def update(self, optimiser: Optimizer, step: Callable[[], Any]) -> Any:
        self.touched += 1
        optimiser.zero_grad()
        return step()


@operator("no_step", updates, plain=True)
class NoStep(Injection):
    """The optimiser never steps."""

    def update(self, optimiser: Optimizer, step: Callable[[], Any]) -> Any:
        self.touched += 1


@operator("no_backward", updates, plain=True)
class NoBackward(Injection):
    """There is no backward pass."""

    def backward(self, loss: torch.Tensor) -> torch.Tensor | None:
        self.touched += 1
        return None


@operator("detached no_backward", updates, plain=True)
class LossDetached(Injection):
    """The loss is made anew from its number, and the backward pass ends at once."""

    def backward(self, loss: torch.Tensor) -> torch.Tensor | None:
        self.touched += 1
        return loss.detach().requires_grad_()


@operator("wrong_sign wrong_loss", lambda it: updates(it) and it.models == 1)
class LossNegated(Injection):
    """The loss has the wrong sign."""

    def backward(self, loss: torch.Tensor) -> torch.Tensor | None:
        self.touched += 1
        return -loss


@operator("loss_scaled rate_too_small", plain_sgd)
class LossTiny(Injection):
    """The loss is divided by a million."""

    def backward(self, loss: torch.Tensor) -> torch.Tensor | None:
        self.touched += 1
        return loss * 1e-6


@operator("loss_scaled rate_too_large", plain_sgd)
class LossHuge(Injection):
    """The loss is multiplied by a thousand."""

    def backward(self, loss: torch.Tensor) -> torch.Tensor | None:
        self.touched += 1
        return loss * 1e3


@operator("clipped rate_too_small loss_scaled", plain_sgd)
class ClippedToNothing(Injection):
    """The norm of all gradients is clipped to a millionth."""

    def update(self, optimiser: Optimizer, step: Callable[[], Any]) -> Any:
        self.touched += 1
        nn.utils.clip_grad_norm_([each for group in optimiser.param_groups for each in group["params"]], 1e-6)
        return step()


@operator(
    lambda it: "loss_scaled rate_too_large" if plain_sgd(it) else "",
    lambda it: it.criterion and it.reduction == "mean" and max(it.y_shape, default=0) >= 32,
)
class Summed(Injection):
    """The loss is the sum over a batch, and not its mean."""

    def watched(self, model: nn.Module, loss: nn.Module | None) -> None:
        if loss is not None:
            loss.reduction = "sum"  # type: ignore[assignment]
            self.touched += 1


class _Left(Injection):
    """Some parameters are left out of the optimiser."""

    def left(self, name: str) -> bool:
        """Whether one is left out."""
        raise NotImplementedError

    def made(self, optimiser: Optimizer) -> None:
        assert self.model is not None
        out = {id(value) for name, value in self.model.named_parameters() if self.left(name)}
        for group in optimiser.param_groups:
            kept = [each for each in group["params"] if id(each) not in out]
            self.touched += len(group["params"]) - len(kept)
            group["params"] = kept


@operator("missing_from_optimiser", lambda it: alone(it) and len(it.layers) >= 2 and it.last in it.layers, plain=True)
class HeadOnlyInOptimiser(_Left):
    """The optimiser holds the parameters of the last layer alone."""

    def left(self, name: str) -> bool:
        return not name.startswith(f"{self.profile.last}.")


@operator("missing_from_optimiser", lambda it: alone(it) and len(it.layers) >= 2 and it.last in it.layers, plain=True)
class HeadNotInOptimiser(_Left):
    """The optimiser holds all parameters but those of the last layer."""

    def left(self, name: str) -> bool:
        return name.startswith(f"{self.profile.last}.")


@operator("trained_a_copy missing_from_optimiser no_step", alone, plain=True)
class OptimiserOfACopy(Injection):
    """The optimiser holds the parameters of a copy, or of the model before it was built anew."""

    def made(self, optimiser: Optimizer) -> None:
        for group in optimiser.param_groups:
            self.touched += 1
            group["params"] = copied(group["params"])


@operator("frozen", lambda it: alone(it) and len(it.layers) >= 2 and it.last in it.layers)
class FrozenButHead(Injection):
    """All parameters but the last layer's are frozen, and they were never trained."""

    def watched(self, model: nn.Module, loss: nn.Module | None) -> None:
        for name, parameter in model.named_parameters():
            if not name.startswith(f"{self.profile.last}."):
                self.touched += parameter.requires_grad
                parameter.requires_grad = False


class Detach(nn.Module):
    """Gives what it is given, without its graph."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The same numbers."""
        return x.detach()


@operator("detached frozen", lambda it: alone(it) and len(it.layers) >= 2 and it.last in it.layers, plain=True)
class FeaturesDetached(Injection):
    """What goes into the last layer is detached from what made it."""

    def watched(self, model: nn.Module, loss: nn.Module | None) -> None:
        if model is self.model:
            self.touched += 1
            replaced(model, self.profile.last, lambda head: nn.Sequential(Detach(), head))


class _NeverTrains(Injection):
    """A model is in evaluation mode from some step on."""

    since: int = 0

    def watched(self, model: nn.Module, loss: nn.Module | None) -> None:
        if not self.since:
            self._lock(model)

    def ended(self) -> None:
        if self.step == self.since and self.model is not None:
            self._lock(self.model)

    def _lock(self, model: nn.Module) -> None:
        self.touched += 1
        model.eval()
        model.train = lambda mode=True: model  # type: ignore[method-assign]
        model.eval = lambda: model  # type: ignore[method-assign]


@operator("norm_in_eval", lambda it: alone(it) and it.norms)
class EvaluationMode(_NeverTrains):
    """The model is in evaluation mode while it trains."""


@operator("norm_in_eval", lambda it: alone(it) and it.norms, since=10)
class EvaluationModeLate(_NeverTrains):
    """After an evaluation at step 10, train() is forgotten."""

    since = 10


@operator("stale_statistics", lambda it: alone(it) and it.norms)
class NormMomentum(Injection):
    """Batch norms have a momentum of a ten-thousandth, which is another framework's convention."""

    def watched(self, model: nn.Module, loss: nn.Module | None) -> None:
        for module in model.modules():
            if isinstance(module, NORMS):
                module.momentum = 1e-4
                self.touched += 1


@operator("dropout", lambda it: alone(it) and it.dropouts)
class DropoutOfNearlyAll(Injection):
    """Each dropout takes away 97%."""

    def watched(self, model: nn.Module, loss: nn.Module | None) -> None:
        for module in model.modules():
            if isinstance(module, nn.modules.dropout._DropoutNd):
                module.p = 0.97
                self.touched += 1


@operator("dropout", lambda it: alone(it) and it.activations)
class DropoutAdded(Injection):
    """After each hidden activation a dropout takes away 97%."""

    def watched(self, model: nn.Module, loss: nn.Module | None) -> None:
        for name in self.profile.activations if model is self.model else ():
            replaced(model, name, lambda before: nn.Sequential(before, nn.Dropout(0.97)))
            self.touched += 1


@operator("set_anew", lambda it: alone(it) and it.layers, since=10)
class SetAnew(Injection):
    """Each tenth step all layers are initialised anew."""

    def ended(self) -> None:
        if self.step % 10 or self.model is None:
            return
        with torch.random.fork_rng():
            for module in self.model.modules():
                if callable(reset := getattr(module, "reset_parameters", None)):
                    reset()
                    self.touched += 1


@operator("trained_a_copy no_step set_anew", alone, plain=True)
class Restored(Injection):
    """After each step the first weights are loaded again."""

    def watched(self, model: nn.Module, loss: nn.Module | None) -> None:
        if model is self.model:
            self._first = {name: value.detach().clone() for name, value in model.state_dict().items()}

    def update(self, optimiser: Optimizer, step: Callable[[], Any]) -> Any:
        result = step()
        assert self.model is not None
        self.model.load_state_dict(self._first)
        self.touched += 1
        return result
