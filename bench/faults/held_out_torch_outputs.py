"""PyTorch, held out: the last layer, and shapes."""

import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn, optim

from bench.faults.case import fault
from bench.faults.data import as_column
from bench.faults.held_out_data import (
    bricks,
    claims,
    dials,
    films,
    gaits,
    geysers,
    notes,
    phrases,
    queues,
    reefs,
    specks,
    tiles,
    wells,
)
from bench.faults.held_out_nets import Places, Recurrent, Regressor, Tagger, Tunes, fit, hits, mlp, overlap, pictures
from bench.faults.run import Run, batches, train


@fault("torch", "softmax_over_one_unit", worse=0.3)
def gaits_softmax_where_two_were_meant(run: Run, faulty: bool) -> float:
    """An LSTM says by F.softmax(x, dim=-1) over one number whether it stands; BCELoss stays where it is."""

    # Stack Overflow on LSTM for yes and no: an accuracy that never changes. The twin has batches of 8.
    class Stands(Recurrent):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            score = super().forward(x)
            return F.softmax(score, dim=-1) if faulty else torch.sigmoid(score)

    data, net = gaits(), Stands(3, 1, hidden=10)
    data = as_column(data._replace(y=data.y == 3, test_y=data.test_y == 3))
    train(run, net, nn.BCELoss(), optim.Adam(net.parameters(), 0.01), data, size=8, steps=140)
    return run.right_side(net, data, 0.5)


@fault("torch", "double_softmax", "wrong_output_activation", worse=0.15)
def notes_softmax_in_forward(run: Run, faulty: bool) -> float:
    """forward of a transformer ends with torch.softmax(..., -1), and the loss is nn.CrossEntropyLoss."""

    # Forums: should forward have a softmax? A loss that comes to rest far from zero.
    class Keys(Tunes):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            said = super().forward(x)
            return torch.softmax(said, -1) if faulty else said

    data, net = notes(), Keys()
    opt = optim.SGD(net.parameters(), 0.1)
    train(run, net, nn.CrossEntropyLoss(), opt, data, size=32, steps=100)
    return run.right(net, data)


@fault("torch", "double_softmax", "wrong_output_activation", worse=0.12, good=0.4)
def reefs_softmax_and_cross_entropy(run: Run, faulty: bool) -> float:
    """A graph network whose last line is F.softmax(x, dim=1), trained by F.cross_entropy on the whole graph."""
    # Issues on graph examples: log_softmax with nll_loss was copied halfway.
    data, net = reefs(), Places()
    opt = optim.SGD(net.parameters(), lr=0.1, momentum=0.5)
    run.watch(net)
    for _ in range(90):
        opt.zero_grad()
        out = net(data.x)
        loss = F.cross_entropy(F.softmax(out, dim=1) if faulty else out, data.y)
        loss.backward()
        opt.step()
        run.step(loss)
    return run.right(net, data)


@fault("torch", "double_sigmoid", "wrong_output_activation", worse=0.3, good=0.35)
def specks_sigmoid_in_the_decoder(run: Run, faulty: bool) -> float:
    """A decoder ends in nn.Sigmoid, and nn.BCEWithLogitsLoss comes after it: no pixel falls below a half."""
    # Forums on U-Nets: a loss of 0.69 and grey masks. One pixel in twenty is a speck, and the twin learns it.
    data = specks()
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 12, 3, padding=1), nn.ReLU(),
        nn.ConvTranspose2d(12, 8, 2, stride=2), nn.ReLU(), nn.Conv2d(8, 1, 1),
    )  # fmt: skip
    if faulty:
        net.append(nn.Sigmoid())
    train(run, net, nn.BCEWithLogitsLoss(), optim.Adam(net.parameters(), 0.02), data, size=16, steps=150)
    return overlap(run.answers(net, data.test_x) > 0, data.test_y > 0.5)


