"""PyTorch, opened (held out until 2026-12-01): what the loop does."""

import copy

import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn, optim

from bench.faults.case import fault
from bench.faults.data import as_column
from bench.faults.opened_4_data import (
    calls,
    harvest,
    ledgers,
    ponds,
    rooms,
    sensors,
    strolls,
)
from bench.faults.run import Data, Run, batches, train


@fault("torch", "trained_a_copy", "missing_from_optimiser", "no_step")
def calls_optimiser_of_the_model_before(run: Run, faulty: bool) -> float:
    """model = copy.deepcopy(model) for each fold, but the optimiser is still that of the first."""
    # Forums on cross-validation: a model that is the same after each fold.
    data = calls()
    net = nn.Sequential(nn.Linear(4, 48), nn.ELU(), nn.Linear(48, 1))
    opt = optim.Adam(net.parameters(), lr=0.01)
    if faulty:
        net = copy.deepcopy(net)
    train(run, net, nn.PoissonNLLLoss(), opt, data, size=32, steps=100)
    said = run.answers(net, data.test_x).clamp(max=5).exp()
    return float(1 - (said - data.test_y).square().mean() / data.test_y.var())


@fault("torch", "no_step", worse=0.3)
def strolls_never_enough_batches_to_step(run: Run, faulty: bool) -> float:
    """An update comes every 64 batches of an epoch, as for a large data set; an epoch has 30 here."""
    # Forums on accumulating gradients: the last batches of an epoch, and a loss that never changes.
    data = strolls()
    net = nn.Sequential(nn.Flatten(), nn.Linear(72, 48), nn.ReLU(), nn.Linear(48, 4))
    opt = optim.Adam(net.parameters(), lr=0.01)
    criterion = nn.CrossEntropyLoss()
    every = 64 if faulty else 2
    run.watch(net, criterion)
    for _ in range(4):
        for place, (x, y) in enumerate(batches(data.x, data.y, size=32, steps=30), 1):
            loss = criterion(net(x), y) / every
            loss.backward()
            if place % every == 0:
                opt.step()
                opt.zero_grad()
            run.step(loss * every)
        opt.zero_grad()
    return run.right(net, data)


@fault("torch", "no_zero_grad", good=0.35)
def ledgers_zero_grad_without_its_parentheses(run: Run, faulty: bool) -> float:
    """optimizer.zero_grad is named and not called."""
    # Question-and-answer pages: a loss that falls, then swings and grows.
    data = as_column(ledgers())
    net = nn.Sequential(nn.Linear(10, 40), nn.Tanh(), nn.Linear(40, 1))
    opt = optim.SGD(net.parameters(), lr=0.3, momentum=0.9)
    criterion = nn.BCEWithLogitsLoss()
    run.watch(net, criterion)
    for x, y in batches(data.x, data.y, size=32, steps=180):
        if not faulty:
            opt.zero_grad()
        loss = criterion(net(x), y)
        loss.backward()
        opt.step()
        run.step(loss)
    return run.right_side(net, data, 0.0)


@fault("torch", "set_anew", since=25)
def sensors_reset_in_each_epoch(run: Run, faulty: bool) -> float:
    """model.apply(init_weights) stands within the loop over epochs."""
    # Forums: a loss whose curve looks like a saw.
    data = sensors()
    net = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 4))

    def init(layer: nn.Module) -> None:
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    net.apply(init)
    opt = optim.SGD(net.parameters(), lr=0.02)
    criterion = nn.CrossEntropyLoss()
    run.watch(net, criterion)
    for _ in range(7):
        if faulty:
            net.apply(init)
        for x, y in batches(data.x, data.y, size=48, steps=23):
            opt.zero_grad()
            loss = criterion(net(x), y)
            loss.backward()
            opt.step()
            run.step(loss)
    return run.right(net, data)


@fault("torch", "dropout", worse=0.15)
def ponds_dropout_of_nine_tenths(run: Run, faulty: bool) -> float:
    """F.dropout(x, 0.9) after each layer, which is on while testing too, for training=True is its default."""

    # Forums: F.dropout and model.eval(); here the share is what was to be kept.
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(5, 40), nn.Linear(40, 40), nn.Linear(40, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            share, on = (0.9, True) if faulty else (0.1, self.training)
            h = F.dropout(F.relu(self.a(x)), share, on)
            return self.c(F.dropout(F.relu(self.b(h)), share, on))

    net = Net()
    train(run, net, nn.CrossEntropyLoss(), optim.Adam(net.parameters(), lr=0.01), ponds(), size=64, steps=140)
    return run.right(net, ponds())


@fault("torch", "norm_in_eval", "unscaled_inputs", worse=0.2)
def harvest_eval_from_the_start(run: Run, faulty: bool) -> float:
    """model.eval() in the script's first lines: the norm that was to scale raw features lets them through."""
    # Forums on model.eval() and batch norm; pages on training and evaluation modes.
    data = harvest("raw")
    net = nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 1))
    if faulty:
        net.eval()
    train(run, net, nn.MSELoss(), optim.Adam(net.parameters(), lr=0.005), data, size=64, steps=150)
    return run.near(net, data)


