"""PyTorch, opened (held out until 2026-11-30): how weights begin, depth, inputs and targets."""

import itertools

import torch
from torch import nn, optim
from torch.utils.data import DataLoader, Dataset

from bench.faults.case import fault
from bench.faults.data import as_column
from bench.faults.opened_3_data import (
    bars,
    circuits,
    moons,
    numerals,
    patients,
    prices,
    rides,
    roll,
    spectra,
    tones,
    topics,
    votes,
)
from bench.faults.opened_3_torch_learning import Ahead
from bench.faults.run import Run, batches, train


class Layer(nn.Module):
    """A product of parameters, as a course has it written."""

    def __init__(self, inputs: int, outputs: int, init: str) -> None:
        super().__init__()
        much = {"zeros": 0.0, "randn": 1.0, "scaled": (1.5 / inputs) ** 0.5}[init]
        self.weight = nn.Parameter(much * torch.randn(inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight + self.bias


class ByHand(nn.Module):
    """Such layers, and a tanh between."""

    def __init__(self, sizes: tuple[int, ...], init: str) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(a, b, init) for a, b in itertools.pairwise(sizes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers[:-1]:
            x = torch.tanh(layer(x))
        last: torch.Tensor = self.layers[-1](x)
        return last


@fault("torch", "zero_initialisation")
def moons_parameters_of_zeros(run: Run, faulty: bool) -> float:
    """nn.Parameter(torch.zeros(...)) for all weights of a network written by hand."""
    # PyTorch forum: a network from scratch that answers the same for each point.
    data = moons(0.1)
    net = ByHand((2, 32, 32, 2), "zeros" if faulty else "scaled")
    train(run, net, nn.CrossEntropyLoss(), optim.SGD(net.parameters(), lr=0.3, momentum=0.9), data, steps=200)
    return run.right(net, data)


@fault("torch", "initialisation_too_large")
def roll_parameters_of_randn(run: Run, faulty: bool) -> float:
    """nn.Parameter(torch.randn(...)) with 300 units: each tanh is at one of its ends."""
    # Stack Overflow: a loss of fifty in the first step of a network with weights of its own.
    data = roll()
    net = ByHand((3, 300, 300, 1), "randn" if faulty else "scaled")
    train(run, net, nn.MSELoss(), optim.Adam(net.parameters(), lr=0.003), data, size=64, steps=150)
    return run.near(net, data)


@fault("torch", "initialisation_too_small", "vanishing_depth", good=0.35)
def topics_normal_of_a_thousandth(run: Run, faulty: bool) -> float:
    """nn.init.normal_(m.weight, 0, 0.001) in each of six layers."""
    # PyTorch forum: a deep network whose outputs are all equal from the start.
    data = topics()
    net = nn.Sequential()
    for place in range(5):
        net.extend([nn.Linear(64 if place else 24, 64), nn.ReLU()])
    net.append(nn.Linear(64, 6))

    def init(module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            if faulty:
                nn.init.normal_(module.weight, 0, 0.001)
            else:
                nn.init.kaiming_normal_(module.weight)
            nn.init.zeros_(module.bias)

    net.apply(init)
    train(run, net, nn.BCEWithLogitsLoss(), optim.SGD(net.parameters(), lr=0.1, momentum=0.9), data, steps=150)
    return run.right_side(net, data, 0.0)


@fault("torch", "dead_units", "unscaled_inputs", "initialisation_too_large", conditions="constant")
def spectra_decibels_into_weights_above_zero(run: Run, faulty: bool) -> float:
    """nn.init.uniform_(weight), from 0 to 1, and levels from -80 to 0 decibels: no ReLU ever fires."""
    # PyTorch forum: a classifier of sounds whose loss does not move at all.
    data = spectra()
    net = nn.Sequential(nn.Linear(24, 48), nn.ReLU(), nn.Linear(48, 4))
    if faulty:
        nn.init.uniform_(next(net.parameters()))
    else:
        data = data._replace(x=data.x / 40 + 1, test_x=data.test_x / 40 + 1)
    train(run, net, nn.CrossEntropyLoss(), optim.Adam(net.parameters(), lr=0.005), data, size=32, steps=120)
    return run.right(net, data)


@fault("torch", "vanishing_depth")
def bars_sigmoid_after_each_convolution(run: Run, faulty: bool) -> float:
    """Six convolutions with nn.Sigmoid() after each."""
    # Stack Overflow: a CNN that answers with one class, until its sigmoids are replaced.
    data = bars()
    act = nn.Sigmoid if faulty else nn.ReLU
    net = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), act())
    for _ in range(4):
        net.extend([nn.Conv2d(8, 8, 3, padding=1), act()])
    net.extend([nn.Conv2d(8, 8, 3, stride=2), act(), nn.Flatten(), nn.Linear(200, 4)])
    train(run, net, nn.CrossEntropyLoss(), optim.Adam(net.parameters(), lr=0.003), data, size=32, steps=120)
    return run.right(net, data)


@fault("torch", "exploding_depth", "initialisation_too_large")
def prices_relu_recurrence_without_bound(run: Run, faulty: bool) -> float:
    """nn.RNN(nonlinearity="relu"), whose recurrent weights begin at twice an identity."""
    # PyTorch forum: an RNN by ReLU whose loss is 1e12 in the first step.
    data = prices()
    net = Ahead(nn.RNN, nonlinearity="relu")
    with torch.no_grad():
        for name, value in net.rnn.named_parameters():
            if name.startswith("weight_hh"):
                nn.init.eye_(value).mul_(2.0 if faulty else 0.9)
    train(run, net, nn.MSELoss(), optim.Adam(net.parameters(), lr=0.005), data, size=32, steps=150)
    return run.near(net, data)


@fault("torch", "unscaled_inputs", "rate_too_large")
def bars_bytes_as_floats(run: Run, faulty: bool) -> float:
    """torch.from_numpy(image).float() leaves pixels from 0 to 255, and SGD had been tuned to 0 to 1."""
    # PyTorch forum: a loss of several thousands, or NaN, where a tutorial's begins at 1.4.
    data = bars()
    if faulty:
        data = data._replace(x=(255 * data.x).round(), test_x=(255 * data.test_x).round())
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(144, 32), nn.ReLU(), nn.Linear(32, 4),
    )  # fmt: skip
    opt = optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    train(run, net, nn.CrossEntropyLoss(), opt, data, size=32, steps=150)
    return run.right(net, data)


@fault("torch", "unequal_features", "unscaled_inputs", conditions="outlier_channels")
def rides_time_in_seconds_since_1970(run: Run, faulty: bool) -> float:
    """A time stamp of 1.6e9 lies beside kilometres and passengers."""
    # Data Science Stack Exchange: a regression of fares with a loss of 1e15.
    data = rides(faulty)
    net = nn.Sequential(nn.Linear(4, 48), nn.ReLU(), nn.Linear(48, 24), nn.ReLU(), nn.Linear(24, 1))
    train(run, net, nn.MSELoss(), optim.Adam(net.parameters(), lr=0.005), data, size=48, steps=150)
    return run.near(net, data)


@fault("torch", "missing_values")
def patients_gaps_in_the_table(run: Run, faulty: bool) -> float:
    """pandas reads empty cells as NaN, one in a hundred, and nobody fills them."""
    # Stack Overflow: a loss that is NaN from the first batch on; df.isna().any() told why.
    data = as_column(patients())
    generator = torch.Generator().manual_seed(7)
    gaps = torch.rand(data.x.shape, generator=generator) < 0.01
    data = data._replace(x=data.x.masked_fill(gaps, float("nan") if faulty else 0.0))
    net = nn.Sequential(nn.Linear(14, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 1))
    opt = optim.Adam(net.parameters(), lr=0.01)
    train(run, net, nn.BCEWithLogitsLoss(), opt, data, size=64, steps=100)
    return run.right_side(net, data, 0.0)


class Sounds(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Signals with their pitches."""

    def __init__(self, x: torch.Tensor, y: torch.Tensor, *, faulty: bool) -> None:
        self.x, self.y, self.faulty = x, y, faulty

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        chosen = index % 4 if self.faulty else index
        return self.x[chosen], self.y[chosen]


@fault("torch", "same_batch", "constant_labels")
def tones_index_left_from_a_trial(run: Run, faulty: bool) -> float:
    """__getitem__ still has a line from a trial: index = index % 4."""
    # PyTorch forum: a training loss of zero, and a test accuracy at chance.
    data = tones()
    net = nn.Sequential(nn.Conv1d(1, 12, 9, stride=3), nn.ReLU(), nn.Flatten(), nn.Linear(228, 5))
    opt = optim.Adam(net.parameters(), lr=0.003)
    criterion = nn.CrossEntropyLoss()
    run.watch(net, criterion)
    loader = DataLoader(Sounds(data.x, data.y, faulty=faulty), batch_size=40, shuffle=True)
    for _ in range(4):
        for x, y in loader:
            loss = criterion(net(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            run.step(loss)
    return run.right(net, data)


@fault("torch", "empty_inputs", "same_batch", good=0.35)
def topics_cast_to_bytes(run: Run, faulty: bool) -> float:
    """Shares of words, all below 1, are saved as uint8: they come back as zeros."""
    # Stack Overflow: a network that gives the same for each text, whose inputs were never printed.
    data = topics()
    low, high = data.x.min(), data.x.max()
    x, test_x = (0.99 * (part - low) / (high - low) for part in (data.x, data.test_x))
    if faulty:
        x = x.to(torch.uint8).float()
    net = nn.Sequential(nn.Linear(24, 48), nn.ReLU(), nn.Linear(48, 6))
    opt = optim.Adam(net.parameters(), lr=0.02)
    train(run, net, nn.BCEWithLogitsLoss(), opt, data._replace(x=x, test_x=test_x), size=32, steps=150)
    return run.right_side(net, data._replace(test_x=test_x), 0.0)


@fault("torch", "frozen", "zero_initialisation", "empty_inputs", conditions="constant collapsed dead", good=0.4)
def numerals_vectors_of_no_known_word(run: Run, faulty: bool) -> float:
    """Embedding.from_pretrained of a table that found none of the words: zeros, and frozen by default."""
    # PyTorch forum: embeddings that are not updated.
    data = numerals()

    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            table = torch.zeros(6, 8) if faulty else torch.randn(6, 8)
            self.vectors = nn.Embedding.from_pretrained(table, freeze=faulty)
            self.gru = nn.GRU(8, 24, batch_first=True)
            self.out = nn.Linear(24, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(self.gru(self.vectors(x))[0].mean(1))

    net = Sum()
    opt = optim.Adam([it for it in net.parameters() if it.requires_grad], lr=0.01)
    train(run, net, nn.MSELoss(), opt, data, size=32, steps=150)
    return run.near(net, data)


@fault("torch", "shuffled_labels")
def votes_two_loaders_that_shuffle(run: Run, faulty: bool) -> float:
    """One DataLoader for the inputs and one for the labels, both with shuffle=True."""
    # Stack Overflow: a loss at the logarithm of three, whatever the network.
    data = votes()
    net = nn.Sequential(nn.Embedding(4, 8), nn.Flatten(), nn.Linear(128, 48), nn.ReLU(), nn.Linear(48, 3))
    opt = optim.Adam(net.parameters(), lr=0.005)
    criterion = nn.CrossEntropyLoss()
    run.watch(net, criterion)
    for _ in range(3):
        order = torch.randperm(len(data.x))
        other = torch.randperm(len(data.x)) if faulty else order
        for place in range(0, len(order) - 48, 48):
            x, y = data.x[order[place : place + 48]], data.y[other[place : place + 48]]
            loss = criterion(net(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            run.step(loss)
    return run.right(net, data)


@fault("torch", "target_scale", "rate_too_large")
def circuits_impedance_in_ohms(run: Run, faulty: bool) -> float:
    """Targets up to 1,700 under MSELoss and SGD: the gradients of the first step throw the weights far out."""
    # Stack Overflow: a regression whose loss is inf after three steps.
    made, data = circuits(True), circuits()
    if faulty:
        data = data._replace(y=made.y, test_y=made.test_y)
    net = nn.Sequential(nn.Linear(4, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 1))
    opt = optim.SGD(net.parameters(), lr=0.02, momentum=0.8)
    train(run, net, nn.MSELoss(), opt, data, size=40, steps=120)
    return run.near(net, data)


@fault("torch", "unscaled_inputs", "vanishing_depth", conditions="outlier_channels", worse=0.15)
def roll_millimetres_into_sigmoids(run: Run, faulty: bool) -> float:
    """Places in millimetres, thousands of them, into a layer of sigmoids."""
    # Stack Overflow: sigmoids that are all 0 or 1, and a network that gives a few values alone.
    data = roll()
    if faulty:
        data = data._replace(x=7000 * data.x, test_x=7000 * data.test_x)
    net = nn.Sequential(nn.Linear(3, 48), nn.Sigmoid(), nn.Linear(48, 24), nn.Sigmoid(), nn.Linear(24, 1))
    opt = optim.Adam(net.parameters(), lr=0.02)
    run.watch(net)
    for x, y in batches(data.x, data.y, size=64, steps=200):
        opt.zero_grad()
        loss = nn.functional.mse_loss(net(x), y)
        loss.backward()
        opt.step()
        run.step(loss)
    return run.near(net, data)