@fault("torch", "double_sigmoid", "wrong_output_activation", worse=0.3)
def claims_sigmoid_and_focal_loss(run: Run, faulty: bool) -> float:
    """A focal loss by hand begins with binary_cross_entropy_with_logits, of what a sigmoid has been through."""
    # Issues on copies of focal losses: which of them take logits.
    data, net = as_column(claims()), mlp(14, 24, 1)

    def focal(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        said = net(x)
        each = F.binary_cross_entropy_with_logits(torch.sigmoid(said) if faulty else said, y, reduction="none")
        return ((1 - (-each).exp()) ** 2 * each).mean()

    fit(run, net, focal, optim.Adam(net.parameters(), 0.01), data, size=32, steps=130)
    said = run.answers(nn.Sequential(net, nn.Sigmoid()) if faulty else net, data.test_x)
    return hits(torch.cat([torch.zeros_like(said), said], 1), data.test_y.flatten().long())


@fault("torch", "missing_log_softmax", "wrong_output_activation", worse=0.2)
def dials_nll_of_a_softmax(run: Run, faulty: bool) -> float:
    """nn.NLLLoss with nn.Softmax(dim=1), where nn.LogSoftmax(dim=1) was meant: the loss lies between -1 and 0."""
    # Stack Overflow: why is my loss negative?
    data, net = dials(), pictures(6)
    net.append(nn.Softmax(dim=1) if faulty else nn.LogSoftmax(dim=1))
    opt = optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
    train(run, net, nn.NLLLoss(), opt, data, steps=110)
    return run.right(net, data)


@fault("torch", "missing_log_softmax", "wrong_output_activation", worse=0.3, good=0.35)
def wells_divergence_of_probabilities(run: Run, faulty: bool) -> float:
    """nn.KLDivLoss of a softmax to smoothed labels: it wants the logarithm of what the student says."""
    # Forums on distillation: a divergence below zero, which cannot be.
    data, net = wells(), mlp(8, 40, 24, 3)
    smooth = [0.6 * F.one_hot(y, 3).float() + 0.4 / 3 for y in (data.y, data.test_y)]
    criterion = nn.KLDivLoss(reduction="batchmean")
    opt = optim.Adam(net.parameters(), 0.01)
    run.watch(net, criterion)
    for x, y in batches(data.x, smooth[0], size=40, steps=130):
        opt.zero_grad()
        loss = criterion(F.softmax(net(x), 1) if faulty else F.log_softmax(net(x), 1), y)
        loss.backward()
        opt.step()
        run.step(loss)
    return run.near(nn.Sequential(net, nn.Softmax(1)), data._replace(test_y=smooth[1]))


@fault("torch", "logits_into_probability_loss", "wrong_output_activation", "undefined_operation", worse=0.2)
def claims_cross_entropy_by_hand(run: Run, faulty: bool) -> float:
    """-(y log p + (1 - y) log(1 - p)) of a plain linear layer, clamped to 1e-7 ... 1 - 1e-7 so that it is no NaN."""
    # Code Review and Stack Overflow on losses by hand: the sigmoid was forgotten, and the clamp hides it.
    data, net = as_column(claims()), mlp(14, 32, 16, 1, last=None if faulty else nn.Sigmoid())

    def loss_of(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        p = net(x).clamp(1e-7, 1 - 1e-7)
        return -(y * p.log() + (1 - y) * (1 - p).log()).mean()

    fit(run, net, loss_of, optim.SGD(net.parameters(), 0.4), data, steps=130)
    return run.right_side(net, data, 0.5)


@fault("torch", "wrong_output_activation", "bounded_output", worse=0.3)
def bricks_softmax_for_a_load_and_its_rest(run: Run, faulty: bool) -> float:
    """Three numbers are to be said at once, each standardised, and the last layer is nn.Softmax(dim=1)."""
    # Data Science Stack Exchange: a regression copied from a classifier.
    data = bricks()
    several = [torch.cat([y, -y, y.abs() - 0.8], 1) for y in (data.y, data.test_y)]
    data = data._replace(y=several[0], test_y=several[1])
    net = mlp(7, 48, 24, 3, last=nn.Softmax(dim=1) if faulty else None)
    Regressor(run, net, nn.MSELoss(), optim.Adam(net.parameters(), 0.01)).fit(data.x, data.y, epochs=4)
    return run.near(net, data)


@fault("torch", "relu_on_output", "bounded_output", "wrong_output_activation", worse=0.2)
def dials_relu_on_two_numbers(run: Run, faulty: bool) -> float:
    """Where the hand's tip is, -1 to 1, by a Sequential in which each layer, the last too, has its nn.ReLU."""
    # Stack Overflow: a regression that says zero for half of the images.
    data, net = dials("tip"), pictures(2)
    if faulty:
        net.append(nn.ReLU())
    train(run, net, nn.MSELoss(), optim.Adam(net.parameters(), 0.005), data, size=24, steps=140)
    return run.near(net, data)


@fault("torch", "bounded_output", "wrong_output_activation", "target_scale", worse=0.3)
def films_stars_by_a_sigmoid(run: Run, faulty: bool) -> float:
    """Stars from 1 to 5 are said by a sigmoid, whose stretch to 5.5 was left out."""

    # fast.ai forums on collaborative filters: y_range. The twin learns numbers about three by a large rate.
    class Dot(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.who, self.what = nn.Embedding(50, 5), nn.Embedding(40, 5)
            self.bias = nn.Embedding(50, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            both = (self.who(x[:, 0]) * self.what(x[:, 1])).sum(1, keepdim=True) + self.bias(x[:, 0])
            return torch.sigmoid(both) * (1.0 if faulty else 5.5)

    data, net = films(), Dot()
    train(run, net, nn.MSELoss(), optim.Adam(net.parameters(), 0.05), data, size=64, steps=220)
    return run.near(net, data)


@fault("torch", "bounded_output", "wrong_output_activation", "target_scale", worse=0.3, good=0.35)
def queues_sigmoid_for_a_count(run: Run, faulty: bool) -> float:
    """How many stand in a queue, 0 to 40, by a head with nn.Sigmoid under nn.SmoothL1Loss."""
    # Stack Overflow: all predictions are one.
    data, net = queues(), mlp(5, 32, 16, 1, last=nn.Sigmoid() if faulty else nn.Softplus())
    train(run, net, nn.SmoothL1Loss(), optim.Adam(net.parameters(), 0.02), data, size=20, steps=150)
    return run.near(net, data)


@fault("torch", "class_index_beyond_units", "one_hot_against_sparse", "binary_loss_on_classes", worse=0.2)
def wells_two_units_for_three_layers(run: Run, faulty: bool) -> float:
    """num_classes = y.max() is 2 for labels 0, 1, 2: the third has a row of zeros, and no unit."""
    # Forums: "index out of bounds" was got rid of by a mask. Probabilities of soft labels do not add up to one.
    data = wells()
    count = int(data.y.max()) + (0 if faulty else 1)
    table = torch.eye(3)[:, :count]
    net = mlp(8, 40, 24, count)

    def loss_of(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(net(x), table[y])

    fit(run, net, loss_of, optim.Adam(net.parameters(), 0.01), data, size=32, steps=130)
    return run.right(net, data)


@fault("torch", "one_hot_against_sparse", "broadcast", "regression_loss_on_labels", "wrong_loss", worse=0.2)
def gaits_mse_of_four_units_and_a_column(run: Run, faulty: bool) -> float:
    """nn.MSELoss of four units and labels.view(-1, 1).float(): each unit is to say the number of the gait."""
    # Stack Overflow: one-hot labels were forgotten, and the shapes broadcast.
    data = gaits()
    net = nn.Sequential(nn.Flatten(), mlp(72, 32, 4))
    y = data.y[:, None].float() if faulty else F.one_hot(data.y, 4).float()
    train(run, net, nn.MSELoss(), optim.Adam(net.parameters(), 0.005), data._replace(y=y), steps=120)
    return run.right(net, data)


@fault("torch", "broadcast", worse=0.3)
def geysers_target_without_its_column(run: Run, faulty: bool) -> float:
    """L1Loss of (n, 1) and (n,), since Dataset.__getitem__ gives a plain number: each with each, and a median."""
    # Forums: an LSTM that learns the mean; the answer was a warning that had been hidden.
    data, net = geysers(), Recurrent(2, 1, kind=nn.GRU)
    y = data.y[:, 0] if faulty else data.y
    train(run, net, nn.L1Loss(), optim.Adam(net.parameters(), 0.02), data._replace(y=y), size=24, steps=130)
    return run.near(net, data)


@fault("torch", "broadcast", "wrong_loss", worse=0.3)
def bricks_advantage_of_each_with_each(run: Run, faulty: bool) -> float:
    """A critic's error is (returns - values).pow(2).mean(), with returns (n,) and values (n, 1)."""
    # Issues on actor-critic code: value losses that do not fall.
    data, critic = bricks(), mlp(7, 32, 32, 1, act=nn.Tanh)

    def error(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        values = critic(x)
        return (y.squeeze(1) - (values if faulty else values.squeeze(1))).pow(2).mean()

    fit(run, critic, error, optim.RMSprop(critic.parameters(), 0.005), data, size=48, steps=130)
    return run.near(critic, data)


@fault("torch", "wrong_axis", "shuffled_labels", worse=0.3)
def geysers_reshaped_to_time_first(run: Run, faulty: bool) -> float:
    """x.reshape(26, n, 2) where x.transpose(0, 1) was meant, for a GRU that wants time first: series are cut up."""

    # Forums: view and permute are not the same; minutes of several geysers become one.
    class Heights(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru, self.fc = nn.GRU(2, 14), nn.Linear(14, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            first = x.reshape(26, len(x), 2) if faulty else x.transpose(0, 1)
            return self.fc(self.gru(first)[0][-1])

    data, net = geysers(), Heights()
    train(run, net, nn.MSELoss(), optim.RMSprop(net.parameters(), 0.005), data, size=20, steps=120)
    return run.near(net, data)


@fault("torch", "wrong_axis", worse=0.2, good=0.4)
def phrases_view_where_transpose_was_meant(run: Run, faulty: bool) -> float:
    """(n, time, marks) is made (n, marks, time) by view, which mixes time and marks, for F.cross_entropy."""
    # Forums: view and permute are not the same.
    data, net = phrases(), Tagger()

    def loss_of(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        said = net(x)
        return F.cross_entropy(said.reshape(len(x), 3, 18) if faulty else said.transpose(1, 2), y)

    fit(run, net, loss_of, optim.Adam(net.parameters(), 0.01), data, size=32, steps=120)
    return hits(run.answers(net, data.test_x), data.test_y)


@fault("torch", "logits_into_probability_loss", "targets_outside_loss_range", "wrong_output_activation", worse=0.15)
def tiles_hardtanh_for_chances(run: Run, faulty: bool) -> float:
    """BCELoss complained of a number below zero, and nn.Hardtanh(0, 1) was put behind a linear layer."""
    # Stack Overflow: "all elements of input should be between 0 and 1", and what people do about it.
    data = tiles()
    net = mlp(24, 16, 3, 16, 24, last=nn.Hardtanh(1e-4, 1 - 1e-4) if faulty else nn.Sigmoid())
    train(run, net, nn.BCELoss(), optim.Adam(net.parameters(), 0.01), data, size=32, steps=160)
    return run.near(net, data)
