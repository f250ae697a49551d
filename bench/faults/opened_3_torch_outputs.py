"""PyTorch, opened (held out until 2026-11-30): the last layer, and shapes."""

import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn, optim

from bench.faults.case import fault
from bench.faults.opened_3_data import (
    bars,
    headings,
    numerals,
    roll,
    second_largest,
    shells,
    tones,
    topics,
    votes,
)
from bench.faults.run import Run, batches, train


@fault("torch", "broadcast")
def second_largest_never_unsqueezed(run: Run, faulty: bool) -> float:
    """MSELoss compares (n, 1) with the flat (n,) that a DataLoader gives."""
    # Stack Overflow: a network for the second largest of some numbers, whose loss stays where it is.
    data = second_largest()
    net = nn.Sequential(nn.Linear(5, 40), nn.ReLU(), nn.Linear(40, 20), nn.ReLU(), nn.Linear(20, 1))
    loss_fn = nn.MSELoss()
    opt = optim.Adam(net.parameters(), lr=0.005)
    run.watch(net, loss_fn)
    for x, y in batches(data.x, data.y, size=50, steps=150):
        pred = net(x)
        loss = loss_fn(pred, y if faulty else y.unsqueeze(1))
        opt.zero_grad()
        loss.backward()
        opt.step()
        run.step(loss)
    return run.near(net, data)


class PitchNet(nn.Module):
    """Convolutions over a signal, and five classes."""

    def __init__(self, *, softmax: bool) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv1d(1, 8, 7, stride=2, padding=3), nn.BatchNorm1d(8), nn.ReLU(), nn.Conv1d(8, 16, 5, stride=2),
            nn.BatchNorm1d(16), nn.ReLU(), nn.AdaptiveAvgPool1d(4),
        )  # fmt: skip
        self.classifier = nn.Linear(64, 5)
        self.softmax = softmax

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = self.classifier(self.features(x).flatten(1))
        return F.softmax(scores, dim=1) if self.softmax else scores


@fault("torch", "double_softmax", worse=0.15)
def tones_softmax_returned(run: Run, faulty: bool) -> float:
    """forward ends in F.softmax(x, dim=1), and the criterion is CrossEntropyLoss."""
    # PyTorch forum: a cross entropy that stays near the logarithm of the number of classes.
    data = tones()
    net = PitchNet(softmax=faulty)
    sgd = optim.SGD(net.parameters(), lr=0.02, momentum=0.5)
    train(run, net, nn.CrossEntropyLoss(), sgd, data, size=50, steps=120)
    return run.right(net, data)


@fault("torch", "double_sigmoid", good=0.35, worse=0.15)
def topics_sigmoid_twice(run: Run, faulty: bool) -> float:
    """Six labels by nn.Sigmoid() and BCEWithLogitsLoss: all answers lie above a half after the second sigmoid."""
    # PyTorch forum: a classifier of many labels that names all of them for each text.
    data = topics()
    net = nn.Sequential(nn.Linear(24, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 6))
    if faulty:
        net.append(nn.Sigmoid())
    train(run, net, nn.BCEWithLogitsLoss(), optim.Adam(net.parameters(), lr=0.01), data, size=40, steps=120)
    return run.right_side(net, data, 0.0)


