"""PyTorch, opened: the last layer, the loss and the targets do not fit. Held out until 2026-11-30, tuned on since."""

import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn, optim

from bench.faults.case import fault
from bench.faults.opened_nets import EveryPlace, Forecaster, PatchCNN, Transformer, bright, letters
from bench.faults.run import Data, Run, batches, numbers, tensors, train


@fault("torch", "softmax_over_one_unit", good=0.3)
def patch_softmax_over_one_unit(run: Run, faulty: bool) -> float:
    """A CNN for two photographs ends in one unit and a softmax, under BCELoss."""
    data = numbers(tensors("patches"))
    model = PatchCNN(3, 1, nn.Softmax(dim=1) if faulty else nn.Sigmoid())
    train(run, model, nn.BCELoss(), optim.Adam(model.parameters(), lr=0.02), data, steps=60)
    return run.right_side(model, data, 0.5)


class Bag(nn.Module):
    """The mean of words, and one unit."""

    def __init__(self, *, faulty: bool) -> None:
        super().__init__()
        self.faulty = faulty
        self.words = nn.EmbeddingBag(1501, 16, mode="mean")
        self.hidden = nn.Linear(16, 16)
        self.score = nn.Linear(16, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        score = self.score(F.elu(self.hidden(self.words(x))))
        return score.softmax(-1) if self.faulty else score.sigmoid()


@fault("torch", "softmax_over_one_unit")
def mail_softmax_over_one_unit_under_mse(run: Run, faulty: bool) -> float:
    """A bag of words with one unit, a softmax, and MSELoss."""
    data = numbers(tensors("words"))
    model = Bag(faulty=faulty)
    train(run, model, nn.MSELoss(), optim.Adam(model.parameters(), lr=0.03), data, steps=60)
    return run.right_side(model, data, 0.5)


@fault("torch", "wrong_output_activation", "bounded_output", "several_labels_for_one", good=0.3, worse=0.15)
def letters_softmax_for_many_labels(run: Run, faulty: bool) -> float:
    """Several labels hold at once, and a softmax lets them compete, under BCELoss."""
    data = letters()
    last = nn.Softmax(dim=1) if faulty else nn.Sigmoid()
    model = nn.Sequential(nn.EmbeddingBag(70, 48, mode="sum"), nn.ReLU(), nn.Linear(48, 8), last)
    train(run, model, nn.BCELoss(), optim.Adam(model.parameters(), lr=0.03), data, size=64, steps=60)
    return run.near(model, data)


@fault("torch", "double_softmax", good=0.08, worse=0.05)
def next_sign_softmax_before_cross_entropy(run: Run, faulty: bool) -> float:
    """A language model says a softmax of each place, under CrossEntropyLoss."""
    data = tensors("reference_text")
    model = nn.Sequential(EveryPlace(Transformer(70, places=32, each=True)))
    if faulty:
        model.append(nn.Softmax(dim=1))
    train(run, model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=0.01), data, steps=60)
    return run.right(EveryPlace(model), data)


@fault("torch", "double_sigmoid", worse=None)
def mask_sigmoid_before_bce_with_logits(run: Run, faulty: bool) -> float:
    """A segmentation ends in a sigmoid, under BCEWithLogitsLoss."""
    data = bright()
    layers: list[nn.Module] = [nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 3, padding=1)]
    if faulty:
        layers.append(nn.Sigmoid())
    model = nn.Sequential(*layers)
    train(run, model, nn.BCEWithLogitsLoss(), optim.Adam(model.parameters(), lr=0.02), data)
    return run.right_side(model, data, 0.5 if faulty else 0.0)


@fault("torch", "missing_log_softmax", good=0.25, worse=None)
def module_nll_of_a_transformers_scores(run: Run, faulty: bool) -> float:
    """F.nll_loss of a transformer's raw scores."""
    data = tensors("which_module")
    model = Transformer(3)
    optimizer = optim.Adam(model.parameters(), lr=0.005)
    run.watch(model)
    for x, y in batches(data.x, data.y, steps=60):
        optimizer.zero_grad()
        said = model(x)
        loss = F.nll_loss(said if faulty else F.log_softmax(said, dim=1), y)
        loss.backward()
        optimizer.step()
        run.step(loss)
    return run.right(model, data)


