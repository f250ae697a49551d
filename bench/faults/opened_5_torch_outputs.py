"""PyTorch, opened (held out until 2026-12-01): the last layer, the loss, and shapes."""

import itertools

import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn, optim

from bench.faults.case import fault
from bench.faults.data import as_column
from bench.faults.opened_5_data import (
    embers,
    ferries,
    hives,
    kites,
    knots,
    loaves,
    locks,
    quilts,
    trams,
    weeds,
)
from bench.faults.run import Run, batches, train


def layered(*sizes: int, act: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Linear layers of these sizes, and an activation after all but the last."""
    net = nn.Sequential()
    for place, (before, after) in enumerate(itertools.pairwise(sizes)):
        if place:
            net.append(act())
        net.append(nn.Linear(before, after))
    return net


class Reader(nn.Module):
    """A recurrent layer over a series, and a head on its last state."""

    def __init__(self, inputs: int, outputs: int, kind: type[nn.GRU] | type[nn.LSTM] = nn.GRU, width: int = 24) -> None:
        super().__init__()
        self.rnn = kind(inputs, width, batch_first=True)
        self.head = nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.rnn(x)[0][:, -1])


class Marks(nn.Module):
    """A transformer of one layer over runes; what is blank is masked."""

    def __init__(self, width: int = 24, outputs: int = 3) -> None:
        super().__init__()
        self.codes = nn.Embedding(30, width)
        self.layer = nn.TransformerEncoderLayer(width, 3, 48, dropout=0.0, batch_first=True, norm_first=True)
        self.head = nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        there = (x > 0).float()[..., None]
        h = self.layer(self.codes(x), src_key_padding_mask=x == 0)
        return self.head((h * there).sum(1) / there.sum(1))


class Squares(nn.Module):
    """Two convolutions over cloth, and a head."""

    def __init__(self, outputs: int = 5, width: int = 12) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, width, 3, padding=1), nn.Conv2d(width, width, 3)
        self.pool, self.head = nn.MaxPool2d(2), nn.Linear(4 * width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.pool(torch.relu(self.conv1(x)))
        return self.head(self.pool(torch.relu(self.conv2(h))).flatten(1))


@fault("torch", "softmax_over_one_unit", worse=0.3)
def locks_softmax_of_one_unit(run: Run, faulty: bool) -> float:
    """nn.Softmax(dim=1) after nn.Linear(24, 1), under BCELoss."""
    # PyTorch forum and Stack Overflow: answers that are all exactly one.
    data = as_column(locks())
    net = layered(9, 40, 24, 1).append(nn.Softmax(dim=1) if faulty else nn.Sigmoid())
    train(run, net, nn.BCELoss(), optim.Adam(net.parameters(), 0.005), data, steps=100)
    return run.right_side(net, data, 0.5)


@fault("torch", "double_softmax", "wrong_output_activation", worse=0.1)
def trams_forward_gives_chances(run: Run, faulty: bool) -> float:
    """forward ends with F.softmax(x, dim=-1), and the loss is F.cross_entropy."""

    # Forums: why a classifier's loss stays far above zero, at 0.9 for five classes.
    class Chances(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.near, self.net = nn.Conv1d(3, 12, 7, stride=2), layered(84, 32, 5, act=nn.GELU)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            scores = self.net(F.gelu(self.near(x.transpose(1, 2))).flatten(1))
            return F.softmax(scores, dim=-1) if faulty else scores

    data, net = trams(), Chances()
    opt = optim.SGD(net.parameters(), 0.03, momentum=0.8)
    run.watch(net)
    for x, y in batches(data.x, data.y, size=32, steps=110):
        opt.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        opt.step()
        run.step(loss)
    return run.right(net, data)


@fault("torch", "double_sigmoid", "wrong_output_activation", worse=0.06, good=0.3)
def weeds_sigmoid_and_with_logits(run: Run, faulty: bool) -> float:
    """A last nn.Sigmoid, and BCEWithLogitsLoss, for six labels."""
    # Pages on multi-label networks: no chance is below one half.
    data = weeds()
    net = layered(10, 48, 6)
    if faulty:
        net.append(nn.Sigmoid())
    train(run, net, nn.BCEWithLogitsLoss(), optim.Adam(net.parameters(), 0.003), data, steps=80)
    said = run.answers(net, data.test_x)
    return float(1 - (((said > (0.5 if faulty else 0.0)).float() - data.test_y).abs().mean() / data.test_y.mean()))


@fault("torch", "missing_log_softmax", "logits_into_probability_loss", worse=0.2)
def trams_nll_of_what_a_gru_says(run: Run, faulty: bool) -> float:
    """NLLLoss on the scores of a linear head: a loss of minus thousands."""
    # PyTorch forum, often: a negative loss, "is that possible?".
    data, net = trams(), Reader(3, 5)
    if not faulty:
        net.head = nn.Sequential(net.head, nn.LogSoftmax(-1))  # type: ignore[assignment]
    train(run, net, nn.NLLLoss(), optim.Adam(net.parameters(), 0.01), data, steps=110)
    return run.right(net, data)


@fault("torch", "relu_on_output", "wrong_output_activation", worse=0.15)
def quilts_relu_on_scores(run: Run, faulty: bool) -> float:
    """F.relu around the last layer too, under CrossEntropyLoss."""

    # Stack Overflow: a CNN that gives the same for each image, whose forward wraps all in relu.
    class Wrapped(Squares):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            scores = super().forward(x)
            return F.relu(scores - 1.0) if faulty else scores

    data, net = quilts(), Wrapped()
    opt = optim.SGD(net.parameters(), 0.05, momentum=0.9)
    train(run, net, nn.CrossEntropyLoss(), opt, data, steps=110)
    return run.right(net, data)


@fault("torch", "logits_into_probability_loss", "wrong_output_activation", worse=0.15)
def locks_scores_clamped_for_bce(run: Run, faulty: bool) -> float:
    """BCELoss complained of a number that is no chance, so scores are clamped to 0..1."""

    # Forums: "all elements of input should be between 0 and 1", and how it was silenced.
    class Clamped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = layered(9, 40, 24, 1, act=nn.Tanh)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            score = self.net(x)
            return score.clamp(0, 1) if faulty else torch.sigmoid(score)

    data, net = as_column(locks()), Clamped()
    train(run, net, nn.BCELoss(), optim.Adam(net.parameters(), 0.01), data, steps=110)
    return run.right_side(net, data, 0.5)


@fault("torch", "bounded_output", "wrong_output_activation", worse=0.2)
def kites_sigmoid_for_places(run: Run, faulty: bool) -> float:
    """Places from -1 to 1, and a sigmoid at the end: the upper left is never said."""
    # Issues of detectors of landmarks: normalised to another range than the head's.
    data = kites()
    net = nn.Sequential(
        nn.Conv2d(1, 8, 4, stride=2), nn.ReLU(), nn.Conv2d(8, 12, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(192, 2), nn.Sigmoid() if faulty else nn.Tanh(),
    )  # fmt: skip
    train(run, net, nn.MSELoss(), optim.Adam(net.parameters(), 0.005), data, steps=120)
    return run.near(net, data)


@fault("torch", "relu_on_output", "bounded_output", worse=0.2)
def ferries_relu_after_the_head(run: Run, faulty: bool) -> float:
    """An LSTM's head, and ReLU behind it: ferries that are early are never told of."""
    # Stack Overflow: a forecast that never goes below zero.
    data, net = ferries(), Reader(2, 1, nn.LSTM)
    if faulty:
        net.head = nn.Sequential(net.head, nn.ReLU())  # type: ignore[assignment]
    train(run, net, nn.SmoothL1Loss(), optim.Adam(net.parameters(), 0.01), data, steps=110)
    return run.near(net, data)


@fault("torch", "targets_outside_loss_range", "target_scale", worse=0.3)
def embers_bytes_by_bce(run: Run, faulty: bool) -> float:
    """A coder whose copies are asked by BCE to be lights from 0 to 255."""
    # Issues of coders: a loss of minus millions, and white images.
    data = embers()
    net = nn.Sequential(layered(16, 24, 4), layered(4, 24, 16))
    opt = optim.Adam(net.parameters(), 0.01)
    run.watch(net)
    for x, _ in batches(data.x, data.y, size=32, steps=120):
        opt.zero_grad()
        wanted = (255 * x).round() if faulty else x
        loss = F.binary_cross_entropy_with_logits(net(x), wanted)
        loss.backward()
        opt.step()
        run.step(loss)
    said = torch.sigmoid(run.answers(net, data.test_x))
    return float(1 - (said - data.test_x).square().mean() / data.test_x.var(0).mean())


@fault("torch", "regression_loss_on_labels", "wrong_loss", worse=0.15)
def hives_number_of_the_state(run: Run, faulty: bool) -> float:
    """One unit under L1Loss is to say the number of the state; it was meant to name the state."""
    # Stack Overflow: a classifier by MSE that answers with the middle class.
    data = hives()
    net = layered(7, 48, 32, 1 if faulty else 4)
    opt = optim.Adam(net.parameters(), 0.01)
    if faulty:
        train(run, net, nn.L1Loss(), opt, data._replace(y=data.y.float()[:, None]), steps=120)
        return run.right_number(net, data)
    train(run, net, nn.CrossEntropyLoss(), opt, data, steps=120)
    return run.right(net, data)


@fault(
    "torch", "binary_loss_on_classes", "targets_outside_loss_range", "class_index_beyond_units", "wrong_loss", worse=0.2
)
def trams_bce_of_five_kinds(run: Run, faulty: bool) -> float:
    """One unit and BCEWithLogitsLoss, of labels 0 to 4."""
    # Forums: a loss below zero; the labels had more than two values.
    data = trams()
    net = nn.Sequential(nn.Flatten(), layered(60, 40, 1 if faulty else 5, act=nn.ELU))
    opt = optim.RMSprop(net.parameters(), 0.003)
    if faulty:
        train(run, net, nn.BCEWithLogitsLoss(), opt, data._replace(y=data.y.float()[:, None]), steps=100)
        return run.right_number(net, data)
    train(run, net, nn.CrossEntropyLoss(), opt, data, steps=100)
    return run.right(net, data)


@fault("torch", "broadcast", worse=0.3)
def loaves_huber_of_flat_heights(run: Run, faulty: bool) -> float:
    """HuberLoss of (n, 1) answers and (n,) heights: each with each."""
    # Forums: a warning of sizes that differ, and a network that says the mean.
    data = loaves()
    net = layered(6, 48, 24, 1)
    wanted = data._replace(y=data.y[:, 0]) if faulty else data
    train(run, net, nn.HuberLoss(), optim.Adam(net.parameters(), 0.01), wanted, steps=120)
    return run.near(net, data)


@fault("torch", "broadcast", worse=0.3)
def ferries_error_by_hand(run: Run, faulty: bool) -> float:
    """((said - late.squeeze()) ** 2).mean(), where only one side was squeezed."""
    # Stack Overflow: an LSTM whose forecast is a flat line.
    data, net = ferries(), Reader(2, 1)
    opt = optim.AdamW(net.parameters(), 0.01)
    run.watch(net)
    for x, late in batches(data.x, data.y, size=32, steps=110):
        opt.zero_grad()
        said = net(x)
        loss = ((said - (late.squeeze() if faulty else late)) ** 2).mean()
        loss.backward()
        opt.step()
        run.step(loss)
    return run.near(net, data)


@fault("torch", "wrong_axis", worse=0.2, good=0.4)
def knots_looks_at_other_ropes(run: Run, faulty: bool) -> float:
    """nn.TransformerEncoderLayer as it comes wants time first: samples look at each other, not knots at knots."""

    # Forums and issues on batch_first: a transformer that learns nothing of the order.
    class Before(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.codes, self.places = nn.Embedding(6, 32), nn.Parameter(torch.randn(16, 32))
            self.layer = nn.TransformerEncoderLayer(32, 2, 64, dropout=0.0, batch_first=not faulty)
            self.head = nn.Linear(32, 6)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.layer(self.codes(x) + self.places)).transpose(1, 2)

    data, net = knots(), Before()
    data = data._replace(y=data.x.roll(1, 1), test_y=data.test_x.roll(1, 1))
    train(run, net, nn.CrossEntropyLoss(), optim.Adam(net.parameters(), 0.005), data, steps=150)
    said = run.answers(net, data.test_x).argmax(1)
    return (float((said == data.test_y).float().mean()) - 1 / 6) * 6 / 5


@fault("torch", "wrong_axis", worse=0.15, good=0.4)
def hives_gates_over_the_batch(run: Run, faulty: bool) -> float:
    """The gates of four experts are softmax(dim=0), over the samples, not over the experts."""

    # Issues of mixtures of experts: results that change with the size of a batch.
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate = nn.Linear(7, 4)
            self.experts = nn.ModuleList(layered(7, 24, 4) for _ in range(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            share = self.gate(x).softmax(0 if faulty else -1)
            return (share[:, None] * torch.stack([expert(x) for expert in self.experts], -1)).sum(-1)

    data, net = hives(), Mixed()
    train(run, net, nn.CrossEntropyLoss(), optim.Adam(net.parameters(), 0.02), data, size=64, steps=120)
    return run.right(net, data)


@fault("torch", "no_nonlinearity", worse=0.2)
def hives_activation_of_none(run: Run, faulty: bool) -> float:
    """An option act="none" of a configuration file becomes nn.Identity in each of four layers."""
    # Stack Overflow: many layers, and a result like that of logistic regression.
    data = hives()
    net = layered(7, 48, 48, 32, 4, act=nn.Identity if faulty else nn.SiLU)
    train(run, net, nn.CrossEntropyLoss(), optim.Adam(net.parameters(), 0.01), data, steps=120)
    return run.right(net, data)
