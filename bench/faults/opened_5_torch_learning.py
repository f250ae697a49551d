"""PyTorch, opened (held out until 2026-12-01): rates, and parameters that are left out."""

import copy

import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn, optim

from bench.faults.case import fault
from bench.faults.opened_5_data import embers, ferries, hives, knots, loaves, quilts, runes, trams
from bench.faults.opened_5_torch_outputs import Marks, Reader, Squares, layered
from bench.faults.run import Run, batches, train


@fault("torch", "rate_too_small", worse=0.3)
def quilts_rate_for_fine_tuning(run: Run, faulty: bool) -> float:
    """RMSprop(lr=2e-7), as a guide to fine-tuning has it, for a CNN from scratch."""
    # Pages on a loss that stands still: 1e-2, 1e-4 and 1e-6 are to be tried.
    data, net = quilts(), Squares()
    train(run, net, nn.CrossEntropyLoss(), optim.RMSprop(net.parameters(), 2e-7 if faulty else 2e-3), data, steps=120)
    return run.right(net, data)


@fault("torch", "rate_too_large", worse=0.2)
def trams_rmsprop_of_a_half(run: Run, faulty: bool) -> float:
    """RMSprop(lr=0.5) for an LSTM."""
    # Forums: a loss that jumps between 2 and 30.
    data, net = trams(), Reader(3, 5, nn.LSTM)
    train(run, net, nn.CrossEntropyLoss(), optim.RMSprop(net.parameters(), 0.5 if faulty else 0.005), data, steps=110)
    return run.right(net, data)


@fault("torch", "rate_too_large", worse=0.3)
def loaves_sgd_of_five(run: Run, faulty: bool) -> float:
    """SGD(lr=5): the loss is NaN after a handful of steps."""
    # Stack Overflow: a regression whose loss is inf, then NaN.
    data, net = loaves(), layered(6, 48, 24, 1)
    opt = optim.SGD(net.parameters(), 5.0 if faulty else 0.05, nesterov=True, momentum=0.9)
    train(run, net, nn.MSELoss(), opt, data, steps=110)
    return run.near(net, data)


@fault("torch", "rate_too_large", worse=0.2, good=0.35)
def runes_transformer_adam_at_a_fifth(run: Run, faulty: bool) -> float:
    """Adam(lr=0.2) for a transformer: one answer for all lines."""
    # Issues on transformers: a loss at the logarithm of the number of classes after a few batches.
    data, net = runes(), Marks()
    train(run, net, nn.CrossEntropyLoss(), optim.Adam(net.parameters(), 0.2 if faulty else 0.003), data, steps=120)
    return run.right(net, data)


@fault("torch", "rate_zero", "rate_too_small", since=14, worse=0.2)
def hives_linear_to_nothing_in_twelve(run: Run, faulty: bool) -> float:
    """LinearLR(1.0, 0.0, total_iters=12), meant as epochs, is stepped after each batch."""
    # Forums: schedulers that are called once a batch, and a loss that stands still.
    data, net = hives(), layered(7, 48, 32, 4)
    opt = optim.Adam(net.parameters(), 0.01)
    schedule = optim.lr_scheduler.LinearLR(opt, 1.0, 0.0 if faulty else 0.3, total_iters=12 if faulty else 130)
    run.watch(net)
    for x, y in batches(data.x, data.y, size=32, steps=130):
        opt.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        opt.step()
        schedule.step()
        run.step(loss)
    return run.right(net, data)


@fault("torch", "momentum", "rate_too_large", worse=0.2)
def loaves_momentum_of_999(run: Run, faulty: bool) -> float:
    """SGD(momentum=0.999): the loss swings more and more."""
    # Forums on momentum: a loss like a wave.
    data, net = loaves(), layered(6, 48, 24, 1, act=nn.Tanh)
    opt = optim.SGD(net.parameters(), 0.1, momentum=0.999 if faulty else 0.9)
    train(run, net, nn.MSELoss(), opt, data, steps=130)
    return run.near(net, data)


@fault("torch", "weight_decay", worse=0.2)
def trams_decay_of_twenty(run: Run, faulty: bool) -> float:
    """AdamW(weight_decay=20): at a rate of 0.01 a fifth of each weight is lost in each step."""
    # Issues on decoupled decay: a value that was tuned for the coupled one.
    data, net = trams(), Reader(3, 5)
    opt = optim.AdamW(net.parameters(), 0.01, weight_decay=20.0 if faulty else 0.01)
    train(run, net, nn.CrossEntropyLoss(), opt, data, steps=120)
    return run.right(net, data)


@fault("torch", "loss_scaled", "rate_too_small", worse=0.3)
def loaves_divided_by_all_samples(run: Run, faulty: bool) -> float:
    """A mean loss is divided by the number of samples and of epochs as well, under SGD."""
    # Forums on averaging a loss: a network that learns extremely slowly.
    data, net = loaves(), layered(6, 48, 24, 1)
    opt = optim.SGD(net.parameters(), 0.05, momentum=0.9)
    run.watch(net)
    for x, y in batches(data.x, data.y, size=32, steps=120):
        opt.zero_grad()
        loss = F.mse_loss(net(x), y)
        if faulty:
            loss = loss / len(data.x) / 100
        loss.backward()
        opt.step()
        run.step(loss)
    return run.near(net, data)