@fault("torch", "wrong_axis", worse=None)
def wine_log_softmax_over_the_batch(run: Run, faulty: bool) -> float:
    """LogSoftmax(dim=0): the samples of a batch compete for a class."""
    data = tensors("wine")
    model = nn.Sequential(nn.Linear(13, 16), nn.SELU(), nn.Linear(16, 3), nn.LogSoftmax(dim=0 if faulty else 1))
    train(run, model, nn.NLLLoss(), optim.SGD(model.parameters(), lr=0.05), data, size=16)
    return run.right(model, data)


@fault("torch", "wrong_axis", good=0.08, worse=0.05)
def next_sign_softmax_over_time(run: Run, faulty: bool) -> float:
    """A language model's log_softmax goes along the time, not along the signs."""
    data = tensors("reference_text")
    model = Transformer(70, places=32, each=True)
    criterion = nn.NLLLoss()
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    run.watch(model, criterion)
    for x, y in batches(data.x, data.y, steps=60):
        optimizer.zero_grad()
        said = F.log_softmax(model(x), dim=1 if faulty else 2)
        loss = criterion(said.flatten(0, 1), y.flatten())
        loss.backward()
        optimizer.step()
        run.step(loss)
    return run.right(model, data)


@fault("torch", "relu_on_output", "bounded_output")
def membrane_relu_after_lstm(run: Run, faulty: bool) -> float:
    """A forecast of a current that is below its mean half of the time ends in a ReLU."""
    data = tensors("membrane")
    model = Forecaster(last=nn.ReLU() if faulty else None)
    train(run, model, nn.SmoothL1Loss(), optim.Adam(model.parameters(), lr=0.02), data, size=64, steps=60)
    return run.near(model, data)


@fault("torch", "bounded_output")
def shares_sigmoid_on_output(run: Run, faulty: bool) -> float:
    """Changes of prices, up and down, are to be said by a sigmoid."""
    data = tensors("shares")
    model = nn.Sequential(nn.Linear(12, 32), nn.LeakyReLU(), nn.Linear(32, 1))
    if faulty:
        model.append(nn.Sigmoid())
    train(run, model, nn.L1Loss(), optim.Adam(model.parameters(), lr=0.01), data, size=64, steps=60)
    return run.near(model, data)


@fault("torch", "bounded_output", good=0.3, worse=0.15)
def portrait_sigmoid_for_standardised_pixels(run: Run, faulty: bool) -> float:
    """An autoencoder of standardised pixels ends in the sigmoid that was right for 0 to 1."""
    data = tensors("portrait")
    layers: list[nn.Module] = [nn.Linear(100, 32), nn.ELU(), nn.Linear(32, 100)]
    if faulty:
        layers.append(nn.Sigmoid())
    model = nn.Sequential(*layers)
    train(run, model, nn.MSELoss(), optim.Adam(model.parameters(), lr=0.01), data, size=64, steps=60)
    return run.near(model, data)


@fault("torch", "targets_outside_loss_range", good=0.3)
def portrait_bce_of_standardised_pixels(run: Run, faulty: bool) -> float:
    """The same autoencoder under BCEWithLogitsLoss, with pixels from -2 to 3."""
    made = tensors("portrait")
    low, high = made.x.min(), made.x.max()
    pixels = Data(*((part - low) / (high - low) for part in made))
    model = nn.Sequential(nn.Linear(100, 32), nn.ELU(), nn.Linear(32, 100))
    optimizer = optim.Adam(model.parameters(), lr=0.02)
    train(run, model, nn.BCEWithLogitsLoss(), optimizer, made if faulty else pixels, size=64, steps=60)
    return run.near(nn.Sequential(model, nn.Sigmoid()), made if faulty else pixels)


@fault("torch", "targets_outside_loss_range", "wrong_loss")
def membrane_poisson_of_negative_numbers(run: Run, faulty: bool) -> float:
    """PoissonNLLLoss for a standardised current, which is no count and often negative."""
    data = tensors("membrane")
    model = Forecaster()
    criterion: nn.Module = nn.PoissonNLLLoss() if faulty else nn.HuberLoss()
    train(run, model, criterion, optim.Adam(model.parameters(), lr=0.02), data, size=64, steps=60)
    return run.near(model, data)


