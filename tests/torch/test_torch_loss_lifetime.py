"""What is left of a loss that was watched: nothing, whatever fails, in whichever thread, copy or compiled code."""

import contextlib
import copy
import gc
import pickle
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.functional import mse_loss
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack
from torch_losses import (
    Net,
    Trained,
    X,
    Y,
    no_mode_is_left,  # noqa: F401, a fixture of all
)

import fastact
import fastact.torch.losses as under_test
from fastact.torch import attention, watch


def test_a_mode_of_the_user_and_a_default_device_end_as_they_began() -> None:
    class Theirs(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return func(*args, **(kwargs or {}))

    theirs, later = Theirs(), Theirs()

    def loss_of(model: Any) -> torch.Tensor:
        with theirs, torch.device("cpu"):
            y = model(X)
            assert len(_get_current_function_mode_stack()) == 3
        assert len(_get_current_function_mode_stack()) == 1
        with torch.device("cpu"), later:
            loss = functional.cross_entropy(y, Y)
            loss.backward(retain_graph=True)
            assert _get_current_function_mode_stack()[-1] is later
            assert len(_get_current_function_mode_stack()) == 2
        return loss

    assert Trained(loss_of).rows["loss"]["count"].tolist() == [1, 1]


def test_a_loss_that_never_comes_is_not_waited_for_unless_it_was_asked_for() -> None:
    for asked in (None, True):
        model = Net()
        with fastact.ActivationMonitor() as monitor, watch(model, monitor, loss=asked):
            waits = []
            for _ in range(4):
                model(X)
                waits.append(bool(_get_current_function_mode_stack()))
                monitor.step()
            assert waits == ([True] * 3 + [False] if asked is None else [True] * 4)
            assert set(monitor.unseen) == (set() if asked is None else {"loss"})
    with fastact.ActivationMonitor() as monitor, watch(model, monitor):
        y = model(X)
        for _ in range(under_test._MOST_CALLS):
            y = y + 1
        y = model(X)
        assert not _get_current_function_mode_stack()


def test_backward_passes_that_no_one_sees_leave_the_losses_as_they_come() -> None:
    model = Net()
    with fastact.ActivationMonitor() as monitor, watch(model, monitor, strict=True):
        for _ in range(6):
            backward = threading.Thread(target=functional.cross_entropy(model(X), Y).backward)
            backward.start()
            backward.join()
            monitor.step()
    # The first ones wait until the next pass begins.
    assert monitor.history["loss"]["step"].tolist() == [1, 2, 3, 4, 5]
    assert monitor.history["loss"]["count"].tolist() == [1, 1, 2, 1, 1]


def test_what_goes_wrong_costs_a_row_and_never_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: Any, **__: Any) -> None:
        raise ValueError("out of luck")

    criterion = nn.CrossEntropyLoss()
    for given in (None, criterion, functional.cross_entropy):
        model = Net()
        with fastact.ActivationMonitor() as monitor:
            monkeypatch.setattr(monitor, "record_loss", failing)
            with watch(model, monitor, loss=given) as handle:
                with pytest.warns(RuntimeWarning, match=r"could not record layer 'loss' and continues.*out of luck"):
                    criterion(model(X), Y).backward()
                monitor.step()
                criterion(model(X), Y).backward()
                monitor.step()
        assert handle.failures == 2
        assert len(monitor.history["fc2"]) == 2
        assert not _get_current_function_mode_stack()


def test_copies_of_a_criterion_are_not_watched_and_nothing_is_left_on_it() -> None:
    criterion, model = nn.CrossEntropyLoss(), Net()
    with fastact.ActivationMonitor() as monitor, watch(model, monitor, loss=criterion):
        for other in (copy.deepcopy(criterion), pickle.loads(pickle.dumps(criterion))):
            other(model(X), Y).backward()
        monitor.step()
        assert "loss" not in monitor.history
    assert not criterion._forward_hooks
    criterion(model(X), Y)


def test_an_error_between_the_pass_and_its_loss_ends_with_the_watch() -> None:
    model = Net()
    with (
        pytest.raises(ValueError, match="batch_size"),
        fastact.ActivationMonitor() as monitor,
        watch(model, monitor),
    ):
        functional.cross_entropy(model(X), Y[:5])


def test_a_pass_or_a_backward_pass_that_fails_leaves_no_mode() -> None:
    model, fails = Net(), [True]

    def fail(*_: object) -> None:
        if fails[0]:
            raise KeyError("ours")

    with fastact.ActivationMonitor() as monitor, watch(model, monitor, strict=True):
        hook = model.fc1.register_forward_hook(fail)
        with pytest.raises(KeyError):
            model(X)
        assert not _get_current_function_mode_stack()
        hook.remove()
        loss = functional.cross_entropy(model(X), Y)
        loss.register_hook(fail)
        with contextlib.suppress(KeyError):
            loss.backward()
        assert not _get_current_function_mode_stack()
        fails[0] = False
        functional.cross_entropy(model(X), Y).backward()
        assert not _get_current_function_mode_stack()


