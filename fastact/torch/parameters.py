"""Parameters, their gradients and their updates: what an optimiser is given, and what it makes of it.

All of it is read at the optimiser's step, where gradients are accumulated, unscaled and clipped, in one of several
steps. A parameter that no optimiser holds is read when any of them steps.
"""

import weakref
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final, NamedTuple, Protocol

import torch
from torch import nn
from torch.optim.optimizer import Optimizer

from fastact.checks import check_integer, check_type
from fastact.diagnosis.layer_types import (
    GRADIENT_SUFFIX,
    OPTIMISER,
    PARAMETER,
    PARAMETER_GRADIENT,
    UPDATE,
    UPDATE_SUFFIX,
)
from fastact.monitor.unseen import Missing
from fastact.torch.clearing import Clearing
from fastact.torch.drawn import is_captured
from fastact.torch.graph import Strays
from fastact.torch.hooks import unseen
from fastact.torch.monitoring import of_parameters
from fastact.torch.optimisers import (
    ROW,
    STEP,
    Optimisers,
    facts_of,
    follow,
    is_compiled,
    parameters_of,
    rates,
    unfollow,
)
from fastact.torch.parameter import KnownParameter
from fastact.torch.selection import named_modules
from fastact.torch.tensors import is_part, local_values
from fastact.torch.unseen import COMPILED_STEP, NO_GRADIENT, NO_STEP
from fastact.torch.updates import Sample, changes, keep

#: The row of a loss, which somebody wants to bring down.
LOSS_ROW: Final = "loss"


class ParametersWatching(Protocol):
    """What is needed of the `Watch` that parameters belong to."""

    monitor: Any
    prefix: str
    _described: set[str]
    _describe: Callable[..., None] | None

    def _due(self) -> bool: ...
    def _step(self) -> int: ...
    def _record(self, name: str, x: torch.Tensor, axis: int | None, layer_type: str, source: str = "") -> None: ...
    def _failed(self, name: str, error: Exception) -> None: ...


class Wanted(NamedTuple):
    """Which rows are recorded, and in which steps."""

    weights: bool
    gradients: bool
    updates: bool
    every: int
    first: int