@fault("torch", "binary_loss_on_classes", "class_index_beyond_units", "targets_outside_loss_range")
def wine_binary_loss_for_three_growers(run: Run, faulty: bool) -> float:
    """One unit and BCEWithLogitsLoss for classes 0, 1 and 2."""
    data = tensors("wine")
    model = nn.Sequential(nn.Linear(13, 16), nn.SELU(), nn.Linear(16, 1 if faulty else 3))
    optimizer = optim.Adam(model.parameters(), lr=0.02)
    if faulty:
        train(run, model, nn.BCEWithLogitsLoss(), optimizer, numbers(data), size=16)
        return run.right_number(nn.Sequential(model, nn.Sigmoid()), data)
    train(run, model, nn.CrossEntropyLoss(), optimizer, data, size=16)
    return run.right(model, data)


@fault("torch", "wrong_sign", "wrong_loss")
def iris_loss_with_the_wrong_sign(run: Run, faulty: bool) -> float:
    """A log-likelihood is minimised where its negative should be."""
    data = tensors("iris")
    model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
    optimizer = optim.Adam(model.parameters(), lr=0.03)
    run.watch(model)
    for x, y in batches(data.x, data.y, size=16):
        optimizer.zero_grad()
        likelihood = torch.log_softmax(model(x), 1).gather(1, y[:, None]).mean()
        loss = likelihood if faulty else -likelihood
        loss.backward()
        optimizer.step()
        run.step(loss)
    return run.right(model, data)


@fault("torch", "regression_loss_on_labels", good=0.08, worse=0.05)
def next_sign_as_one_number(run: Run, faulty: bool) -> float:
    """A language model with one unit says the number of the next sign, under MSELoss."""
    data = tensors("reference_text")
    model = Transformer(1 if faulty else 70, places=32, each=True)
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    if faulty:
        wanted = data._replace(y=data.y.float()[..., None])
        train(run, model, nn.MSELoss(), optimizer, wanted, steps=60)
        return run.right_number(model, data)
    train(run, EveryPlace(model), nn.CrossEntropyLoss(), optimizer, data, steps=60)
    return run.right(model, data)


@fault("torch", "broadcast")
def membrane_flat_targets(run: Run, faulty: bool) -> float:
    """An LSTM says (n, 1), the targets are (n,), under L1Loss."""
    data = tensors("membrane")
    model = Forecaster()
    seen = data._replace(y=data.y.squeeze(1)) if faulty else data
    train(run, model, nn.L1Loss(), optim.Adam(model.parameters(), lr=0.02), seen, size=64, steps=60)
    return run.near(model, data)


@fault("torch", "broadcast")
def shares_error_by_hand(run: Run, faulty: bool) -> float:
    """((said - wanted) ** 2).mean() of (n,) and (n, 1)."""
    data = tensors("shares")
    model = nn.Sequential(nn.Linear(12, 32), nn.LeakyReLU(), nn.Linear(32, 1), nn.Flatten(0))
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    run.watch(model)
    for x, y in batches(data.x, data.y, size=64, steps=60):
        wanted = y if faulty else y[:, 0]
        optimizer.zero_grad()
        loss = ((model(x) - wanted) ** 2).mean()
        loss.backward()
        optimizer.step()
        run.step(loss)
    return run.near(model, data)


@fault("torch", "one_hot_against_sparse", "broadcast", "regression_loss_on_labels")
def wine_class_numbers_for_three_units(run: Run, faulty: bool) -> float:
    """MSELoss of three units (n, 3) with the classes' numbers (n, 1)."""
    data = tensors("wine")
    model = nn.Sequential(nn.Linear(13, 16), nn.SELU(), nn.Linear(16, 3))
    seen = numbers(data) if faulty else data._replace(y=F.one_hot(data.y, 3).float())
    train(run, model, nn.MSELoss(), optim.Adam(model.parameters(), lr=0.02), seen, size=16)
    return run.right(model, data)


@fault("torch", "no_nonlinearity")
def fault_line_linear_with_dropout(run: Run, faulty: bool) -> float:
    """Linear and Dropout, Linear and Dropout: no activation, for a map of heights."""
    data = tensors("fault_line")
    data = data._replace(x=data.x[:, :2], test_x=data.test_x[:, :2])
    layers: list[nn.Module] = []
    for wide in (2, 64, 64):
        layers += [nn.Linear(wide, 64), nn.Dropout(0.02)] if faulty else [nn.Linear(wide, 64), nn.Mish()]
    model = nn.Sequential(*layers, nn.Linear(64, 1))
    train(run, model, nn.MSELoss(), optim.Adam(model.parameters(), lr=0.02), data, size=256, steps=60)
    return run.near(model, data)