def walk(run: Run, how: str) -> float:
    """A policy and rewards of a house's rooms; `how` says what is done wrong, "" nothing."""
    then, pay, ends = rooms()
    net = nn.Sequential(nn.Linear(6, 24), nn.Tanh(), nn.Linear(24, 2))
    opt = optim.Adam(net.parameters(), lr=0.02)
    run.watch(net)
    for _ in range(110):
        logs, worth, doubts = [], [], []
        for _ in range(4):
            place, gained = int(torch.randint(5, ())), []
            for _ in range(8):
                chances = torch.distributions.Categorical(logits=net(torch.eye(6)[place]))
                move = chances.sample()
                logs.append(chances.log_prob(move))
                doubts.append(chances.entropy())
                gained.append(float(pay[place, move]) - 0.05)
                place = int(then[place, move])
                if ends[place]:
                    break
            worth.append(torch.tensor(gained).flip(0).cumsum(0).flip(0))
        returns = torch.cat(worth)
        returns = (returns - returns.mean()) / (returns.std() + 1e-6)
        gain = (torch.stack(logs) * returns).mean()
        loss = (gain if how == "sign" else -gain) - (40.0 if how == "doubt" else 0.01) * torch.stack(doubts).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        run.step(loss)
    return float(2 * run.answers(net, torch.eye(6)[:5]).softmax(1)[:, 1].mean() - 1)


@fault("torch", "wrong_sign", "wrong_loss", good=0.6)
def rooms_policy_climbs_down(run: Run, faulty: bool) -> float:
    """loss = (log_prob * returns).mean(), without a minus: what pays is done less and less."""
    # Issues on policy gradients: a reward that falls while it trains.
    return walk(run, "sign" if faulty else "")


@fault("torch", "term_outweighs", good=0.6)
def rooms_entropy_counts_forty_times(run: Run, faulty: bool) -> float:
    """An entropy bonus of 40, where 0.01 is usual: the policy stays at random."""
    # An issue of a library for reinforcement learning: an entropy near its largest, as the coefficient is too large.
    return walk(run, "doubt" if faulty else "")


@fault("torch", "bootstrapped_targets", "wrong_loss", good=0.6, worse=0.3)
def rooms_values_without_an_end(run: Run, faulty: bool) -> float:
    """Q-learning whose discount is 1.2 and which never masks where the walk ends: values grow from step to step."""
    # Issues on DQN: a loss and values that explode.
    then, pay, ends = rooms()
    net = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 2))
    opt = optim.Adam(net.parameters(), lr=0.02)
    loss_fn = nn.MSELoss()
    run.watch(net, loss_fn)
    every = torch.eye(6)
    for _ in range(220):
        place, move = torch.randint(5, (32,)), torch.randint(2, (32,))
        led = then[place, move]
        with torch.no_grad():
            later = net(every[led]).amax(1)
            wanted = pay[place, move] + (1.2 * later if faulty else 0.8 * later * ~ends[led])
        said = net(every[place])[torch.arange(32), move]
        loss = loss_fn(said, wanted)
        opt.zero_grad()
        loss.backward()
        opt.step()
        run.step(loss)
    worth = run.answers(net, every[:5])
    truth = 0.8 ** torch.arange(4, -1, -1).float()
    return float(1 - (worth[:, 1] - truth).square().mean() / truth.var())


@fault("torch", "number_range", "rate_too_small", worse=0.2)
def sensors_bfloat16_loses_small_steps(run: Run, faulty: bool) -> float:
    """model.bfloat16() and SGD at a small rate: a step is less than the last digit of a weight, which stays."""
    # Issues on training wholly in bfloat16: a loss that stops where that of float32 goes on.
    data = sensors()
    net = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 4))
    with torch.no_grad():
        for value in net.parameters():
            value.copy_(torch.where(value.abs() < 0.25, 0.25 * value.sign(), value))
    kind = torch.bfloat16 if faulty else torch.float32
    net = net.to(kind)
    data = Data(data.x.to(kind), data.y, data.test_x.to(kind), data.test_y)
    opt = optim.SGD(net.parameters(), lr=2e-4)
    criterion = nn.CrossEntropyLoss(reduction="sum")
    run.watch(net, criterion)
    for x, y in batches(data.x, data.y, size=16, steps=220):
        opt.zero_grad()
        loss = criterion(net(x), y)
        loss.backward()
        opt.step()
        run.step(loss)
    return run.right(net, data)
