"""Trainings in PyTorch whose output, loss and targets do not fit: told at the first batch; the rest never."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import fastact
import fastact.torch
from fastact.diagnosis.report import Diagnosis

torch.manual_seed(0)
X = torch.randn(64, 6)
CLASSES = torch.randint(3, (64,))
BINARY = (X[:, :1] > 0).float()
VALUES = X[:, :1] - X[:, 1:2]
ONE_HOT = functional.one_hot(CLASSES, 3).float()


def trained(
    last: list[nn.Module], criterion: nn.Module, targets: torch.Tensor, steps: int = 2, units: int = 1,
    then: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> Diagnosis:  # fmt: skip
    """The diagnosis of a small network that ends so, after `then` outside of it."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, units), *last)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with fastact.ActivationMonitor() as monitor, fastact.torch.watch(model, monitor, loss=criterion):
        for _ in range(steps):
            predictions = model(X) if then is None else then(model(X))
            loss = criterion(predictions, targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            monitor.step()
    return monitor.diagnose()


def said(diagnosis: Diagnosis) -> list[tuple[str, str]]:
    return [(f.layer, f.cause_name) for f in diagnosis.findings if f.condition == "output_mismatch"]


@pytest.mark.parametrize(
    ("last", "criterion", "targets", "units", "told"),
    [
        ([nn.Softmax(1)], nn.BCELoss(), BINARY, 1, ("3", "softmax_over_one_unit")),
        ([], nn.CrossEntropyLoss(), torch.zeros(64).long(), 1, ("2", "softmax_over_one_unit")),
        ([nn.Softmax(1)], nn.CrossEntropyLoss(), CLASSES, 3, ("3", "double_softmax")),
        ([nn.Softmax(1), nn.Dropout(0.0)], nn.CrossEntropyLoss(), CLASSES, 3, ("3", "double_softmax")),
        ([nn.Softmax(0)], nn.CrossEntropyLoss(), CLASSES, 3, ("3", "softmax_axis")),
        ([nn.Sigmoid()], nn.BCEWithLogitsLoss(), BINARY, 1, ("3", "double_sigmoid")),
        ([], nn.NLLLoss(), CLASSES, 3, ("2", "missing_log_softmax")),
        ([nn.ReLU()], nn.BCEWithLogitsLoss(), BINARY, 1, ("3", "relu_output")),
        ([nn.ReLU()], nn.MSELoss(), VALUES, 1, ("3", "relu_output")),
        ([nn.Tanh()], nn.MSELoss(), 5.0 * VALUES, 1, ("3", "target_out_of_range")),
        ([], nn.BCEWithLogitsLoss(), 2.0 * BINARY - 1.0, 1, ("2", "target_out_of_range")),
        ([], nn.SoftMarginLoss(), BINARY, 1, ("2", "target_out_of_range")),
        ([nn.Softplus()], nn.PoissonNLLLoss(), BINARY, 1, ("3", "wrong_output_activation")),
        ([], nn.CrossEntropyLoss(label_smoothing=0.9), CLASSES, 3, ("2", "label_smoothing")),
        ([nn.LogSoftmax(1)], nn.KLDivLoss(reduction="batchmean", log_target=True), 0.9 * ONE_HOT + 0.1 / 3, 3,
         ("3", "target_out_of_range")),
        pytest.param([], nn.MSELoss(), VALUES[:, 0], 1, ("2", "broadcast_shapes"),
                     marks=pytest.mark.filterwarnings("ignore:Using a target size")),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_at_the_first_batch(
    last: list[nn.Module], criterion: nn.Module, targets: torch.Tensor, units: int, told: tuple[str, str]
) -> None:
    first = said(trained(last, criterion, targets, steps=1, units=units))
    assert first == [told]


@pytest.mark.parametrize(
    ("then", "criterion", "targets", "units", "told"),
    [
        (torch.sigmoid, nn.BCEWithLogitsLoss(), BINARY, 1, ("2", "double_sigmoid")),
        (torch.tanh, nn.MSELoss(), 5.0 * VALUES, 1, ("2", "target_out_of_range")),
        (lambda x: x.softmax(1), nn.CrossEntropyLoss(), CLASSES, 3, ("loss", "double_softmax")),
    ],
)
def test_an_activation_outside_of_the_model_is_seen_by_what_it_does(
    then: Callable[[torch.Tensor], torch.Tensor], criterion: nn.Module, targets: torch.Tensor, units: int,
    told: tuple[str, str],
) -> None:  # fmt: skip
    assert said(trained([], criterion, targets, units=units, then=then)) == [told]


@pytest.mark.parametrize(
    ("last", "criterion", "targets", "units", "then"),
    [
        ([], nn.CrossEntropyLoss(label_smoothing=0.1), CLASSES, 3, None),
        ([], nn.CrossEntropyLoss(), 0.9 * ONE_HOT + 0.1 / 3, 3, None),
        ([nn.LogSoftmax(1)], nn.CrossEntropyLoss(), CLASSES, 3, None),
        ([nn.LogSoftmax(1)], nn.NLLLoss(), CLASSES, 3, None),
        ([nn.Softmax(1)], nn.MSELoss(), ONE_HOT, 3, None),
        ([nn.Softmax(1)], nn.BCELoss(), BINARY[:, 0], 2, lambda x: x[:, 1]),
        ([nn.Sigmoid()], nn.BCELoss(), ONE_HOT, 3, None),
        ([nn.Sigmoid()], nn.BCELoss(), BINARY[:, 0], 1, lambda x: x.squeeze(1)),
        ([nn.Sigmoid()], nn.MSELoss(), BINARY, 1, None),
        ([], nn.BCEWithLogitsLoss(), BINARY, 1, None),
        ([nn.Softplus()], nn.PoissonNLLLoss(log_input=False), BINARY, 1, None),
        ([], nn.SoftMarginLoss(), 2.0 * BINARY - 1.0, 1, None),
        ([nn.ReLU()], nn.MSELoss(), VALUES.abs(), 1, None),
        ([nn.Tanh()], nn.MSELoss(), torch.tanh(VALUES), 1, None),
        ([], nn.SmoothL1Loss(), VALUES[:, 0], 1, lambda x: x.squeeze(1)),
        ([], nn.MSELoss(), 100.0 * VALUES, 1, None),
    ],
)
def test_what_fits_is_never_told(
    last: list[nn.Module], criterion: nn.Module, targets: torch.Tensor, units: int, then: Any
) -> None:
    diagnosis = trained(last, criterion, targets, units=units, then=then)
    assert said(diagnosis) == []
    assert [note for note in diagnosis.notes if note.condition == "output_mismatch"] == []


@pytest.mark.parametrize("turn", [lambda x: x.view(64, 3, 4), lambda x: x.transpose(1, 2)])
def test_a_view_brings_no_classes_to_their_axis(turn: Any) -> None:
    places = CLASSES[:, None].expand(64, 4)
    told = said(trained([nn.Unflatten(1, (4, 3))], nn.CrossEntropyLoss(), places, units=12, then=turn))
    assert told == ([("2", "axes_viewed")] if turn(torch.zeros(64, 4, 3)).is_contiguous() else [])


def pair(compare: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], last: nn.Module, steps: int = 6) -> Diagnosis:
    """The diagnosis of a training whose loss is made by `compare` of the outputs and the targets."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1), last)
    optimizer = torch.optim.Adam(model.parameters())
    with fastact.ActivationMonitor() as monitor, fastact.torch.watch(model, monitor):
        for _ in range(steps):
            loss = compare(model(X), BINARY)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            monitor.step()
    return monitor.diagnose()


@pytest.mark.parametrize(
    ("compare", "last", "told"),
    [
        (lambda x, y: functional.binary_cross_entropy(0.98 * y + 0.01, x), nn.Sigmoid(), ["swapped_arguments"]),
        (lambda x, y: functional.binary_cross_entropy(x, 0.98 * y + 0.01), nn.Sigmoid(), []),
        (lambda x, y: functional.mse_loss(x, x.detach() + 0.0 * y), nn.Identity(), ["compares_itself"]),
        (lambda x, y: functional.mse_loss(y, x), nn.Identity(), []),  # it is the same both ways
        (lambda x, y: functional.mse_loss(0.0 * x, 0.0 * y), nn.Identity(), []),
    ],
)
def test_the_wrong_pair_of_tensors(compare: Any, last: nn.Module, told: list[str]) -> None:
    assert [cause for _, cause in said(pair(compare, last))] == told


@pytest.mark.parametrize(
    ("ignored", "label", "steps"), [(-100, -100, 25), (-100, -100, 120), (1, 1, 25), (-100, 1, 25)]
)
def test_labels_of_which_none_counts(ignored: int, label: int, steps: int) -> None:
    """The mean of nothing is NaN: not a matter of the rate, nor of labels that are all alike."""
    diagnosis = trained([], nn.CrossEntropyLoss(ignore_index=ignored), torch.full((64,), label), steps, units=3)
    told = [finding.cause_name for finding in diagnosis.findings]
    assert told[0] == ("labels_ignored" if ignored == label else "constant_labels")
    assert ("constant_labels" in told) == (ignored != label)


def test_triplets_that_stay_at_their_margin() -> None:
    """Pairs that say nothing: a loss without targets has a constant answer too, its margin."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2))
    optimizer = torch.optim.Adam(model.parameters())
    with fastact.ActivationMonitor() as monitor, fastact.torch.watch(model, monitor):
        for _ in range(120):
            x = torch.randn(3, 64, 6)
            loss = functional.triplet_margin_loss(model(x[0]), model(x[1]), model(x[2]), margin=0.3)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            monitor.step()
    assert float(monitor.history["loss:baseline"]["mean"][0]) == 0.3
    assert "representation_collapse" in {finding.cause_name for finding in monitor.diagnose().findings}


@pytest.mark.parametrize("shape", [(64,), (64, 1)])
def test_weights_that_broadcast(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    model, weights = nn.Linear(6, 1), torch.rand(shape)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with fastact.ActivationMonitor() as monitor, fastact.torch.watch(model, monitor):
        for _ in range(2):
            loss = (functional.mse_loss(model(X), VALUES, reduction="none") * weights).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            monitor.step()
    assert [cause for _, cause in said(monitor.diagnose())] == ["broadcast_shapes"] * (shape == (64,))


class Own(nn.Module):
    """A loss of the user's own."""

    def __init__(self, compare: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.compare = compare

    def forward(self, predictions: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return self.compare(predictions, targets)


def _of_class(p: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return -torch.log(p.clamp(1e-7, 1.0)[torch.arange(len(y)), y]).mean()


def _of_two(p: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    p = p.clamp(1e-7, 1.0 - 1e-7)
    return -(y * p.log() + (1.0 - y) * (1.0 - p).log()).mean()


def _dice(p: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return (2.0 * (p * y).sum() + 1.0) / (p.sum() + y.sum() + 1.0)


def _gaussian(p: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    spread = p[:, 1].clamp(min=1e-3)
    return (0.5 * spread.log() + (p[:, 0] - y[:, 0]) ** 2 / spread).mean()


@pytest.mark.parametrize(
    ("last", "compare", "targets", "units", "steps", "told"),
    [
        ([], _of_class, CLASSES, 3, 1, ("2", "missing_softmax")),
        ([], lambda p, y: -(y * (p.clamp(min=0.0) + 1e-8).log()).mean(), ONE_HOT, 3, 1, ("2", "missing_softmax")),
        ([], _of_two, BINARY, 1, 1, ("2", "missing_sigmoid")),
        ([nn.Softmax(0)], _of_class, CLASSES, 3, 1, ("3", "softmax_axis")),
        ([], lambda p, y: (p - y).mean(), VALUES, 1, 20, ("2", "wrong_loss")),
        ([], lambda p, y: (y - p).mean(), VALUES, 1, 20, ("2", "wrong_loss")),
        ([nn.LogSoftmax(1)], lambda p, y: p[torch.arange(len(y)), y].mean(), CLASSES, 3, 40, ("3", "wrong_sign")),
        ([], lambda p, y: -(p - y).square().mean(), VALUES, 1, 1, ("2", "wrong_sign")),
        ([nn.Sigmoid()], lambda p, y: _dice(p, y), BINARY, 1, 1, ("3", "wrong_sign")),
        # Those that are right
        ([nn.Sigmoid()], lambda p, y: 1.0 - _dice(p, y), BINARY, 1, 5, None),
        ([nn.Softmax(1)], _of_class, CLASSES, 3, 5, None),
        ([nn.Softmax(1)], lambda p, y: -(y * (p + 1e-8).log()).sum(1).mean(), ONE_HOT, 3, 5, None),
        ([nn.Sigmoid()], _of_two, BINARY, 1, 5, None),
        ([nn.Softplus()], lambda p, y: (p - y * (p + 1e-8).log()).mean(), VALUES.abs(), 1, 5, None),
        ([], _gaussian, VALUES, 2, 5, None),
        ([], lambda p, y: (p - y).square().mean(), VALUES, 1, 5, None),
        ([], lambda p, y: (p - y).abs().mean(), 5.0 + VALUES.abs(), 1, 5, None),
        ([], lambda p, y: torch.maximum(0.9 * (y - p), 0.1 * (p - y)).mean(), VALUES, 1, 5, None),
        ([nn.LogSoftmax(1)], lambda p, y: -p[torch.arange(len(y)), y].mean(), CLASSES, 3, 40, None),
        ([nn.Softmax(1)], lambda p, y: -p[torch.arange(len(y)), y].mean(), CLASSES, 3, 40, None),
    ],
)  # fmt: skip
def test_a_loss_of_ones_own_that_compares_nothing_is_told(
    last: list[nn.Module], compare: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], targets: torch.Tensor,
    units: int, steps: int, told: tuple[str, str] | None,
) -> None:  # fmt: skip
    assert said(trained(last, Own(compare), targets, steps=steps, units=units)) == [told] * (told is not None)


def test_a_critic_compares_two_means_on_purpose() -> None:
    critic = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1))
    criterion = Own(lambda made, real: made.mean() - real.mean())
    with fastact.ActivationMonitor() as monitor, fastact.torch.watch(critic, monitor, loss=criterion):
        for step in range(6):
            real = critic(X + 1.0)
            criterion(critic(X * step), real).backward()
            monitor.step()
    assert said(monitor.diagnose()) == []


def test_the_first_input_is_looked_at() -> None:
    model = nn.Sequential(nn.Linear(6, 2))
    x = torch.cat([X[:, :5], 1000.0 * X[:, 5:]], dim=1)
    with fastact.ActivationMonitor() as monitor, fastact.torch.watch(model, monitor):
        for batch in (x, X):
            model(batch)
            monitor.step()
    facts = monitor.history["input"].info.facts
    assert (facts["shape"], facts["features"]) == ([64, 6], 6)
    assert facts["feature_std"][2] == pytest.approx(1000.0, rel=0.3)
