"""PyTorch, opened (held out until 2026-12-01): the last layer, the loss, and shapes."""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn, optim

from bench.faults.case import fault
from bench.faults.data import as_column
from bench.faults.opened_4_data import (
    arrows,
    coins,
    friends,
    jingles,
    leaves,
    ponds,
    pulse,
    sensors,
    strolls,
)
from bench.faults.run import Run, batches, train


@fault("torch", "double_softmax", worse=0.1)
def sensors_softmax_last_in_sequential(run: Run, faulty: bool) -> float:
    """nn.Sequential(..., nn.Softmax(dim=1)) under nn.CrossEntropyLoss."""
    # Forums, over and over: a cross entropy that does not go below a certain number; also pages on typical mistakes.
    net = nn.Sequential(nn.Linear(12, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 4))
    if faulty:
        net.append(nn.Softmax(dim=1))
    train(run, net, nn.CrossEntropyLoss(), optim.SGD(net.parameters(), lr=0.05), sensors(), size=32, steps=100)
    return run.right(net, sensors())


@fault("torch", "relu_on_output", "wrong_output_activation", worse=0.1)
def ponds_relu_before_cross_entropy(run: Run, faulty: bool) -> float:
    """return F.relu(self.fc3(x)), and the cross entropy of that: a class whose score is below zero has no gradient."""

    # Question-and-answer pages: a classifier of which all scores become zero.
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.fc2, self.fc3 = nn.Linear(5, 32), nn.Linear(32, 32), nn.Linear(32, 3)
            nn.init.constant_(self.fc3.bias, -1.0)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = torch.tanh(self.fc2(torch.tanh(self.fc1(x))))
            return F.relu(self.fc3(x)) if faulty else self.fc3(x)

    net = Net()
    train(run, net, nn.CrossEntropyLoss(), optim.SGD(net.parameters(), lr=0.3), ponds(), size=64, steps=150)
    return run.right(net, ponds())