@pytest.mark.parametrize(
    "backward",
    [
        lambda loss, _: torch.autograd.backward([loss]),
        lambda loss, model: torch.autograd.grad(loss, list(model.parameters())),
        lambda loss, _: loss.expand(2).backward(torch.ones(2)),
    ],
)
def test_a_backward_pass_by_any_of_its_functions_ends_the_wait(backward: Callable[[Any, Any], object]) -> None:
    model, losses = Net(), []
    with fastact.ActivationMonitor() as monitor, watch(model, monitor, strict=True):
        for _ in range(5):
            loss = functional.cross_entropy(model(X), Y)
            functional.mse_loss(model.fc2.bias, torch.zeros(3))  # with a gradient that nobody wants
            backward(loss, model)
            assert not _get_current_function_mode_stack()
            losses.append(loss.item())
            monitor.step()
    assert monitor.history["loss"]["mean"].tolist() == pytest.approx(losses)


def test_what_the_graph_has_saved_is_not_unpacked_before_the_backward_pass() -> None:
    """A checkpoint would run once more, and so would the batch norms in it."""
    model, runs = Net(), []

    def loss_of(x: torch.Tensor) -> torch.Tensor:
        runs.append(1)
        return (functional.cross_entropy(x, Y) + x.square().mean()) * torch.tensor(0.5)

    Trained(lambda model: torch.utils.checkpoint.checkpoint(loss_of, model(X), use_reentrant=False), model)
    assert len(runs) == 4


def test_a_failure_keeps_nothing_alive() -> None:
    model = Net().to("meta")  # where nothing can be read
    gc.collect()
    gc.disable()
    try:
        with fastact.ActivationMonitor() as monitor, watch(model, monitor) as handle:
            with pytest.warns(RuntimeWarning, match="could not record"):
                loss = functional.cross_entropy(model(X.to("meta")), Y.to("meta"))
            loss.backward()
            assert not _get_current_function_mode_stack()
            there = weakref.ref(loss)
            del loss
            assert there() is None
            assert handle.failures
    finally:
        gc.enable()


def test_a_thread_that_is_between_a_pass_and_its_loss_as_the_watch_ends() -> None:
    model, waits, ended, left = Net(), threading.Event(), threading.Event(), []

    def train() -> None:
        y = model(X)
        waits.set()
        ended.wait(300)
        functional.cross_entropy(y, Y).backward()
        left.append(len(_get_current_function_mode_stack()))

    with fastact.ActivationMonitor() as monitor:
        handle = watch(model, monitor)
        thread = threading.Thread(target=train)
        thread.start()
        assert waits.wait(300)  # what is compiled first takes its time
        handle.remove()
    ended.set()
    thread.join()
    assert (left, handle.failures) == ([0], 0)


def test_a_teacher_computes_what_it_does_without_us() -> None:
    others = [nn.MultiheadAttention(4, 2) for _ in range(3)]  # which are gone when the teacher comes
    gc.collect()
    assert not attention.is_elsewhere(None)
    others.clear()
    attention.is_elsewhere(None)
    teacher = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    with fastact.ActivationMonitor() as monitor, watch(Net(), monitor, strict=True) as handle:
        for training in (True, False):
            teacher.train(training)
            handle._losses.begin(training=True)
            handle._losses.wait()
            assert bool(_get_current_function_mode_stack()) == training
        monitor.step()
    model = nn.Sequential(teacher, nn.Linear(4, 3))
    with fastact.ActivationMonitor() as monitor, watch(model, monitor, strict=True):
        functional.cross_entropy(model(X[:, None])[:, 0], Y).backward()
        monitor.step()
        assert "loss" in monitor.history


def test_threads_have_losses_of_their_own() -> None:
    model, left = Net(), []

    def train() -> None:
        functional.cross_entropy(model(X), Y).backward()
        left.append(len(_get_current_function_mode_stack()))

    with fastact.ActivationMonitor() as monitor, watch(model, monitor, strict=True):
        threads = [threading.Thread(target=train) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        monitor.step()
    assert left == [0, 0]
    assert monitor.history["loss"]["count"].tolist() == [2]


def test_checkpoints_and_transforms() -> None:
    model = Net()
    seen = Trained(lambda model: torch.utils.checkpoint.checkpoint(model, X, Y, use_reentrant=False), model)
    assert seen.rows["loss"]["count"].tolist() == [1, 1]
    criterion = nn.CrossEntropyLoss()

    def loss_of(parameters: Any) -> torch.Tensor:
        loss: torch.Tensor = criterion(torch.func.functional_call(model, parameters, (X,)), Y)
        return loss

    with fastact.ActivationMonitor() as monitor, watch(model, monitor, loss=criterion, strict=True):
        torch.func.grad(loss_of)(dict(model.named_parameters()))
        monitor.step()
    assert "fc2" in monitor.history


@pytest.mark.filterwarnings("ignore")
def test_compiled_code() -> None:
    torch.compiler.reset()
    criterion, model = nn.CrossEntropyLoss(), Net()
    seen = Trained(torch.compile(lambda model: criterion(model(X), Y), backend="eager"), model, loss=criterion)
    assert seen.rows["loss"]["mean"].tolist() == pytest.approx(seen.losses)
    assert seen.facts()["function"] == "cross_entropy"
    torch.compiler.reset()
    inside = Trained(torch.compile(lambda model: model(X, Y), backend="eager"), model)
    assert inside.rows["loss"]["mean"].tolist() == pytest.approx(inside.losses)
    torch.compiler.reset()
    torch._dynamo.utils.counters.clear()
    # What is compiled while a loss is waited for is compiled once more without that, and then never again.
    loss_of = torch.compile(lambda y: mse_loss(y, X[:, :3]), backend="eager")
    Trained(lambda model: loss_of(model(X)), steps=5)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 2
    torch.compiler.reset()
