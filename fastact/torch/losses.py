"""The losses of a watched model: which are recorded, and under which names.

A criterion that the user names has a hook. Any other loss function is seen as functional activations are: by the mode
of the forward pass where the model itself calls it, and by a `LossMode` where the training loop does.

What the backward pass begins with tells which loss the network is trained by: one that was seen, averaged or scaled at
most; or a sum, of which those that were seen are terms. So what was seen is kept until then, without its graph.
"""

import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import torch
from torch import nn

from fastact.diagnosis.layer_types import LOSS
from fastact.errors import ArgumentTypeError
from fastact.monitor.unseen import Missing
from fastact.torch import attention, compiled, criteria
from fastact.torch.by_hand import weighed
from fastact.torch.criteria import LOSS_OF, NAME, Call, Given
from fastact.torch.functional import switch_off
from fastact.torch.hooks import backward_pass, tracing, transforming, unseen
from fastact.torch.loss_hooks import NO_LOSS, OF_THE_WHOLE, CompiledLosses, LossHook, LossWatching, is_part
from fastact.torch.loss_mode import LossMode, Seen, caller, push_below
from fastact.torch.passes import MOST_PLACES
from fastact.torch.tensors import local_values, real_numbers

#: Passes in a row after which no loss came, and after which none is waited for any more unless it was asked for; and
#: steps after whose losses no backward pass was seen, and after which a loss is recorded as soon as it comes.
_PATIENCE: Final = 3
#: Calls of PyTorch's functions that are looked at in search of a loss after one pass.
_MOST_CALLS: Final = 1000
#: Losses that wait for one backward pass: of a loop over time steps the last ones.
_MOST_TERMS: Final = 32
#: Passes in which it is noted which layer's output lies where, until a loss has come.
_MOST_SOURCES: Final = 8


class _Waiting(threading.local):
    """The losses of this thread that wait: those of one model, since a loss belongs to the pass that came last."""

    def __init__(self) -> None:
        self.losses: list[Losses] = []


_waiting: Final = _Waiting()


