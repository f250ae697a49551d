"""Which loss it is by what it comes to: every one of PyTorch's, summed, halved and turned, and none that is another."""

from collections.abc import Callable

import pytest
import torch
from torch.nn import functional as f

from fastact.loss_forms import Form, over_all_pairs, recognise

torch.manual_seed(3)
X = torch.randn(12, 4)
SOFT, HARD = torch.softmax(X, 1), torch.arange(12) % 4
ONE_HOT = f.one_hot(HARD, 4).float()
YES = (torch.rand(12, 4) > 0.5).float()
NUMBERS = torch.randn(12, 4)

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@pytest.mark.parametrize(
    ("loss", "ours", "wanted", "form"),
    [
        (f.cross_entropy, X, HARD, Form("cross_entropy")),
        (f.cross_entropy, X, ONE_HOT, Form("cross_entropy")),
        (f.nll_loss, torch.log_softmax(X, 1), HARD, Form("nll")),
        (lambda p, y: -torch.log(p[torch.arange(12), y]).mean(), SOFT, HARD, Form("sparse_categorical_crossentropy")),
        (lambda p, y: -(y * torch.log(p)).sum(1).mean(), SOFT, ONE_HOT, Form("categorical_crossentropy")),
        (f.binary_cross_entropy, torch.sigmoid(X), YES, Form("binary_cross_entropy")),
        (f.binary_cross_entropy_with_logits, X, YES, Form("binary_cross_entropy_with_logits")),
        (f.mse_loss, X, NUMBERS, Form("mean_squared_error")),
        (
            lambda p, y: 0.5 * f.mse_loss(p, y, reduction="sum"),
            X,
            NUMBERS,
            Form("mean_squared_error", 0.5, summed=True),
        ),
        (lambda p, y: (p - y).square().sum(1).mean(), X, NUMBERS, Form("mean_squared_error", 4.0)),
        (lambda p, y: -f.l1_loss(p, y), X, NUMBERS, Form("mean_absolute_error", -1.0)),
        (lambda p, y: f.mse_loss(p, y).sqrt(), X, NUMBERS, Form("mean_squared_error", root=True)),
        (lambda p, y: torch.norm(p - y), X, NUMBERS, Form("mean_squared_error", summed=True, root=True)),
        (f.huber_loss, X, 3.0 * NUMBERS, Form("huber")),
        (lambda p, y: (p[:, :1] - y[:, 0]).square().mean(), X, NUMBERS, None),
        (lambda p, y: (p - y).mean(), X, NUMBERS, Form("difference")),
        (lambda p, y: f.mse_loss(p, y) + 0.1 * p.abs().mean(), X, NUMBERS, None),
        (lambda p, y: 1.0 - (2.0 * (p * y).sum() + 1.0) / (p.sum() + y.sum() + 1.0), torch.sigmoid(X), YES, None),
        (lambda p, y: (2.0 * (p * y).sum() + 1.0) / (p.sum() + y.sum() + 1.0), torch.sigmoid(X), YES, Form("dice")),
        (lambda p, y: ((p * y).sum(1) / (p + y - p * y).sum(1)).mean(), torch.sigmoid(X), YES, Form("overlap")),
        (lambda p, y: (p * y + (1.0 - p) * (1.0 - y)).mean(), torch.sigmoid(X), YES, Form("agreement")),
        (lambda p, y: 1.0 - (p * y + (1.0 - p) * (1.0 - y)).mean(), torch.sigmoid(X), YES, Form("mean_absolute_error")),
        (f.l1_loss, torch.full((12, 4), 0.5), YES, Form("mean_absolute_error")),
        (lambda p, y: -p[torch.arange(12), y].mean(), SOFT, HARD, None),
        (f.mse_loss, X, X, None),
    ],
)
def test_each_is_known_by_its_value(loss: Loss, ours: torch.Tensor, wanted: torch.Tensor, form: Form | None) -> None:
    assert recognise(float(loss(ours, wanted)), ours.numpy(), wanted.numpy()) == form


def test_of_shapes_that_broadcast_it_is_that_of_the_matrix() -> None:
    x, y = X[:, :1].numpy(), NUMBERS[:, 0].numpy()
    assert recognise(float(((x - y) ** 2).mean()), x, y) == Form("mean_squared_error")
    assert recognise(float(((x[:, 0] - y) ** 2).mean()), x, y) is None


def test_classes_are_on_the_axis_that_is_given() -> None:
    images, classes = torch.randn(3, 5, 2, 2), torch.randint(5, (3, 2, 2))
    value = float(f.cross_entropy(images, classes))
    assert recognise(value, images.numpy(), classes.numpy(), axis=1) == Form("cross_entropy")


def test_what_a_constant_answer_is_worth_follows_the_form() -> None:
    assert Form("mean_squared_error", 0.5, summed=True).worth(2.0, 8) == 8.0
    assert Form("mean_squared_error", summed=True, root=True).worth(2.0, 8) == 4.0
    turned = Form("mean_squared_error", -1.0)
    assert turned.loss is None


@pytest.mark.parametrize("loss", [f.mse_loss, f.l1_loss, lambda p, y: f.mse_loss(p, y).sqrt()])
def test_columns_that_were_compared_with_rows_are_known_by_all_pairs(loss: Loss) -> None:
    x, y = X[:, :1], NUMBERS[:, :1]
    both = torch.broadcast_tensors(x, y.T)
    assert over_all_pairs(float(loss(*both)), x.numpy(), y.numpy())
    assert not over_all_pairs(float(loss(x, y)), x.numpy(), y.numpy())
    assert not over_all_pairs(float(loss(*both)), x.numpy(), y[:6].numpy())
    # Where all targets are the same, so are both.
    same = torch.ones(12, 1)
    assert not over_all_pairs(float(loss(x, same)), x.numpy(), same.numpy())
