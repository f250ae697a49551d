"""The losses of PyTorch models: which are seen, under which names, with which facts, and what is left behind."""

import contextlib
import copy
import gc
import pickle
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.functional import mse_loss
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack
from torch_doubles import Recorder

import fastact
import fastact.torch.losses as under_test
from fastact.errors import ArgumentTypeError, ArgumentValueError
from fastact.torch import attention, watch
from fastact.torch.loss_hooks import OF_THE_WHOLE

X, Y = torch.randn(12, 4, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 3


class Net(nn.Module):
    """Logits of three classes, or their probabilities."""

    def __init__(self, *, softmax: bool = False, criterion: nn.Module | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc1, self.fc2 = nn.Linear(4, 6), nn.Linear(6, 3)
        self.softmax = softmax
        self.criterion = criterion

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        y: torch.Tensor = self.fc2(torch.relu(self.fc1(x)))
        if labels is not None:
            return functional.cross_entropy(y, labels)
        return functional.softmax(y, dim=1) if self.softmax else y


class Trained:
    """A training of a few steps, its monitor, and the losses that it has come to."""

    def __init__(
        self, loss_of: Callable[[Any], torch.Tensor], model: nn.Module | None = None, steps: int = 2, **options: Any
    ) -> None:
        self.model = model or Net()
        self.losses = []
        optimiser = torch.optim.SGD(self.model.parameters(), 0.1)
        with fastact.ActivationMonitor() as self.monitor:
            self.watch = watch(self.model, self.monitor, strict=True, **options)
            for _ in range(steps):
                loss = loss_of(self.model)
                loss.backward()
                assert not _get_current_function_mode_stack()
                optimiser.step()
                optimiser.zero_grad()
                self.losses.append(loss.item())
                self.monitor.step()
            self.watch.remove()
            self.unseen = self.monitor.unseen
        self.rows = self.monitor.history

    def names(self) -> list[str]:
        """The rows of losses and what belongs to them."""
        return [name for name in self.rows if name.startswith("loss")]

    def facts(self, name: str = "loss") -> dict[str, Any]:
        """What is known of a loss."""
        return dict(self.rows[name].info.facts or {})


@pytest.fixture(autouse=True)
def no_mode_is_left() -> Iterator[None]:
    """Whatever happens in a test, PyTorch asks nobody after it."""
    yield
    assert not _get_current_function_mode_stack()


CRITERION = nn.CrossEntropyLoss()
LOSSES: dict[str, tuple[Callable[[Any], torch.Tensor], Any]] = {
    "function": (lambda model: functional.cross_entropy(model(X), Y), None),
    "module": (lambda model: CRITERION(model(X), Y), None),
    "asked": (lambda model: functional.cross_entropy(model(X), Y), True),
    "given": (lambda model: CRITERION(model(X), Y), CRITERION),
    "given function": (lambda model: functional.cross_entropy(model(X), target=Y), functional.cross_entropy),
    "in the model": (lambda model: model(X, Y), None),
    "scaled": (lambda model: CRITERION(model(X), Y) * torch.tensor(4.0) / 4, None),
    "averaged": (lambda model: functional.cross_entropy(model(X), Y, reduction="none").mean(), None),
}


@pytest.mark.parametrize("case", LOSSES)
def test_a_loss_is_recorded_with_its_targets_and_the_layer_that_it_was_given(case: str) -> None:
    loss_of, given = LOSSES[case]
    plain = Trained(loss_of, loss=False)
    assert plain.names() == []
    seen = Trained(loss_of, loss=given)
    assert all(map(torch.equal, plain.model.parameters(), seen.model.parameters()))
    assert seen.names() == ["loss:target", "loss", "loss:baseline"]
    row = seen.rows["loss"]
    assert row["mean"].tolist() == pytest.approx(seen.losses)
    assert (row.info.layer_type, row.info.source) == ("Loss", "fc2")
    facts = seen.facts()
    assert (facts["function"], facts["framework"], facts["weighted"]) == ("cross_entropy", "torch", False)
    assert facts["spelled"] == ("CrossEntropyLoss" if case == "given" else "cross_entropy")
    assert facts["reduction"] == ("none" if case == "averaged" else "mean")
    assert facts["prediction"]["activation"] == "Linear"
    assert "part" not in facts
    assert seen.rows["loss:baseline"]["mean"][0] == pytest.approx(torch.tensor(3.0).log().item())
    assert seen.rows["loss:target"].info.facts["distinct"] == [0.0, 1.0, 2.0]
    assert seen.unseen == {}


def test_weights_and_options_of_a_loss_are_facts() -> None:
    criterion = nn.CrossEntropyLoss(weight=torch.ones(3), reduction="sum")
    given = Trained(lambda model: criterion(model(X), Y), loss=criterion).facts()
    assert (given["weighted"], given["reduction"]) == (True, "sum")
    assert Trained(lambda model: criterion(model(X), Y)).facts() == {**given, "spelled": "cross_entropy"}
    smooth = Trained(lambda model: functional.cross_entropy(model(X), Y, label_smoothing=0.1))
    assert smooth.facts()["weighted"]
    assert "loss:baseline" not in smooth.names()


def test_a_sum_is_the_loss_and_what_it_is_made_of_are_parts() -> None:
    seen = Trained(
        lambda model: (
            2.0 * functional.cross_entropy(y := model(X), Y)
            + 0.5 * mse_loss(y[:, 0], Y.float())
            + sum(p.square().sum() for p in model.parameters())
        )
    )
    assert seen.rows["loss"]["mean"].tolist() == pytest.approx(seen.losses)
    assert (seen.facts()["function"], seen.facts()["terms"]) == ("", 2)
    for part in ("loss:cross_entropy", "loss:mse_loss"):
        assert seen.facts(part)["part"]
        assert len(seen.rows[part]) == 2
    # A part of a layer's output is swept by itself.
    assert seen.rows["loss:mse_loss"].info.source == "loss:mse_loss:prediction"
    assert seen.facts("loss:mse_loss")["prediction"]["view_of"] == "fc2"
    assert seen.rows["loss:mse_loss:prediction"]["count"].tolist() == [12, 12]


def test_a_loss_by_hand_is_what_the_backward_pass_begins_with() -> None:
    scaled = Trained(lambda model: (model(X) - 1).square().mean() * torch.tensor(1024.0))
    assert scaled.names() == ["loss"]
    assert scaled.rows["loss"]["mean"].tolist() == pytest.approx([loss / 1024 for loss in scaled.losses])
    assert scaled.facts()["function"] == ""

    def mine(y: torch.Tensor) -> torch.Tensor:
        return (y - 1).square().mean()

    named = Trained(lambda model: mine(model(X)), loss={"my": mine})
    assert named.rows["my"]["mean"].tolist() == pytest.approx(named.losses)
    assert named.facts("my")["spelled"] == "mine"


def _of_class(probabilities: torch.Tensor) -> torch.Tensor:
    return -torch.log(probabilities[torch.arange(12), Y].clamp(min=1e-8)).mean()


def _of_each(probabilities: torch.Tensor) -> torch.Tensor:
    return -(functional.one_hot(Y) * torch.log(probabilities + 1e-8)).sum(1).mean()


@pytest.mark.parametrize(
    ("loss_of", "function", "source", "target", "constant"),
    [
        (lambda model: (model(X) - X[:, :3]).square().mean(), "mean_squared_error", "fc2", [12, 3], 1.0),
        (lambda model: (X[:, :3] - model(X)).pow(2).sum(), "mean_squared_error", "fc2", [12, 3], 36.0),
        (lambda model: -torch.log_softmax(model(X), 1)[range(12), Y].mean(), "nll", "loss:prediction", [12], 1.0986),
        (lambda model: _of_class(torch.softmax(model(X), 1)), "sparse_categorical_crossentropy", "", [12], 1.0986),
        (lambda model: _of_each(torch.softmax(model(X), 1)), "categorical_crossentropy", "", [12, 3], 1.0986),
        # It has no bound below.
        (lambda model: -(model(X) - X[:, :3]).square().mean(), "", "fc2", [12, 3], None),
        (lambda model: (model(X) - X[:, :3]).mean(), "", "fc2", [12, 3], None),
        # Nobody knows what that is.
        (lambda model: (model(X) - X[:, :3]).square().mean().log(), "", "", None, None),
    ],
)
def test_what_a_loss_by_hand_compares_is_recorded_where_it_comes_to_a_known_one(
    loss_of: Callable[[Any], torch.Tensor], function: str, source: str, target: list[int] | None, constant: float | None
) -> None:
    seen = Trained(loss_of)
    assert seen.rows["loss"]["mean"].tolist() == pytest.approx(seen.losses)
    assert seen.facts()["function"] == function
    assert source in ("", seen.rows["loss"].info.source)
    assert ("loss:target" in seen.rows) == (target is not None)
    if target is not None:
        assert seen.facts("loss:target")["shape"] == target
        assert len(seen.rows["loss:target"]) == 2
    assert ("loss:baseline" in seen.rows) == (constant is not None)
    if constant is not None:
        spread = float(X[:, :3].var(0, unbiased=False).mean()) if function == "mean_squared_error" else 1.0
        assert seen.rows["loss:baseline"]["mean"].tolist() == pytest.approx([constant * spread] * 2, rel=1e-3)


def test_by_what_a_loss_was_multiplied_is_a_fact() -> None:
    assert Trained(lambda model: 1e-4 * CRITERION(model(X), Y)).facts()["weight"] == pytest.approx(1e-4)
    assert Trained(lambda model: CRITERION(model(X), Y) * -1).facts()["weight"] == -1.0
    assert "weight" not in Trained(lambda model: CRITERION(model(X), Y)).facts()


class Own(nn.Module):
    """A criterion of the user's own."""

    def forward(self, outputs: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"accuracy": torch.tensor(0.5), "loss": functional.cross_entropy(outputs, labels).square()}


def test_a_criterion_of_ones_own_and_the_function_inside_of_it() -> None:
    criterion = Own()
    seen = Trained(lambda model: criterion(model(X), Y)["loss"], loss=criterion)
    assert seen.rows["loss"]["mean"].tolist() == pytest.approx(seen.losses)
    assert (seen.facts()["function"], seen.facts()["spelled"]) == ("", "Own")
    assert seen.rows["loss"].info.source == seen.rows["loss:cross_entropy"].info.source == "fc2"
    assert seen.facts("loss:cross_entropy")["part"]


def test_several_criteria_have_the_names_of_their_types_or_those_that_were_given() -> None:
    ce, l1, other = nn.CrossEntropyLoss(), nn.L1Loss(), nn.L1Loss()

    def loss_of(model: Any) -> torch.Tensor:
        y = model(X)
        total: torch.Tensor = ce(y, Y) + l1(y, X[:, :3]) + other(y, X[:, 1:])
        return total

    listed = Trained(loss_of, loss=[ce, l1, other])
    found = [name for name, row in listed.rows.items() if row.info.layer_type == "Loss"]
    assert found == ["loss:CrossEntropyLoss", "loss:L1Loss", "loss:L1Loss:2"]
    named = Trained(loss_of, loss={"class": ce, "near": l1}, prefix="g.")
    assert [name for name, row in named.rows.items() if row.info.layer_type == "Loss"] == ["g.class", "g.near"]


def test_passes_that_one_line_calls_are_merged_and_other_lines_have_rows_of_their_own() -> None:
    def accumulated(model: Any) -> torch.Tensor:
        for _ in range(2):
            loss = functional.cross_entropy(model(X), Y)
            (loss / 2).backward()
        return functional.mse_loss(model(X), X[:, :3])

    seen = Trained(accumulated)
    assert seen.rows["loss"]["count"].tolist() == [2, 2]
    assert seen.rows["loss:2"]["mean"].tolist() == pytest.approx(seen.losses)
    heads = Trained(lambda model: sum(mse_loss(y, X[:, :3]) for y in [model(X)] * 2))  # type: ignore[arg-type, return-value]
    assert {"loss", "loss:mse_loss", "loss:mse_loss:2"} < set(heads.names())
    steps = Trained(lambda model: sum(mse_loss(model(x), x[:, :3]) for x in X.split(1)))  # type: ignore[arg-type, return-value]
    assert steps.rows["loss"]["mean"].tolist() == pytest.approx([loss / 12 for loss in steps.losses])


def test_the_losses_of_two_passes_that_are_added_up_are_parts() -> None:
    seen = Trained(lambda model: mse_loss(model(X), X[:, :3]) + mse_loss(model(-X), X[:, :3]))
    assert {"loss", "loss:mse_loss", "loss:mse_loss:2"} < set(seen.names())
    assert seen.rows["loss"]["mean"].tolist() == pytest.approx(seen.losses)


def test_what_was_last_done_to_the_predictions_is_known_wherever_it_was_done() -> None:
    inside = Trained(lambda model: functional.cross_entropy(model(X), Y), Net(softmax=True))
    assert inside.rows["loss"].info.source == "softmax"
    assert inside.rows["softmax"].info.facts == {"axis": 1}
    module = Trained(lambda model: functional.cross_entropy(model(X), Y), nn.Sequential(Net(), nn.Softmax(dim=-1)))
    assert module.rows["1"].info.facts == {"axis": -1}
    outside = Trained(lambda model: functional.cross_entropy(model(X).softmax(dim=-1), Y))
    assert outside.rows["loss"].info.source == "loss:prediction"
    for seen in (inside, module, outside):
        prediction = seen.facts()["prediction"]
        assert prediction["activation"] == "Softmax"
        assert prediction["activation_axis"] in (1, -1)
        assert prediction["sums_to_one"]


def test_a_view_of_a_layers_output_is_that_layers() -> None:
    model = nn.Sequential(nn.Linear(4, 1))
    seen = Trained(lambda model: mse_loss(model(X).squeeze(1), X[:, 0]), model)
    assert seen.rows["loss"].info.source == "0"
    prediction = seen.facts()["prediction"]
    assert (prediction["shape"], prediction["view"], prediction["activation"]) == ([12], [12, 1], "Linear")
    assert prediction["viewed"]


def test_a_validation_has_rows_of_its_own_and_numbers_for_the_user_have_none() -> None:
    def with_validation(model: Any) -> torch.Tensor:
        model.eval()
        with torch.no_grad():
            for _ in range(2):
                functional.cross_entropy(model(X), Y)
                assert not _get_current_function_mode_stack()
        functional.cross_entropy(model(X), Y)  # without no_grad
        model.train()
        y = model(X)
        mse_loss(y.detach(), X[:, :3])
        return functional.cross_entropy(y, Y)

    for given in (None, True):
        seen = Trained(with_validation, loss=given)
        assert seen.rows["loss"]["count"].tolist() == [1, 1]
        assert [name for name in seen.names() if "target" in name] == ["loss:target:eval", "loss:target"]
        evaluated = seen.rows["loss:eval"]
        assert evaluated.info.mode == "evaluation"
        assert evaluated["count"][-1] >= 2


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


def test_a_criterion_that_is_never_called_is_told() -> None:
    criterion, other = nn.CrossEntropyLoss(), nn.CrossEntropyLoss()
    seen = Trained(lambda model: other(model(X), Y), loss={"loss": criterion, "more": functional.mse_loss})
    assert seen.unseen["loss"].startswith("loss= was given, but its forward never ran")
    assert seen.unseen["more"].startswith("loss= was given, but no loss was seen")
    assert seen.names() == []


def test_a_criterion_that_the_model_holds_is_a_loss_and_no_layer() -> None:
    seen = Trained(lambda model: model.criterion(model(X), Y), Net(criterion=nn.CrossEntropyLoss()))
    assert not [name for name in seen.rows if "criterion" in name]
    assert seen.rows["loss"]["mean"].tolist() == pytest.approx(seen.losses)
    own = Own()
    given = Trained(lambda model: model.criterion(model(X), Y)["loss"], Net(criterion=own), loss=own)
    assert not [name for name in given.rows if "criterion" in name]
    assert given.rows["loss"].info.source == "fc2"


def test_a_loss_belongs_to_the_model_whose_pass_came_last() -> None:
    first, second = Net(), nn.Sequential(nn.Linear(3, 3))
    with (
        fastact.ActivationMonitor() as monitor,
        watch(first, monitor, prefix="g.", loss=True) as generator,
        watch(second, monitor, prefix="d.", loss=True),
    ):
        functional.cross_entropy(second(first(X)), Y).backward()
        monitor.step()
        assert generator.failures == 0
    assert "d.loss" in monitor.history
    assert "g.loss" not in monitor.history


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


def test_of_a_loop_the_last_losses_are_its_terms() -> None:
    def loss_of(model: Any) -> torch.Tensor:
        y = model(X)
        return sum((functional.mse_loss(y[:, 0], Y.float()) for _ in range(100)), torch.zeros(()))

    seen = Trained(loss_of, steps=1)
    assert seen.rows["loss"]["mean"].tolist() == pytest.approx(seen.losses)
    assert sum(int(seen.rows[name]["count"][0]) for name in seen.rows if seen.facts(name).get("part")) == 32


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


def test_scaled_losses_of_mixed_precision_are_those_before_scaling() -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)

    def loss_of(model: Any) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            loss = functional.cross_entropy(model(X), Y)
        scaled: torch.Tensor = scaler.scale(loss)
        return scaled

    seen = Trained(loss_of)
    assert seen.rows["loss"]["mean"].tolist() == pytest.approx([loss / 1024 for loss in seen.losses])
    assert seen.facts()["prediction"]["dtype"] == "bfloat16"
    assert seen.rows["loss"].info.source == "fc2"


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


@pytest.mark.parametrize(
    ("loss", "error", "message"),
    [
        (3, ArgumentTypeError, "loss: got int, want an nn.Module"),
        ([3], ArgumentTypeError, "loss: got int as 'loss', want"),
        ([], ArgumentValueError, "loss: got none"),
        ({"a": CRITERION, "b": CRITERION}, ArgumentValueError, "loss: got one criterion under two names"),
        (torch.jit.ScriptModule(), ArgumentTypeError, "loss: got a TorchScript module"),
    ],
)
def test_a_loss_that_cannot_be_is_one_clear_error(loss: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        watch(Net(), fastact.ActivationMonitor(), loss=loss)


def test_a_monitor_that_takes_no_losses_is_asked_for_none() -> None:
    with watch(model := Net(), Recorder()):
        functional.cross_entropy(model(X), Y).backward()
    with pytest.raises(ArgumentTypeError, match="monitor: got Recorder without record_loss"):
        watch(Net(), Recorder(), loss=True)


def test_the_watch_of_a_part_says_where_its_loss_is() -> None:
    model = nn.Sequential(nn.Sequential(nn.Linear(4, 6), nn.ReLU()), nn.Linear(6, 3))
    whole, part = fastact.ActivationMonitor(), fastact.ActivationMonitor()
    with whole, part, watch(model, whole, strict=True), watch(model[0], part, strict=True):
        for _ in range(2):
            functional.cross_entropy(model(X), Y).backward()
            whole.step()
            part.step()
        assert "loss" in whole.history
        assert "loss" not in part.history
        assert part.unseen["loss"] == OF_THE_WHOLE.reason
        assert "loss" not in whole.unseen
