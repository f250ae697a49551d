"""The hooks of losses: of a criterion that the user has named, and of losses that compiled code computes."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

import torch
from torch import nn

from fastact.monitor.unseen import Missing
from fastact.torch import compiled, criteria
from fastact.torch.criteria import Call
from fastact.torch.hooks import Hook, Uncopied, Watching, backward_pass, tracing, transforming, unseen
from fastact.torch.loss_mode import caller
from fastact.torch.tensors import find_tensors

_NEVER: Final = Missing(
    "loss= was given, but its forward never ran: another instance is called, or it is called as .forward(), which "
    "passes hooks by"
)
#: Why a loss that the user has asked for is not there.
NO_LOSS: Final = Missing(
    "loss= was given, but no loss was seen between a forward pass of the model and its backward pass: it is computed "
    "in another thread or in compiled code, of which only a criterion that is a module is seen"
)
#: Why the watch of a part has none.
OF_THE_WHOLE: Final = Missing("it is recorded where the model is watched that this one is a part of", warn=False)


def is_part(model: nn.Module | None, whole: nn.Module | None) -> bool:
    """Whether one model is inside the other."""
    return model is not None and whole is not None and any(model is each for each in whole.modules())


class LossWatching(Watching, Protocol):
    """What a loss needs of the `Watch` that it belongs to."""

    prefix: str
    _home: bool | None
    _parameters: Any

    def _step(self) -> int: ...


class Settling(Protocol):
    """What the hooks need of `Losses`."""

    def _new_call(
        self,
        function: str,
        value: torch.Tensor,
        given: criteria.Given,
        facts: dict[str, Any],
        where: tuple[object, ...] = (),
    ) -> Call: ...
    def _settle(self, calls: Iterable[tuple[Call, str]]) -> None: ...
    def _settle_compiled(
        self, function: str, value: torch.Tensor, given: criteria.Given, facts: dict[str, Any]
    ) -> None: ...


class LossHook(Hook):
    """A forward hook of a criterion: records its value, and what it was given."""

    __slots__ = ("function", "losses", "options", "parts")
    watch: LossWatching

    def __init__(self, watch: LossWatching, losses: Settling, criterion: nn.Module, name: str) -> None:
        super().__init__(watch, criterion, name)
        self.losses = losses
        spelled, known = criteria.name_of(criterion)
        self.function = spelled if known else ""
        self.options = {**criteria.options(criterion, {}), "spelled": spelled}
        self.missing = _NEVER
        #: What compiled code has told of the call under way.
        self.parts: dict[str, torch.Tensor] = {}

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: object) -> None:
        """Called by torch after the criterion's forward pass."""
        watch = self.watch
        if torch.compiler.is_compiling():
            value = loss_of(output)
            if value is not None and not torch.compiler.is_exporting():
                trace(self.key, watch._order, criteria.given(self.function, args, kwargs), value, "value")
            return
        try:
            if backward_pass() == -1 and not transforming() and tracing() is None and watch._due():
                with unseen():
                    value = loss_of(output)
                    if value is not None:
                        given, where = criteria.given(self.function, args, kwargs), (self.name, *caller())
                        facts = self.options
                        if not self.function and self.missing is not None:  # one look tells
                            facts = {**facts, **criteria.of_ones_own(value, given)}
                        self._record(self.losses._new_call(self.function, value, given, facts, where))
        except Exception as error:  # noqa: BLE001 - nothing of ours may end a training run
            watch._failed(self.name, error)

    def _record(self, call: Call) -> None:
        if call.training and not torch.is_grad_enabled():
            return  # a number for the user to read
        self.missing = None
        self.losses._settle([(call, self.name)])

    def observe_compiled(self, x: torch.Tensor, place: str) -> None:
        """Takes a tensor from compiled code."""
        watch = self.watch
        try:
            if place != "value":
                self.parts[place] = x
                return
            given = criteria.Given(self.parts.pop("predictions", None), self.parts.pop("targets", None))
            if backward_pass() == -1 and watch._due():
                with unseen():
                    self._record(self.losses._new_call(self.function, x, given, self.options, (self.name,)))
        except Exception as error:  # noqa: BLE001 - nothing of ours may end a training run
            watch._failed(self.name, error)


class CompiledLosses(Uncopied):
    """Takes the loss functions that a compiled model calls itself."""

    def __init__(self, watch: LossWatching, losses: Settling, name: str) -> None:
        self.key = compiled.register(self)
        self.watch, self.losses, self.name = watch, losses, name
        self._parts: dict[str, torch.Tensor] = {}

    def trace(self, function: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: torch.Tensor) -> None:
        """Leaves a call of a loss function in the graph. Dynamo traces it."""
        facts = criteria.options(None, kwargs)
        reduction = facts.get("reduction", "mean")
        place = f"{function} {reduction} {int(facts['weighted'])}"
        trace(self.key, self.watch._order, criteria.given(function, args, kwargs), result, place)

    def observe_compiled(self, x: torch.Tensor, place: str) -> None:
        """Takes a tensor from compiled code."""
        try:
            if place in ("predictions", "targets"):
                self._parts[place] = x
                return
            function, reduction, weighted = place.split(" ")
            given = criteria.Given(self._parts.pop("predictions", None), self._parts.pop("targets", None))
            if backward_pass() == -1 and self.watch._due():
                facts = {"framework": "torch", "reduction": reduction, "weighted": weighted == "1"}
                with unseen():
                    self.losses._settle_compiled(function, x, given, facts)
        except Exception as error:  # noqa: BLE001 - nothing of ours may end a training run
            self.watch._failed(self.name, error)


def trace(key: torch.Tensor, order: torch.Tensor, given: criteria.Given, value: torch.Tensor, place: str) -> None:
    """Leaves calls in the graph that is compiled, one for each tensor, the value last."""
    if given.predictions is not None:
        compiled.record(given.predictions.detach(), key, order, "predictions")
    if given.targets is not None:
        compiled.record(given.targets.detach(), key, order, "targets")
    compiled.record(value.detach(), key, order, place)


def loss_of(output: object) -> torch.Tensor | None:
    """The loss in what a criterion has returned: a tensor, or the first number among several."""
    if isinstance(output, torch.Tensor):
        return output
    if isinstance(output, Mapping) and isinstance(output.get("loss"), torch.Tensor):
        value: torch.Tensor = output["loss"]
        return value
    found = [x for _, x in find_tensors(output) if x.is_floating_point() and x.numel() == 1]
    return found[0] if found else None