class Numbers(nn.Module):
    """Reads signs one by one."""

    def __init__(self, outputs: int, width: int = 32) -> None:
        super().__init__()
        self.emb = nn.Embedding(6, 12, padding_idx=0)
        self.rnn = nn.GRU(12, width, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        states, _ = self.rnn(self.emb(x))
        return self.head(states.max(1).values)


@fault("torch", "missing_log_softmax")
def numerals_nll_of_scores(run: Run, faulty: bool) -> float:
    """NLLLoss of raw scores, which fall below zero and on without end; a number is put into one of four."""
    # PyTorch forum: a loss that becomes negative and goes on falling.
    made = numerals()
    data = made._replace(
        y=(made.y[:, 0] * 1.15 + 2).long().clamp(0, 3), test_y=(made.test_y[:, 0] * 1.15 + 2).long().clamp(0, 3)
    )
    net = Numbers(4)
    opt = optim.Adam(net.parameters(), lr=0.01)
    criterion = nn.NLLLoss()
    run.watch(net, criterion)
    for x, y in batches(data.x, data.y, size=32, steps=150):
        scores = net(x)
        loss = criterion(scores if faulty else F.log_softmax(scores, dim=1), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        run.step(loss)
    return run.right(net, data)


@fault("torch", "bounded_output")
def headings_in_degrees_by_tanh(run: Run, faulty: bool) -> float:
    """A wheel's angle in degrees, up to 90, is asked of nn.Tanh()."""
    # Forum of a course on self-driving cars: a network for the wheel's angle that gives one number for each picture.
    made = headings()
    factor = 90.0 if faulty else 1.0
    data = made._replace(y=factor * made.y[:, :1], test_y=factor * made.test_y[:, :1])
    net = nn.Sequential(nn.Linear(8, 50), nn.ELU(), nn.Linear(50, 10), nn.ELU(), nn.Linear(10, 1), nn.Tanh())
    train(run, net, nn.MSELoss(), optim.Adam(net.parameters(), lr=0.003), data, size=32, steps=150)
    return run.near(net, data)


@fault("torch", "relu_on_output", "wrong_output_activation", worse=0.1)
def roll_relu_after_each_layer(run: Run, faulty: bool) -> float:
    """A loop over the layers puts a ReLU after the last one too."""
    # Stack Overflow: a regression that never gives a number below zero.
    data = roll()
    fcs = nn.ModuleList([nn.Linear(3, 48), nn.Linear(48, 48), nn.Linear(48, 1)])

    class Mlp(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fcs = fcs

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for place, fc in enumerate(self.fcs):
                x = fc(x)
                if faulty or place < len(self.fcs) - 1:
                    x = torch.relu(x)
            return x

    net = Mlp()
    train(run, net, nn.SmoothL1Loss(), optim.AdamW(net.parameters(), lr=0.01), data, size=64, steps=150)
    return run.near(net, data)


class Reader(nn.Module):
    """An LSTM over votes, and the answer from its last state."""

    def __init__(self, *, of_the_first_axis: bool) -> None:
        super().__init__()
        self.embed = nn.Embedding(4, 8)
        self.lstm = nn.LSTM(8, 32, batch_first=True)
        self.out = nn.Linear(32, 3)
        self.of_the_first_axis = of_the_first_axis

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        states, (last, _) = self.lstm(self.embed(x))
        # As many samples in a batch as places in a sequence, so nothing complains.
        return self.out(states[-1] if self.of_the_first_axis and len(states) == states.shape[1] else last[-1])


@fault("torch", "wrong_axis", "shuffled_labels", good=0.4)
def votes_last_sample_for_last_place(run: Run, faulty: bool) -> float:
    """states[-1] of an LSTM with batch_first=True is the last sample at all places, not all samples at the last."""
    # Stack Overflow: an LSTM whose accuracy stays at chance, and which output to take of it.
    data = votes()
    net = Reader(of_the_first_axis=faulty)
    train(run, net, nn.CrossEntropyLoss(), optim.Adam(net.parameters(), lr=0.01), data, size=16, steps=200)
    return run.right(net, data)


@fault("torch", "wrong_axis", "shuffled_labels", worse=0.15)
def bars_attention_over_the_batch(run: Run, faulty: bool) -> float:
    """Attention over the rows of an image by F.softmax(scores, dim=0): over the samples of the batch."""
    # PyTorch forum: what the dim of a softmax means, of an attention that does not help.
    data = bars()

    class Rows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up = nn.Linear(12, 32)
            self.place = nn.Parameter(0.3 * torch.randn(12, 32))
            self.key, self.value = nn.Linear(32, 1), nn.Linear(32, 32)
            self.out = nn.Linear(32, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = torch.relu(self.up(x[:, 0]) + self.place)
            weights = F.softmax(8 * torch.tanh(self.key(h)), dim=0 if faulty else 1)
            return self.out((weights * self.value(h)).sum(1))

    net = Rows()
    train(run, net, nn.CrossEntropyLoss(), optim.Adam(net.parameters(), lr=0.01), data, size=64, steps=150)
    return run.right(net, data)


@fault("torch", "non_differentiable", "wrong_loss", "detached")
def shells_loss_of_the_argmax(run: Run, faulty: bool) -> float:
    """l1_loss(argmax(out).float(), y), its error silenced by requires_grad = True."""
    # PyTorch forum: an element that does not require grad, and a loss that does not move once it is made to.
    data = shells()
    net = nn.Sequential(nn.Linear(4, 64), nn.LeakyReLU(), nn.Linear(64, 64), nn.LeakyReLU(), nn.Linear(64, 5))
    opt = optim.Adam(net.parameters(), lr=0.01)
    run.watch(net)
    for x, y in batches(data.x, data.y, size=80, steps=150):
        out = net(x)
        if faulty:
            loss = F.l1_loss(out.argmax(1).float(), y.float())
            loss.requires_grad = True
        else:
            loss = F.cross_entropy(out, y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        run.step(loss)
    return run.right(net, data)


@fault("torch", "regression_loss_on_labels", "wrong_loss", worse=0.15)
def tones_mse_on_the_class_number(run: Run, faulty: bool) -> float:
    """One output under MSELoss is to be the number of the pitch, which pitches have in no order."""
    # Data Science Stack Exchange: a classifier that answers with classes in the middle.
    made = tones()
    number = torch.tensor([2, 0, 4, 1, 3])
    data = made._replace(y=number[made.y], test_y=number[made.test_y])
    net = PitchNet(softmax=False)
    if faulty:
        net.classifier = nn.Linear(64, 1)
    opt = optim.Adam(net.parameters(), lr=0.005)
    if faulty:
        flat = data._replace(y=data.y.float()[:, None])
        train(run, net, nn.MSELoss(), opt, flat, size=32, steps=100)
        return run.right_number(net, data)
    train(run, net, nn.CrossEntropyLoss(), opt, data, size=32, steps=100)
    return run.right(net, data)