@fault("torch", "bounded_output", worse=0.2)
def pulse_in_volts_by_sigmoid(run: Run, faulty: bool) -> float:
    """An LSTM ends in torch.sigmoid, and the pulse goes from -1.4 to 1.4."""

    # Forums: a forecast that never goes below zero, of a network that was copied from a classifier.
    class Next(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.out = nn.LSTM(1, 24, batch_first=True), nn.Linear(24, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            said = self.out(self.lstm(x)[0][:, -1])
            return torch.sigmoid(said) if faulty else said

    net = Next()
    train(run, net, nn.MSELoss(), optim.Adam(net.parameters(), lr=0.01), pulse(), size=32, steps=120)
    return run.near(net, pulse())


@fault("torch", "double_sigmoid", good=0.4, worse=0.15)
def leaves_sigmoid_in_the_network_and_the_loss(run: Run, faulty: bool) -> float:
    """A segmenter ends in nn.Sigmoid(), and the loss is BCEWithLogitsLoss: no pixel is ever surely background."""
    # Issues of several U-Nets: a loss that does not go below 0.69, and masks that are grey all over.
    net = nn.Sequential(
        nn.Conv2d(1, 8, 5, padding=2), nn.ReLU(), nn.Conv2d(8, 8, 5, padding=2), nn.ReLU(), nn.Conv2d(8, 1, 1)
    )
    if faulty:
        net.append(nn.Sigmoid())
    data = leaves()
    train(run, net, nn.BCEWithLogitsLoss(), optim.Adam(net.parameters(), lr=0.01), data, size=16, steps=70)
    said, wanted = run.answers(net, data.test_x) > 0, data.test_y > 0.5
    return 2 * float((said & wanted).sum()) / float(said.sum() + wanted.sum())


@fault("torch", "broadcast", worse=0.3)
def coins_flat_targets(run: Run, faulty: bool) -> float:
    """The dataset gives a float for each image, the network (n, 1): SmoothL1Loss compares each with all."""
    # Forums: a warning of sizes that differ, and a regression that gives the mean for each image.
    data = coins()
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2), nn.ReLU(), nn.Flatten(),
        nn.Linear(64, 1),
    )  # fmt: skip
    loss_fn = nn.SmoothL1Loss()
    opt = optim.Adam(net.parameters(), lr=0.005)
    run.watch(net, loss_fn)
    for x, y in batches(data.x, data.y, size=32, steps=120):
        loss = loss_fn(net(x), y[:, 0] if faulty else y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        run.step(loss)
    return run.near(net, data)


@fault("torch", "wrong_axis", "shuffled_labels", worse=0.3)
def jingles_view_where_a_transpose_was_meant(run: Run, faulty: bool) -> float:
    """Scores (batch, time, notes) become (batch, notes, time) by .view(), which mixes notes with times."""
    # Forums on CrossEntropyLoss for sequences: "view" in place of "permute", and a loss that stays high.
    data = jingles()

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.emb, self.gru, self.out = nn.Embedding(12, 16), nn.GRU(16, 32, batch_first=True), nn.Linear(32, 12)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(self.gru(self.emb(x))[0])

    net = Model()
    criterion = nn.CrossEntropyLoss()
    opt = optim.Adam(net.parameters(), lr=0.01)
    run.watch(net, criterion)
    for x, y in batches(data.x, data.y, size=32, steps=120):
        scores = net(x)
        scores = scores.view(len(x), 12, -1) if faulty else scores.transpose(1, 2)
        loss = criterion(scores, y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        run.step(loss)
    return run.right(net, data)


class Gcn(nn.Module):
    """Means of neighbours, again and again."""

    def __init__(self, depth: int, dim: int | None, act: type[nn.Module] = nn.ReLU) -> None:
        super().__init__()
        self.lins = nn.ModuleList(nn.Linear(12 if i == 0 else 24, 24) for i in range(depth))
        self.acts = nn.ModuleList(act() for _ in range(depth))
        self.out = nn.Linear(24, 4)
        self.dim = dim

    def forward(self, x: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        for lin, act in zip(self.lins, self.acts, strict=True):
            x = act(known @ lin(x))
        scores = self.out(x)
        return scores if self.dim is None else F.log_softmax(scores, dim=self.dim)


def in_clubs(run: Run, net: nn.Module, criterion: nn.Module, opt: optim.Optimizer, steps: int) -> float:
    """A graph's nodes, a third of which have labels, all in one batch; skill on the others."""
    said, known, club = friends()
    told = torch.arange(300) % 3 == 0
    run.watch(net, criterion)
    for _ in range(steps):
        opt.zero_grad()
        loss = criterion(net(said, known)[told], club[told])
        loss.backward()
        opt.step()
        run.step(loss)
    run.close()
    net.eval()
    with torch.no_grad():
        hits = net(said, known).argmax(1)[~told] == club[~told]
    return (4 * float(hits.float().mean()) - 1) / 3


@fault("torch", "wrong_axis", worse=None)
def friends_log_softmax_over_the_people(run: Run, faulty: bool) -> float:
    """F.log_softmax(x, dim=0) at the end of a graph network: over all people, not over their clubs."""
    # Issues and questions on graph networks: what dim has to be, and a loss that stays at the log of the nodes.
    net = Gcn(2, 0 if faulty else 1)
    return in_clubs(run, net, nn.NLLLoss(), optim.Adam(net.parameters(), lr=0.01), 100)


@fault("torch", "missing_log_softmax", worse=0.1)
def strolls_nll_of_probabilities(run: Run, faulty: bool) -> float:
    """F.softmax at the end and nn.NLLLoss, which wants logarithms: the loss is negative and ends at -1."""

    # Forums: a negative loss in a classifier of time series.
    class Cnn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.conv2 = nn.Conv1d(3, 12, 5), nn.Conv1d(12, 12, 5)
            self.fc = nn.Linear(12, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = F.relu(self.conv2(F.relu(self.conv1(x.transpose(1, 2))))).amax(2)
            return F.softmax(self.fc(h), 1) if faulty else F.log_softmax(self.fc(h), 1)

    net = Cnn()
    train(run, net, nn.NLLLoss(), optim.SGD(net.parameters(), lr=0.05, momentum=0.8), strolls(), size=32, steps=70)
    return run.right(net, strolls())


@fault("torch", "missing_log_softmax", "undefined_operation", worse=0.15)
def sensors_divergence_of_probabilities(run: Run, faulty: bool) -> float:
    """A pupil's softmax goes into KLDivLoss, which wants logarithms of the first of the two."""
    # Issues on distillation: a divergence below zero.
    data = sensors()
    soft = 0.9 * F.one_hot(data.y, 4) + 0.025
    net = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 4))
    loss_fn = nn.KLDivLoss(reduction="batchmean")
    opt = optim.SGD(net.parameters(), lr=0.1)
    run.watch(net, loss_fn)
    for x, y in batches(data.x, soft, size=32, steps=90):
        scores = net(x)
        loss = loss_fn(scores.softmax(1) if faulty else scores.log_softmax(1), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        run.step(loss)
    return run.right(net, data)


@fault("torch", "regression_loss_on_labels", "wrong_loss", worse=0.15)
def arrows_directions_as_numbers(run: Run, faulty: bool) -> float:
    """Up is 0, left 1, down 2 and right 3, and MSELoss asks one unit for the number."""
    # Data science pages: a classifier whose answers are fractions between classes.
    made = arrows()
    net: Any = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 12, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(108, 1 if faulty else 4),
    )  # fmt: skip
    opt = optim.Adam(net.parameters(), lr=0.003)
    if faulty:
        train(run, net, nn.MSELoss(), opt, as_column(made), size=32, steps=110)
        return run.right_number(net, made)
    train(run, net, nn.CrossEntropyLoss(), opt, made, size=32, steps=110)
    return run.right(net, made)


@fault("torch", "wrong_output_activation", "double_softmax", worse=0.1)
def arrows_sigmoid_before_cross_entropy(run: Run, faulty: bool) -> float:
    """Four sigmoids go into CrossEntropyLoss: no score is above 1, so the loss stays above 0.74."""
    # Forums: "my loss converges to 0.74", of four classes.
    data = arrows()
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 12, 3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 4)
    )
    if faulty:
        net.append(nn.Sigmoid())
    train(run, net, nn.CrossEntropyLoss(), optim.SGD(net.parameters(), lr=0.05, momentum=0.7), data, steps=90)
    return run.right(net, data)
