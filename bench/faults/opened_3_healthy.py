"""Opened (held out until 2026-11-30): programs that look odd, and in which nothing is wrong."""

import keras
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from keras import layers
from torch import nn, optim

from bench.faults.case import look_alike
from bench.faults.data import as_column, for_keras
from bench.faults.opened_3_data import (
    bars,
    chain,
    circuits,
    goes_on,
    headings,
    lines,
    numerals,
    patients,
    powers,
    prices,
    rides,
    rings,
    roll,
    shells,
    spectra,
    tones,
    topics,
    votes,
)
from bench.faults.opened_3_keras import dense, fitted
from bench.faults.opened_3_torch_learning import play
from bench.faults.run import Run, batches, train


@look_alike("torch")
def rings_sgd_at_three(run: Run) -> float:
    """Plain SGD at a rate of 3 for a small network of sines, which suits it."""
    data = as_column(rings())

    class Sines(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(2, 32), nn.Linear(32, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.b(torch.sin(2 * self.a(x)))

    net = Sines()
    train(run, net, nn.BCEWithLogitsLoss(), optim.SGD(net.parameters(), lr=3.0), data, size=100, steps=150)
    return run.right_side(net, data, 0.0)


@look_alike("torch", good=0.35)
def topics_sparse_by_design(run: Run) -> float:
    """Six of 96 units are kept for each text, all others are zero, as in a sparse coder."""
    data = topics()

    class Sparse(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.spread = nn.Linear(24, 96)
            self.read = nn.Linear(96, 6)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = self.spread(x)
            return self.read(torch.where(h >= h.topk(6, dim=1).values[:, -1:], h, 0.0))

    net = Sparse()
    train(run, net, nn.BCEWithLogitsLoss(), optim.Adam(net.parameters(), lr=0.02), data, size=64, steps=150)
    return run.right_side(net, data, 0.0)


@look_alike("torch")
def rides_sorted_quantiles(run: Run) -> float:
    """Outputs are sorted: a lowest quantile, and steps by softplus added up; targets broadcast on purpose."""
    data = rides()
    shares = torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95])

    class Quantiles(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(4, 48), nn.SiLU(), nn.Linear(48, 48), nn.SiLU())
            self.low, self.steps = nn.Linear(48, 1), nn.Linear(48, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = self.body(x)
            low = self.low(h)
            return torch.cat([low, low + F.softplus(self.steps(h)).cumsum(1)], 1)

    net = Quantiles()
    opt = optim.Adam(net.parameters(), lr=0.01)
    run.watch(net)
    for x, y in batches(data.x, data.y, size=64, steps=150):
        rest = y - net(x)
        loss = torch.maximum(shares * rest, (shares - 1) * rest).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        run.step(loss)
    middle = run.answers(net, data.test_x)[:, 2:3]
    return float(1 - (middle - data.test_y).square().mean() / data.test_y.var())


@look_alike("torch")
def bars_backbone_trained_and_frozen(run: Run) -> float:
    """A backbone learned three directions before; it is frozen, and a new head learns all four."""
    data = bars()
    backbone = nn.Sequential(
        nn.Conv2d(1, 12, 3, stride=2), nn.ReLU(), nn.Conv2d(12, 24, 3), nn.ReLU(), nn.Flatten(), nn.Linear(216, 32),
        nn.ReLU(),
    )  # fmt: skip
    old = nn.Sequential(backbone, nn.Linear(32, 4))
    opt = optim.Adam(old.parameters(), lr=0.003)
    seen = data.y < 3
    for x, y in batches(data.x[seen], data.y[seen], size=32, steps=150):
        opt.zero_grad()
        F.cross_entropy(old(x), y).backward()
        opt.step()
    for parameter in backbone.parameters():
        parameter.requires_grad = False
    net = nn.Sequential(backbone, nn.Linear(32, 4))
    head = optim.Adam(net[1].parameters(), lr=0.02)
    train(run, net, nn.CrossEntropyLoss(), head, data, size=32, steps=120)
    return run.right(net, data)


@look_alike("torch", good=0.4)
def lines_soft_dice(run: Run) -> float:
    """One less a soft Dice of thin lines: it begins near 1 and falls slowly, with no other loss beside it."""
    data = lines()
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 1),
        nn.Sigmoid(),
    )  # fmt: skip
    opt = optim.Adam(net.parameters(), lr=0.01)
    run.watch(net)
    for x, mask in batches(data.x, data.y, size=16, steps=100):
        said = net(x)
        loss = 1 - (2 * (said * mask).sum() + 1) / (said.sum() + mask.sum() + 1)
        opt.zero_grad()
        loss.backward()
        opt.step()
        run.step(loss)
    said, wanted = run.answers(net, data.test_x) > 0.5, data.test_y > 0.5
    return 2 * float((said & wanted).sum()) / float(said.sum() + wanted.sum())