class ParameterWatch:
    """What one `watch` records at the steps of optimisers."""

    def __init__(
        self, watch: ParametersWatching, model: nn.Module, within: Iterable[nn.Module] | None, wanted: Wanted
    ) -> None:
        self._watch = watch
        self._wanted = wanted
        self._model = weakref.ref(model)
        #: The modules whose parameters are meant; None: all.
        self._within = None if within is None else weakref.WeakSet(within)
        self._parameters: dict[str, KnownParameter] = {}
        self._optimisers = Optimisers()
        #: The monitor's step that the last optimiser stepped in, how many there were, whether this one is recorded.
        self._at, self._count, self._is_recorded = -1, 0, False
        #: Whether it is to be looked which parameters there are.
        self._is_fresh = False
        #: Of that step: the parameters that there are, by their `id`, those that optimisers hold, those that are done.
        self._there: dict[int, KnownParameter] = {}
        self._held: set[int] = set()
        self._done: set[str] = set()
        self._running: weakref.WeakKeyDictionary[Optimizer, tuple[list[KnownParameter], bool]] = (
            weakref.WeakKeyDictionary()
        )
        #: Names of parameters that optimisers hold and that never had a gradient.
        self._without: dict[str, None] = {}
        #: Parameters of optimisers that are not the model's, as far as they were looked for.
        self._strangers: set[int] = set()
        self._stepped = False
        self.strays = Strays()
        #: Whether gradients are cleared, by the steps of the first optimiser.
        self._clearing, self._first = Clearing(), weakref.WeakSet[Optimizer]()
        self._find()

    def unseen(self, recorded: Collection[str] = ()) -> dict[str, Missing]:
        """What was expected and never came: an optimiser's step, gradients; `recorded` are the names that have rows."""
        missing = {name + GRADIENT_SUFFIX: NO_GRADIENT for name in self._without}
        asked, prefix = self._wanted.weights or self._wanted.updates, self._watch.prefix
        if not self._stepped and (asked or prefix + LOSS_ROW in recorded):
            why = {STEP: COMPILED_STEP} if is_compiled() else {ROW: NO_STEP}
            missing |= {prefix + name: each._replace(warn=asked) for name, each in why.items()}
        return missing | {prefix + name: each for name, each in self._clearing.missing().items()}

    def rest(self) -> None:
        """Nothing is recorded until `go_on`, so nobody need tell of optimisers' steps."""
        if self._clearing.ended:
            unfollow(self)

    def go_on(self) -> None:
        """Ends it."""
        follow(self, again=True)

    def end(self) -> None:
        """The watch ends."""
        unfollow(self)
        self._clearing.end()

    def before(self, optimiser: Optimizer, *, late: bool) -> None:
        """An optimiser is about to step; `late` where its gradients are not there yet, or still scaled."""
        try:
            self._running.pop(optimiser, None)  # of a step that failed
            if optimiser in self._first:
                self._clearing.before()
            if not self._begins():
                return
            with unseen(), torch.no_grad():
                self._optimisers.add(optimiser)
                held = parameters_of(optimiser)
                if self._are_new(held):
                    self._find()
                    self._is_fresh = True
                if self._is_fresh:
                    self._is_fresh = False
                    self._look(late)
                own = [known for each in held if (known := self._there.get(id(each))) is not None]
                own = [each for each in own if each.name not in self._done]
                self._done.update(each.name for each in own)
                if not late:
                    self._take(own)
                if self._wanted.updates:
                    self._copy(own)
                self._running[optimiser] = own, late
        except Exception as error:  # noqa: BLE001 - nothing of ours may end a training run
            self._watch._failed(self._watch.prefix + ROW, error)

    def after(self, optimiser: Optimizer) -> None:
        """It has stepped."""
        try:
            running = self._running.pop(optimiser, None)
            if running is None:
                if optimiser in self._first:
                    self._clearing.after(())
                return
            own, late = running
            with unseen(), torch.no_grad():
                if late:
                    self._take(own)
                if self._wanted.updates:
                    self._compare(own)
                self._tell_of(optimiser, own)
                if own and not self._first:
                    self._first.add(optimiser)
                if optimiser in self._first:
                    self._clearing.after([each for known in own if (each := known.now()) is not None])
        except Exception as error:  # noqa: BLE001 - nothing of ours may end a training run
            self._watch._failed(self._watch.prefix + ROW, error)

    def _begins(self) -> bool:
        """Whether this step is recorded."""
        watch, wanted = self._watch, self._wanted
        if getattr(watch.monitor, "closed", False):
            return False  # another model may be trained now
        step = watch._step()
        if step != self._at or step == -1:
            self._at, self._is_recorded = step, False
            if watch._due() and self._model() is not None and not is_captured():
                self._is_recorded = 0 <= step < wanted.first or self._count % wanted.every == 0
                self._count += 1
                self._is_fresh = self._is_recorded
                self._done = set()
        return self._is_recorded

    def _find(self) -> None:
        """Walks through the model, for parameters that are not known yet."""
        if (model := self._model()) is None:
            return
        found: dict[int, KnownParameter] = {}
        within, prefix = self._within, self._watch.prefix
        inside: set[nn.Module] | None = None
        if within is not None:
            inside = {part for module in within for _, part in named_modules(module)}
        for layer, module in named_modules(model):
            if inside is not None and module not in inside:
                continue
            for attribute, parameter in module._parameters.items():
                if parameter is None:
                    continue
                full = prefix + (f"{layer}.{attribute}" if layer else attribute)
                if (twin := found.get(id(parameter))) is not None:
                    twin.names += [full] if full not in twin.names else []
                    continue
                known = self._parameters.get(full)
                if known is None or known.module() is not module:
                    known = self._parameters[full] = KnownParameter(module, attribute, full, layer and prefix + layer)
                found[id(parameter)] = known

    def _are_new(self, held: Iterable[nn.Parameter]) -> bool:
        """Whether an optimiser holds what was not there when the model was last walked through."""
        known = self._there.keys() | self._strangers
        strangers = {id(each) for each in held} - known
        self._strangers |= strangers
        return bool(strangers)

    def _look(self, late: bool) -> None:
        """Finds out which parameters there are and which an optimiser holds; records what none does."""
        self._there = {}
        trainable = set()
        for known in self._parameters.values():
            parameter = known.now()
            if parameter is None or self._there.setdefault(id(parameter), known) is not known:
                continue  # gone, or tied to another one since
            if parameter.requires_grad:
                trainable.add(id(parameter))
        self._held = self._optimisers.held(trainable)
        if not self._wanted.weights:
            return
        for number, known in self._there.items():
            # What is frozen stays as it is.
            if number not in self._held and known.name not in self._done and (number in trainable or not known.weighed):
                self._done.add(known.name)
                parameter = known.now()
                if parameter is not None:
                    self._weigh(known, parameter, None if late else parameter.grad is not None)

    def _take(self, own: Iterable[KnownParameter]) -> None:
        """Records the parameters of an optimiser, and their gradients."""
        wanted = self._wanted
        for known in own:
            parameter = known.now()
            if parameter is None:
                continue
            gradient = parameter.grad
            if gradient is not None:
                known.graded = True
                self._without.pop(known.name, None)
            elif not known.graded and parameter.requires_grad and parameter.numel():  # other processes may have it
                self._without[known.name] = None
            self._describe(known, parameter, gradient is not None)
            if wanted.weights:
                self._weigh(known, parameter, gradient is not None)
            if wanted.gradients and gradient is not None:
                self._record(known, known.name + GRADIENT_SUFFIX, gradient.detach(), PARAMETER_GRADIENT)

    def _weigh(self, known: KnownParameter, parameter: nn.Parameter, graded: bool | None) -> None:
        self._describe(known, parameter, graded)
        known.weighed = True
        self._record(known, known.name, parameter.detach(), PARAMETER)

    def _describe(self, known: KnownParameter, parameter: nn.Parameter, graded: bool | None) -> None:
        """Notes what is known of a parameter when its first row comes."""
        if known.facts is not None:
            return
        held: bool | None = id(parameter) in self._held
        if not held and self._held.isdisjoint(self._there):
            held = None  # by none of this model: of another one, or copies of these
        known.facts = {
            "trainable": parameter.requires_grad,
            "optimiser": held,
            "gradient": graded,
            "elements": parameter.numel(),
            "shape": list(parameter.shape),
            "layer": known.layer,
        }
        if len(known.names) > 1:
            known.facts["names"] = known.names
        if is_part(parameter):
            known.facts["part"] = True

    def _record(self, known: KnownParameter, name: str, x: torch.Tensor, layer_type: str, **facts: Any) -> None:
        axis = known.axis(x) if x.layout is torch.strided and layer_type != UPDATE else None
        if x.layout is not torch.strided or type(x) is not torch.Tensor or x.is_quantized:
            x = local_values(x)
        if not x.numel() or not (x.is_floating_point() or x.is_complex()) or x.is_meta:
            return  # another process has it, or its numbers are packed
        watch = self._watch
        if watch._describe is not None and name not in watch._described:
            watch._described.add(name)
            watch._describe(name, facts={**(known.facts or {}), **facts})
        watch._record(name, x, axis, layer_type)

    def _copy(self, own: Iterable[KnownParameter]) -> None:
        """Copies samples of parameters that are about to be updated."""
        samples = []
        for known in own:
            if (parameter := known.now()) is not None:
                known.sample = known.sample or Sample()
                known.sample.release()
                if known.sample.look(parameter):
                    samples.append(known.sample)
        keep(samples)

    def _compare(self, own: Iterable[KnownParameter]) -> None:
        """Records what a step has added to these samples."""
        looked = [
            (known, known.sample)
            for known in own
            if known.sample is not None and (parameter := known.now()) is not None and known.sample.look(parameter)
        ]
        for (known, _), update in zip(looked, changes([sample for _, sample in looked]), strict=True):
            self._record(known, known.name + UPDATE_SUFFIX, update, UPDATE, sampled=update.numel())

    def _tell_of(self, optimiser: Optimizer, own: list[KnownParameter]) -> None:
        """Records an optimiser's learning rates."""
        watch = self._watch
        held = sum(id(each) in self._there for each in parameters_of(optimiser))
        if not own and (held or not self._is_meant()):
            return  # the step of what it wraps, its second one, or another model's
        self._stepped = True
        name = watch.prefix + self._optimisers.row(optimiser)
        if watch._describe is not None and name not in watch._described:
            watch._described.add(name)
            there = [(known.name, each) for known in self._there.values() if (each := known.now()) is not None]
            trainable = {name: each.numel() for name, each in there if each.requires_grad}
            spare = {name: each.grad for name, each in there if each.requires_grad and id(each) not in self._held}
            lists = {
                # A copy, such as an average over steps, may require gradients and need no optimiser: it gets none.
                "missing": [name for name, gradient in spare.items() if gradient is not None],
                "idle": [name for name, gradient in spare.items() if gradient is None],
                "frozen": [name for name, each in there if not each.requires_grad],
                "without_gradient": [each.name for each in own if each.name in self._without],
            }
            facts = facts_of(optimiser, held, trainable, lists)
            facts["frozen_elements"] = sum(each.numel() for _, each in there if not each.requires_grad)
            # What computes with parts is gathered for each pass, and neither the model's nor an optimiser's.
            if not any(is_part(each) for _, each in there):
                facts |= self.strays.facts(self._there, self._optimisers)
            watch._describe(name, facts=facts)
        watch._record(name, rates(optimiser), None, OPTIMISER)

    def _is_meant(self) -> bool:
        """Whether an optimiser that holds no parameter of the model should: none does, and they have gradients."""
        there = [known.now() for known in self._there.values()]
        return self._held.isdisjoint(self._there) and any(each is not None and each.grad is not None for each in there)


def attach_parameters(
    watch: ParametersWatching,
    model: nn.Module,
    within: Mapping[nn.Module, str] | None,
    *,
    weights: object,
    gradients: object,
    updates: object,
    every: object,
    first: int,
    losses: bool = False,
) -> ParameterWatch | None:
    """Follows the steps of optimisers, where something of them is recorded.

    Args:
        watch: what records.
        model: the model.
        within: the modules whose parameters are meant; None: all.
        weights: whether parameters have rows.
        gradients: whether their gradients do, as in `Gradients`.
        updates: whether their updates do.
        every: the recorded steps of optimisers of which one counts.
        first: the monitor's steps that count before.
        losses: whether to follow them though no such rows are, as a loss is watched.

    Raises:
        ArgumentTypeError, ArgumentValueError: an argument is not what it should be.
    """
    stride = check_integer("parameters_every", every, 1, words="a number of steps", unit="step")
    wanted = Wanted(
        check_type("weights", weights, bool, "a bool"),
        of_parameters(gradients),
        check_type("updates", updates, bool, "a bool"),
        stride,
        first,
    )
    if not (losses or wanted.weights or wanted.gradients or wanted.updates):
        return None
    follower = ParameterWatch(watch, model, within, wanted)
    follow(follower)
    return follower