class Losses:
    """The losses of one `Watch`.

    Attributes:
        given: the criteria that the user has named, by name.
        found: the rows of losses that were recorded so far.
        in_graphs: takes the losses of compiled models; None where none are looked for.
    """

    def __init__(
        self, watch: LossWatching, model: nn.Module, loss: criteria.Loss | None, named: Mapping[str, criteria.Criterion]
    ) -> None:
        self._watch, self._model = watch, weakref.ref(model)
        self.given: dict[str, nn.Module] = {}
        #: The loss functions that the user has named, and their names; whether all others are recorded as well.
        self._functions: dict[str, str] = {}
        self._looks = loss is None or loss is True
        #: Whether a criterion is of the user's own, so that what it calls are terms of it.
        self._inside = False
        #: Whether the user wants losses to be looked for, whatever it costs.
        self._asked = loss is not None
        #: What the whole loss is called, and the user's function for it.
        self._total, self._spelled = watch.prefix + NAME, ""
        for name, criterion in named.items():
            self._add(watch.prefix + name, criterion)
        self._record_loss: Callable[..., None] | None = getattr(watch.monitor, "record_loss", None)
        if self._record_loss is None:
            if loss:
                got = f"{type(watch.monitor).__name__} without record_loss"
                raise ArgumentTypeError(f"monitor: got {got}, want one that takes losses, as loss is given")
            self._looks = False
        looked_for = self._looks or self._inside or bool(self._functions)
        self._mode = LossMode(self) if looked_for else None
        self.in_graphs = CompiledLosses(watch, self, self._total) if looked_for else None
        self._seen = Seen()
        #: By the mode of a pass: passes in a row without a loss, and steps without a backward pass.
        self._misses: dict[tuple[bool, bool], int] = {}
        self._unended: dict[tuple[bool, bool], int] = {}
        #: Whether the pass that a loss belongs to is that of another watched model, of which this one is a part.
        self._inside_other = False
        #: Whether something was compiled while the mode was on.
        self._compiled = False
        #: Losses that came with the last backward pass: a validation has as many.
        self._usual = 1
        #: By whether the model trains: the rows of the places that call losses, and how many there are of each name.
        self._rows: dict[bool, dict[tuple[object, ...], str]] = {True: {}, False: {}}
        self._counts: dict[tuple[bool, str], int] = {}
        #: The rows in training of each function, in their order.
        self._by_function: dict[str, list[str]] = {}
        #: The layer whose output each loss was given when it first came; "" where that is not known.
        self._sources: dict[tuple[str, bool], str] = {}
        self._tries = 0
        self._hooks: list[LossHook] = []

    def _add(self, name: str, criterion: criteria.Criterion) -> None:
        if isinstance(criterion, nn.Module):
            self.given[name] = criterion
            if not criteria.name_of(criterion)[1]:
                self._total, self._inside = name, True
        elif criterion in LOSS_OF:
            self._functions[LOSS_OF[criterion]] = name
        else:  # no one sees when a function of the user's is called, but what it returns begins the backward pass
            self._looks = True
            self._total, self._spelled = name, getattr(criterion, "__name__", type(criterion).__name__)

    def attach(self, add: Callable[..., None]) -> None:
        """Hooks the criteria that the user has named; `add` takes a hook and where to register it."""
        for name, criterion in self.given.items():
            hook = LossHook(self._watch, self, criterion, name)
            self._hooks.append(hook)
            add(hook, criterion.register_forward_hook, with_kwargs=True)

    @property
    def found(self) -> set[str]:
        """The rows of losses that were recorded so far."""
        return {name for name, _ in self._sources}

    def missing(self) -> dict[str, Missing]:
        """What the user has named and nobody has called."""
        found, missing = self.found, {hook.name: hook.missing for hook in self._hooks if hook.missing is not None}
        named = [*self._functions.values(), *([self._total] if self._asked and self._looks else [])]
        if self._inside_other and not found and not named:
            return {self._total: OF_THE_WHOLE}
        return missing | {name: NO_LOSS for name in named if name not in found}

    @property
    def wants_sources(self) -> bool:
        """Whether a pass is to note which layer's output lies where: until the first loss has come."""
        if self._sources or not (self._mode or self.given) or self._tries >= _MOST_SOURCES:
            return False
        self._tries += 1
        return True

    # The scopes call the following.

    def begin(self, training: bool) -> None:
        """A pass begins."""
        seen = self._seen
        if seen.waiting:
            self._stop()
            if not seen.losses:
                self._misses[seen.mode] = self._misses.get(seen.mode, 0) + 1
        # The losses of several passes may be added up; those of a validation never are.
        if seen.pending and (not seen.mode[0] or len(seen.pending) > MOST_PLACES or seen.step != self._watch._step()):
            self._give_up()
        seen.begin(training)

    def wait(self) -> None:
        """A recorded pass has ended: a loss may follow."""
        if self._mode is None or transforming() or tracing() is not None or backward_pass() != -1:
            return
        seen = self._seen
        if seen.mode == (True, False):
            return
        misses = self._misses.get(seen.mode, 0)
        if not self._asked and (misses >= _PATIENCE or self._compiled or attention.is_elsewhere(self._model())):
            return
        for other in [other for other in _waiting.losses if other._model() is not self._model()]:
            other._stop()
            other._inside_other = not other.found and is_part(other._model(), self._model())
        if self not in _waiting.losses:
            _waiting.losses.append(self)
        switch_off(self._mode)
        push_below(self._mode)
        seen.waiting, seen.compilations = True, compiled.compilations()

    def end(self) -> None:
        """The watch ends."""
        self._give_up()
        self._stop()
        self._mode = None
        if self.in_graphs is not None:
            compiled.forget(self.in_graphs.key)

    def _stop(self) -> None:
        seen = self._seen
        if seen.waiting and seen.compilations != compiled.compilations():
            # What is compiled under a mode is compiled anew without it. That is not to happen unless it was asked for.
            self._compiled = True
        seen.end()
        if self in _waiting.losses:
            _waiting.losses.remove(self)
        if self._mode is not None:
            switch_off(self._mode)

    def _give_up(self) -> None:
        """Records what waits for a backward pass that nobody has seen."""
        seen = self._seen
        calls, seen.pending = seen.pending, []
        if not calls:
            return
        self._unended[seen.mode] = self._unended.get(seen.mode, 0) + 1
        try:
            same = len({call.place for call in calls}) == 1
            self._settle((call, self._total if same else "") for call in calls)
        except Exception as error:  # noqa: BLE001 - nothing of ours may end a training run
            self._watch._failed(self._total, error)

    # The modes call the following.

    def _look(self, function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
        """Counts a call that is none of a loss; it may be part of one that is written by hand."""
        seen = self._seen
        seen.calls += 1
        if seen.compared.looks and self._looks and seen.mode == (True, True) and not transforming():
            seen.compared.called(function, args, kwargs, result)
        if seen.calls == _MOST_CALLS and not seen.losses:
            self._misses[seen.mode] = _PATIENCE

    def _failed(self) -> None:
        """A backward pass has failed, so that the mode may stay on: whoever keeps the error keeps the call."""
        self._seen.waiting = True

    def _called(self, function: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> bool:
        """Takes a call of a loss function; returns whether no other is to be looked for."""
        watch, seen = self._watch, self._seen
        base = self._functions.get(function, "")
        if self._mode is None:
            return True  # the watch has ended, in another thread
        try:
            if not (base or self._looks or self._inside) or not isinstance(result, torch.Tensor):
                return False
            if backward_pass() != -1 or transforming() or tracing() is not None or not watch._due():
                return False
            if self._trains() and not result.requires_grad:
                return False  # a number for the user to read
            with unseen():
                options = criteria.options(None, {"reduction": "mean", **kwargs})
                call = self._new_call(function, result, criteria.given(function, args, kwargs), options)
                seen.losses += 1
                self._misses[seen.mode] = 0
                if base or self._inside:
                    self._settle([(call, base)])
                elif call.node != -1 and self._unended.get(seen.mode, 0) < _PATIENCE:
                    seen.step = seen.step if seen.pending else watch._step()
                    seen.pending = [*seen.pending[1 - _MOST_TERMS :], call]
                else:
                    seen.settled += 1
                    self._settle([(call, self._total)])
            return seen.waiting and call.node == -1 and seen.losses >= self._usual
        except Exception as error:  # noqa: BLE001 - nothing of ours may end a training run
            watch._failed(base or self._total, error)
        return False

    def _scaled(self, args: tuple[Any, ...], result: Any) -> None:
        """Notes what a loss was before it was multiplied by one number without a gradient, as a `GradScaler` does."""
        if not transforming() and (loss := criteria.factor(args, result)) is not None:
            with unseen():
                self._seen.scaled = criteria.number_of(result), loss.detach()

    def _backward(self, totals: Iterable[Any], *, only: bool) -> bool:
        """A backward pass begins with `totals`; returns whether no other is to be looked for.

        `only` where they are no losses unless one was seen, such as in a function that differentiates anything.
        """
        watch, seen = self._watch, self._seen
        if self._mode is None:
            return True
        try:
            if self._looks and backward_pass() == -1 and watch._due():
                with unseen():
                    for total in totals:
                        self._settle_terms(total, only=only or total.numel() != 1)
        except Exception as error:  # noqa: BLE001 - nothing of ours may end a training run
            watch._failed(self._total, error)
        if only and not seen.losses:
            return False
        self._give_up()  # of the others: a compiled optimiser, which steps next, may not be compiled under any mode
        self._misses[seen.mode] = self._unended[seen.mode] = 0
        self._usual, seen.settled = max(seen.losses, 1), 0
        self._stop()
        return True

    def _settle_terms(self, total: torch.Tensor, *, only: bool) -> None:
        """Records the losses that wait and that `total` is made of; and `total` where it is more than one of them."""
        seen = self._seen
        found, alone = criteria.terms(total, {call.node: place for place, call in enumerate(seen.pending)})
        # What a backward pass begins with is no validation, whatever mode the model is in.
        calls = [seen.pending[place]._replace(training=True) for place in sorted(found)]
        seen.pending = [call for place, call in enumerate(seen.pending) if place not in found]
        value = seen.scaled[1] if seen.scaled[0] == criteria.number_of(total) else total
        if alone:
            self._settle([(calls[0] if self._total in self.found else weighed(calls[0], value), self._total)])
        elif calls or not (only or seen.settled or seen.pending):
            self._settle((call, "") for call in calls)
            facts = {"framework": "torch", "spelled": self._spelled, "terms": len(calls)}
            facts |= {} if self._total in self.found else criteria.of_ones_own(total, Given(None, None))
            whole = self._new_call("", value, seen.compared.of(value, facts), facts)
            place = ("terms", *(call.place for call in calls)) if calls else whole.place
            self._settle([(whole._replace(place=place, training=True), self._total)])

    # The hooks call the following.

    def _new_call(
        self, function: str, value: torch.Tensor, given: Given, facts: dict[str, Any], where: tuple[object, ...] = ()
    ) -> Call:
        """A call that has just been made, with what is known of its predictions where it is the first of its place.

        `where` tells it from others; by default it is the line of the user's code, by which one loss of a program
        is told from the others, and passes whose gradients are accumulated are not.
        """
        places, training = self._seen.places, self._trains()
        # The validation of a loss is one, wherever the program validates.
        where = (function, *(where or (caller() if training else ())))
        number = places[where] = places.get(where, 0) + 1
        place = (*where, min(number, MOST_PLACES))
        name = self._rows[training].get(place)
        if name is None:
            facts, (source, known) = facts | criteria.which_learns(given), self._look_at(given.predictions)
            if source and training and self._watch._parameters is not None:
                self._watch._parameters.strays.find(given.predictions)
            facts = {**facts, "prediction": known, "source": source} if given.predictions is not None else facts
        elif self._sources.get((name, training)):  # swept by its layer
            given = given._replace(predictions=None)
        given = Given(*(None if x is None else x.detach() for x in given))
        return Call(function, value.detach(), criteria.number_of(value), given, facts, place, training)

    def _settle(self, calls: Iterable[tuple[Call, str]]) -> None:
        """Records calls, each under its name; "" for a term of a sum."""
        for call, base in calls:
            name = self._row(call, base or f"{self._total}:{call.function}")
            self._record(name, call if base else call._replace(facts={**call.facts, "part": True}))

    def _settle_compiled(self, function: str, value: torch.Tensor, given: Given, facts: dict[str, Any]) -> None:
        """Records a call of a loss function that was made by a compiled model."""
        base = self._functions.get(function, "") or (self._total if self._looks else "")
        if base:
            self._settle([(self._new_call(function, value, given, facts, ("compiled",)), base)])

    def _trains(self) -> bool:
        return self._watch._passes.training or self._watch._home is None

    def _row(self, call: Call, base: str) -> str:
        """The name of the rows of a place in the code that calls a loss."""
        rows = self._rows[call.training]
        name = rows.get(call.place)
        if name is None:
            known = self._by_function.setdefault(call.function, [])
            taken = sum(each in known for each in rows.values())
            if not call.training and taken < len(known):  # a validation goes by the names of the training
                name = known[taken]
            else:
                number = self._counts[call.training, base] = self._counts.get((call.training, base), 0) + 1
                name = base if number == 1 else f"{base}:{min(number, MOST_PLACES)}"
                if call.training:
                    known.append(name)
            rows[call.place] = name
        return name

    def _record(self, name: str, call: Call) -> None:
        """Hands a loss, and what it was given, to the monitor."""
        watch = self._watch
        value = real_numbers(local_values(call.value))
        if value.is_cuda and torch.cuda.is_current_stream_capturing():
            watch._record(name, value, None, LOSS)  # whatever else there is to do would wait for the device
            return
        facts = dict(call.facts)
        source = self._sources.setdefault((name, call.training), facts.pop("source", ""))
        predictions, targets = (None if x is None else local_values(x) for x in call.given)
        if predictions is not None and predictions.is_complex():
            predictions = real_numbers(predictions)
        assert self._record_loss is not None
        self._record_loss(
            value,
            predictions=predictions,
            targets=targets,
            function=call.function,
            name=name,
            source=source,
            axis=-1 if predictions is None else criteria.class_axis(call.function, predictions),
            facts=facts,
            training=call.training,
        )

    def _look_at(self, predictions: torch.Tensor | None) -> tuple[str, dict[str, Any]]:
        """The layer whose output the predictions are, as far as that is known, and what else is known of them."""
        if predictions is None:
            return "", {}
        facts = criteria.last_activation(predictions)
        passes = self._watch._passes
        sources = passes.sources or passes.last_sources
        if sources is None or (found := sources.find(predictions)) is None:
            return "", facts
        name, shape = found
        if shape != predictions.shape:
            facts["view"] = list(shape)
        if shape.numel() == predictions.numel():
            return name, facts
        return "", {**facts, "view_of": name}