@look_alike("torch")
def roll_all_samples_at_once(run: Run) -> float:
    """One batch of all 1,200 samples, the same in each step: full batch gradient descent."""
    data = roll()
    net = nn.Sequential(nn.Linear(3, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))
    opt = optim.Adam(net.parameters(), lr=0.01)
    criterion = nn.MSELoss()
    run.watch(net, criterion)
    for _ in range(150):
        loss = criterion(net(data.x), data.y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        run.step(loss)
    return run.near(net, data)


@look_alike("torch", good=0.7)
def headings_full_rudder(run: Run) -> float:
    """An actor's tanh is at 1 or -1 nearly always, for full rudder is best; its loss is negative."""
    data = headings()
    actor = nn.Sequential(nn.Linear(8, 48), nn.ReLU(), nn.Linear(48, 1), nn.Tanh())
    opt = optim.Adam(actor.parameters(), lr=0.01)
    run.watch(actor)
    for x, y in batches(data.x, data.y, size=64, steps=150):
        reward = actor(x)[:, 0] * torch.sign(y[:, 1])
        loss = -reward.mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        run.step(loss)
    said = run.answers(actor, data.test_x)[:, 0]
    return float((said * torch.sign(data.test_y[:, 1])).mean())


@look_alike("torch")
def votes_longer_from_stage_to_stage(run: Run) -> float:
    """A curriculum: sequences of four, then eight, then sixteen symbols; the loss rises with each stage."""
    net = nn.Sequential(nn.Embedding(4, 16), Means(), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 3))
    opt = optim.Adam(net.parameters(), lr=0.005)
    criterion = nn.CrossEntropyLoss()
    run.watch(net, criterion)
    for length in (5, 8, 16):
        data = votes(length)
        for x, y in batches(data.x, data.y, size=32, steps=50):
            loss = criterion(net(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            run.step(loss)
    return run.right(net, votes(16))


class Means(nn.Module):
    """The mean over places."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(1)


@look_alike("torch", good=0.6)
def moons_generator_and_critic(run: Run) -> float:
    """A GAN as it should be: both losses go up and down, and neither falls."""
    return play(run, "")


@look_alike("torch")
def shells_loss_of_a_ten_thousandth(run: Run) -> float:
    """A loss times 1e-4, and gradients as small, under Adam, to which it is all the same."""
    data = shells()
    net = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 5))
    opt = optim.Adam(net.parameters(), lr=0.01, eps=1e-12)
    criterion = nn.CrossEntropyLoss()
    run.watch(net, criterion)
    for x, y in batches(data.x, data.y, size=64, steps=150):
        loss = 1e-4 * criterion(net(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        run.step(loss)
    return run.right(net, data)


@look_alike("torch")
def patients_one_at_a_time(run: Run) -> float:
    """Batches of one, by SGD: losses jump between 0 and 3."""
    data = patients()
    net = nn.Sequential(nn.Linear(14, 24), nn.Tanh(), nn.Linear(24, 2))
    train(run, net, nn.CrossEntropyLoss(), optim.SGD(net.parameters(), lr=0.03), data, size=1, steps=200)
    return run.right(net, data)


@look_alike("torch")
def numerals_most_places_are_blank(run: Run) -> float:
    """Half of all symbols are padding, whose vector is zero and stays zero: padding_idx=0."""
    data = numerals()

    class Bag(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.signs = nn.Embedding(6, 24, padding_idx=0)
            self.conv = nn.Conv1d(24, 32, 2)
            self.out = nn.Linear(32, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(torch.relu(self.conv(self.signs(x).transpose(1, 2))).sum(2) / 4)

    net = Bag()
    train(run, net, nn.MSELoss(), optim.Adam(net.parameters(), lr=0.01), data, size=32, steps=150)
    return run.near(net, data)


@look_alike("torch", good=0.4)
def chain_values_from_nothing(run: Run) -> float:
    """Rewards are zero nearly always, values begin at zero, and the loss rises before it falls."""
    now, move, reward, then, end = chain()
    net = nn.Sequential(nn.Linear(8, 48), nn.ReLU(), nn.Linear(48, 2))
    frozen = nn.Sequential(nn.Linear(8, 48), nn.ReLU(), nn.Linear(48, 2)).requires_grad_(requires_grad=False)
    for parameter in net[2].parameters():
        nn.init.zeros_(parameter)
    opt = optim.Adam(net.parameters(), lr=0.02)
    run.watch(net)
    for step in range(200):
        if step % 8 == 0:
            frozen.load_state_dict(net.state_dict())
        target = reward + 0.9 * (1 - end) * frozen(then).max(1).values
        loss = F.huber_loss(net(now).gather(1, move[:, None])[:, 0], target)
        opt.zero_grad()
        loss.backward()
        opt.step()
        run.step(loss)
    return goes_on(run.answers(net, torch.eye(8)))


@look_alike("torch")
def tones_looked_up_sharply(run: Run) -> float:
    """A softmax at a temperature of 0.05 over eight learned prototypes: nearly one-hot, as it should be."""
    data = tones()

    class Lookup(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv1d(1, 12, 9, stride=2), nn.BatchNorm1d(12), nn.ReLU(), nn.Flatten(), nn.Linear(336, 16)
            )
            self.prototypes = nn.Parameter(torch.randn(8, 16))
            self.values = nn.Linear(8, 5, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            near = F.normalize(self.body(x)) @ F.normalize(self.prototypes).T
            return 5 * self.values(F.softmax(near / 0.05, dim=1))

    net = Lookup()
    train(run, net, nn.CrossEntropyLoss(), optim.Adam(net.parameters(), lr=0.01), data, size=32, steps=150)
    return run.right(net, data)


@look_alike("torch")
def prices_state_kept_between_batches(run: Run) -> float:
    """A state is carried from batch to batch and detached, as one should; samples come in order, not shuffled."""
    data = prices()
    cell, out = nn.GRU(1, 16, batch_first=True), nn.Linear(16, 1)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.out = cell, out
            self.state: torch.Tensor | None = None

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            states, last = self.cell(x, self.state if self.training else None)
            self.state = last.detach()
            return self.out(states[:, -1])

    net = Net()
    opt = optim.Adam(net.parameters(), lr=0.01)
    criterion = nn.MSELoss()
    run.watch(net, criterion)
    for step in range(120):
        place = step * 32 % (len(data.x) - 32)
        loss = criterion(net(data.x[place : place + 32]), data.y[place : place + 32])
        opt.zero_grad()
        loss.backward()
        opt.step()
        run.step(loss)
    return run.near(net, data)


@look_alike("keras")
def keras_rides_accuracy_of_a_regression(run: Run) -> float:
    """metrics=["accuracy"] of a regression, which is 0 in each epoch and means nothing."""
    # Stack Overflow and Keras issues: an accuracy of zero, of a network that learns well.
    data = for_keras(rides())
    model = dense(4, layers.Dense(1))
    model.compile(keras.optimizers.Adam(0.01), "mse", metrics=["accuracy"])
    fitted(run, model, data, epochs=3)
    return run.near(model, data)


@look_alike("keras", good=0.3)
def keras_topics_counts_mostly_zero(run: Run) -> float:
    """Inputs of which seven in ten are zero, as of words in a text."""
    made = topics()
    cut = [(part - 0.6).clamp(min=0) for part in (made.x, made.test_x)]
    data = for_keras(made._replace(x=cut[0], test_x=cut[1]))
    model = dense(24, layers.Dense(6, activation="sigmoid"), width=64)
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy")
    fitted(run, model, data, epochs=3)
    return run.right_side(model, data, 0.5)


@look_alike("keras")
def keras_spectra_much_dropout(run: Run) -> float:
    """Dropout(0.7) of 192 units: the loss stays high while it trains, and the network is good."""
    made = spectra()
    data = for_keras(made._replace(x=made.x / 40 + 1, test_x=made.test_x / 40 + 1))
    model = keras.Sequential([
        layers.Input((24,)), layers.Dense(192, activation="relu"), layers.Dropout(0.7),
        layers.Dense(4, activation="softmax"),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.003), "sparse_categorical_crossentropy", metrics=["accuracy"])
    fitted(run, model, data, epochs=3)
    return run.right(model, data)


@look_alike("keras")
def keras_powers_by_three_linear_units(run: Run) -> float:
    """Given x, x² and x⁴, one layer without any activation is right."""
    made = powers()
    x, test_x = (np.concatenate([part, part**2, part**4], 1).astype(np.float32) for part in (made.x, made.test_x))
    data = for_keras(made)._replace(x=x, test_x=test_x)
    model = keras.Sequential([layers.Input((3,)), layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.5, momentum=0.9), "mse")
    fitted(run, model, data, size=32, epochs=4)
    return run.near(model, data)


@look_alike("keras")
def keras_circuits_huge_batches_and_rate(run: Run) -> float:
    """Batches of 400, Adam at 0.05, and a rate that falls by half when nothing gets better."""
    data = for_keras(circuits())
    model = dense(4, layers.Dense(1), act="tanh")
    model.compile(keras.optimizers.Adam(0.05), "mse")
    plateau = keras.callbacks.ReduceLROnPlateau(monitor="loss", factor=0.5, patience=4)
    fitted(run, model, data, size=400, epochs=25, callbacks=[plateau])
    return run.near(model, data)