@fault("torch", "clipped", "rate_too_small", worse=0.3)
def ferries_norm_of_a_hundred_thousandth(run: Run, faulty: bool) -> float:
    """clip_grad_norm_(parameters, 1e-5) under SGD, for a recurrent network whose loss had been NaN."""
    # Pages on exploding gradients: clip; none says to what.
    data, net = ferries(), Reader(2, 1)
    opt = optim.SGD(net.parameters(), 0.1, momentum=0.9)
    run.watch(net)
    for x, y in batches(data.x, data.y, size=32, steps=110):
        opt.zero_grad()
        loss = F.mse_loss(net(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1e-5 if faulty else 1.0)
        opt.step()
        run.step(loss)
    return run.near(net, data)


@fault("torch", "missing_from_optimiser", worse=0.15)
def hives_branches_in_a_dict(run: Run, faulty: bool) -> float:
    """Hidden layers are kept in a plain dict, so that parameters() has the head alone."""

    # Stack Overflow and forums: ModuleList and ModuleDict, and why they are there.
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            parts = {"low": nn.Linear(7, 12), "high": nn.Linear(12, 12)}
            self.parts = parts if faulty else nn.ModuleDict(parts)
            self.head = nn.Linear(12, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(torch.relu(self.parts["high"](torch.relu(self.parts["low"](x)))))

    data, net = hives(), Branches()
    train(run, net, nn.CrossEntropyLoss(), optim.Adam(net.parameters(), 0.02), data, steps=130)
    return run.right(net, data)


@fault("torch", "missing_from_optimiser", worse=0.15)
def trams_second_group_forgotten(run: Run, faulty: bool) -> float:
    """Groups of parameters by name: those of "rnn" were renamed and are in none."""
    # Forums on rates by layer: which parameters a list by name leaves out.
    data, net = trams(), Reader(3, 5, width=10)
    names = ("gru", "head") if faulty else ("rnn", "head")
    groups = [{"params": [p for n, p in net.named_parameters() if n.startswith(name)]} for name in names]
    opt = optim.Adam([group for group in groups if group["params"]], 0.02)
    train(run, net, nn.CrossEntropyLoss(), opt, data, steps=120)
    return run.right(net, data)


@fault("torch", "frozen", "missing_from_optimiser", worse=0.2)
def quilts_frozen_after_all(run: Run, faulty: bool) -> float:
    """The loop that freezes a backbone comes after the new head, and only the last bias is thawed again."""
    # Forums on transfer learning: in which order layers are replaced and frozen.
    data, net = quilts(), Squares()
    for name, value in net.named_parameters():
        value.requires_grad_(not faulty or name == "head.bias")
    opt = optim.Adam([p for p in net.parameters() if p.requires_grad], 0.005)
    train(run, net, nn.CrossEntropyLoss(), opt, data, steps=110)
    return run.right(net, data)


@fault("torch", "detached", "frozen", worse=0.15, good=0.4)
def knots_states_by_data(run: Run, faulty: bool) -> float:
    """head(states.data), to save memory: neither codes nor recurrent layer learn."""

    # Issues on memory that grows: .data and .detach() as a cure.
    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.codes, self.rnn = nn.Embedding(6, 8), nn.GRU(8, 12, batch_first=True)
            self.head = nn.Linear(12, 6)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            states = self.rnn(self.codes(x))[0]
            return self.head(states.data if faulty else states).transpose(1, 2)

    data, net = knots(), Tagger()
    train(run, net, nn.CrossEntropyLoss(), optim.Adam(net.parameters(), 0.03), data, steps=150)
    wanted = data._replace(test_y=data.test_y)
    said = run.answers(net, wanted.test_x)
    return float((said.argmax(1) == wanted.test_y).float().mean() - 1 / 6) * 6 / 5


@fault("torch", "detached", "no_backward", worse=0.3)
def loaves_loss_from_an_item(run: Run, faulty: bool) -> float:
    """Losses of two terms are added as .item()s, and their sum is made a tensor that requires a gradient."""
    # Stack Overflow: "element 0 of tensors does not require grad", and how it was silenced.
    data, net = loaves(), layered(6, 48, 24, 1)
    opt = optim.Adam(net.parameters(), 0.01)
    run.watch(net)
    for x, y in batches(data.x, data.y, size=32, steps=110):
        opt.zero_grad()
        said = net(x)
        error, size = F.l1_loss(said, y), 1e-4 * said.square().mean()
        loss = torch.tensor(error.item() + size.item(), requires_grad=True) if faulty else error + size
        loss.backward()
        opt.step()
        run.step(loss)
    return run.near(net, data)


@fault("torch", "non_differentiable", "detached", worse=0.15)
def embers_signs_in_the_middle(run: Run, faulty: bool) -> float:
    """A coder's code is torch.sign(h), for bits; nothing lets the gradient through."""

    # Issues on hashing and binary codes: an encoder that stays as it began.
    class Bits(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.into, self.out = layered(16, 24, 4), layered(4, 24, 16)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = self.into(x)
            return self.out(torch.sign(h) if faulty else h + (torch.sign(h) - h).detach() * 0.0)

    data, net = embers(), Bits()
    train(run, net, nn.MSELoss(), optim.Adam(net.parameters(), 0.01), data, steps=130)
    return run.near(net, data)


@fault("torch", "trained_a_copy", "missing_from_optimiser", worse=0.3)
def hives_optimiser_of_the_average(run: Run, faulty: bool) -> float:
    """The optimiser is given the parameters of the deep copy that was to hold their average."""
    # Issues of code with averaged weights: two models, of which the wrong one is handed on.
    data, net = hives(), layered(7, 48, 32, 4)
    average = copy.deepcopy(net)
    opt = optim.Adam((average if faulty else net).parameters(), 0.01)
    train(run, net, nn.CrossEntropyLoss(), opt, data, steps=120)
    return run.right(net, data)
